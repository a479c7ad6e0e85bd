//! Decoding of what a Server sends. Whatever the specification forbids a Server to send is an `Err` with its reason.

use super::{Ack, AckKind, Auth, Connack, Disconnect, Packet, Property, Publish, Version, first_byte};

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Decoded {
    /// A packet and the bytes that it took.
    Packet(Packet, usize),
    /// More bytes have to come.
    Incomplete,
}

/// Decodes the packet at the start of `bytes`.
pub fn decode(bytes: &[u8], version: Version) -> Result<Decoded, String> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(Decoded::Incomplete) };
    let Some((length, length_bytes)) = remaining_length(rest)? else { return Ok(Decoded::Incomplete) };
    let start = 1 + length_bytes;
    let Some(body) = bytes.get(start..start + length) else { return Ok(Decoded::Incomplete) };
    let mut reader = Reader { bytes: body };
    let packet = match first & 0xF0 {
        first_byte::CONNACK => connack(&mut reader, version)?,
        first_byte::PUBLISH => publish(first, &mut reader, version)?,
        first_byte::PUBACK | first_byte::PUBREC | 0x60 | first_byte::PUBCOMP => {
            publish_ack(first, &mut reader, version)?
        }
        first_byte::SUBACK | first_byte::UNSUBACK => subscription_ack(first, &mut reader, version)?,
        first_byte::PINGRESP => Packet::Pingresp,
        first_byte::DISCONNECT | first_byte::AUTH if version.is_v5() => session_end(first, &mut reader)?,
        _ => return Err(format!("a Server does not send a packet that starts with {first:#04x}")),
    };
    let flags_expected = if first & 0xF0 == 0x60 { 2 } else { 0 };
    if first & 0xF0 != first_byte::PUBLISH && first & 0x0F != flags_expected {
        return Err(format!("reserved flags of {first:#04x} [MQTT-2.1.3-1]"));
    }
    if let Some(reason) = forbidden_reason(first & 0xF0, &packet, version) {
        return Err(format!("Reason Code {reason:#04x} in {packet:?} [MQTT-3.2.2-8] and its like"));
    }
    if !reader.bytes.is_empty() {
        return Err(format!("{} bytes after the end of {packet:?}", reader.bytes.len()));
    }
    Ok(Decoded::Packet(packet, start + length))
}

/// A Reason Code (or Return Code) that a Server may not send in the packet that starts with `first` (section 2.4).
fn forbidden_reason(first: u8, packet: &Packet, version: Version) -> Option<u8> {
    const CONNACK: &[u8] = &[
        0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99,
        0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
    ];
    const DISCONNECT: &[u8] = &[
        0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
        0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
    ];
    const SUBACK: &[u8] = &[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
    let allowed: &[u8] = match first {
        first_byte::CONNACK if version.is_v5() => CONNACK,
        first_byte::CONNACK => &[0, 1, 2, 3, 4, 5],
        first_byte::SUBACK if version.is_v5() => SUBACK,
        first_byte::SUBACK => &[0, 1, 2, 0x80],
        first_byte::PUBACK | first_byte::PUBREC => &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        0x60 | first_byte::PUBCOMP => &[0x00, 0x92],
        first_byte::UNSUBACK => &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        first_byte::DISCONNECT => DISCONNECT,
        first_byte::AUTH => &[0x00, 0x18],
        _ => return None,
    };
    let reasons = match packet {
        Packet::Connack(connack) => std::slice::from_ref(&connack.reason),
        Packet::Ack(ack) => &ack.reasons,
        Packet::Disconnect(disconnect) => std::slice::from_ref(&disconnect.reason),
        Packet::Auth(auth) => std::slice::from_ref(&auth.reason),
        _ => &[],
    };
    reasons.iter().copied().find(|reason| !allowed.contains(reason))
}

fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if index > 0 && byte == 0 {
                return Err("a Variable Byte Integer that is longer than needed [MQTT-1.5.5-1]".into());
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err("a Variable Byte Integer of more than four bytes".into()) } else { Ok(None) }
}

fn connack(reader: &mut Reader<'_>, version: Version) -> Result<Packet, String> {
    let flags = reader.byte()?;
    if flags > 1 {
        return Err(format!("CONNACK flags {flags:#04x} [MQTT-3.2.2-1]"));
    }
    let reason = reader.byte()?;
    let properties = if version.is_v5() { reader.properties(first_byte::CONNACK)? } else { vec![] };
    if reason != 0 && flags != 0 {
        return Err("Session Present in a refusal [MQTT-3.2.2-6]".into());
    }
    Ok(Connack { session_present: flags == 1, reason, properties }.into())
}

fn publish(first: u8, reader: &mut Reader<'_>, version: Version) -> Result<Packet, String> {
    let qos = first >> 1 & 3;
    if qos == 3 || qos == 0 && first & 0x08 != 0 {
        return Err(format!("flags of PUBLISH {first:#04x} [MQTT-3.3.1-4] [MQTT-3.3.1-2]"));
    }
    let topic = reader.string()?;
    if topic.contains(['+', '#', '\0']) {
        return Err(format!("Topic Name {topic:?} [MQTT-3.3.2-2]"));
    }
    let id = if qos > 0 { reader.u16()? } else { 0 };
    if qos > 0 && id == 0 {
        return Err("Packet Identifier 0 [MQTT-2.2.1-4]".into());
    }
    let properties = if version.is_v5() { reader.properties(first_byte::PUBLISH)? } else { vec![] };
    let payload = std::mem::take(&mut reader.bytes).to_vec();
    let (dup, retain) = (first & 0x08 != 0, first & 0x01 != 0);
    Ok(Publish { topic, payload, qos, retain, dup, id, properties }.into())
}

