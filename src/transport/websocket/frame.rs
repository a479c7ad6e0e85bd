//! WebSocket framing for MQTT (RFC 6455 section 5; MQTT 5.0 section 6): bytes of frames in, bytes of MQTT out, in
//! place. A connection at rest keeps 32 bytes; a control frame that comes in pieces takes a box meanwhile.

use thiserror::Error;

/// Longest payload of a control frame.
const CONTROL_LEN_MAX: u64 = 125;
/// Longest header that a client sends: 2 bytes, 8 of length, 4 of mask.
const HEADER_LEN_MAX: usize = 14;

/// What the peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// Section 5.1: clients mask.
    #[error("a frame of a client is not masked")]
    Unmasked,
    /// Section 5.2: no extension was negotiated.
    #[error("reserved bits are set")]
    Reserved,
    /// Section 5.2.
    #[error("the unknown opcode {0}")]
    Opcode(u8),
    /// [MQTT-6.0.0-1]
    #[error("a text frame; MQTT is binary")]
    Text,
    /// Section 5.4.
    #[error("a continuation without a beginning, or a beginning within a message")]
    Sequence,
    /// Section 5.5.
    #[error("a control frame that is fragmented or longer than 125 bytes")]
    Control,
    /// Section 5.2: the shortest form, and no 64th bit.
    #[error("a length that is not in its shortest form")]
    Length,
    /// Section 5.5.1.
    #[error("a close frame with an invalid code or text")]
    CloseCode,
    /// Our own limit.
    #[error("a message of more than {0} bytes")]
    TooLarge(u32),
}

impl Violation {
    /// The status code of the close frame that answers it (section 7.4.1).
    pub(super) const fn close_code(self) -> u16 {
        match self {
            Self::Text => 1003,
            Self::TooLarge(_) => 1009,
            _ => 1002,
        }
    }
}

