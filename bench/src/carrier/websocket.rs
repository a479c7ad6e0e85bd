//! The client's side of RFC 6455, as much as a load generator needs: the upgrade, a frame a write, frames of any length in.

use std::io;

/// Bytes of an answer to the upgrade before it is taken for none.
const ANSWER_LEN_MAX: usize = 16 * 1024;

const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

#[derive(Debug)]
enum State {
    /// The request has not been sent.
    New { request: String },
    /// Its answer has not come; what is to be sent after it.
    Upgrading { answer: Vec<u8>, waiting: Vec<u8> },
    /// Frames. The header of the one that is not whole, and what is left of its payload.
    Open { header: Vec<u8>, left: u64, opcode: u8, control: Vec<u8> },
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    state: State,
    /// The next mask: it has to change, nobody has to be unable to guess it here.
    mask: u32,
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

impl Client {
    pub(super) fn new(host: &str, path: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        Self { state: State::New { request }, mask: 0x9e37_79b9 }
    }

    /// One binary frame, or what comes before the first.
    pub(super) fn encode(&mut self, mqtt: &[u8], out: &mut Vec<u8>) {
        match &mut self.state {
            State::New { request } => {
                out.extend_from_slice(request.as_bytes());
                self.state = State::Upgrading { answer: Vec::new(), waiting: mqtt.to_vec() };
            }
            State::Upgrading { waiting, .. } => waiting.extend_from_slice(mqtt),
            State::Open { .. } => self.frame(BINARY, mqtt, out),
        }
    }

    fn frame(&mut self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        out.push(FIN | opcode);
        match payload.len() {
            len @ 0..126 => out.push(MASKED | len as u8),
            len @ 126..65_536 => {
                out.push(MASKED | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(MASKED | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        self.mask = self.mask.rotate_left(5).wrapping_add(0x7f4a_7c15);
        let mask = self.mask.to_be_bytes();
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// MQTT in `bytes` goes to `mqtt`, what is to be answered to `answers`.
    pub(super) fn decode(
        &mut self,
        bytes: &[u8],
        mqtt: &mut Vec<u8>,
        answers: &mut Vec<u8>,
    ) -> io::Result<()> {
        let State::Upgrading { answer, waiting } = &mut self.state else {
            return self.frames(bytes, mqtt, answers);
        };
        answer.extend_from_slice(bytes);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if answer.len() > ANSWER_LEN_MAX {
                Err(invalid("no end of the answer to the WebSocket upgrade"))
            } else {
                Ok(())
            };
        };
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            let line =
                String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default());
            return Err(invalid(format!("the WebSocket upgrade was refused: {line}")));
        }
        let (rest, waiting) = (answer.split_off(end + 4), std::mem::take(waiting));
        self.state = State::Open { header: Vec::new(), left: 0, opcode: 0, control: Vec::new() };
        self.frame(BINARY, &waiting, answers);
        self.frames(&rest, mqtt, answers)
    }

    fn frames(&mut self, mut bytes: &[u8], mqtt: &mut Vec<u8>, answers: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            let State::Open { header, left, opcode, control } = &mut self.state else {
                return Err(invalid("bytes before the WebSocket upgrade"));
            };
            if *left == 0 {
                let Some((byte, rest)) = bytes.split_first() else { return Ok(()) };
                header.push(*byte);
                bytes = rest;
                let Some(len) = payload_len(header) else { continue };
                (*opcode, *left) = (header.first().copied().unwrap_or_default() & 0x0F, len);
                header.clear();
            }
            let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(n);
            (bytes, *left) = (rest, *left - n as u64);
            if *opcode < CLOSE {
                mqtt.extend_from_slice(payload);
                continue;
            }
            control.extend_from_slice(payload);
            if *left > 0 {
                continue;
            }
            let (opcode, control) = (*opcode, std::mem::take(control));
            match opcode {
                PING => self.frame(PONG, &control, answers),
                CLOSE => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the broker")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Length of the payload, once the header is whole. Frames of servers have no mask.
fn payload_len(header: &[u8]) -> Option<u64> {
    match (header.get(1)? & 0x7F, header.get(2..)?) {
        (126, extended) => Some(u64::from(u16::from_be_bytes(extended.try_into().ok()?))),
        (127, extended) => Some(u64::from_be_bytes(extended.try_into().ok()?)),
        (len, _) => Some(u64::from(len)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn unmask(frame: &[u8]) -> Vec<u8> {
        let (mask, payload) = frame[2..].split_at(4);
        payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut stream = ANSWER.to_vec();
        for len in [0, 5, 125, 126, 70_000] {
            let head: Vec<u8> = match len {
                0..126 => vec![0x82, len as u8],
                126..65_536 => [&[0x82, 126], &(len as u16).to_be_bytes()[..]].concat(),
                _ => [&[0x82, 127], &(len as u64).to_be_bytes()[..]].concat(),
            };
            stream.extend(head);
            stream.extend((0..len).map(|n| n as u8));
        }
        stream.extend([0x89, 2, b'h', b'i']);
        for step in [1, 7, 4096, stream.len()] {
            let mut client = Client::new("a", "/mqtt");
            let (mut out, mut mqtt, mut answers) = (Vec::new(), Vec::new(), Vec::new());
            client.encode(b"CONNECT", &mut out);
            assert!(out.starts_with(b"GET /mqtt HTTP/1.1\r\n"));
            for piece in stream.chunks(step) {
                client.decode(piece, &mut mqtt, &mut answers).unwrap();
            }
            assert_eq!(mqtt.len(), 5 + 125 + 126 + 70_000, "{step}");
            assert_eq!(unmask(&answers[..13]), b"CONNECT");
            assert_eq!((answers[13] & 0x0F, unmask(&answers[13..])), (PONG, b"hi".to_vec()));
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_brokers_words() {
        let mut client = Client::new("a", "/");
        client.encode(b"x", &mut Vec::new());
        let error = client.decode(b"HTTP/1.1 403 Forbidden\r\n\r\n", &mut Vec::new(), &mut Vec::new());
        assert!(error.unwrap_err().to_string().contains("403 Forbidden"));
    }

    #[test]
    fn a_close_is_an_end() {
        let mut client = Client::new("a", "/");
        client.encode(b"x", &mut Vec::new());
        client.decode(ANSWER, &mut Vec::new(), &mut Vec::new()).unwrap();
        let error = client.decode(&[0x88, 2, 3, 232], &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
