//! What lies between a socket's bytes and MQTT: PROXY header, TLS, WebSocket, each a layer that takes bytes of the one
//! below and gives bytes to the one above. A function of its arguments: the server owns sockets, buffers and time.
//! Order of calls: `receive` while it is `Ok`, `send` at any time, `close` once; nothing after it.

pub mod proxy;
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The peer said goodbye (a close frame, close_notify): as the end of a TCP stream.
    #[error("closed by the peer")]
    Peer,
    /// The PROXY header is wrong.
    #[error("PROXY protocol: {0}")]
    Proxy(#[from] proxy::Error),
    /// The upgrade was refused or a frame breaks a rule.
    #[error("WebSocket: {0}")]
    WebSocket(#[from] websocket::Error),
}

/// What the layers learn about the client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the load balancer in front says.
    pub proxy: Option<proxy::Header>,
}

/// The layers of a listener. A plain one has none.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// A PROXY header comes first.
    pub proxy: bool,
    /// MQTT over WebSocket.
    pub websocket: Option<Arc<websocket::Service>>,
}

impl Layers {
    /// Bytes go to MQTT as they come.
    pub fn is_plain(&self) -> bool {
        !self.proxy && self.websocket.is_none()
    }

    /// A connection's own layers.
    pub fn begin(&self) -> Transport {
        Transport {
            proxy: self.proxy.then(Box::default),
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
        for buffer in [&mut self.up, &mut self.down, &mut self.below, &mut self.answers] {
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
    websocket: Option<WebSocket>,
}

// One for each wrapped connection; with the server's own record and the allocator's rounding it has to stay below 600 bytes.
const _: () = assert!(size_of::<Transport>() <= 72);

impl Transport {
    /// Takes bytes of the socket. `buffers` then has what MQTT and the socket get and what was learned, also where an error comes
    /// back. `is_congested`: the client does not take what it is sent, so nothing is answered that may be left out.
    ///
    /// # Errors
    /// Nothing more is to be received; `close` is to be called after the last `send`.
    pub fn receive(&mut self, bytes: &[u8], is_congested: bool, buffers: &mut Buffers) -> Result<(), End> {
        let Buffers { up, down, facts, below, answers } = buffers;
        for buffer in [&mut *up, down, below, answers] {
            buffer.clear();
        }
        *facts = Facts::default();
        below.extend_from_slice(bytes);
        if let Some(proxy) = &mut self.proxy {
            let Some(header) = proxy.receive(below)? else { return Ok(()) };
            facts.proxy = Some(header);
            self.proxy = None;
        }
        match &mut self.websocket {
            Some(websocket) => {
                websocket.set_congested(is_congested);
                let result = websocket.receive(below, up, answers);
                down.append(answers);
                result?;
            }
            None => up.append(below),
        }
        Ok(())
    }

    /// Appends to `down` what carries `above` to the client.
    pub fn send(&mut self, above: &[u8], down: &mut Vec<u8>) {
        match &mut self.websocket {
            Some(websocket) => websocket.send(above, down),
            None => down.extend_from_slice(above),
        }
    }

    /// Appends to `down` the farewells of the layers.
    pub fn close(&mut self, down: &mut Vec<u8>) {
        if let Some(websocket) = &mut self.websocket {
            websocket.close(down);
        }
    }

    /// Whether MQTT can't be spoken yet.
    pub fn is_handshaking(&self) -> bool {
        self.proxy.is_some() || self.websocket.as_ref().is_some_and(Layer::is_handshaking)
    }
}
