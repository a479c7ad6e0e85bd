//! The suite's own WebSocket client (RFC 6455): every frame as a test wants it, also wrong ones; strict about what comes.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::{Client, Stream, TIMEOUT};
use crate::wire::{Connack, Connect};

/// A good request for a subprotocol; its key is that of RFC 6455, section 1.2.
pub const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: broker.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
                           Sec-WebSocket-Version: 13\r\n\r\n";
/// The answer's proof for that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// First bytes of frames.
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;

/// A client's frame, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            bytes.push(0xFE);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xFF);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x5A, 0x00, 0xFF, 0x13];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A WebSocket as a stream of MQTT: what is written is one frame, what is read is what binary frames bring.
pub struct WebSocket<S: Stream = TcpStream> {
    pub stream: S,
    /// Bytes of frames that were not read yet, and of MQTT that was not asked for yet.
    raw: Vec<u8>,
    plain: Vec<u8>,
    is_open: bool,
    /// The status code of the broker's close frame.
    close_code: Option<u16>,
    timeout: Cell<Option<Duration>>,
}

impl WebSocket {
    /// Opens one.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        let mut socket = Self::over(stream);
        socket.stream.write_all(REQUEST.as_bytes()).unwrap();
        socket
    }
}

impl<S: Stream> WebSocket<S> {
    /// Nothing is sent yet; the answer to `REQUEST` has to come first.
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            raw: vec![],
            plain: vec![],
            is_open: false,
            close_code: None,
            timeout: Cell::new(Some(TIMEOUT)),
        }
    }

    /// The next frame's first byte and payload; `None`: closed.
    pub fn recv_frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if !self.is_open {
                self.read_answer();
            }
            if self.is_open
                && let Some(frame) = self.take_frame()
            {
                return Ok(Some(frame));
            }
            self.stream.set_read_timeout(self.timeout.get())?;
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk)? {
                0 => {
                    assert!(self.raw.is_empty(), "closed in a frame: {:02x?}", self.raw);
                    return Ok(None);
                }
                len => self.raw.extend(&chunk[..len]),
            }
        }
    }

    /// The broker's frames have to be whole binary or control ones, unmasked, their length in its shortest form.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let &[first, second, ref rest @ ..] = self.raw.as_slice() else { return None };
        assert!(matches!(first, BINARY | CLOSE | PONG), "{first:#x}");
        assert_eq!(second & 0x80, 0, "a masked frame");
        let (header, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(rest.get(..8)?.try_into().unwrap()) as usize),
            len => (2, usize::from(len)),
        };
        assert!(match header {
            4 => len > 125,
            10 => len > 65_535,
            _ => true,
        });
        assert!(first == BINARY || len <= 125, "a long control frame");
        let payload = self.raw.get(header..header + len)?.to_vec();
        self.raw.drain(..header + len);
        Some((first, payload))
    }

    fn read_answer(&mut self) {
        let Some(end) = self.raw.windows(4).position(|window| window == b"\r\n\r\n") else { return };
        let answer = String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains(&format!("\r\nSec-WebSocket-Accept: {ACCEPT}\r\n")), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{answer}");
        self.is_open = true;
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Everything up to the close frame, whose status code has to be `code`, after which the broker closes.
    pub fn expect_close(&mut self, code: u16) {
        let payload = loop {
            match self.recv_frame().unwrap() {
                Some((CLOSE, payload)) => break payload,
                Some(_) => {}
                None => panic!("closed without a close frame"),
            }
        };
        assert_eq!(payload, code.to_be_bytes());
        assert_eq!(self.recv_frame().unwrap_or(None), None, "after the close frame");
    }
}

impl<S: Stream> Read for WebSocket<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.plain.is_empty() {
            match self.recv_frame()? {
                Some((BINARY, payload)) => self.plain = payload,
                Some((CLOSE, payload)) => {
                    self.close_code = payload.try_into().ok().map(u16::from_be_bytes);
                }
                Some(_) => {}
                None => return Ok(0),
            }
        }
        let len = self.plain.len().min(into.len());
        into[..len].copy_from_slice(&self.plain[..len]);
        self.plain.drain(..len);
        Ok(len)
    }
}

impl<S: Stream> Write for WebSocket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_all(&frame(BINARY, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Stream> Stream for WebSocket<S> {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout.set(timeout);
        Ok(())
    }
    fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown_write()
    }
}

/// A client that the broker accepted over WebSocket.
pub fn connect(address: SocketAddr, connect: Connect) -> (Client, Connack) {
    let mut client = Client::over(WebSocket::open(address), connect.version);
    client.send(connect);
    let connack = client.recv_connack();
    assert_eq!(connack.reason, 0, "{connack:?}");
    (client, connack)
}
