//! What lies between a socket's bytes and MQTT: PROXY header, TLS, WebSocket, each a layer that takes bytes of the one
//! below and gives bytes to the one above. A function of its arguments: the server owns sockets, buffers and time.
//! Order of calls: `receive` while it is `Ok`, `send` at any time, `close` once; nothing after it.

pub mod proxy;
#[cfg(feature = "server")]
pub mod tls;
pub mod websocket;

use std::sync::Arc;

use proxy::Proxy;
use websocket::WebSocket;

/// A protocol between the socket and MQTT.
pub trait Layer {
    /// Takes bytes from below: all of `below`, which is empty afterwards; what is incomplete stays in the layer, within a
    /// bound of its own, and nothing else does. Appends to `up` what the layer above gets and to `down` what
    /// has to be sent because of it (answers, handshakes).
    ///
    /// # Errors
    /// The layer's stream is over: nothing more may be received. What was appended to `up` came before that.
    fn receive(&mut self, below: &mut Vec<u8>, up: &mut Vec<u8>, down: &mut Vec<u8>) -> Result<(), End>;

    /// Wraps bytes of the layer above. Never before the handshake is over, but for what `receive` gave up.
    fn send(&mut self, above: &[u8], down: &mut Vec<u8>);

    /// Says farewell as far as the protocol has one (a close frame, an alert, an HTTP answer). The socket is closed when
    /// that has left.
    fn close(&mut self, down: &mut Vec<u8>);

    /// The layer's handshake is not over.
    fn is_handshaking(&self) -> bool;
}

/// Why nothing more is to be received.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum End {
    /// The peer said goodbye (a close frame, close_notify): as the end of a TCP stream.
    #[error("closed by the peer")]
    Peer,
    /// The PROXY header is wrong.
    #[error("PROXY protocol: {0}")]
    Proxy(#[from] proxy::Error),
    /// The handshake failed, or a record is wrong.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The upgrade was refused or a frame breaks a rule.
    #[error("WebSocket: {0}")]
    WebSocket(#[from] websocket::Error),
}

/// What the layers learn about the client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the load balancer in front says.
    pub proxy: Option<proxy::Header>,
    /// The TLS handshake is over since this call, with this outcome.
    #[cfg(feature = "server")]
    pub established: Option<Box<tls::Established>>,
}

/// The layers of a listener. A plain one has none.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// A PROXY header comes first.
    pub proxy: bool,
    /// TLS comes next. A reload puts another one in its place.
    #[cfg(feature = "server")]
    pub tls: Option<Arc<tls::Acceptor>>,
    /// MQTT over WebSocket.
    pub websocket: Option<Arc<websocket::Service>>,
}

impl Layers {
    /// Bytes go to MQTT as they come.
    pub fn is_plain(&self) -> bool {
        #[cfg(feature = "server")]
        if self.tls.is_some() {
            return false;
        }
        !self.proxy && self.websocket.is_none()
    }

    /// A connection's own layers.
    pub fn begin(&self) -> Transport {
        Transport {
            proxy: self.proxy.then(Box::default),
            #[cfg(feature = "server")]
            tls: self.tls.as_ref().map(|acceptor| Box::new(acceptor.open())),
            websocket: self.websocket.as_ref().map(|service| WebSocket::new(Arc::clone(service))),
        }
    }
}

/// Buffers that the connections of a shard use in turn; empty between two calls of a connection, but for what `Transport::receive` gave.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Bytes for MQTT.
    pub up: Vec<u8>,
    /// Bytes for the socket.
    pub down: Vec<u8>,
    /// What was learned on the way.
    pub facts: Facts,
    /// What came behind a PROXY header, not looked at: for the next call, if the client's address may come in.
    pub rest: Vec<u8>,
    /// Between layers, on the way up.
    below: Vec<u8>,
    /// Between layers, on the way down.
    answers: Vec<u8>,
}

/// Capacity that a shard's buffers keep while it has nothing to do.
const BUFFER_KEPT: usize = 64 * 1024;

impl Buffers {
    /// Gives memory of a busy time back.
    pub fn trim(&mut self) {
        for buffer in [&mut self.up, &mut self.down, &mut self.rest, &mut self.below, &mut self.answers] {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT);
        }
    }
}

/// The layers of one connection, the one next to the socket first. All are idle most of the time and hold no buffer then.
#[derive(Debug)]
pub struct Transport {
    /// Gone once the header has come.
    proxy: Option<Box<Proxy>>,
    #[cfg(feature = "server")]
    tls: Option<Box<tls::Tls>>,
    websocket: Option<WebSocket>,
}

// One for each wrapped connection; with the server's own record and the allocator's rounding it has to stay below 600 bytes.
const _: () = assert!(size_of::<Transport>() <= 72);

