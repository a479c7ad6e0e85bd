//! TLS of the load generator: rustls without sockets.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// What all connections share: the certificates to trust, and the broker's name.
pub(super) fn client(
    host: &str,
    ca: Option<&Path>,
) -> anyhow::Result<(Arc<ClientConfig>, ServerName<'static>)> {
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match ca {
        Some(path) => config.with_root_certificates(roots(path)?).with_no_client_auth(),
        None => {
            let any = Arc::new(AnyCertificate { provider });
            config.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
        }
    };
    // Every client is somebody else.
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("--host {host}"))?;
    Ok((Arc::new(config), name))
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).with_context(|| format!("--ca {}", path.display()))?;
    for certificate in certificates {
        let certificate = certificate.with_context(|| format!("--ca {}", path.display()))?;
        roots.add(certificate).with_context(|| format!("--ca {}", path.display()))?;
    }
    if roots.is_empty() {
        bail!("--ca {}: no certificate in PEM form", path.display());
    }
    Ok(roots)
}

/// Hands over what came from the socket; what it held of the layer above goes to `into`.
pub(super) fn feed(tls: &mut ClientConnection, mut bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        if tls.read_tls(&mut bytes)? == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes after the end of TLS"));
        }
        let state =
            tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let len = into.len();
        into.resize(len + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(into.get_mut(len..).unwrap_or_default())?;
    }
    Ok(())
}

/// Appends all that TLS has to send.
pub(super) fn take_output(tls: &mut ClientConnection, into: &mut Vec<u8>) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(into)?;
    }
    Ok(())
}

/// Takes any certificate: what is measured is the broker, not whether it is the right one. Signatures are checked all the
/// same, since that is work of the client alone.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