/// What frames say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'b> {
    /// Bytes of MQTT. Frames and Control Packets need not be aligned [MQTT-6.0.0-2].
    Data(&'b [u8]),
    /// To be answered with a pong of the same payload.
    Ping(Vec<u8>),
    /// Needs no answer.
    Pong,
    /// The peer closes; to be answered with the same code, `None` where it gave none.
    Close(Option<u16>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A header that has come in part, or a control payload that has.
#[derive(Debug, Default)]
struct Partial {
    header: Vec<u8>,
    control: Vec<u8>,
}

/// Takes frames apart, whatever pieces they come in.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Payload bytes of the current frame that have not come.
    left: u64,
    mask: [u8; 4],
    /// Most bytes of a message, over all its frames.
    message_len_max: u32,
    /// Bytes of the current message, the frames that have begun included.
    message_len: u32,
    mask_at: u8,
    opcode: Opcode,
    /// A message has begun and its last frame has not.
    in_message: bool,
    /// Within a frame's payload.
    in_frame: bool,
    partial: Option<Box<Partial>>,
}

const _: () = assert!(size_of::<Decoder>() <= 40);

impl Decoder {
    /// For messages of at most `message_len_max` bytes. Nothing is kept of a message: the limit is for its sender to know
    /// early that no packet within can be so large.
    pub(super) const fn new(message_len_max: u32) -> Self {
        Self {
            left: 0,
            mask: [0; 4],
            message_len_max,
            message_len: 0,
            mask_at: 0,
            opcode: Opcode::Continuation,
            in_message: false,
            in_frame: false,
            partial: None,
        }
    }

    /// The next event in `input`, which loses the bytes that were used; `None`: all are used.
    ///
    /// # Errors
    /// What the peer did wrong; the connection is to be closed with its code.
    pub(super) fn next<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Event<'b>>, Violation> {
        loop {
            if !self.in_frame {
                if !self.header(input)? {
                    return Ok(None);
                }
                self.in_frame = true;
            }
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            if len == 0 && self.left > 0 {
                return Ok(None);
            }
            let (payload, rest) = std::mem::take(input).split_at_mut(len);
            *input = rest;
            self.left -= len as u64;
            self.in_frame = self.left > 0;
            self.unmask(payload);
            match self.opcode {
                Opcode::Continuation | Opcode::Binary if payload.is_empty() => {}
                Opcode::Continuation | Opcode::Binary => return Ok(Some(Event::Data(payload))),
                _ => {
                    if let Some(event) = self.control(payload)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Collects a header; `false`: its rest has not come.
    fn header(&mut self, input: &mut &mut [u8]) -> Result<bool, Violation> {
        let mut header = [0; HEADER_LEN_MAX];
        let mut have = 0;
        if let Some(partial) = &mut self.partial {
            have = partial.header.len();
            header[..have].copy_from_slice(&partial.header);
            partial.header.clear();
        }
        let old = have;
        let fresh = input.len().min(HEADER_LEN_MAX - have);
        header[have..have + fresh].copy_from_slice(&input[..fresh]);
        have += fresh;
        match self.read_header(&header[..have])? {
            Some(len) => {
                *input = &mut std::mem::take(input)[len - old..];
                self.partial = self.partial.take().filter(|partial| !partial.control.is_empty());
                Ok(true)
            }
            None => {
                *input = &mut [];
                if have > 0 {
                    self.partial.get_or_insert_default().header.extend_from_slice(&header[..have]);
                }
                Ok(false)
            }
        }
    }

    /// Reads a header; its length, or `None` if more has to come. What can be told from the first bytes is.
    fn read_header(&mut self, header: &[u8]) -> Result<Option<usize>, Violation> {
        let &[first, ref rest @ ..] = header else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::Reserved);
        }
        let is_last = first & 0x80 != 0;
        let opcode = match first & 0x0F {
            0 => Opcode::Continuation,
            1 => return Err(Violation::Text),
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            other => return Err(Violation::Opcode(other)),
        };
        let is_control = !matches!(opcode, Opcode::Continuation | Opcode::Binary);
        if !is_control && (opcode == Opcode::Continuation) != self.in_message {
            return Err(Violation::Sequence);
        }
        let &[second, ref rest @ ..] = rest else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        // Before its length is there: what is said of a frame does not depend on how it is cut.
        if is_control && (!is_last || u64::from(second & 0x7F) > CONTROL_LEN_MAX) {
            return Err(Violation::Control);
        }
        let (len, rest) = match (second & 0x7F, rest) {
            (126, &[a, b, ref rest @ ..]) => (u64::from(u16::from_be_bytes([a, b])), rest),
            (127, &[a, b, c, d, e, f, g, h, ref rest @ ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), rest)
            }
            (126 | 127, _) => return Ok(None),
            (short, rest) => (u64::from(short), rest),
        };
        let is_shortest = match second & 0x7F {
            126 => len > 125,
            127 => len > u64::from(u16::MAX) && len >> 63 == 0,
            _ => true,
        };
        if !is_shortest {
            return Err(Violation::Length);
        }
        let message_len = if opcode == Opcode::Continuation { u64::from(self.message_len) } else { 0 } + len;
        if message_len > u64::from(self.message_len_max) {
            return Err(Violation::TooLarge(self.message_len_max));
        }
        let &[a, b, c, d, ref rest @ ..] = rest else { return Ok(None) };
        (self.opcode, self.left, self.mask, self.mask_at) = (opcode, len, [a, b, c, d], 0);
        if !is_control {
            self.in_message = !is_last;
            self.message_len = message_len as u32;
        }
        Ok(Some(header.len() - rest.len()))
    }

    /// Section 5.3, eight bytes at a time.
    fn unmask(&mut self, payload: &mut [u8]) {
        let at = usize::from(self.mask_at);
        let mask: [u8; 8] = std::array::from_fn(|i| self.mask[(at + i) % 4]);
        let whole = u64::from_ne_bytes(mask);
        let mut chunks = payload.chunks_exact_mut(8);
        for chunk in &mut chunks {
            let bytes: [u8; 8] = std::array::from_fn(|i| chunk[i]);
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ whole).to_ne_bytes());
        }
        for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask) {
            *byte ^= mask;
        }
        self.mask_at = ((at + payload.len()) % 4) as u8;
    }

    /// A piece of a control frame's payload; the event once it is whole.
    fn control(&mut self, piece: &[u8]) -> Result<Option<Event<'static>>, Violation> {
        if self.in_frame {
            self.partial.get_or_insert_default().control.extend_from_slice(piece);
            return Ok(None);
        }
        let mut payload = self.partial.take().map(|partial| partial.control).unwrap_or_default();
        payload.extend_from_slice(piece);
        Ok(Some(match self.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Close => Event::Close(close_code(&payload)?),
            _ => Event::Pong,
        }))
    }
}

/// Sections 5.5.1 and 7.4: the code of a close frame.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match *payload {
        [] => Ok(None),
        [a, b, ref text @ ..] => {
            let code = u16::from_be_bytes([a, b]);
            let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if is_valid && std::str::from_utf8(text).is_ok() {
                Ok(Some(code))
            } else {
                Err(Violation::CloseCode)
            }
        }
        [_] => Err(Violation::CloseCode),
    }
}