fn publish_ack(first: u8, reader: &mut Reader<'_>, version: Version) -> Result<Packet, String> {
    let kind = match first & 0xF0 {
        first_byte::PUBACK => AckKind::Puback,
        first_byte::PUBREC => AckKind::Pubrec,
        first_byte::PUBCOMP => AckKind::Pubcomp,
        _ => AckKind::Pubrel,
    };
    let id = reader.u16()?;
    let more = version.is_v5() && !reader.bytes.is_empty();
    let reason = if more { reader.byte()? } else { 0 };
    let properties = if more && !reader.bytes.is_empty() { reader.properties(first & 0xF0)? } else { vec![] };
    Ok(Ack { kind, id, reasons: vec![reason], properties }.into())
}

fn subscription_ack(first: u8, reader: &mut Reader<'_>, version: Version) -> Result<Packet, String> {
    let kind = if first & 0xF0 == first_byte::SUBACK { AckKind::Suback } else { AckKind::Unsuback };
    let id = reader.u16()?;
    let properties = if version.is_v5() { reader.properties(first & 0xF0)? } else { vec![] };
    let reasons = std::mem::take(&mut reader.bytes).to_vec();
    if kind == AckKind::Unsuback && !version.is_v5() && !reasons.is_empty() {
        return Err("UNSUBACK of 3.x with a payload".into());
    }
    Ok(Ack { kind, id, reasons, properties }.into())
}

fn session_end(first: u8, reader: &mut Reader<'_>) -> Result<Packet, String> {
    let first = first & 0xF0;
    let reason = if reader.bytes.is_empty() { 0 } else { reader.byte()? };
    let properties = if reader.bytes.is_empty() { vec![] } else { reader.properties(first)? };
    Ok(if first == first_byte::AUTH {
        Auth { reason, properties }.into()
    } else {
        Disconnect { reason, properties }.into()
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        if count > self.bytes.len() {
            return Err(format!("{count} bytes wanted, {} left", self.bytes.len()));
        }
        let (head, tail) = self.bytes.split_at(count);
        self.bytes = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    fn variable_int(&mut self) -> Result<u32, String> {
        let (value, length) = remaining_length(self.bytes)?.ok_or("a Variable Byte Integer cut short")?;
        self.take(length)?;
        Ok(value as u32)
    }

    fn binary(&mut self) -> Result<Vec<u8>, String> {
        let length = self.u16()?;
        Ok(self.take(length.into())?.to_vec())
    }

    fn string(&mut self) -> Result<String, String> {
        String::from_utf8(self.binary()?).map_err(|error| format!("not UTF-8: {error} [MQTT-1.5.4-1]"))
    }

    fn properties(&mut self, first: u8) -> Result<Vec<Property>, String> {
        let length = self.variable_int()?;
        let mut block = Reader { bytes: self.take(length as usize)? };
        let mut found: Vec<Property> = Vec::new();
        while !block.bytes.is_empty() {
            let property = block.property()?;
            if !property.server_may_send(first) {
                return Err(format!("{property:?} in a packet {first:#04x}"));
            }
            let may_repeat = matches!(property, Property::User(..) | Property::SubscriptionId(_));
            if !may_repeat && found.iter().any(|other| other.id() == property.id()) {
                return Err(format!("{property:?} twice"));
            }
            found.push(property);
        }
        Ok(found)
    }

    fn property(&mut self) -> Result<Property, String> {
        use Property as P;
        Ok(match self.byte()? {
            0x01 => P::PayloadFormat(self.byte()?),
            0x02 => P::MessageExpiry(self.u32()?),
            0x03 => P::ContentType(self.string()?),
            0x08 => P::ResponseTopic(self.string()?),
            0x09 => P::CorrelationData(self.binary()?),
            0x0B => P::SubscriptionId(self.variable_int()?),
            0x11 => P::SessionExpiry(self.u32()?),
            0x12 => P::AssignedClientId(self.string()?),
            0x13 => P::ServerKeepAlive(self.u16()?),
            0x15 => P::AuthMethod(self.string()?),
            0x16 => P::AuthData(self.binary()?),
            0x17 => P::RequestProblemInfo(self.byte()?),
            0x18 => P::WillDelay(self.u32()?),
            0x19 => P::RequestResponseInfo(self.byte()?),
            0x1A => P::ResponseInfo(self.string()?),
            0x1C => P::ServerReference(self.string()?),
            0x1F => P::ReasonString(self.string()?),
            0x21 => P::ReceiveMax(self.u16()?),
            0x22 => P::TopicAliasMax(self.u16()?),
            0x23 => P::TopicAlias(self.u16()?),
            0x24 => P::MaximumQos(self.byte()?),
            0x25 => P::RetainAvailable(self.byte()?),
            0x26 => P::User(self.string()?, self.string()?),
            0x27 => P::MaximumPacketSize(self.u32()?),
            0x28 => P::WildcardAvailable(self.byte()?),
            0x29 => P::SubscriptionIdAvailable(self.byte()?),
            0x2A => P::SharedAvailable(self.byte()?),
            other => return Err(format!("no property has the identifier {other:#04x}")),
        })
    }
}
