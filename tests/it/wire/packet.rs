//! Control Packets as plain values with small builders. What a builder leaves out has the value that a test most often wants.

use super::{Property, Version};

/// Any packet that the suite sends or receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Connect(Connect),
    Connack(Connack),
    Publish(Publish),
    Ack(Ack),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect),
    Auth(Auth),
}

/// A Will Message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<Property>,
}

impl Will {
    pub fn new(topic: &str, payload: &str) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos: 0, retain: false, properties: vec![] }
    }

    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    pub version: Version,
    pub client_id: String,
    /// Clean Session (3.x) or Clean Start (5.0).
    pub clean: bool,
    pub keep_alive_s: u16,
    pub will: Option<Will>,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
    pub properties: Vec<Property>,
}

impl Connect {
    /// A clean CONNECT without Keep Alive.
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.into(),
            clean: true,
            keep_alive_s: 0,
            will: None,
            username: None,
            password: None,
            properties: vec![],
        }
    }

    pub fn v31(client_id: &str) -> Self {
        Self::new(Version::V31, client_id)
    }

    pub fn v311(client_id: &str) -> Self {
        Self::new(Version::V311, client_id)
    }

    pub fn v5(client_id: &str) -> Self {
        Self::new(Version::V50, client_id)
    }

    /// Clears Clean Session or Clean Start.
    pub fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    /// A session that outlives the connection, in the words of its version: Clean Session 0 or a long Session Expiry
    /// Interval. What exists is resumed.
    pub fn persistent(mut self) -> Self {
        self.clean = false;
        if self.version.is_v5() { self.with(Property::SessionExpiry(3600)) } else { self }
    }

    pub fn keep_alive_s(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    pub fn username(mut self, name: &str) -> Self {
        self.username = Some(name.into());
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    pub session_present: bool,
    /// Return Code (3.x) or Reason Code (5.0).
    pub reason: u8,
    pub properties: Vec<Property>,
}

impl Connack {
    /// The first property that `pick` wants.
    pub fn find<T>(&self, pick: impl Fn(&Property) -> Option<T>) -> Option<T> {
        self.properties.iter().find_map(pick)
    }

    /// The Client Identifier that the Server assigned.
    pub fn assigned_client_id(&self) -> Option<String> {
        self.find(|property| match property {
            Property::AssignedClientId(id) => Some(id.clone()),
            _ => None,
        })
    }
}

/// PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    /// Sent only with QoS 1 and 2.
    pub id: u16,
    pub properties: Vec<Property>,
}

impl Publish {
    pub fn new(topic: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: 0,
            retain: false,
            dup: false,
            id: 0,
            properties: vec![],
        }
    }

    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// The payload as text, for comparisons and messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The Subscription Identifiers, sorted.
    pub fn subscription_ids(&self) -> Vec<u32> {
        let pick = |property: &Property| match property {
            Property::SubscriptionId(id) => Some(*id),
            _ => None,
        };
        let mut ids: Vec<u32> = self.properties.iter().filter_map(pick).collect();
        ids.sort_unstable();
        ids
    }

    /// Its Message Expiry Interval.
    pub fn message_expiry(&self) -> Option<u32> {
        self.properties.iter().find_map(|property| match property {
            Property::MessageExpiry(seconds) => Some(*seconds),
            _ => None,
        })
    }
}

/// The packets that acknowledge one Packet Identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Suback,
    Unsuback,
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    pub kind: AckKind,
    pub id: u16,
    /// One; as many as filters in SUBACK and UNSUBACK (none in an UNSUBACK of 3.x).
    pub reasons: Vec<u8>,
    pub properties: Vec<Property>,
}

impl Ack {
    pub fn new(kind: AckKind, id: u16) -> Self {
        Self { kind, id, reasons: vec![0], properties: vec![] }
    }

    pub fn reason(mut self, reason: u8) -> Self {
        self.reasons = vec![reason];
        self
    }
}

/// One filter of a SUBSCRIBE with its options byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub filter: String,
    pub options: u8,
}

/// Bits of the options byte.
impl Filter {
    pub const NO_LOCAL: u8 = 0x04;
    pub const RETAIN_AS_PUBLISHED: u8 = 0x08;
    /// Retain Handling 1: only for a new subscription.
    pub const RETAIN_IF_NEW: u8 = 0x10;
    /// Retain Handling 2: never.
    pub const RETAIN_NEVER: u8 = 0x20;
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    pub id: u16,
    pub filters: Vec<Filter>,
    pub properties: Vec<Property>,
}

impl Subscribe {
    /// With one filter; `options` is the QoS and, in 5.0, the other bits.
    pub fn new(id: u16, filter: &str, options: u8) -> Self {
        Self { id, filters: vec![], properties: vec![] }.and(filter, options)
    }

    /// One more filter.
    pub fn and(mut self, filter: &str, options: u8) -> Self {
        self.filters.push(Filter { filter: filter.into(), options });
        self
    }

    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    pub id: u16,
    pub filters: Vec<String>,
}

impl Unsubscribe {
    pub fn new(id: u16, filters: &[&str]) -> Self {
        Self { id, filters: filters.iter().map(|filter| filter.to_string()).collect() }
    }
}

/// DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disconnect {
    pub reason: u8,
    pub properties: Vec<Property>,
}

impl Disconnect {
    pub fn new(reason: u8) -> Self {
        Self { reason, properties: vec![] }
    }

    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    pub reason: u8,
    pub properties: Vec<Property>,
}

macro_rules! into_packet {
    ($($name:ident),+) => {
        $(impl From<$name> for Packet {
            fn from(packet: $name) -> Self {
                Self::$name(packet)
            }
        })+
    };
}
into_packet!(Connect, Connack, Publish, Ack, Subscribe, Unsubscribe, Disconnect, Auth);
