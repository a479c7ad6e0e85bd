//! The properties of a PUBLISH or a Will that travel unaltered to the subscribers (MQTT 5.0 sections
//! 3.3.2.3.2 to 3.3.2.3.7): Payload Format Indicator, Content Type, Response Topic, Correlation Data, and
//! the User Properties in their order. They stay as they were encoded: the data path copies a slice.

use super::properties::{Property, PropertyCarrier, PropertyReader, next_checked};
use super::reader::Reader;
use super::writer::{put_binary_property, put_string_property, put_u8_property};
use super::{Error, PropertyId, UserProperties};

/// Checked properties, in encoded form.
#[derive(Clone, Copy, Default)]
pub struct Forwarded<'a> {
    /// From the first of them to the end of the last; others may stand between.
    block: &'a [u8],
    /// Bytes of them alone.
    len: usize,
}

/// The same properties, by name: what [`Forwarded::encode`] writes and clients fill in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardedProperties<'a> {
    /// Payload Format Indicator: the payload is UTF-8 text.
    pub payload_is_utf8: bool,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// Response Topic, a Topic Name.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// User Properties, in order.
    pub user_properties: &'a [(&'a str, &'a str)],
}

impl<'a> Forwarded<'a> {
    /// No properties.
    pub const EMPTY: Self = Self { block: &[], len: 0 };

    /// Checks encoded properties that hold nothing else, as [`Self::encode`] and [`Self::write`] make them.
    ///
    /// # Errors
    /// Those of any properties, and of other properties among them.
    pub fn parse(encoded: &'a [u8]) -> Result<Self, Error> {
        let carrier = PropertyCarrier::Will;
        let mut reader = PropertyReader::new(Reader::new(encoded), carrier);
        while let Some(property) = reader.next()? {
            let other = match property {
                Property::MessageExpiryInterval(_) => PropertyId::MessageExpiryInterval,
                Property::WillDelayInterval(_) => PropertyId::WillDelayInterval,
                _ => continue,
            };
            return Err(Error::PropertyNotAllowed { carrier, property: other });
        }
        Ok(Self { block: encoded, len: encoded.len() })
    }

    /// Appends `properties` in the form that [`Self::parse`] reads.
    pub fn encode(properties: &ForwardedProperties<'_>, out: &mut Vec<u8>) {
        if properties.payload_is_utf8 {
            put_u8_property(out, PropertyId::PayloadFormatIndicator, 1);
        }
        put_string_property(out, PropertyId::ContentType, properties.content_type);
        put_string_property(out, PropertyId::ResponseTopic, properties.response_topic);
        put_binary_property(out, PropertyId::CorrelationData, properties.correlation_data);
        for (name, value) in properties.user_properties {
            super::encode_user_property(name, value, out);
        }
    }

    /// Bytes that [`Self::write`] appends.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The encoded properties, where no other stands between them: nearly always.
    pub const fn as_slice(&self) -> Option<&'a [u8]> {
        if self.len == self.block.len() { Some(self.block) } else { None }
    }

    /// Appends the encoded properties, and nothing but them.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(encoded) = self.as_slice() {
            out.extend_from_slice(encoded);
            return;
        }
        let mut reader = Reader::new(self.block);
        loop {
            let before = reader;
            match next_checked(&mut reader) {
                Some(property) if travels(&property) => out.extend_from_slice(reader.taken_since(&before)),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Whether Payload Format Indicator says that the payload is UTF-8 text.
    pub fn payload_is_utf8(&self) -> bool {
        self.find(|property| match property {
            Property::PayloadFormatIndicator(text) => Some(text),
            _ => None,
        })
        .unwrap_or(false)
    }

    /// Content Type.
    pub fn content_type(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ContentType(text) => Some(text),
            _ => None,
        })
    }

    /// Response Topic: a Topic Name without wildcards.
    pub fn response_topic(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ResponseTopic(topic) => Some(topic),
            _ => None,
        })
    }

    /// Correlation Data.
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        self.find(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        })
    }

    /// User Properties, in their order.
    pub const fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::of_checked(self.block)
    }

    fn find<T>(&self, wanted: impl Fn(Property<'a>) -> Option<T>) -> Option<T> {
        let mut reader = Reader::new(self.block);
        std::iter::from_fn(|| next_checked(&mut reader)).find_map(wanted)
    }
}