impl Transport {
    /// Takes bytes of the socket. `buffers` then has what MQTT and the socket get and what was learned, also where an error comes
    /// back. `is_congested`: the client does not take what it is sent, so nothing is answered that may be left out. It stops behind a
    /// PROXY header: `buffers.rest` is then for the next call.
    ///
    /// # Errors
    /// Nothing more is to be received; `close` is to be called after the last `send`.
    pub fn receive(&mut self, bytes: &[u8], is_congested: bool, buffers: &mut Buffers) -> Result<(), End> {
        let Buffers { up, down, facts, rest, below, answers } = buffers;
        for buffer in [&mut *up, down, rest, below, answers] {
            buffer.clear();
        }
        *facts = Facts::default();
        below.extend_from_slice(bytes);
        if let Some(proxy) = &mut self.proxy {
            let Some(header) = proxy.receive(below)? else { return Ok(()) };
            facts.proxy = Some(header);
            self.proxy = None;
            // Before the address may come in nothing is answered, and no signature made.
            std::mem::swap(below, rest);
            return Ok(());
        }
        // What was decrypted before a fault is still for the layers above.
        #[cfg(feature = "server")]
        let decrypted = self.decrypt(below, answers, down, facts);
        #[cfg(not(feature = "server"))]
        let decrypted: Result<(), End> = Ok(());
        match &mut self.websocket {
            Some(websocket) if !below.is_empty() => {
                websocket.set_congested(is_congested);
                let result = websocket.receive(below, up, answers);
                self.wrap(answers, down)?;
                answers.clear();
                result?;
            }
            Some(_) => {}
            None => up.append(below),
        }
        decrypted
    }

    /// Puts plaintext in the place of the records in `below`, where there is TLS. `between` is empty, then and now.
    #[cfg(feature = "server")]
    fn decrypt(
        &mut self,
        below: &mut Vec<u8>,
        between: &mut Vec<u8>,
        down: &mut Vec<u8>,
        facts: &mut Facts,
    ) -> Result<(), End> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let result = tls.receive(below, between, down);
        std::mem::swap(below, between);
        facts.established = tls.take_established();
        result?;
        if tls.peer_has_closed() { Err(End::Peer) } else { Ok(()) }
    }

    /// Appends to `down` what carries `above` to the client.
    ///
    /// # Errors
    /// The connection has to be closed once `down` has left: TLS 1.2 has used up its keys.
    pub fn send(&mut self, above: &[u8], down: &mut Vec<u8>) -> Result<(), End> {
        if self.websocket.is_none() {
            return self.wrap(above, down);
        }
        let mut frame = Vec::new();
        let is_outermost = !self.is_encrypted();
        let frames = if is_outermost { &mut *down } else { &mut frame };
        if let Some(websocket) = &mut self.websocket {
            websocket.send(above, frames);
        }
        if is_outermost { Ok(()) } else { self.wrap(&frame, down) }
    }

    /// There is TLS.
    fn is_encrypted(&self) -> bool {
        #[cfg(feature = "server")]
        let encrypted = self.tls.is_some();
        #[cfg(not(feature = "server"))]
        let encrypted = false;
        encrypted
    }

    /// Appends to `down` what carries `above` below WebSocket.
    fn wrap(&mut self, above: &[u8], down: &mut Vec<u8>) -> Result<(), End> {
        #[cfg(feature = "server")]
        if let Some(tls) = &mut self.tls {
            return Ok(tls.send(above, down)?);
        }
        down.extend_from_slice(above);
        Ok(())
    }

    /// Appends to `down` the farewells of the layers.
    pub fn close(&mut self, down: &mut Vec<u8>) {
        if let Some(websocket) = &mut self.websocket {
            let mut farewell = Vec::new();
            websocket.close(&mut farewell);
            // What can't be said is not.
            let _ = self.wrap(&farewell, down);
        }
        #[cfg(feature = "server")]
        if let Some(tls) = &mut self.tls {
            tls.close(down);
        }
    }

    /// Whether nothing is left to do: bytes pass as they are.
    pub fn is_plain(&self) -> bool {
        // Taken apart, so that no layer to come is forgotten here.
        let Self {
            proxy,
            #[cfg(feature = "server")]
            tls,
            websocket,
        } = self;
        #[cfg(feature = "server")]
        if tls.is_some() {
            return false;
        }
        proxy.is_none() && websocket.is_none()
    }

    /// Whether MQTT can't be spoken yet.
    pub fn is_handshaking(&self) -> bool {
        #[cfg(feature = "server")]
        if self.has_costly_step() {
            return true;
        }
        self.proxy.is_some() || self.websocket.as_ref().is_some_and(Layer::is_handshaking)
    }

    /// What comes next may cost a signature, 0.1 to 1 ms of the shard: for the server's budget.
    #[cfg(feature = "server")]
    pub fn has_costly_step(&self) -> bool {
        self.proxy.is_none() && self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}
