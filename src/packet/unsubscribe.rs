//! UNSUBSCRIBE (MQTT 5.0 section 3.10): Topic Filters.

use super::properties::{PropertyCarrier, PropertyReader};
use super::reader::Reader;
use super::writer::{put_string, put_u16};
use super::{Error, PacketId, PacketType, ProtocolVersion, UserProperties, writer};

/// An UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// The Topic Filters, at least one: UTF-8, their syntax not checked.
    pub filters: Filters<'a>,
}

/// The Topic Filters of an UNSUBSCRIBE, read one after the other.
#[derive(Clone)]
pub struct Filters<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Filters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.reader.is_empty() {
            return None;
        }
        self.reader.string("Topic Filter").ok()
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().eq(other.clone())
    }
}

impl Eq for Filters<'_> {}

impl std::fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

pub(super) fn decode(version: ProtocolVersion, mut body: Reader<'_>) -> Result<Unsubscribe<'_>, Error> {
    let packet_id = body.packet_id(PacketType::Unsubscribe)?;
    let mut user_properties = UserProperties::default();
    if version.is_v5() {
        let block = body.properties()?;
        let mut reader = PropertyReader::new(block, PropertyCarrier::Unsubscribe);
        while reader.next()?.is_some() {}
        user_properties = UserProperties::of_checked(block.peek());
    }
    // [MQTT-3.10.3-2]
    if body.is_empty() {
        return Err(Error::NoEntries { packet: PacketType::Unsubscribe });
    }
    let filters = Filters { reader: body };
    while !body.is_empty() {
        body.string("Topic Filter")?;
    }
    Ok(Unsubscribe { packet_id, user_properties, filters })
}

impl Unsubscribe<'_> {
    /// Appends it.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        encode_unsubscribe(version, self.packet_id, &self.user_properties, self.filters.clone(), out);
    }
}

/// Appends an UNSUBSCRIBE of at least one Topic Filter; properties only of 5.0.
pub fn encode_unsubscribe<'f>(
    version: ProtocolVersion,
    packet_id: PacketId,
    user_properties: &UserProperties<'_>,
    filters: impl IntoIterator<Item = &'f str>,
    out: &mut Vec<u8>,
) {
    writer::packet(out, PacketType::Unsubscribe.first_byte(), |out| {
        put_u16(out, packet_id.value());
        if version.is_v5() {
            writer::properties(out, |out| user_properties.write(out));
        }
        for filter in filters {
            put_string(out, filter);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, Side, decode};

    #[test]
    fn mqtt_3_10_3_2_there_is_at_least_one_filter() {
        for (version, bytes) in
            [(ProtocolVersion::V311, &b"\xa2\x02\0\x01"[..]), (ProtocolVersion::V5, b"\xa2\x03\0\x01\0")]
        {
            let found = decode(version, bytes, Side::FromClient);
            assert_eq!(found, Err(Error::NoEntries { packet: PacketType::Unsubscribe }));
        }
    }

    #[test]
    fn mqtt_3_10_3_1_filters_are_utf_8_and_in_order() {
        let mut out = Vec::new();
        let filters = ["b/#", "a", "$share/g/x"];
        encode_unsubscribe(
            ProtocolVersion::V5,
            PacketId::FIRST,
            &UserProperties::default(),
            filters,
            &mut out,
        );
        match decode(ProtocolVersion::V5, &out, Side::FromClient) {
            Ok(Packet::Unsubscribe(packet)) => assert!(packet.filters.eq(filters)),
            other => panic!("{other:?}"),
        }
        let found = decode(ProtocolVersion::V311, b"\xa2\x05\0\x01\0\x01\x80", Side::FromClient);
        assert_eq!(found, Err(Error::Utf8 { field: "Topic Filter" }));
    }
}
