//! The streams of a bridge: a Unix socket to this node, TCP or TLS to the other broker.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Bridge, BridgeTls};

/// Where systems keep the authorities that they believe.
const SYSTEM_CA: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Both directions of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What TLS needs; `None`: the bridge speaks none.
pub(super) fn tls(bridge: &Bridge) -> Result<Option<TlsConnector>, String> {
    let Some((true, ..)) = bridge.address() else { return Ok(None) };
    let BridgeTls { ca, cert, key } = &bridge.tls;
    let mut roots = RootCertStore::empty();
    let system = || SYSTEM_CA.iter().map(Path::new).find(|path| path.exists());
    let ca = if ca.as_os_str().is_empty() { system() } else { Some(ca.as_path()) };
    let ca = ca.ok_or("tls.ca: the system has no authorities; name a file")?;
    for certificate in certificates(ca)? {
        // A system's bundle may have one that is not to rustls' taste.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(format!("tls.ca {}: has no certificate of an authority", ca.display()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = if cert.as_os_str().is_empty() {
        builder.with_no_client_auth()
    } else {
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| format!("tls.key {}: {error}", key.display()))?;
        builder
            .with_client_auth_cert(certificates(cert)?, private)
            .map_err(|error| format!("tls.cert {}: {error}", cert.display()))?
    };
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    found.map_err(|error| format!("{}: {error}", path.display()))
}

/// The other broker.
pub(super) async fn remote(bridge: &Bridge, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>, String> {
    let (_, host, port) = bridge.address().ok_or("its url is none")?;
    let describe = |error: std::io::Error| format!("{host}:{port}: {error}");
    let tcp = TcpStream::connect((host, port)).await.map_err(describe)?;
    tcp.set_nodelay(true).map_err(describe)?;
    let Some(connector) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is no name for TLS"))?;
    Ok(Box::new(connector.connect(name, tcp).await.map_err(describe)?))
}
