//! What lies between MQTT and TCP: nothing, TLS, WebSocket, or WebSocket over TLS. Bytes in, bytes out; the socket is
//! the connection's.

mod tls;
mod websocket;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use websocket::Client;

/// Which carrier all connections of a run have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carriers {
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// Host and path of the upgrade.
    websocket: Option<(String, String)>,
}

/// How to make them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) host: &'a str,
    pub(crate) tls: bool,
    /// Certificates to trust; without them any is taken.
    pub(crate) ca: Option<&'a PathBuf>,
    pub(crate) websocket: bool,
    pub(crate) path: &'a str,
}

impl Carriers {
    /// Reads the certificates to trust.
    pub(crate) fn new(wanted: &Wanted<'_>) -> anyhow::Result<Self> {
        let tls = match wanted.tls {
            true => Some(tls::client(wanted.host, wanted.ca.map(|path| Path::new(path.as_path())))?),
            false => None,
        };
        let websocket = wanted.websocket.then(|| (wanted.host.to_owned(), wanted.path.to_owned()));
        Ok(Self { tls, websocket })
    }

    /// One for a new connection; `None`: MQTT stands on TCP itself.
    pub(crate) fn carrier(&self) -> io::Result<Option<Box<Carrier>>> {
        if self.tls.is_none() && self.websocket.is_none() {
            return Ok(None);
        }
        let tls = match &self.tls {
            Some((config, name)) => {
                let mut tls =
                    ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
                tls.set_buffer_limit(None);
                Some(tls)
            }
            None => None,
        };
        let websocket = self.websocket.as_ref().map(|(host, path)| Client::new(host, path));
        Ok(Some(Box::new(Carrier { tls, websocket, plain: Vec::new(), plain_at: 0 })))
    }
}

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Carrier {
    tls: Option<ClientConnection>,
    websocket: Option<Client>,
    /// MQTT that has arrived and was not asked for yet.
    plain: Vec<u8>,
    plain_at: usize,
}

impl Carrier {
    /// MQTT to what the socket takes.
    pub(crate) fn encode(&mut self, mqtt: &[u8], socket: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.websocket {
            None => self.encrypt(mqtt, socket),
            Some(websocket) => {
                let mut frames = Vec::new();
                websocket.encode(mqtt, &mut frames);
                self.encrypt(&frames, socket)
            }
        }
    }

    fn encrypt(&mut self, bytes: &[u8], socket: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.tls {
            None => socket.extend_from_slice(bytes),
            Some(tls) => {
                io::Write::write_all(&mut tls.writer(), bytes)?;
                tls::take_output(tls, socket)?;
            }
        }
        Ok(())
    }

    /// What the socket had; answers of the carriers go to `socket`.
    pub(crate) fn decode(&mut self, bytes: &[u8], socket: &mut Vec<u8>) -> io::Result<()> {
        let mut decrypted = Vec::new();
        let bytes = match &mut self.tls {
            None => bytes,
            Some(tls) => {
                tls::feed(tls, bytes, &mut decrypted)?;
                tls::take_output(tls, socket)?;
                &decrypted
            }
        };
        let Some(websocket) = &mut self.websocket else {
            self.plain.extend_from_slice(bytes);
            return Ok(());
        };
        let mut answers = Vec::new();
        websocket.decode(bytes, &mut self.plain, &mut answers)?;
        if answers.is_empty() { Ok(()) } else { self.encrypt(&answers, socket) }
    }

    /// MQTT that has arrived, as much as `into` takes.
    pub(crate) fn take(&mut self, into: &mut [u8]) -> usize {
        let left = self.plain.get(self.plain_at..).unwrap_or_default();
        let n = left.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..n), left.get(..n)) {
            to.copy_from_slice(from);
        }
        self.plain_at += n;
        if self.plain_at == self.plain.len() {
            (self.plain, self.plain_at) = (Vec::new(), 0);
        }
        n
    }
}
