//! What this program sends and the answers that it understands, by version.

use crate::scanner::{Frame, PayloadHeader};

/// Bytes at the front of each payload that carry the due time, the publisher and the message's number.
pub(crate) const PAYLOAD_HEADER_LEN: usize = 16;

/// PINGREQ, whole.
pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];
/// DISCONNECT without a reason, whole.
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// The protocol version of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtocolVersion {
    V31,
    V311,
    V5,
}

/// Who connects and how.
#[derive(Clone, Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) keep_alive_s: u16,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

fn text(out: &mut Vec<u8>, s: &str) {
    out.extend_from_slice(&(s.len() as u16).to_be_bytes());
    out.extend_from_slice(s.as_bytes());
}

fn varint(out: &mut Vec<u8>, mut n: usize) {
    loop {
        let b = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            return out.push(b);
        }
        out.push(b | 0x80);
    }
}

fn frame(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    varint(out, body.len());
    out.extend_from_slice(body);
}

/// Appends a CONNECT with a clean session.
pub(crate) fn connect(out: &mut Vec<u8>, version: ProtocolVersion, identity: &Identity<'_>) {
    let mut body = Vec::with_capacity(64);
    let (name, level) = match version {
        ProtocolVersion::V31 => ("MQIsdp", 3),
        ProtocolVersion::V311 => ("MQTT", 4),
        ProtocolVersion::V5 => ("MQTT", 5),
    };
    text(&mut body, name);
    body.push(level);
    let user = if identity.username.is_some() { 0x80 } else { 0 };
    let pass = if identity.password.is_some() { 0x40 } else { 0 };
    body.push(2 | user | pass);
    body.extend_from_slice(&identity.keep_alive_s.to_be_bytes());
    if version == ProtocolVersion::V5 {
        body.push(0);
    }
    text(&mut body, identity.client_id);
    for s in [identity.username, identity.password].into_iter().flatten() {
        text(&mut body, s);
    }
    frame(out, 0x10, &body);
}

/// Appends a SUBSCRIBE to one filter.
pub(crate) fn subscribe(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: u16,
    filter: &str,
    qos: u8,
) -> anyhow::Result<()> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == ProtocolVersion::V5 {
        body.push(0);
    }
    text(&mut body, filter);
    body.push(qos);
    frame(out, 0x82, &body);
    Ok(())
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP without a reason; `first` is the first byte of the packet.
#[inline]
pub(crate) fn acknowledge(out: &mut Vec<u8>, first: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// A PUBLISH that is encoded once; each message is a copy with its own identifier and payload header.
#[derive(Clone, Debug)]
pub(crate) struct PublishTemplate {
    bytes: Box<[u8]>,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl PublishTemplate {
    /// `payload_len` is at least [`PAYLOAD_HEADER_LEN`].
    pub(crate) fn new(
        version: ProtocolVersion,
        topic: &str,
        qos: u8,
        payload_len: usize,
        user_properties: usize,
    ) -> Self {
        let mut body = Vec::with_capacity(payload_len + 64);
        text(&mut body, topic);
        let at = body.len();
        if qos > 0 {
            body.extend_from_slice(&[0, 0]);
        }
        if version == ProtocolVersion::V5 {
            let mut p = Vec::new();
            for i in 0..user_properties {
                p.push(0x26);
                text(&mut p, &format!("key-{i}"));
                text(&mut p, &format!("value-{i}"));
            }
            varint(&mut body, p.len());
            body.extend_from_slice(&p);
        }
        body.resize(body.len() + payload_len, b'x');
        let mut bytes = Vec::new();
        frame(&mut bytes, 0x30 | (qos << 1), &body);
        let head = bytes.len() - body.len();
        Self {
            packet_id_at: (qos > 0).then_some(head + at),
            payload_at: bytes.len() - payload_len,
            bytes: bytes.into(),
        }
    }

    /// Appends one message.
    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>, packet_id: u16, header: PayloadHeader) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let Some(message) = out.get_mut(start..) else { return };
        if let Some(at) = self.packet_id_at
            && let Some(place) = message.get_mut(at..at + 2)
        {
            place.copy_from_slice(&packet_id.to_be_bytes());
        }
        if let Some(place) = message.get_mut(self.payload_at..self.payload_at + PAYLOAD_HEADER_LEN) {
            place[..8].copy_from_slice(&header.stamp_ns.to_le_bytes());
            place[8..12].copy_from_slice(&header.publisher.to_le_bytes());
            place[12..].copy_from_slice(&header.sequence.to_le_bytes());
        }
    }
}

/// What the broker's CONNACK allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) receive_max: u16,
    pub(crate) qos_max: u8,
    pub(crate) packet_bytes_max: usize,
}

impl Allowed {
    /// What a client may assume of a broker that names no limit.
    pub(crate) const ANYTHING: Self =
        Self { receive_max: u16::MAX, qos_max: 2, packet_bytes_max: usize::MAX };

    /// What both allow.
    pub(crate) fn least(self, other: Self) -> Self {
        Self {
            receive_max: self.receive_max.min(other.receive_max),
            qos_max: self.qos_max.min(other.qos_max),
            packet_bytes_max: self.packet_bytes_max.min(other.packet_bytes_max),
        }
    }
}

/// Reads a CONNACK: what is allowed, or why the broker refused, in words.
pub(crate) fn connack(version: ProtocolVersion, frame: &Frame<'_>) -> Result<Allowed, String> {
    let allowed = Allowed::ANYTHING;
    match frame.body.get(1) {
        Some(0) => Ok(allowed),
        Some(code) => Err(format!("CONNACK {code:#04x} ({version:?})")),
        None => Err("malformed CONNACK".into()),
    }
}

/// Reads a SUBACK for one filter: the granted QoS, or the refusal in words.
pub(crate) fn suback(_version: ProtocolVersion, frame: &Frame<'_>) -> Result<u8, String> {
    match frame.body.last() {
        Some(code @ 0..=2) => Ok(*code),
        Some(code) => Err(format!("SUBACK {code:#04x}")),
        None => Err("malformed SUBACK".into()),
    }
}

/// The broker's own words for its DISCONNECT.
pub(crate) fn disconnect(frame: &Frame<'_>) -> String {
    format!("DISCONNECT {:#04x}", frame.body.first().copied().unwrap_or(0))
}
