//! Packets written by hand from the specifications, byte by byte: what the tests of this module cut, alter
//! and read.

use super::{ProtocolVersion, Side};

/// A whole packet that is right.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) version: ProtocolVersion,
    pub(super) side: Side,
    pub(super) bytes: &'static [u8],
}

const fn client(name: &'static str, version: ProtocolVersion, bytes: &'static [u8]) -> Sample {
    Sample { name, version, side: Side::FromClient, bytes }
}

const fn server(name: &'static str, version: ProtocolVersion, bytes: &'static [u8]) -> Sample {
    Sample { name, version, side: Side::FromServer, bytes }
}

use ProtocolVersion::{V5, V31, V311};

/// One or more of every packet of every version.
pub(super) const SAMPLES: &[Sample] = &[
    client("connect 3.1", V31, b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01a"),
    client(
        "connect 3.1 whole",
        V31,
        b"\x10\x24\0\x06MQIsdp\x03\xee\0\x0a\0\x02id\0\x01w\0\x03bye\0\x04user\0\x04pass",
    ),
    client("connect 3.1 without its strings", V31, b"\x10\x0f\0\x06MQIsdp\x03\xc2\0\x3c\0\x01a"),
    client("connect 3.1.1", V311, b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a"),
    client("connect 3.1.1 empty", V311, b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0"),
    client(
        "connect 3.1.1 whole",
        V311,
        b"\x10\x22\0\x04MQTT\x04\xf6\0\x0a\0\x02id\0\x01w\0\x03bye\0\x04user\0\x04pass",
    ),
    client("connect 5.0", V5, b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a"),
    client(
        "connect 5.0 whole",
        V5,
        b"\x10\x71\0\x04MQTT\x05\xec\0\x0a\
          \x24\x11\0\0\0\x3c\x21\0\x14\x27\0\0\x10\0\x22\0\x08\x19\x01\x17\0\x15\0\x01m\x16\0\x02\xff\0\x26\0\x01k\0\x01v\
          \0\x02id\
          \x29\x18\0\0\0\x05\x01\x01\x02\0\0\0\x09\x03\0\x01t\x08\0\x03r/t\x09\0\x02\0\x01\x26\0\x01a\0\x01b\x26\0\x01a\0\x01c\
          \0\x01w\0\x03bye\0\x04user\0\x04pass",
    ),
    client("connect 5.0 password only", V5, b"\x10\x10\0\x04MQTT\x05\x42\0\0\0\0\0\0\x01p"),
    server("connack 3.1", V31, b"\x20\x02\0\0"),
    server("connack 3.1.1", V311, b"\x20\x02\x01\0"),
    server("connack 3.1.1 refusal", V311, b"\x20\x02\0\x05"),
    server("connack 5.0", V5, b"\x20\x03\x01\0\0"),
    server(
        "connack 5.0 whole",
        V5,
        b"\x20\x47\0\0\x44\x11\0\0\0\x3c\x21\0\x14\x24\x01\x25\0\x27\0\0\x10\0\x12\0\x02id\x22\0\x08\
          \x1f\0\x01r\x26\0\x01k\0\x01v\x28\0\x29\0\x2a\0\x13\0\x1e\x1a\0\x01i\x1c\0\x01s\x15\0\x01m\x16\0\x01\xff\
          \x26\0\x01k\0\x01w",
    ),
    server("connack 5.0 refusal", V5, b"\x20\x03\0\x87\0"),
    client("publish 3.1", V31, b"\x30\x07\0\x03a/bhi"),
    client("publish 3.1.1 qos 0", V311, b"\x31\x07\0\x03a/bhi"),
    client("publish 3.1.1 qos 1", V311, b"\x32\x09\0\x03a/b\0\x0ahi"),
    client("publish 3.1.1 qos 2 again", V311, b"\x3c\x07\0\x03a/b\xff\xff"),
    server("publish 3.1.1 from a server", V311, b"\x3b\x07\0\x03a/b\0\x01"),
    client("publish 5.0", V5, b"\x30\x08\0\x03a/b\0hi"),
    client(
        "publish 5.0 whole",
        V5,
        b"\x34\x39\0\x03a/b\0\x0a\x2f\x01\x01\x02\0\0\0\x3c\x23\0\x05\x08\0\x03r/t\x09\0\x02\0\xff\
          \x26\0\x01k\0\x01v\x03\0\x04text\x26\0\x01k\0\x01w\x26\0\0\0\0hi",
    ),
    client("publish 5.0 by alias", V5, b"\x30\x06\0\0\x03\x23\0\x01"),
    server(
        "publish 5.0 with subscription identifiers",
        V5,
        b"\x32\x13\0\x03a/b\0\x01\x09\x0b\x01\x0b\xff\xff\xff\x7f\x01\x01hi",
    ),
    client("puback 3.1.1", V311, b"\x40\x02\0\x01"),
    client("puback 5.0", V5, b"\x40\x02\0\x01"),
    client("puback 5.0 reason", V5, b"\x40\x03\0\x01\x10"),
    client("puback 5.0 no properties", V5, b"\x40\x04\0\x01\x83\0"),
    client("puback 5.0 whole", V5, b"\x40\x0f\0\x01\x80\x0b\x1f\0\x01r\x26\0\x01k\0\x01v"),
    client("pubrec 3.1", V31, b"\x50\x02\0\x01"),
    client("pubrec 5.0 whole", V5, b"\x50\x0f\0\x01\x97\x0b\x1f\0\x01r\x26\0\x01k\0\x01v"),
    client("pubrel 3.1 again", V31, b"\x6a\x02\0\x01"),
    client("pubrel 3.1.1", V311, b"\x62\x02\0\x01"),
    client("pubrel 5.0 whole", V5, b"\x62\x0f\0\x01\x92\x0b\x1f\0\x01r\x26\0\x01k\0\x01v"),
    server("pubcomp 3.1.1", V311, b"\x70\x02\0\x01"),
    server("pubcomp 5.0 whole", V5, b"\x70\x0f\0\x01\x92\x0b\x1f\0\x01r\x26\0\x01k\0\x01v"),
    client("subscribe 3.1", V31, b"\x82\x0e\0\x0a\0\x03a/b\x01\0\x03c/d\x02"),
    client("subscribe 3.1.1", V311, b"\x82\x0e\0\x0a\0\x03a/b\x01\0\x03c/d\x02"),
    client("subscribe 5.0", V5, b"\x82\x06\0\x0a\0\0\x00\0"),
    client("subscribe 5.0 whole", V5, b"\x82\x17\0\x0a\x0a\x0b\x80\x01\x26\0\x01k\0\x01v\0\x03a/b\x2d\0\x01#\x12"),
    server("suback 3.1", V31, b"\x90\x04\0\x0a\0\x02"),
    server("suback 3.1.1", V311, b"\x90\x04\0\x0a\x01\x80"),
    server("suback 5.0", V5, b"\x90\x04\0\x0a\0\x02"),
    server("suback 5.0 whole", V5, b"\x90\x11\0\x0a\x0b\x1f\0\x01r\x26\0\x01k\0\x01v\x02\x8f\xa2"),
    client("unsubscribe 3.1.1", V311, b"\xa2\x0c\0\x0a\0\x03a/b\0\x03c/d"),
    client("unsubscribe 5.0 whole", V5, b"\xa2\x0f\0\x0a\x07\x26\0\x01k\0\x01v\0\x03a/b"),
    server("unsuback 3.1.1", V311, b"\xb0\x02\0\x0a"),
    server("unsuback 5.0 whole", V5, b"\xb0\x10\0\x0a\x0b\x1f\0\x01r\x26\0\x01k\0\x01v\0\x11"),
    client("pingreq", V311, b"\xc0\0"),
    server("pingresp", V311, b"\xd0\0"),
    client("disconnect 3.1.1", V311, b"\xe0\0"),
    client("disconnect 5.0", V5, b"\xe0\0"),
    client("disconnect 5.0 reason", V5, b"\xe0\x01\x04"),
    client(
        "disconnect 5.0 whole",
        V5,
        b"\xe0\x16\0\x14\x11\0\0\0\x05\x1f\0\x01r\x26\0\x01k\0\x01v\x1c\0\x01s",
    ),
    server("disconnect 5.0 from a server", V5, b"\xe0\x02\x8e\0"),
    client("auth", V5, b"\xf0\0"),
    client("auth whole", V5, b"\xf0\x16\x18\x14\x15\0\x01m\x16\0\x02\xff\0\x1f\0\x01r\x26\0\x01k\0\x01v"),
];
