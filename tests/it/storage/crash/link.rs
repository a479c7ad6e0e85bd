//! A Network Connection to a broker that may die at any moment: nothing here panics because of that. What a broker may never
//! do, dead or alive, still is a violation of the protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wire::{Connack, Connect, Decoded, Packet, Version, decode};

/// How long a broker that was killed may take until its port refuses, or one that lives to answer CONNECT.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came.
pub(super) enum Heard {
    Packet(Packet),
    Nothing,
    Closed,
    /// What no Server may send.
    Malformed(String),
}

/// One connection.
pub(super) struct Link {
    version: Version,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Link {
    /// Connects. `None`: nobody is there, or it went before it answered; then nobody knows whether it took the CONNECT.
    pub(super) fn open(address: SocketAddr, connect: Connect) -> Option<(Self, Connack)> {
        let version = connect.version;
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        let mut link = Self { version, stream, received: Vec::new() };
        link.send(connect);
        match link.hear(PATIENCE) {
            Heard::Packet(Packet::Connack(connack)) => Some((link, connack)),
            _ => None,
        }
    }

    /// Sends one packet, if the broker still is there.
    pub(super) fn send(&mut self, packet: impl Into<Packet>) {
        let bytes = packet.into().encode(self.version);
        // That it is gone is heard by the next read.
        let _ = self.stream.write_all(&bytes);
    }

    /// The next packet, waited for so long.
    pub(super) fn hear(&mut self, timeout: Duration) -> Heard {
        let deadline = Instant::now() + timeout;
        loop {
            match decode(&self.received, self.version) {
                Ok(Decoded::Packet(packet, length)) => {
                    self.received.drain(..length);
                    return Heard::Packet(packet);
                }
                Ok(Decoded::Incomplete) => {}
                Err(error) => return Heard::Malformed(error),
            }
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(100));
            if self.stream.set_read_timeout(Some(left)).is_err() {
                return Heard::Closed;
            }
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Heard::Closed,
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut if Instant::now() >= deadline => {
                        return Heard::Nothing;
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Heard::Closed,
                },
            }
        }
    }
}
