//! Encoding of what a Client sends, and the parts that tests put together by hand.

use super::property::encode_block;
use super::{
    AckKind, Auth, Connect, Disconnect, Packet, Publish, Subscribe, Unsubscribe, Version, first_byte,
};

/// A Variable Byte Integer (Remaining Length of 3.x), shortest form.
pub fn variable_int(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// Binary Data: two bytes of length, then the bytes.
pub fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

/// A UTF-8 Encoded String.
pub fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// A packet from its first byte and the parts of its body: computes the Remaining Length.
pub fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![first];
    out.extend(variable_int(body.len() as u32));
    out.extend(body);
    out
}

impl Packet {
    /// The bytes on the wire in `version`.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        match self {
            Self::Connect(connect) => connect.encode(),
            Self::Publish(publish) => publish.encode(version),
            Self::Ack(ack) => {
                let first = match ack.kind {
                    AckKind::Puback => first_byte::PUBACK,
                    AckKind::Pubrec => first_byte::PUBREC,
                    AckKind::Pubrel => first_byte::PUBREL,
                    AckKind::Pubcomp => first_byte::PUBCOMP,
                    AckKind::Suback => first_byte::SUBACK,
                    AckKind::Unsuback => first_byte::UNSUBACK,
                };
                let mut body = ack.id.to_be_bytes().to_vec();
                if version.is_v5() && (ack.reasons != [0] || !ack.properties.is_empty()) {
                    body.extend(&ack.reasons);
                    encode_block(&ack.properties, &mut body);
                }
                packet(first, &[&body])
            }
            Self::Subscribe(subscribe) => subscribe.encode(version),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version),
            Self::Pingreq => vec![first_byte::PINGREQ, 0],
            Self::Pingresp => vec![first_byte::PINGRESP, 0],
            Self::Disconnect(disconnect) => disconnect.encode(version),
            Self::Auth(Auth { reason, properties }) => {
                let mut body = vec![*reason];
                encode_block(properties, &mut body);
                packet(first_byte::AUTH, &[&body])
            }
            Self::Connack(_) => panic!("a Client does not send CONNACK"),
        }
    }
}

impl Connect {
    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| 0x04 | will.qos << 3 | u8::from(will.retain) << 5);
        u8::from(self.clean) << 1
            | will
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.username.is_some()) << 7
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = string(if self.version == Version::V31 { "MQIsdp" } else { "MQTT" });
        body.push(self.version.level());
        body.push(self.flags());
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.version.is_v5() {
            encode_block(&self.properties, &mut body);
        }
        body.extend(string(&self.client_id));
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                encode_block(&will.properties, &mut body);
            }
            body.extend(string(&will.topic));
            body.extend(binary(&will.payload));
        }
        if let Some(username) = &self.username {
            body.extend(string(username));
        }
        if let Some(password) = &self.password {
            body.extend(binary(password));
        }
        packet(first_byte::CONNECT, &[&body])
    }
}

impl Publish {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = string(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version.is_v5() {
            encode_block(&self.properties, &mut body);
        }
        body.extend(&self.payload);
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        packet(first_byte::PUBLISH | flags, &[&body])
    }
}

impl Subscribe {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        if version.is_v5() {
            encode_block(&self.properties, &mut body);
        }
        for filter in &self.filters {
            body.extend(string(&filter.filter));
            body.push(filter.options);
        }
        packet(first_byte::SUBSCRIBE, &[&body])
    }
}

impl Unsubscribe {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        if version.is_v5() {
            body.push(0);
        }
        for filter in &self.filters {
            body.extend(string(filter));
        }
        packet(first_byte::UNSUBSCRIBE, &[&body])
    }
}

impl Disconnect {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        if version.is_v5() && (self.reason != 0 || !self.properties.is_empty()) {
            body.push(self.reason);
            encode_block(&self.properties, &mut body);
        }
        packet(first_byte::DISCONNECT, &[&body])
    }
}
