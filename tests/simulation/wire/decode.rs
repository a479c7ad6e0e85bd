//! What a server writes, read strictly: anything that the specification does not let a server send is an error.

use super::{AckKind, Connack, FromServer, Publish, Version};

/// Why bytes of the broker are not MQTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(pub String);

type Read<T> = Result<T, Unreadable>;

fn bad<T>(why: impl Into<String>) -> Read<T> {
    Err(Unreadable(why.into()))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        if self.bytes.len() < n {
            return bad("packet ends too early");
        }
        let (head, rest) = self.bytes.split_at(n);
        self.bytes = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Read<u16> {
        let b = self.take(2)?;
        Ok(u16::from_be_bytes([b[0], b[1]]))
    }

    fn long(&mut self) -> Read<u32> {
        let b = self.take(4)?;
        Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn string(&mut self) -> Read<&'a str> {
        let len = self.word()?;
        match std::str::from_utf8(self.take(len.into())?) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => bad("string is not UTF-8 without U+0000"),
        }
    }

    fn binary(&mut self) -> Read<&'a [u8]> {
        let len = self.word()?;
        self.take(len.into())
    }

    fn variable(&mut self) -> Read<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bad("Variable Byte Integer is longer than four bytes")
    }

    fn pid(&mut self) -> Read<u16> {
        match self.word()? {
            0 => bad("Packet Identifier 0"),
            pid => Ok(pid),
        }
    }

    /// Properties of a 5.0 packet; `allowed` are those that this packet may carry from a server.
    fn properties(&mut self, allowed: &[u8]) -> Read<Properties> {
        let len = self.variable()?;
        let mut inner = Reader { bytes: self.take(len as usize)? };
        let mut found = Properties::default();
        let mut seen = Vec::new();
        while !inner.bytes.is_empty() {
            let id = inner.byte()?;
            if !allowed.contains(&id) {
                return bad(format!("property {id:#x} is not allowed here"));
            }
            if seen.contains(&id) && id != 0x26 && id != 0x0b {
                return bad(format!("property {id:#x} twice"));
            }
            seen.push(id);
            inner.property(id, &mut found)?;
        }
        Ok(found)
    }

    fn property(&mut self, id: u8, found: &mut Properties) -> Read<()> {
        match id {
            0x01 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => {
                if self.byte()? > 1 {
                    return bad(format!("property {id:#x} is neither 0 nor 1"));
                }
            }
            0x02 => found.message_expiry_s = Some(self.long()?),
            0x11 => found.expiry_s = Some(self.long()?),
            0x27 => {
                if self.long()? == 0 {
                    return bad("Maximum Packet Size 0");
                }
            }
            0x0b => match self.variable()? {
                0 => return bad("Subscription Identifier 0"),
                id => found.subscription_ids.push(id),
            },
            0x13 => found.keep_alive_s = Some(self.word()?),
            0x21 => match self.word()? {
                0 => return bad("Receive Maximum 0"),
                n => found.receive_max = Some(n),
            },
            0x22 => found.alias_max = Some(self.word()?),
            0x23 => match self.word()? {
                0 => return bad("Topic Alias 0"),
                n => found.alias = Some(n),
            },
            0x26 => {
                self.string()?;
                self.string()?;
            }
            0x09 | 0x16 => {
                self.binary()?;
            }
            _ => {
                self.string()?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Properties {
    message_expiry_s: Option<u32>,
    expiry_s: Option<u32>,
    subscription_ids: Vec<u32>,
    keep_alive_s: Option<u16>,
    receive_max: Option<u16>,
    alias_max: Option<u16>,
    alias: Option<u16>,
}

/// The first packet of `bytes` and its length; `None`: more bytes are needed.
pub fn next_packet(version: Version, bytes: &[u8]) -> Read<Option<(FromServer, usize)>> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let mut remaining = 0usize;
    let mut header = 1;
    loop {
        if header > 4 {
            return bad("Remaining Length is longer than four bytes");
        }
        let Some(&byte) = bytes.get(header) else { return Ok(None) };
        remaining |= usize::from(byte & 0x7f) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let Some(body) = bytes.get(header..header + remaining) else { return Ok(None) };
    let mut reader = Reader { bytes: body };
    let packet = packet(version, first, &mut reader)?;
    if !reader.bytes.is_empty() {
        return bad(format!("{} bytes after the end of {packet:?}", reader.bytes.len()));
    }
    Ok(Some((packet, header + remaining)))
}

fn packet(version: Version, first: u8, reader: &mut Reader<'_>) -> Read<FromServer> {
    let flags = first & 0x0f;
    let expected = if first >> 4 == 6 { 2 } else { 0 };
    if first >> 4 != 3 && flags != expected {
        return bad(format!("flags of first byte {first:#x}"));
    }
    match first >> 4 {
        2 => connack(version, reader),
        3 => publish(version, flags, reader),
        4 => ack(version, AckKind::Puback, reader),
        5 => ack(version, AckKind::Pubrec, reader),
        6 => ack(version, AckKind::Pubrel, reader),
        7 => ack(version, AckKind::Pubcomp, reader),
        9 => {
            let pid = reader.pid()?;
            if version == Version::V5 {
                reader.properties(&[0x1f, 0x26])?;
            }
            Ok(FromServer::Suback { pid, codes: codes(reader)? })
        }
        11 => {
            let pid = reader.pid()?;
            let mut found = Vec::new();
            if version == Version::V5 {
                reader.properties(&[0x1f, 0x26])?;
                found = codes(reader)?;
            }
            Ok(FromServer::Unsuback { pid, codes: found })
        }
        13 => Ok(FromServer::Pingresp),
        14 if version == Version::V5 => disconnect(reader),
        kind => bad(format!("Control Packet type {kind} from a server to {version:?}")),
    }
}

fn codes(reader: &mut Reader<'_>) -> Read<Vec<u8>> {
    let rest = reader.bytes.len();
    if rest == 0 {
        return bad("no Reason Code");
    }
    Ok(reader.take(rest)?.to_vec())
}

fn connack(version: Version, reader: &mut Reader<'_>) -> Read<FromServer> {
    let flags = reader.byte()?;
    let code = reader.byte()?;
    if flags > 1 || (flags == 1 && (version == Version::V31 || code != 0)) {
        return bad(format!("CONNACK flags {flags:#x} with code {code:#x}"));
    }
    if version != Version::V5 && code > 5 {
        return bad(format!("CONNACK code {code:#x} in {version:?}"));
    }
    let mut connack = Connack { session_present: flags == 1, code, ..Connack::default() };
    if version == Version::V5 {
        let allowed = [
            0x11, 0x21, 0x24, 0x25, 0x27, 0x12, 0x22, 0x1f, 0x26, 0x28, 0x29, 0x2a, 0x13, 0x1a, 0x1c, 0x15,
            0x16,
        ];
        let found = reader.properties(&allowed)?;
        connack.receive_max = found.receive_max;
        connack.keep_alive_s = found.keep_alive_s;
        connack.alias_max = found.alias_max;
        connack.expiry_s = found.expiry_s;
    }
    Ok(FromServer::Connack(connack))
}

fn publish(version: Version, flags: u8, reader: &mut Reader<'_>) -> Read<FromServer> {
    let qos = flags >> 1 & 3;
    let dup = flags & 8 != 0;
    if qos == 3 || (qos == 0 && dup) {
        return bad(format!("PUBLISH flags {flags:#x}"));
    }
    let topic = reader.string()?.to_owned();
    if topic.contains(['+', '#']) {
        return bad(format!("Topic Name {topic:?}"));
    }
    let pid = if qos > 0 { reader.pid()? } else { 0 };
    let mut found = Properties::default();
    if version == Version::V5 {
        found = reader.properties(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26])?;
    }
    if topic.is_empty() && found.alias.is_none() {
        return bad("PUBLISH without topic and alias");
    }
    let rest = reader.bytes.len();
    let payload = reader.take(rest)?.to_vec();
    Ok(FromServer::Publish(Publish {
        dup,
        qos,
        retain: flags & 1 != 0,
        topic,
        pid,
        payload,
        alias: found.alias,
        subscription_ids: found.subscription_ids,
        expiry_s: found.message_expiry_s,
    }))
}

fn ack(version: Version, kind: AckKind, reader: &mut Reader<'_>) -> Read<FromServer> {
    let pid = reader.pid()?;
    let mut reason = 0;
    if version == Version::V5 && !reader.bytes.is_empty() {
        reason = reader.byte()?;
        if !reader.bytes.is_empty() {
            reader.properties(&[0x1f, 0x26])?;
        }
    }
    let known = match kind {
        AckKind::Puback | AckKind::Pubrec => {
            [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99].contains(&reason)
        }
        AckKind::Pubrel | AckKind::Pubcomp => [0x00, 0x92].contains(&reason),
    };
    if !known {
        return bad(format!("{kind:?} with Reason Code {reason:#x}"));
    }
    Ok(FromServer::Ack { kind, pid, reason })
}

fn disconnect(reader: &mut Reader<'_>) -> Read<FromServer> {
    let mut reason = 0;
    if !reader.bytes.is_empty() {
        reason = reader.byte()?;
        if !reader.bytes.is_empty() {
            reader.properties(&[0x1f, 0x26, 0x1c])?;
        }
    }
    Ok(FromServer::Disconnect { reason })
}