/// What a frame to a client carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// MQTT.
    Binary,
    /// Section 5.5.1.
    Close,
    /// Section 5.5.3.
    Pong,
}

/// The header of a frame with `len` bytes, and its length: servers do not mask.
pub(super) fn frame_header(frame: Frame, len: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = 0x80
        | match frame {
            Frame::Binary => 2,
            Frame::Close => 8,
            Frame::Pong => 10,
        };
    let header_len = if len <= 125 {
        header[1] = len as u8;
        2
    } else if let Ok(len) = u16::try_from(len) {
        header[1] = 126;
        header[2..4].copy_from_slice(&len.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(len as u64).to_be_bytes());
        10
    };
    (header, header_len)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x1f, 0xa2, 0x33, 0x07];
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..=125 => bytes.push(0x80 | len as u8),
            len @ 126..=65_535 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// All data, and the other events in words, when the bytes come in pieces of `piece`.
    fn decode(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<String>), Violation> {
        let (mut decoder, mut data, mut events) = (Decoder::new(70_300), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut piece = piece.to_vec();
            let mut input = piece.as_mut_slice();
            while let Some(event) = decoder.next(&mut input)? {
                match event {
                    Event::Data(bytes) => data.extend_from_slice(bytes),
                    other => events.push(format!("{other:?}")),
                }
            }
        }
        Ok((data, events))
    }

    #[test]
    fn data_is_the_same_whatever_pieces_it_comes_in() {
        let long: Vec<u8> = (0..70_000_u32).map(|i| (i * 7) as u8).collect();
        let mut bytes = frame(0x02, b"abc");
        bytes.extend(frame(0x89, b"are you there"));
        bytes.extend(frame(0x00, b""));
        bytes.extend(frame(0x80, &long[..300]));
        bytes.extend(frame(0x82, &long));
        bytes.extend(frame(0x8a, b""));
        bytes.extend(frame(0x88, &[0x03, 0xe8, b'o', b'k']));
        let want = [b"abc", &long[..300], &long].concat();
        for piece in [1, 2, 3, 5, 7, 13, 14, 15, 64, 1000, 4096, usize::MAX] {
            let (data, events) = decode(&bytes, piece).unwrap();
            assert!(data == want, "pieces of {piece}");
            assert_eq!(events.len(), 3, "{events:?}");
            assert!(events[0].starts_with("Ping([97, 114"), "{events:?}");
            assert_eq!(&events[1..], ["Pong", "Close(Some(1000))"]);
        }
    }

    #[test]
    fn violations_are_told_by_their_first_bytes() {
        let cases: [(&[u8], Violation); 13] = [
            (&[0x81], Violation::Text),
            (&[0xC2], Violation::Reserved),
            (&[0x83], Violation::Opcode(3)),
            (&[0x80], Violation::Sequence),
            (&[0x82, 0x05], Violation::Unmasked),
            (&[0x09, 0x80, 0, 0, 0, 0], Violation::Control),
            (&[0x89, 0xFE], Violation::Control),
            (&[0x8A, 0xFF, 0, 0, 0, 0, 0, 0, 0, 2], Violation::Control),
            (&[0x82, 0xFE, 0, 125], Violation::Length),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255], Violation::Length),
            (&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 255, 255], Violation::Length),
            (&[0x88, 0x81, 0, 0, 0, 0, 3], Violation::CloseCode),
            (&[0x88, 0x82, 0, 0, 0, 0, 3, 0xed], Violation::CloseCode),
        ];
        for (bytes, violation) in cases {
            for piece in [1, 20] {
                assert_eq!(decode(bytes, piece), Err(violation), "{bytes:x?}");
            }
        }
        let too_large = Err(Violation::TooLarge(70_300));
        assert_eq!(decode(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0x12, 0x9d], 3), too_large, "told by the length");
        let in_parts = [frame(0x02, &[0; 70_000]), frame(0x00, &[0; 300]), frame(0x80, b"b")].concat();
        assert_eq!(decode(&in_parts, 5000), too_large, "over all fragments");
        let within = [frame(0x02, b"a"), frame(0x82, b"b")].concat();
        assert_eq!(decode(&within, 50), Err(Violation::Sequence));
    }

    #[test]
    fn headers_are_of_the_shortest_form() {
        for (len, wanted) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(frame_header(Frame::Binary, len).1, wanted);
        }
        assert_eq!(frame_header(Frame::Close, 2).0[..2], [0x88, 2]);
    }
}
