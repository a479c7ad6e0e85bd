//! The layer against rustls' own client, in memory: versions, splits, resumption, names, certificates, garbage.

#[path = "../../../../tests/it/tls/authority.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod authority;

mod clients;
mod files;
mod handshake;
mod hostile;
mod memory;
mod traffic;

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use zeroize::Zeroizing;

use super::{Acceptor, Established, NamedFile, Tls, TlsError, TlsFiles};
use crate::config::ListenerTls;
use authority::{Authority, Leaf};

/// TLS 1.2 alone.
const V12: &[&SupportedProtocolVersion] = &[&TLS12];
/// TLS 1.3 alone.
const V13: &[&SupportedProtocolVersion] = &[&TLS13];

/// The host name of the servers.
const HOST: &str = "broker.example";

/// A file of this name and text.
fn file(name: &str, text: &str) -> NamedFile {
    NamedFile { name: name.into(), bytes: Zeroizing::new(text.as_bytes().to_vec()) }
}

/// The files of a listener with these certificates.
fn files(leaves: &[&Leaf]) -> TlsFiles {
    let pair = |leaf: &&Leaf| (file("server.pem", &leaf.cert), file("server.key", &leaf.key));
    TlsFiles { pairs: leaves.iter().map(pair).collect(), authorities: vec![], revocations: vec![] }
}

/// An acceptor of these files; `mqtt` is offered.
fn acceptor(tls: &ListenerTls, files: &TlsFiles) -> Arc<Acceptor> {
    Arc::new(Acceptor::new(tls, &[b"mqtt"], files, None).unwrap().0)
}

/// A client's settings: what it trusts, speaks and shows.
struct Peer<'a> {
    authority: &'a Authority,
    versions: &'static [&'static SupportedProtocolVersion],
    shows: Option<(&'a [&'a str], &'a str)>,
    alpn: &'static [&'static [u8]],
}

impl<'a> Peer<'a> {
    fn new(authority: &'a Authority) -> Self {
        Self { authority, versions: rustls::ALL_VERSIONS, shows: None, alpn: &[] }
    }

    fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain =
                    chain.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    fn connect(&self) -> ClientConnection {
        connect(&self.config(), HOST)
    }
}

fn connect(config: &Arc<ClientConfig>, host: &'static str) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from(host).unwrap()).unwrap()
}

/// A client and our side, and what went through.
struct Pair {
    client: ClientConnection,
    server: Tls,
    /// Plaintext that our side gave.
    up: Vec<u8>,
    /// Plaintext that the client got.
    received: Vec<u8>,
    established: Option<Box<Established>>,
    /// Our side's fault, if it found one.
    error: Option<TlsError>,
    /// The client's.
    client_error: Option<rustls::Error>,
    /// Bytes at most of each piece that our side gets.
    piece: usize,
}

impl Pair {
    fn new(client: ClientConnection, acceptor: &Arc<Acceptor>) -> Self {
        let server = acceptor.open();
        Self {
            client,
            server,
            up: Vec::new(),
            received: Vec::new(),
            established: None,
            error: None,
            client_error: None,
            piece: usize::MAX,
        }
    }

    /// Carries bytes to and fro until neither side has any.
    fn run(&mut self) {
        for _ in 0..50 {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).unwrap();
            }
            if bytes.is_empty() {
                return;
            }
            self.deliver(&bytes);
        }
        panic!("they never stop");
    }

    /// Gives our side these bytes, in pieces, and the client what follows.
    fn deliver(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            let (mut piece, mut down) = (piece.to_vec(), Vec::new());
            let result = self.server.receive(&mut piece, &mut self.up, &mut down);
            assert!(piece.is_empty(), "all is taken");
            self.established = self.server.take_established().or(self.established.take());
            self.give_client(&down);
            if let Err(error) = result {
                self.error = Some(error);
                return;
            }
        }
    }

    /// Gives the client these bytes.
    fn give_client(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.client_error.is_none() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client_error = self.client.process_new_packets().err();
            // An open connection without more plaintext would block.
            let _ = self.client.reader().read_to_end(&mut self.received);
        }
    }

    /// Our side sends plaintext.
    fn send(&mut self, plaintext: &[u8]) {
        let mut down = Vec::new();
        self.server.send(plaintext, &mut down).unwrap();
        self.give_client(&down);
    }

    /// The client sends plaintext.
    fn client_sends(&mut self, plaintext: &[u8]) {
        for part in plaintext.chunks(16 * 1024) {
            self.client.writer().write_all(part).unwrap();
            self.run();
        }
    }

    /// All plaintext that the client has.
    fn client_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// The handshake, which has to succeed.
    fn shake(&mut self) -> Established {
        self.run();
        assert!(
            self.error.is_none() && self.client_error.is_none(),
            "{:?} {:?}",
            self.error,
            self.client_error
        );
        assert!(!self.server.is_handshaking() && !self.client.is_handshaking());
        *self.established.take().unwrap()
    }

    /// The handshake, which our side has to refuse. Returns why, and what the client learns.
    fn refuse(&mut self) -> (TlsError, Option<rustls::Error>) {
        self.run();
        let error = self.error.take().expect("our side refuses");
        assert!(self.established.is_none());
        (error, self.client_error.take())
    }
}