impl PartialEq for Forwarded<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.payload_is_utf8() == other.payload_is_utf8()
            && self.content_type() == other.content_type()
            && self.response_topic() == other.response_topic()
            && self.correlation_data() == other.correlation_data()
            && self.user_properties() == other.user_properties()
    }
}

impl Eq for Forwarded<'_> {}

impl std::fmt::Debug for Forwarded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarded")
            .field("payload_is_utf8", &self.payload_is_utf8())
            .field("content_type", &self.content_type())
            .field("response_topic", &self.response_topic())
            .field("correlation_data", &self.correlation_data())
            .field("user_properties", &self.user_properties())
            .finish()
    }
}

const fn travels(property: &Property<'_>) -> bool {
    matches!(
        property,
        Property::PayloadFormatIndicator(_)
            | Property::ContentType(_)
            | Property::ResponseTopic(_)
            | Property::CorrelationData(_)
            | Property::UserProperty(..)
    )
}

/// Collects, while a block is read, where the properties that travel stand in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForwardedSpan<'a> {
    block: &'a [u8],
    /// Offsets into the block: the first one's beginning, the last one's end.
    start: usize,
    end: usize,
    len: usize,
}

impl<'a> ForwardedSpan<'a> {
    pub(super) const fn new(block: &'a [u8]) -> Self {
        Self { block, start: 0, end: 0, len: 0 }
    }

    /// Takes note of `property`, which stood from `before` to `after` bytes before the end of the block.
    pub(super) fn note(&mut self, property: &Property<'_>, before: usize, after: usize) {
        if !travels(property) {
            return;
        }
        if self.len == 0 {
            self.start = self.block.len().saturating_sub(before);
        }
        self.end = self.block.len().saturating_sub(after);
        self.len = self.len.saturating_add(before.saturating_sub(after));
    }

    pub(super) fn finish(self) -> Forwarded<'a> {
        Forwarded { block: self.block.get(self.start..self.end).unwrap_or_default(), len: self.len }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALL: ForwardedProperties<'_> = ForwardedProperties {
        payload_is_utf8: true,
        content_type: Some("text/plain"),
        response_topic: Some("answers/1"),
        correlation_data: Some(&[0, 1, 2]),
        user_properties: &[("b", "1"), ("a", "2"), ("b", "")],
    };

    #[test]
    fn what_is_encoded_is_read_back() {
        let mut encoded = Vec::new();
        Forwarded::encode(&ALL, &mut encoded);
        let forwarded = Forwarded::parse(&encoded).unwrap();
        assert!(forwarded.payload_is_utf8());
        assert_eq!(forwarded.content_type(), ALL.content_type);
        assert_eq!(forwarded.response_topic(), ALL.response_topic);
        assert_eq!(forwarded.correlation_data(), ALL.correlation_data);
        assert_eq!(forwarded.user_properties().iter().collect::<Vec<_>>(), ALL.user_properties);
        assert_eq!(forwarded.as_slice(), Some(&encoded[..]));
    }

    #[test]
    fn mqtt_3_3_2_14_a_response_topic_has_no_wildcard() {
        for topic in ["a/+", "#", ""] {
            let mut encoded = Vec::new();
            let properties = ForwardedProperties { response_topic: Some(topic), ..Default::default() };
            Forwarded::encode(&properties, &mut encoded);
            assert!(matches!(Forwarded::parse(&encoded), Err(Error::ResponseTopic { .. })), "{topic}");
        }
    }

    #[test]
    fn only_what_travels_is_parsed() {
        let expiry = [0x02, 0, 0, 0, 1];
        let found = Forwarded::parse(&expiry).map(|_| ());
        let property = PropertyId::MessageExpiryInterval;
        assert_eq!(found, Err(Error::PropertyNotAllowed { carrier: PropertyCarrier::Will, property }));
    }
}
