//! What this program sends and the answers that it understands, in terms of `myriad::packet`.

use anyhow::Context as _;
use myriad::packet::{
    ConnAck, Connect, Packet, PacketId, PublishHead, QoS, ReasonCode, Side, Subscription,
    SubscriptionOptions, UserProperties, decode, encode_puback, encode_pubcomp, encode_publish_head,
    encode_pubrec, encode_pubrel, encode_subscribe, encode_user_property,
};
pub(crate) use myriad::packet::{PINGREQ, PacketType, ProtocolVersion};

use crate::scanner::{self, Frame, PayloadHeader};

/// Bytes at the front of each payload that carry the due time, the publisher and the message's number.
pub(crate) const PAYLOAD_HEADER_LEN: usize = 16;

/// DISCONNECT without a reason, whole.
pub(crate) const DISCONNECT: [u8; 2] = [PacketType::Disconnect.first_byte(), 0];

/// Who connects and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) keep_alive_s: u16,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

/// Appends a CONNECT with Clean Start.
pub(crate) fn connect(out: &mut Vec<u8>, version: ProtocolVersion, identity: Identity<'_>) {
    let mut connect = Connect::new(version, identity.client_id);
    connect.clean_start = true;
    connect.keep_alive = identity.keep_alive_s;
    connect.username = identity.username;
    connect.password = identity.password.map(str::as_bytes);
    connect.encode(out);
}

/// Appends a SUBSCRIBE with one filter; its Packet Identifier is one above `number`.
pub(crate) fn subscribe(out: &mut Vec<u8>, version: ProtocolVersion, number: u16, filter: &str, qos: u8) {
    let packet_id = PacketId::new(number.wrapping_add(1)).unwrap_or(PacketId::FIRST);
    let options = SubscriptionOptions { qos: quality(qos), ..SubscriptionOptions::default() };
    let entries = [Subscription { filter, options }];
    encode_subscribe(version, packet_id, None, &UserProperties::default(), entries, out);
}

/// A QoS that the command line has checked.
fn quality(qos: u8) -> QoS {
    QoS::from_bits(qos).unwrap_or_default()
}

/// Appends an acknowledgement of success: `kind` is PUBACK, PUBREC, PUBREL or PUBCOMP.
#[inline]
pub(crate) fn acknowledge(out: &mut Vec<u8>, version: ProtocolVersion, kind: PacketType, packet_id: u16) {
    // A broker that sends the identifier 0 gets no answer, and its message shows as unacknowledged on its side.
    let Some(id) = PacketId::new(packet_id) else { return };
    match kind {
        PacketType::PubAck => encode_puback(version, id, ReasonCode::Success, out),
        PacketType::PubRec => encode_pubrec(version, id, ReasonCode::Success, out),
        PacketType::PubRel => encode_pubrel(version, id, ReasonCode::Success, out),
        _ => encode_pubcomp(version, id, ReasonCode::Success, out),
    }
}

/// A PUBLISH that is encoded once; each message is a copy with its own identifier and payload header.
#[derive(Clone, Debug)]
pub(crate) struct PublishTemplate {
    bytes: Box<[u8]>,
    /// 0: none, at QoS 0.
    packet_id_at: usize,
    payload_at: usize,
}

impl PublishTemplate {
    /// `payload_len` is at least [`PAYLOAD_HEADER_LEN`].
    ///
    /// # Errors
    /// A packet larger than MQTT can express.
    pub(crate) fn new(
        version: ProtocolVersion,
        topic: &str,
        qos: u8,
        payload_len: usize,
        user_properties: usize,
    ) -> anyhow::Result<Self> {
        let mut forwarded = Vec::new();
        for i in 0..user_properties {
            encode_user_property(&format!("key-{i}"), &format!("value-{i}"), &mut forwarded);
        }
        let head = PublishHead {
            version,
            dup: false,
            qos: quality(qos),
            retain: false,
            topic,
            packet_id: Some(PacketId::FIRST).filter(|_| qos > 0),
            expiry_s: None,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: &forwarded,
            payload_len,
        };
        let mut bytes = Vec::new();
        encode_publish_head(&head, &mut bytes).context("--payload")?;
        let payload_at = bytes.len();
        // The identifier stands behind the topic, and that behind the fixed header and its own length.
        let fixed_len = payload_at - scanner::head(&bytes).map_or(0, |frame| frame.body.len());
        let packet_id_at = if qos > 0 { fixed_len + 2 + topic.len() } else { 0 };
        bytes.resize(payload_at + payload_len, b'x');
        Ok(Self { bytes: bytes.into(), packet_id_at, payload_at })
    }

    /// Appends one message.
    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>, packet_id: u16, header: PayloadHeader) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let Some(message) = out.get_mut(start..) else { return };
        if self.packet_id_at > 0
            && let Some(place) = message.get_mut(self.packet_id_at..).and_then(|m| m.first_chunk_mut())
        {
            *place = packet_id.to_be_bytes();
        }
        if let Some(place) = message.get_mut(self.payload_at..).and_then(|m| m.first_chunk_mut()) {
            *place = header.to_bytes();
        }
    }
}

/// What the broker's CONNACK allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) receive_max: u16,
    pub(crate) qos_max: u8,
    pub(crate) packet_bytes_max: u32,
    /// Seconds; 0 where the broker leaves it to the client.
    pub(crate) keep_alive_s: u16,
    pub(crate) wildcards: bool,
    pub(crate) shared: bool,
}

impl Allowed {
    /// What a client may assume of a broker that names no limit.
    pub(crate) const ANYTHING: Self = Self {
        receive_max: u16::MAX,
        qos_max: 2,
        packet_bytes_max: u32::MAX,
        keep_alive_s: 0,
        wildcards: true,
        shared: true,
    };

