//! The socket below a client: TCP, or TLS over it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Options;
use crate::failure::{Failure, Status};

/// Where Linux distributions keep the authorities that they believe.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A connection to a broker.
pub(super) enum Link {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// Connects, and with TLS shakes hands.
    pub(super) fn open(options: &Options) -> Result<Self> {
        let place = format!("{}:{}", options.host, options.port());
        let unreachable = |error: std::io::Error| {
            let line = format!("no broker answers at {place}: {error}; -h and -p say where it is");
            anyhow::Error::new(Failure::new(Status::Unreachable, line))
        };
        let patience = Duration::from_secs(options.patience);
        let addresses = (options.host.as_str(), options.port()).to_socket_addrs().map_err(unreachable)?;
        let mut last = std::io::Error::other("the name has no address");
        let mut connected = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let Some(mut stream) = connected else { return Err(unreachable(last)) };
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        if !options.is_tls() {
            return Ok(Self::Tcp(stream));
        }
        stream.set_read_timeout(Some(patience))?;
        let name = ServerName::try_from(options.host.clone()).context("--host")?;
        let mut connection = ClientConnection::new(Arc::new(config(options)?), name)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).with_context(|| format!("{place}: no TLS"))?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    /// How long `read` waits; at least a millisecond.
    pub(super) fn set_read_timeout(&self, limit: Option<Duration>) -> Result<()> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        };
        Ok(stream.set_read_timeout(limit.map(|limit| limit.max(Duration::from_millis(1))))?)
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn config(options: &Options) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &options.cafile {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).with_context(|| path.display().to_string())?;
            }
        }
        None => {
            let found = SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
            let Some(path) = found else { bail!("no authorities are installed here: give --cafile") };
            roots.add_parsable_certificates(certificates(path)?);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    Ok(match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let own = PrivateKeyDer::from_pem_file(key).with_context(|| key.display().to_string())?;
            let named = || cert.display().to_string();
            builder.with_client_auth_cert(certificates(cert)?, own).with_context(named)?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let named = || path.display().to_string();
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).with_context(named)?.collect();
    let found = read.with_context(named)?;
    if found.is_empty() {
        bail!("{}: there is no certificate", named());
    }
    Ok(found)
}
