//! Control Packets as a line of text each, for traces. Passwords and authentication data are never in it, of payloads the beginning.

use std::borrow::Cow;
use std::fmt::Write;

use crate::connection::Aliases;
use crate::packet::{Ack, Connect, Packet, ProtocolVersion, Publish, QoS, ReasonCode};

/// Bytes of a payload that are shown.
const PAYLOAD_LEN_MAX: usize = 64;
/// Filters of a SUBSCRIBE or UNSUBSCRIBE that are shown.
const FILTERS_MAX: usize = 16;

/// What a PUBLISH says.
#[derive(Debug)]
pub(in crate::broker) struct PublishText<'a> {
    pub(in crate::broker) topic: &'a str,
    pub(in crate::broker) qos: QoS,
    pub(in crate::broker) retain: bool,
    pub(in crate::broker) dup: bool,
    pub(in crate::broker) packet_id: Option<u16>,
    pub(in crate::broker) payload: &'a [u8],
}

/// A PUBLISH.
pub(in crate::broker) fn of_publish(publish: &PublishText<'_>) -> String {
    let mut text = format!("PUBLISH {} qos={}", publish.topic, publish.qos as u8);
    // Writing to a String can't fail.
    if let Some(packet_id) = publish.packet_id {
        let _ = write!(text, " id={packet_id}");
    }
    text.push_str(if publish.retain { " retain" } else { "" });
    text.push_str(if publish.dup { " dup" } else { "" });
    let shown = publish.payload.get(..PAYLOAD_LEN_MAX.min(publish.payload.len())).unwrap_or_default();
    let dots = if shown.len() < publish.payload.len() { "…" } else { "" };
    let _ = write!(text, " payload={} \"{}{dots}\"", publish.payload.len(), shown.escape_ascii());
    text
}

/// A CONNECT, without what is secret in it.
pub(super) fn of_connect(connect: &Connect<'_>) -> String {
    let version = match connect.version {
        ProtocolVersion::V31 => "3.1",
        ProtocolVersion::V311 => "3.1.1",
        ProtocolVersion::V5 => "5.0",
    };
    let mut text = format!(
        "CONNECT version={version} clean_start={} keep_alive={}",
        connect.clean_start, connect.keep_alive
    );
    if let Some(username) = connect.username {
        let _ = write!(text, " username={username:?}");
    }
    text.push_str(if connect.password.is_some() { " password=***" } else { "" });
    if let Some(expiry_s) = connect.session_expiry_s {
        let _ = write!(text, " session_expiry={expiry_s}");
    }
    if let Some(will) = &connect.will {
        let _ = write!(text, " will={} qos={}", will.topic, will.qos as u8);
    }
    text
}

/// Any packet of a client.
pub(super) fn of_packet(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(connect) => of_connect(connect),
        Packet::Publish(publish) => of_received(publish),
        Packet::PubAck(ack) => of_ack("PUBACK", ack),
        Packet::PubRec(ack) => of_ack("PUBREC", ack),
        Packet::PubRel(ack) => of_ack("PUBREL", ack),
        Packet::PubComp(ack) => of_ack("PUBCOMP", ack),
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.subscriptions.clone();
            let filters = filters.map(|asked| format!("{} qos={}", asked.filter, asked.options.qos as u8));
            format!("SUBSCRIBE id={} {}", subscribe.packet_id.value(), listed(filters))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters = unsubscribe.filters.clone().map(str::to_owned);
            format!("UNSUBSCRIBE id={} {}", unsubscribe.packet_id.value(), listed(filters))
        }
        Packet::Disconnect(disconnect) => format!("DISCONNECT {}", disconnect.reason),
        Packet::Auth(auth) => format!("AUTH {}", auth.reason),
        Packet::PingReq => "PINGREQ".into(),
        other => format!("{:?}", other.packet_type()),
    }
}

fn of_received(publish: &Publish<'_>) -> String {
    let topic: Cow<'_, str> = match publish.topic_alias {
        Some(alias) if publish.topic.is_empty() => format!("(alias {alias})").into(),
        _ => publish.topic.into(),
    };
    of_publish(&PublishText {
        topic: &topic,
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        packet_id: publish.packet_id.map(|id| id.value()),
        payload: publish.payload,
    })
}

fn of_ack(name: &str, ack: &Ack<'_>) -> String {
    acknowledgement(name, ack.packet_id.value(), ack.reason)
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP.
pub(in crate::broker) fn acknowledgement(name: &str, packet_id: u16, reason: ReasonCode) -> String {
    match reason {
        ReasonCode::Success => format!("{name} id={packet_id}"),
        reason => format!("{name} id={packet_id} {reason}"),
    }
}

/// SUBACK, UNSUBACK.
pub(in crate::broker) fn reasons(name: &str, packet_id: u16, reasons: &[ReasonCode]) -> String {
    format!("{name} id={packet_id} {}", listed(reasons.iter().map(ToString::to_string)))
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for (at, item) in items.enumerate() {
        if at == FILTERS_MAX {
            text.push_str(", …");
            break;
        }
        text.push_str(if at > 0 { ", " } else { "" });
        text.push_str(&item);
    }
    text
}

/// The topics that a packet of a client is about.
pub(super) fn topics_of<'p>(packet: &'p Packet<'_>, aliases: Option<&'p Aliases>) -> Vec<&'p str> {
    match packet {
        Packet::Publish(publish) if publish.topic.is_empty() => {
            publish.topic_alias.and_then(|alias| aliases?.resolve(alias)).into_iter().collect()
        }
        Packet::Publish(publish) => vec![publish.topic],
        Packet::Subscribe(subscribe) => {
            subscribe.subscriptions.clone().map(|asked| asked.filter).take(FILTERS_MAX).collect()
        }
        Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.clone().take(FILTERS_MAX).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_payload_the_beginning_is_shown_and_nothing_is_raw() {
        let payload = [b"a\n\x00\xff".as_slice(), &[b'x'; 100]].concat();
        let publish = PublishText {
            topic: "t",
            qos: QoS::AtLeastOnce,
            retain: true,
            dup: false,
            packet_id: Some(7),
            payload: &payload,
        };
        let text = of_publish(&publish);
        assert!(text.starts_with("PUBLISH t qos=1 id=7 retain payload=104 \"a\\n\\x00\\xffxxx"), "{text}");
        assert!(text.ends_with("x…\"") && text.len() < 200, "{text}");
    }

    #[test]
    fn secrets_of_a_connect_are_not_shown() {
        let bytes = b"\x10\x18\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02id\x00\x04user\x00\x02pw";
        let connect = crate::packet::connect::decode(bytes);
        let text = connect.map(|connect| of_connect(&connect)).unwrap_or_default();
        assert_eq!(
            text,
            "CONNECT version=3.1.1 clean_start=true keep_alive=60 username=\"user\" password=***"
        );
    }
}