    fn of(connack: &ConnAck<'_>) -> Self {
        Self {
            receive_max: connack.receive_max.unwrap_or(u16::MAX),
            qos_max: connack.maximum_qos.into(),
            packet_bytes_max: connack.packet_bytes_max.unwrap_or(u32::MAX),
            keep_alive_s: connack.server_keep_alive.unwrap_or(0),
            wildcards: connack.wildcard_subscriptions_available,
            shared: connack.shared_subscriptions_available,
        }
    }
}

/// Reads a CONNACK: what is allowed, or why the broker refused, in words.
pub(crate) fn connack(version: ProtocolVersion, frame: &Frame<'_>) -> Result<Allowed, String> {
    match decode(version, frame.packet, Side::FromServer) {
        Ok(Packet::ConnAck(connack)) if !connack.reason.is_failure() => Ok(Allowed::of(&connack)),
        Ok(Packet::ConnAck(connack)) => {
            let reason = connack.reason;
            let text = match version.is_v5() {
                true => format!("CONNACK {reason}{}", quoted(connack.reason_string)),
                false => format!("CONNACK 0x{:02X} {}", reason.connect_return_code() as u8, reason.text()),
            };
            Err(text)
        }
        Ok(other) => Err(format!("{:?} instead of CONNACK", other.packet_type())),
        Err(why) => Err(format!("bad CONNACK: {why}")),
    }
}

/// Reads a SUBACK for one filter: the granted QoS, or the refusal in words.
pub(crate) fn suback(version: ProtocolVersion, frame: &Frame<'_>) -> Result<u8, String> {
    let packet =
        decode(version, frame.packet, Side::FromServer).map_err(|why| format!("bad SUBACK: {why}"))?;
    let Packet::SubAck(suback) = packet else { return Err("no SUBACK".into()) };
    match suback.reasons.iter().next() {
        Some(reason) if reason.is_failure() => {
            Err(format!("SUBACK {reason}{}", quoted(suback.reason_string)))
        }
        Some(reason) => Ok(reason.value()),
        None => Err("SUBACK without a Reason Code".into()),
    }
}

/// The broker's own words for its DISCONNECT.
pub(crate) fn disconnect(version: ProtocolVersion, frame: &Frame<'_>) -> String {
    match decode(version, frame.packet, Side::FromServer) {
        Ok(Packet::Disconnect(d)) => format!("DISCONNECT {}{}", d.reason, quoted(d.reason_string)),
        Ok(_) => "DISCONNECT".into(),
        Err(why) => format!("bad DISCONNECT: {why}"),
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or(String::new(), |text| format!(" \"{text}\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ProtocolVersion::{V5, V31, V311};

    use super::*;
    use crate::scanner::{Split, split};

    fn whole(bytes: &[u8]) -> Frame<'_> {
        match split(bytes) {
            Split::Frame(frame, _) => frame,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_is_what_the_decoder_of_the_broker_reads() {
        for version in [V31, V311, V5] {
            for qos in 0..3 {
                let template = PublishTemplate::new(version, "x/1", qos, 100, 2).unwrap();
                let mut bytes = Vec::new();
                let header = PayloadHeader { stamp_ns: 1, publisher: 2, sequence: 3 };
                template.write(&mut bytes, 0x0203, header);
                let Packet::Publish(publish) = decode(version, &bytes, Side::FromClient).unwrap() else {
                    panic!("no PUBLISH")
                };
                assert_eq!((publish.topic, u8::from(publish.qos)), ("x/1", qos));
                assert_eq!(publish.packet_id.map(PacketId::value), (qos > 0).then_some(0x0203));
                assert_eq!(publish.payload.first_chunk(), Some(&header.to_bytes()));
                assert_eq!(publish.payload.len(), 100);
                let properties = publish.forwarded.user_properties().iter().count();
                assert_eq!(properties, if version == V5 { 2 } else { 0 });
            }
        }
    }

    #[test]
    fn refusals_are_told_in_the_words_of_the_version() {
        let refused = connack(V311, &whole(&[0x20, 2, 0, 5])).unwrap_err();
        assert!(refused.starts_with("CONNACK 0x05"), "{refused}");
        let refused = connack(V5, &whole(&[0x20, 3, 0, 0x87, 0])).unwrap_err();
        assert!(refused.starts_with("CONNACK 0x87"), "{refused}");
        assert!(connack(V311, &whole(&[0x20, 1, 0])).unwrap_err().starts_with("bad CONNACK"));
        assert_eq!(suback(V311, &whole(&[0x90, 3, 0, 1, 1])), Ok(1));
        assert!(suback(V311, &whole(&[0x90, 3, 0, 1, 0x80])).unwrap_err().starts_with("SUBACK 0x80"));
        assert!(disconnect(V5, &whole(&[0xe0, 1, 0x8e])).starts_with("DISCONNECT 0x8E"));
    }

    #[test]
    fn limits_of_a_connack_are_kept() {
        let bytes = [0x20, 11, 0, 0, 8, 0x21, 0, 10, 0x24, 1, 0x13, 0, 60];
        let allowed = connack(V5, &whole(&bytes)).unwrap();
        let expected = Allowed { receive_max: 10, qos_max: 1, keep_alive_s: 60, ..Allowed::ANYTHING };
        assert_eq!(allowed, expected);
        assert_eq!(connack(V311, &whole(&[0x20, 2, 0, 0])), Ok(Allowed::ANYTHING));
    }

    #[test]
    fn an_oversized_payload_is_refused_here() {
        assert!(PublishTemplate::new(V311, "t", 0, 268_435_456, 0).is_err());
    }
}
