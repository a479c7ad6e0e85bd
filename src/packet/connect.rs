//! CONNECT (MQTT 5.0 section 3.1): the first packet of a client, which names its version itself.

use super::fixed_header::{PacketType, split};
use super::forwarded::ForwardedSpan;
use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::{Reader, qos};
use super::{Error, Forwarded, PropertyId, ProtocolVersion, QoS, UserProperties, writer};
use crate::topic::{TopicLimits, check_name};

/// A CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the client speaks.
    pub version: ProtocolVersion,
    /// Clean Start; before 5.0 Clean Session.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keep_alive: u16,
    /// Client Identifier; may be empty, may be too long: the broker's to judge.
    pub client_id: &'a str,
    /// User Name.
    pub username: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// The Will.
    pub will: Option<Will<'a>>,
    /// Session Expiry Interval in seconds; `u32::MAX` is for ever.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum, at least 1; 65,535 if not there.
    pub receive_max: Option<u16>,
    /// Maximum Packet Size in bytes, at least 1.
    pub packet_bytes_max: Option<u32>,
    /// Topic Alias Maximum; 0 if not there.
    pub topic_alias_max: Option<u16>,
    /// Request Response Information; false if not there.
    pub request_response_information: bool,
    /// Request Problem Information; true if not there.
    pub request_problem_information: bool,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

/// The Will of a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will<'a> {
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Topic, a Topic Name without wildcards.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Message Expiry Interval in seconds.
    pub expiry_s: Option<u32>,
    /// The properties that travel unaltered, User Properties among them.
    pub forwarded: Forwarded<'a>,
}

const RESERVED: u8 = 1 << 0;
const CLEAN_START: u8 = 1 << 1;
const WILL: u8 = 1 << 2;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 1 << 5;
const PASSWORD: u8 = 1 << 6;
const USERNAME: u8 = 1 << 7;

/// The version that a whole CONNECT names, for the answer to one that [`decode`] refuses.
///
/// # Errors
/// [`Error::ProtocolName`] if it does not speak MQTT at all, [`Error::ProtocolLevel`] if it speaks another
/// version, and those of any packet that is cut short.
pub fn version(packet: &[u8]) -> Result<ProtocolVersion, Error> {
    // Every CONNECT has the flags 0000 but in 3.1, where they are not used: nothing is lost by 3.1's rules here.
    let (header, mut body) = split(ProtocolVersion::V31, packet)?;
    check_type(header.packet_type)?;
    protocol(&mut body)
}

/// Reads one whole CONNECT of any version.
///
/// # Errors
/// [`Error::ProtocolName`] and [`Error::ProtocolLevel`] as [`version`] has them; else what is wrong with it.
pub fn decode(packet: &[u8]) -> Result<Connect<'_>, Error> {
    let version = version(packet)?;
    let (header, mut body) = split(version, packet)?;
    check_type(header.packet_type)?;
    protocol(&mut body)?;
    let flags = body.u8("Connect Flags")?;
    check_flags(version, flags)?;
    let mut connect = Connect::new(version, "");
    connect.clean_start = flags & CLEAN_START != 0;
    connect.keep_alive = body.u16("Keep Alive")?;
    if version.is_v5() {
        let block = body.properties()?;
        connect.read_properties(block)?;
    }
    connect.client_id = body.string("Client Identifier")?;
    if flags & WILL != 0 {
        connect.will = Some(will(version, flags, &mut body)?);
    }
    // 3.1: "the Remaining Length takes precedence over the User Name flag": the strings may be missing.
    let lenient = version == ProtocolVersion::V31;
    if flags & USERNAME != 0 && !(lenient && body.is_empty()) {
        connect.username = Some(body.string("User Name")?);
    }
    if flags & PASSWORD != 0 && !(lenient && body.is_empty()) {
        connect.password = Some(body.binary("Password")?);
    }
    body.end(PacketType::Connect)?;
    Ok(connect)
}

const fn check_type(found: PacketType) -> Result<(), Error> {
    match found {
        PacketType::Connect => Ok(()),
        packet => Err(Error::NotConnect { packet }),
    }
}

