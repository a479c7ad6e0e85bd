//! The properties of 5.0 (section 2.2.2.2): identifier, encoding, and in which packets a Server may send them.

use super::encode::{binary, string, variable_int};

/// One property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    PayloadFormat(u8),
    MessageExpiry(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    SubscriptionId(u32),
    SessionExpiry(u32),
    AssignedClientId(String),
    ServerKeepAlive(u16),
    AuthMethod(String),
    AuthData(Vec<u8>),
    RequestProblemInfo(u8),
    WillDelay(u32),
    RequestResponseInfo(u8),
    ResponseInfo(String),
    ServerReference(String),
    ReasonString(String),
    ReceiveMax(u16),
    TopicAliasMax(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(u8),
    User(String, String),
    MaximumPacketSize(u32),
    WildcardAvailable(u8),
    SubscriptionIdAvailable(u8),
    SharedAvailable(u8),
}

use Property as P;

impl Property {
    /// A User Property.
    pub fn user(name: &str, value: &str) -> Self {
        P::User(name.into(), value.into())
    }

    /// Its identifier.
    pub fn id(&self) -> u8 {
        match self {
            P::PayloadFormat(_) => 0x01,
            P::MessageExpiry(_) => 0x02,
            P::ContentType(_) => 0x03,
            P::ResponseTopic(_) => 0x08,
            P::CorrelationData(_) => 0x09,
            P::SubscriptionId(_) => 0x0B,
            P::SessionExpiry(_) => 0x11,
            P::AssignedClientId(_) => 0x12,
            P::ServerKeepAlive(_) => 0x13,
            P::AuthMethod(_) => 0x15,
            P::AuthData(_) => 0x16,
            P::RequestProblemInfo(_) => 0x17,
            P::WillDelay(_) => 0x18,
            P::RequestResponseInfo(_) => 0x19,
            P::ResponseInfo(_) => 0x1A,
            P::ServerReference(_) => 0x1C,
            P::ReasonString(_) => 0x1F,
            P::ReceiveMax(_) => 0x21,
            P::TopicAliasMax(_) => 0x22,
            P::TopicAlias(_) => 0x23,
            P::MaximumQos(_) => 0x24,
            P::RetainAvailable(_) => 0x25,
            P::User(..) => 0x26,
            P::MaximumPacketSize(_) => 0x27,
            P::WildcardAvailable(_) => 0x28,
            P::SubscriptionIdAvailable(_) => 0x29,
            P::SharedAvailable(_) => 0x2A,
        }
    }

    /// Appends identifier and value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.id());
        match self {
            P::PayloadFormat(v)
            | P::RequestProblemInfo(v)
            | P::RequestResponseInfo(v)
            | P::MaximumQos(v)
            | P::RetainAvailable(v)
            | P::WildcardAvailable(v)
            | P::SubscriptionIdAvailable(v)
            | P::SharedAvailable(v) => out.push(*v),
            P::ServerKeepAlive(v) | P::ReceiveMax(v) | P::TopicAliasMax(v) | P::TopicAlias(v) => {
                out.extend(v.to_be_bytes());
            }
            P::MessageExpiry(v) | P::SessionExpiry(v) | P::WillDelay(v) | P::MaximumPacketSize(v) => {
                out.extend(v.to_be_bytes());
            }
            P::SubscriptionId(v) => out.extend(variable_int(*v)),
            P::ContentType(v)
            | P::ResponseTopic(v)
            | P::AssignedClientId(v)
            | P::AuthMethod(v)
            | P::ResponseInfo(v)
            | P::ServerReference(v)
            | P::ReasonString(v) => out.extend(string(v)),
            P::CorrelationData(v) | P::AuthData(v) => out.extend(binary(v)),
            P::User(name, value) => {
                out.extend(string(name));
                out.extend(string(value));
            }
        }
    }

    /// Whether a Server may put it into the packet that starts with `first` (flags masked off).
    pub fn server_may_send(&self, first: u8) -> bool {
        const CONNACK: u8 = 0x20;
        const PUBLISH: u8 = 0x30;
        const DISCONNECT: u8 = 0xE0;
        const AUTH: u8 = 0xF0;
        match self {
            P::User(..) => true,
            P::ReasonString(_) => first != PUBLISH,
            P::PayloadFormat(_)
            | P::MessageExpiry(_)
            | P::ContentType(_)
            | P::ResponseTopic(_)
            | P::CorrelationData(_)
            | P::SubscriptionId(_)
            | P::TopicAlias(_) => first == PUBLISH,
            P::AuthMethod(_) | P::AuthData(_) => first == CONNACK || first == AUTH,
            P::ServerReference(_) => first == CONNACK || first == DISCONNECT,
            P::RequestProblemInfo(_) | P::RequestResponseInfo(_) | P::WillDelay(_) => false,
            _ => first == CONNACK,
        }
    }
}

/// Appends a property block: its length and its properties.
pub fn encode_block(properties: &[Property], out: &mut Vec<u8>) {
    let mut block = Vec::new();
    properties.iter().for_each(|property| property.encode(&mut block));
    out.extend(variable_int(block.len() as u32));
    out.extend(block);
}
