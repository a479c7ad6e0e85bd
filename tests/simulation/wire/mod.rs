//! The wire format as a client needs it: CONNECT and its kind are written, what a server sends is read strictly.
//! On purpose not `myriad::packet`: two codecs of two hands must agree, or a mistake made both ways stays unseen.

mod decode;
mod encode;

pub use decode::{Unreadable, next_packet};
pub use encode::{ack, connect, disconnect, pingreq, publish, subscribe, unsubscribe};

/// Protocol level on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V31 = 3,
    V311 = 4,
    V5 = 5,
}

/// The four acknowledgements of PUBLISH and its followers, by Control Packet type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
}

/// What a client says in CONNECT.
#[derive(Debug, Clone)]
pub struct Connect {
    pub version: Version,
    pub client_id: String,
    pub clean: bool,
    pub keep_alive_s: u16,
    pub expiry_s: Option<u32>,
    pub receive_max: Option<u16>,
    pub packet_max: Option<u32>,
    pub alias_max: Option<u16>,
    pub will: Option<WillFields>,
    /// With the Client Identifier as User Name.
    pub password: Option<&'static str>,
}

/// The Will in CONNECT.
#[derive(Debug, Clone)]
pub struct WillFields {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub delay_s: u32,
    pub expiry_s: Option<u32>,
}

/// A PUBLISH, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    pub pid: u16,
    pub payload: Vec<u8>,
    pub alias: Option<u16>,
    pub subscription_ids: Vec<u32>,
    pub expiry_s: Option<u32>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone)]
pub struct Filter {
    pub filter: String,
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: u8,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromServer {
    Connack(Connack),
    Publish(Publish),
    Ack { kind: AckKind, pid: u16, reason: u8 },
    Suback { pid: u16, codes: Vec<u8> },
    Unsuback { pid: u16, codes: Vec<u8> },
    Pingresp,
    Disconnect { reason: u8 },
}

/// CONNACK and the properties that change what the client may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connack {
    pub session_present: bool,
    pub code: u8,
    pub receive_max: Option<u16>,
    pub keep_alive_s: Option<u16>,
    pub alias_max: Option<u16>,
    pub expiry_s: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_survives_its_way() {
        let sent = Publish {
            dup: true,
            qos: 2,
            retain: true,
            topic: "a/b".into(),
            pid: 7,
            payload: vec![b'x'; 200],
            alias: None,
            subscription_ids: vec![],
            expiry_s: Some(5),
        };
        for version in [Version::V31, Version::V311, Version::V5] {
            let mut bytes = publish(version, &sent);
            bytes.push(0xd0);
            let (packet, used) = next_packet(version, &bytes).unwrap().unwrap();
            assert_eq!(used, bytes.len() - 1);
            let mut expected = sent.clone();
            if version != Version::V5 {
                expected.expiry_s = None;
            }
            assert_eq!(packet, FromServer::Publish(expected));
            for cut in 0..used {
                assert!(next_packet(version, &bytes[..cut]).unwrap().is_none());
            }
        }
    }

    #[test]
    fn what_a_server_may_not_send_is_unreadable() {
        let bad: [&[u8]; 8] = [
            &[0x41, 2, 0, 1],                      // PUBACK with flags
            &[0x36, 3, 0, 1, b'a'],                // PUBLISH QoS 3
            &[0x38, 3, 0, 1, b'a'],                // DUP at QoS 0
            &[0x32, 5, 0, 1, b'a', 0, 0],          // Packet Identifier 0
            &[0x30, 3, 0, 1, b'+'],                // wildcard in a Topic Name
            &[0x20, 2, 2, 0],                      // reserved bits of CONNACK
            &[0xd0, 1, 0],                         // PINGRESP with a body
            &[0xd0, 0x80, 0x80, 0x80, 0x80, 0x01], // Remaining Length of five bytes
        ];
        for bytes in bad {
            assert!(next_packet(Version::V311, bytes).is_err(), "{bytes:x?}");
        }
    }
}