/// Takes Protocol Name and Protocol Version ([MQTT-3.1.2-1], [MQTT-3.1.2-2]).
fn protocol(body: &mut Reader<'_>) -> Result<ProtocolVersion, Error> {
    let name = body.binary("Protocol Name")?;
    if !matches!(name, b"MQTT" | b"MQIsdp") {
        return Err(Error::ProtocolName);
    }
    match (name, body.u8("Protocol Version")?) {
        (b"MQIsdp", 3) => Ok(ProtocolVersion::V31),
        (b"MQTT", 4) => Ok(ProtocolVersion::V311),
        (b"MQTT", 5) => Ok(ProtocolVersion::V5),
        (_, level) => Err(Error::ProtocolLevel { level }),
    }
}

fn check_flags(version: ProtocolVersion, flags: u8) -> Result<(), Error> {
    // A password needs a user name in 3.1 and 3.1.1.
    if !version.is_v5() && flags & (PASSWORD | USERNAME) == PASSWORD {
        return Err(Error::PasswordWithoutUserName);
    }
    // 3.1 calls bit 0 "not used", and does not say what Will QoS and Will Retain are without a Will.
    if version == ProtocolVersion::V31 {
        return Ok(());
    }
    if flags & RESERVED != 0 {
        return Err(Error::ReservedBits { field: "Connect Flags", found: flags });
    }
    if flags & WILL == 0 && flags & (0b11 << WILL_QOS_SHIFT | WILL_RETAIN) != 0 {
        return Err(Error::WillFlags { found: flags });
    }
    Ok(())
}

fn will<'a>(version: ProtocolVersion, flags: u8, body: &mut Reader<'a>) -> Result<Will<'a>, Error> {
    let mut will = Will {
        qos: qos(flags >> WILL_QOS_SHIFT, "Will QoS")?,
        retain: flags & WILL_RETAIN != 0,
        topic: "",
        payload: &[],
        delay_s: 0,
        expiry_s: None,
        forwarded: Forwarded::EMPTY,
    };
    if version.is_v5() {
        let block = body.properties()?;
        let mut reader = PropertyReader::new(block, PropertyCarrier::Will);
        let mut span = ForwardedSpan::new(block.peek());
        loop {
            let before = reader.remaining();
            let Some(property) = reader.next()? else { break };
            span.note(&property, before, reader.remaining());
            match property {
                Property::WillDelayInterval(seconds) => will.delay_s = seconds,
                Property::MessageExpiryInterval(seconds) => will.expiry_s = Some(seconds),
                _ => {}
            }
        }
        will.forwarded = span.finish();
    }
    will.topic = body.string("Will Topic")?;
    check_name(will.topic, &TopicLimits::default()).map_err(|reason| Error::TopicName { reason })?;
    will.payload = body.binary("Will Payload")?;
    Ok(will)
}

impl Will<'_> {
    /// Checks that the payload is the UTF-8 text that Payload Format Indicator says it is (section
    /// 3.1.3.2.3).
    ///
    /// # Errors
    /// [`Error::PayloadFormat`].
    pub fn check_payload_format(&self) -> Result<(), Error> {
        if !self.forwarded.payload_is_utf8() {
            return Ok(());
        }
        std::str::from_utf8(self.payload).map(|_| ()).map_err(|_| Error::PayloadFormat)
    }

    fn flags(&self) -> u8 {
        let retain = if self.retain { WILL_RETAIN } else { 0 };
        WILL | u8::from(self.qos) << WILL_QOS_SHIFT | retain
    }

    fn write(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        if version.is_v5() {
            writer::properties(out, |out| {
                let delay = Some(self.delay_s).filter(|seconds| *seconds != 0);
                writer::put_u32_property(out, PropertyId::WillDelayInterval, delay);
                writer::put_u32_property(out, PropertyId::MessageExpiryInterval, self.expiry_s);
                self.forwarded.write(out);
            });
        }
        writer::put_string(out, self.topic);
        writer::put_binary(out, self.payload);
    }
}

