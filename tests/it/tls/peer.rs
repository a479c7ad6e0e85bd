//! A TLS client of rustls over a real socket: what it trusts, asks for and shows.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::authority::{Authority, Leaf};
use crate::client::{Client, Stream, TIMEOUT};
use crate::wire::{Connack, Connect};

/// TLS over TCP.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Stream for TlsStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.sock.set_read_timeout(timeout)
    }
    fn shutdown_write(&self) -> io::Result<()> {
        self.sock.shutdown(Shutdown::Write)
    }
}

/// TLS 1.2 alone.
pub const V12: &[&SupportedProtocolVersion] = &[&TLS12];
/// TLS 1.3 alone.
pub const V13: &[&SupportedProtocolVersion] = &[&TLS13];

/// A client's settings.
#[derive(Clone)]
pub struct Peer<'a> {
    authority: &'a Authority,
    shows: Option<&'a Leaf>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
    host: &'static str,
}

impl<'a> Peer<'a> {
    /// Trusts this authority, shows no certificate.
    pub fn new(authority: &'a Authority) -> Self {
        Self { authority, shows: None, versions: rustls::ALL_VERSIONS, alpn: vec![], host: super::HOST }
    }

    /// Speaks only these.
    pub fn versions(mut self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions;
        self
    }

    /// Shows this certificate.
    pub fn shows(mut self, leaf: &'a Leaf) -> Self {
        self.shows = Some(leaf);
        self
    }

    /// Asks for one of these protocols.
    pub fn alpn(mut self, names: &[&str]) -> Self {
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Asks for this host.
    pub fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// What several connections share, tickets among it.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain =
                    CertificateDer::pem_slice_iter(leaf.cert.as_bytes()).collect::<Result<_, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.clone();
        Arc::new(config)
    }

    /// A connection on which nothing was said yet.
    pub fn open(&self, address: SocketAddr) -> TlsStream {
        self.open_with(&self.config(), address)
    }

    /// The same with what an earlier connection learned.
    pub fn open_with(&self, config: &Arc<ClientConfig>, address: SocketAddr) -> TlsStream {
        let socket = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.set_write_timeout(Some(TIMEOUT)).unwrap();
        let name = ServerName::try_from(self.host).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
    }

    /// A connection after its handshake.
    ///
    /// # Errors
    /// What keeps it from that, in the words of this side.
    pub fn shake(&self, address: SocketAddr) -> Result<TlsStream, String> {
        let mut stream = self.open(address);
        shake(&mut stream)?;
        Ok(stream)
    }

    /// A client that the broker accepted.
    pub fn connect(&self, address: SocketAddr, connect: Connect) -> Client {
        self.connect_with_ack(address, connect).0
    }

    /// A client that the broker accepted, and its CONNACK.
    pub fn connect_with_ack(&self, address: SocketAddr, connect: Connect) -> (Client, Connack) {
        let mut client = Client::over(self.open(address), connect.version);
        client.send(connect);
        let connack = client.recv_connack();
        assert_eq!(connack.reason, 0, "{connack:?}");
        (client, connack)
    }
}

/// Goes through the handshake.
pub fn shake(stream: &mut TlsStream) -> Result<(), String> {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
    }
    Ok(())
}
