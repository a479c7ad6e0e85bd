//! MQTT over WebSocket (RFC 6455, MQTT 5.0 section 6) as a layer: the HTTP upgrade first (`upgrade`), then binary frames
//! (`frame`), in which Control Packets need not be aligned. Pings are answered, a close is answered with its own code.

mod frame;
mod upgrade;

use std::sync::Arc;

pub use frame::Violation;
pub use upgrade::Refusal;

use super::{End, Layer};
use frame::{Decoder, Event, Frame, frame_header};
use upgrade::Upgrade;

/// Bytes by which a message may be longer than the largest packet: clients put several packets into one message.
const BATCH: u32 = 1024 * 1024;
/// The peer's reason is none of these: RFC 6455, section 7.4.1.
const NORMAL: u16 = 1000;

/// What the WebSocket connections of a listener have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Path of the upgrade, with its `/`.
    pub path: String,
    /// Origins of pages that may connect, as `https://example.org`; empty: any. Programs that are no browser send none and
    /// are admitted.
    pub origins: Vec<String>,
    /// Bytes of the largest Control Packet.
    pub packet_bytes_max: u32,
    /// `ws` or `wss`, for the answers to people.
    pub scheme: &'static str,
}

/// Why a WebSocket connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The upgrade is refused; the answer to it is an HTTP one.
    #[error("upgrade refused, {0}")]
    Refused(Refusal),
    /// A frame breaks a rule; the answer is a close frame.
    #[error("{0}")]
    Violation(#[from] Violation),
}

/// Where in its life the layer is.
#[derive(Debug)]
enum Phase {
    /// The request has not come whole.
    Opening(Box<Upgrade>),
    /// Frames.
    Open(Decoder),
    /// Nothing more is read; a close frame with this code is still to be sent, `None`: one without a code.
    Closing(Option<u16>),
    /// Nothing more is read; this HTTP answer is still to be sent.
    Refused(Box<str>),
    /// All is said.
    Closed,
}

/// The WebSocket layer of one connection.
#[derive(Debug)]
pub struct WebSocket {
    phase: Phase,
    is_congested: bool,
}

impl WebSocket {
    /// A connection that has sent nothing yet.
    pub fn new(service: Arc<Service>) -> Self {
        Self { phase: Phase::Opening(Box::new(Upgrade::new(service))), is_congested: false }
    }

    /// While set, pings are not answered: the client reads nothing, and answers would pile up at its will.
    pub fn set_congested(&mut self, is_congested: bool) {
        self.is_congested = is_congested;
    }

    /// Reads a piece of the request; what follows it stays in `below`.
    fn upgrade(&mut self, below: &mut Vec<u8>, down: &mut Vec<u8>) -> Result<(), Error> {
        let Phase::Opening(upgrade) = &mut self.phase else { return Ok(()) };
        match upgrade.receive(below) {
            Ok(None) => Ok(()),
            Ok(Some(answer)) => {
                let message_len_max = upgrade.service().packet_bytes_max.saturating_add(BATCH);
                self.phase = Phase::Open(Decoder::new(message_len_max));
                down.extend_from_slice(answer.as_bytes());
                Ok(())
            }
            Err(refusal) => {
                let answer = refusal.answer(upgrade.service());
                self.phase = Phase::Refused(answer.into());
                Err(Error::Refused(refusal))
            }
        }
    }

    fn frames(&mut self, below: &mut [u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> Result<(), End> {
        let Phase::Open(decoder) = &mut self.phase else { return Ok(()) };
        let mut input = below;
        loop {
            match decoder.next(&mut input) {
                Ok(None) => return Ok(()),
                Ok(Some(Event::Data(bytes))) => up.extend_from_slice(bytes),
                Ok(Some(Event::Ping(payload))) if !self.is_congested => {
                    append(Frame::Pong, &payload, down);
                }
                Ok(Some(Event::Ping(_) | Event::Pong)) => {}
                Ok(Some(Event::Close(code))) => {
                    self.phase = Phase::Closing(code);
                    return Err(End::Peer);
                }
                Err(violation) => {
                    self.phase = Phase::Closing(Some(violation.close_code()));
                    return Err(Error::Violation(violation).into());
                }
            }
        }
    }
}

impl Layer for WebSocket {
    fn receive(&mut self, below: &mut Vec<u8>, up: &mut Vec<u8>, down: &mut Vec<u8>) -> Result<(), End> {
        self.upgrade(below, down)?;
        let result = self.frames(below, up, down);
        below.clear();
        result
    }

    fn send(&mut self, above: &[u8], down: &mut Vec<u8>) {
        // A client that never asked for a WebSocket would take frames for an HTTP answer.
        if matches!(self.phase, Phase::Open(_) | Phase::Closing(_)) && !above.is_empty() {
            append(Frame::Binary, above, down);
        }
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Open(_) => append(Frame::Close, &NORMAL.to_be_bytes(), down),
            Phase::Closing(Some(code)) => append(Frame::Close, &code.to_be_bytes(), down),
            Phase::Closing(None) => append(Frame::Close, &[], down),
            Phase::Refused(answer) => down.extend_from_slice(answer.as_bytes()),
            Phase::Opening(_) | Phase::Closed => {}
        }
    }

    fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Opening(_))
    }
}

/// Appends a frame: servers do not mask.
fn append(frame: Frame, payload: &[u8], down: &mut Vec<u8>) {
    let (header, len) = frame_header(frame, payload.len());
    down.reserve(len + payload.len());
    down.extend_from_slice(header.get(..len).unwrap_or_default());
    down.extend_from_slice(payload);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