impl<'a> Connect<'a> {
    /// A CONNECT with Clean Start, without Keep Alive, credentials, Will and properties.
    pub fn new(version: ProtocolVersion, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id,
            username: None,
            password: None,
            will: None,
            session_expiry_s: None,
            receive_max: None,
            packet_bytes_max: None,
            topic_alias_max: None,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserProperties::default(),
        }
    }

    fn read_properties(&mut self, block: Reader<'a>) -> Result<(), Error> {
        let mut reader = PropertyReader::new(block, PropertyCarrier::Connect);
        while let Some(property) = reader.next()? {
            match property {
                Property::SessionExpiryInterval(seconds) => self.session_expiry_s = Some(seconds),
                Property::ReceiveMaximum(max) => self.receive_max = Some(max),
                Property::MaximumPacketSize(bytes) => self.packet_bytes_max = Some(bytes),
                Property::TopicAliasMaximum(max) => self.topic_alias_max = Some(max),
                Property::RequestResponseInformation(yes) => self.request_response_information = yes,
                Property::RequestProblemInformation(yes) => self.request_problem_information = yes,
                Property::AuthenticationMethod(text) => self.authentication_method = Some(text),
                Property::AuthenticationData(data) => self.authentication_data = Some(data),
                _ => {}
            }
        }
        if self.authentication_data.is_some() && self.authentication_method.is_none() {
            return Err(Error::AuthenticationDataWithoutMethod { packet: PacketType::Connect });
        }
        self.user_properties = UserProperties::of_checked(block.peek());
        Ok(())
    }

    /// Appends it as its own `version` spells it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        writer::packet(out, PacketType::Connect.first_byte(), |out| {
            let name = if self.version == ProtocolVersion::V31 { "MQIsdp" } else { "MQTT" };
            writer::put_string(out, name);
            out.extend_from_slice(&[self.version as u8, self.flags()]);
            writer::put_u16(out, self.keep_alive);
            if self.version.is_v5() {
                writer::properties(out, |out| self.write_properties(out));
            }
            writer::put_string(out, self.client_id);
            if let Some(will) = &self.will {
                will.write(self.version, out);
            }
            if let Some(username) = self.username {
                writer::put_string(out, username);
            }
            if let Some(password) = self.password {
                writer::put_binary(out, password);
            }
        });
    }

    fn flags(&self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(self.clean_start, CLEAN_START)
            | self.will.as_ref().map_or(0, Will::flags)
            | bit(self.username.is_some(), USERNAME)
            | bit(self.password.is_some(), PASSWORD)
    }

    fn write_properties(&self, out: &mut Vec<u8>) {
        writer::put_u32_property(out, PropertyId::SessionExpiryInterval, self.session_expiry_s);
        writer::put_u16_property(out, PropertyId::ReceiveMaximum, self.receive_max);
        writer::put_u32_property(out, PropertyId::MaximumPacketSize, self.packet_bytes_max);
        writer::put_u16_property(out, PropertyId::TopicAliasMaximum, self.topic_alias_max);
        if self.request_response_information {
            writer::put_u8_property(out, PropertyId::RequestResponseInformation, 1);
        }
        if !self.request_problem_information {
            writer::put_u8_property(out, PropertyId::RequestProblemInformation, 0);
        }
        writer::put_string_property(out, PropertyId::AuthenticationMethod, self.authentication_method);
        writer::put_binary_property(out, PropertyId::AuthenticationData, self.authentication_data);
        self.user_properties.write(out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packet::{ErrorKind, ForwardedProperties, ReasonCode, encode_user_property};
    use crate::topic::TopicError;

    /// A CONNECT of that name, level and flags, with `rest` after the flags.
    fn packet(name: &[u8], level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        writer::packet(&mut out, 0x10, |out| {
            writer::put_binary(out, name);
            out.extend_from_slice(&[level, flags]);
            out.extend_from_slice(rest);
        });
        out
    }

    fn error(name: &[u8], level: u8, flags: u8, rest: &[u8]) -> Error {
        decode(&packet(name, level, flags, rest)).unwrap_err()
    }

    #[test]
    fn mqtt_3_1_2_1_the_protocol_name_is_mqtt() {
        for name in [&b"mqtt"[..], b"MQTTS", b"", b"MQIsdP", b"GET "] {
            let found = error(name, 4, 2, b"\0\0\0\0");
            assert_eq!(found, Error::ProtocolName);
            assert_eq!(version(&packet(name, 4, 2, b"")), Err(Error::ProtocolName));
        }
    }

    #[test]
    fn mqtt_3_1_2_2_an_unsupported_level_is_told_apart() {
        for (name, level) in
            [(&b"MQTT"[..], 3), (b"MQTT", 6), (b"MQTT", 0x84), (b"MQIsdp", 4), (b"MQIsdp", 0x83)]
        {
            let found = error(name, level, 2, b"\0\0\0\0");
            assert_eq!(found, Error::ProtocolLevel { level });
            assert_eq!(found.reason_code(), ReasonCode::UnsupportedProtocolVersion);
            assert_eq!(found.kind(), ErrorKind::Limit);
        }
        // Another version may have any content after its level.
        assert_eq!(version(&packet(b"MQTT", 6, 0xFF, b"?")), Err(Error::ProtocolLevel { level: 6 }));
    }

    #[test]
    fn the_version_of_a_refused_connect_is_known() {
        let malformed = packet(b"MQTT", 5, 1, b"");
        assert!(decode(&malformed).is_err());
        assert_eq!(version(&malformed), Ok(ProtocolVersion::V5));
    }

    #[test]
    fn mqtt_3_1_0_1_another_packet_is_no_connect() {
        assert_eq!(decode(&[0xC0, 0]), Err(Error::NotConnect { packet: PacketType::PingReq }));
        assert_eq!(version(&[0xC0, 0]), Err(Error::NotConnect { packet: PacketType::PingReq }));
    }

    #[test]
    fn mqtt_3_1_2_3_the_reserved_flag_is_zero() {
        for (level, rest) in [(4, &b"\0\0\0\x01a"[..]), (5, b"\0\0\0\0\x01a")] {
            let found = error(b"MQTT", level, 0b11, rest);
            assert_eq!(found, Error::ReservedBits { field: "Connect Flags", found: 0b11 });
            assert_eq!(found.reason_code(), ReasonCode::MalformedPacket);
        }
        assert!(decode(&packet(b"MQIsdp", 3, 0b11, b"\0\0\0\x01a")).is_ok(), "3.1 does not use it");
    }

    #[test]
    fn mqtt_3_1_2_11_will_qos_and_retain_are_zero_without_a_will() {
        for flags in [0b0000_1010, 0b0001_0010, 0b0010_0010] {
            assert_eq!(error(b"MQTT", 4, flags, b"\0\0\0\x01a"), Error::WillFlags { found: flags });
        }
    }

    #[test]
    fn mqtt_3_1_2_12_will_qos_is_not_three() {
        let rest = b"\0\0\0\x01a\0\x01w\0\0";
        for (name, level) in [(&b"MQTT"[..], 4), (b"MQIsdp", 3)] {
            assert_eq!(error(name, level, 0b0001_1110, rest), Error::Qos3 { field: "Will QoS" });
        }
    }

    #[test]
    fn mqtt_3_1_3_11_a_will_topic_is_a_topic_name() {
        let cases = [
            (&b"\0\0\0\x01a\0\x01#\0\0"[..], TopicError::WildcardInName { found: '#' }),
            (b"\0\0\0\x01a\0\0\0\0", TopicError::Empty),
        ];
        for (rest, reason) in cases {
            let found = error(b"MQTT", 4, 0b110, rest);
            assert_eq!(found, Error::TopicName { reason });
            assert_eq!(found.reason_code(), ReasonCode::TopicNameInvalid);
        }
    }

    #[test]
    fn mqtt_3_1_2_22_of_3_1_1_a_password_needs_a_user_name_before_5_0() {
        let rest = b"\0\0\0\x01a\0\x01p";
        assert_eq!(error(b"MQTT", 4, 0x42, rest), Error::PasswordWithoutUserName);
        assert_eq!(error(b"MQIsdp", 3, 0x42, rest), Error::PasswordWithoutUserName);
        let rest = packet(b"MQTT", 5, 0x42, b"\0\0\0\0\x01a\0\x01p");
        let connect = decode(&rest).unwrap();
        assert_eq!((connect.username, connect.password), (None, Some(&b"p"[..])));
    }

    #[test]
    fn mqtt_3_1_2_16_to_19_flags_and_payload_agree() {
        let truncated = |field| Error::Truncated { field };
        assert_eq!(error(b"MQTT", 4, 0x82, b"\0\0\0\x01a"), truncated("User Name"));
        assert_eq!(error(b"MQTT", 4, 0xC2, b"\0\0\0\x01a\0\x01u"), truncated("Password"));
        assert_eq!(error(b"MQTT", 4, 0x06, b"\0\0\0\x01a"), truncated("Will Topic"));
        let packet_type = PacketType::Connect;
        let found = error(b"MQTT", 4, 0x02, b"\0\0\0\x01a\0\x01u");
        assert_eq!(found, Error::TrailingBytes { packet: packet_type, found: 3 });
    }

    #[test]
    fn texts_are_checked_as_utf_8() {
        assert_eq!(error(b"MQTT", 4, 2, b"\0\0\0\x01\xFF"), Error::Utf8 { field: "Client Identifier" });
        assert_eq!(error(b"MQTT", 4, 2, b"\0\0\0\x01\0"), Error::Nul { field: "Client Identifier" });
        let rest = b"\0\0\0\x01a\0\x03\xED\xA0\x80";
        assert_eq!(error(b"MQTT", 4, 0x82, rest), Error::Utf8 { field: "User Name" });
        let binary = packet(b"MQTT", 4, 0xC2, b"\0\0\0\x01a\0\x01u\0\x02\xFF\0");
        assert_eq!(decode(&binary).unwrap().password, Some(&b"\xFF\0"[..]));
    }

    #[test]
    fn every_property_of_5_0_is_read() {
        let mut user = Vec::new();
        encode_user_property("k", "1", &mut user);
        encode_user_property("k", "2", &mut user);
        let mut forwarded = Vec::new();
        let properties = ForwardedProperties {
            payload_is_utf8: true,
            response_topic: Some("r"),
            user_properties: &[("w", "x")],
            ..Default::default()
        };
        Forwarded::encode(&properties, &mut forwarded);
        let connect = Connect {
            keep_alive: 9,
            username: Some("u"),
            password: Some(&[0xFF]),
            will: Some(Will {
                qos: QoS::ExactlyOnce,
                retain: true,
                topic: "w/t",
                payload: "ü".as_bytes(),
                delay_s: 7,
                expiry_s: Some(8),
                forwarded: Forwarded::parse(&forwarded).unwrap(),
            }),
            session_expiry_s: Some(u32::MAX),
            receive_max: Some(1),
            packet_bytes_max: Some(2),
            topic_alias_max: Some(0),
            request_response_information: true,
            request_problem_information: false,
            authentication_method: Some("m"),
            authentication_data: Some(&[]),
            user_properties: UserProperties::parse(&user).unwrap(),
            ..Connect::new(ProtocolVersion::V5, "id")
        };
        let mut out = Vec::new();
        connect.encode(&mut out);
        let found = decode(&out).unwrap();
        assert_eq!(found, connect);
        assert_eq!(found.user_properties.iter().collect::<Vec<_>>(), [("k", "1"), ("k", "2")]);
        assert_eq!(found.will.unwrap().check_payload_format(), Ok(()));
    }

    #[test]
    fn absent_properties_have_their_defaults() {
        let bytes = packet(b"MQTT", 5, 2, b"\0\x3c\0\0\x01a");
        let wanted = Connect { keep_alive: 60, ..Connect::new(ProtocolVersion::V5, "a") };
        assert_eq!(decode(&bytes), Ok(wanted));
    }

    #[test]
    fn authentication_data_needs_a_method() {
        let found = error(b"MQTT", 5, 2, b"\0\0\x04\x16\0\x01d\0\x01a");
        assert_eq!(found, Error::AuthenticationDataWithoutMethod { packet: PacketType::Connect });
        assert_eq!(found.reason_code(), ReasonCode::ProtocolError);
    }

    #[test]
    fn a_will_payload_that_is_no_utf_8_is_told() {
        let bytes = packet(b"MQTT", 5, 6, b"\0\0\0\0\x01a\x02\x01\x01\0\x01w\0\x01\xFF");
        let will = decode(&bytes).unwrap().will.unwrap();
        assert_eq!(will.check_payload_format(), Err(Error::PayloadFormat));
    }

    #[test]
    fn of_3_1_the_remaining_length_takes_precedence_over_the_flags() {
        for (rest, username, password) in [
            (&b"\0\0\0\x01a"[..], None, None),
            (b"\0\0\0\x01a\0\x01u", Some("u"), None),
            (b"\0\0\0\x01a\0\x01u\0\x01p", Some("u"), Some(&b"p"[..])),
        ] {
            let bytes = packet(b"MQIsdp", 3, 0xC2, rest);
            let connect = decode(&bytes).unwrap();
            assert_eq!((connect.username, connect.password), (username, password));
        }
    }
}
