//! Reason Codes of MQTT 5.0 (section 2.4) with the packets that may carry them, and the return codes of a
//! 3.x CONNACK.

use super::PacketType;

macro_rules! reason_codes {
    ($($value:literal $name:ident $text:literal in $($packet:ident)|+;)+) => {
        /// A Reason Code of MQTT 5.0. 0x00 is `Success`, `Normal disconnection` and `Granted QoS 0` alike;
        /// 0x80 and above are failures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $(#[doc = $text] $name = $value,)+
        }

        impl ReasonCode {
            /// Every Reason Code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code of that value, whatever the packet.
            pub const fn from_value(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Its name in the specification.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The packets that may carry it, one bit a Control Packet type.
            const fn carriers(self) -> u16 {
                match self {
                    $(Self::$name => $(PacketType::$packet.bit())|+,)+
                }
            }
        }
    };
}

reason_codes! {
    0x00 Success "Success" in ConnAck | PubAck | PubRec | PubRel | PubComp | SubAck | UnsubAck | Disconnect | Auth;
    0x01 GrantedQoS1 "Granted QoS 1" in SubAck;
    0x02 GrantedQoS2 "Granted QoS 2" in SubAck;
    0x04 DisconnectWithWill "Disconnect with Will Message" in Disconnect;
    0x10 NoMatchingSubscribers "No matching subscribers" in PubAck | PubRec;
    0x11 NoSubscriptionExisted "No subscription existed" in UnsubAck;
    0x18 ContinueAuthentication "Continue authentication" in Auth;
    0x19 ReAuthenticate "Re-authenticate" in Auth;
    0x80 UnspecifiedError "Unspecified error" in ConnAck | PubAck | PubRec | SubAck | UnsubAck | Disconnect;
    0x81 MalformedPacket "Malformed Packet" in ConnAck | Disconnect;
    0x82 ProtocolError "Protocol Error" in ConnAck | Disconnect;
    0x83 ImplementationSpecificError "Implementation specific error" in
        ConnAck | PubAck | PubRec | SubAck | UnsubAck | Disconnect;
    0x84 UnsupportedProtocolVersion "Unsupported Protocol Version" in ConnAck;
    0x85 ClientIdentifierNotValid "Client Identifier not valid" in ConnAck;
    0x86 BadUserNameOrPassword "Bad User Name or Password" in ConnAck;
    0x87 NotAuthorized "Not authorized" in ConnAck | PubAck | PubRec | SubAck | UnsubAck | Disconnect;
    0x88 ServerUnavailable "Server unavailable" in ConnAck;
    0x89 ServerBusy "Server busy" in ConnAck | Disconnect;
    0x8A Banned "Banned" in ConnAck;
    0x8B ServerShuttingDown "Server shutting down" in Disconnect;
    0x8C BadAuthenticationMethod "Bad authentication method" in ConnAck | Disconnect;
    0x8D KeepAliveTimeout "Keep Alive timeout" in Disconnect;
    0x8E SessionTakenOver "Session taken over" in Disconnect;
    0x8F TopicFilterInvalid "Topic Filter invalid" in SubAck | UnsubAck | Disconnect;
    0x90 TopicNameInvalid "Topic Name invalid" in ConnAck | PubAck | PubRec | Disconnect;
    0x91 PacketIdentifierInUse "Packet Identifier in use" in PubAck | PubRec | SubAck | UnsubAck;
    0x92 PacketIdentifierNotFound "Packet Identifier not found" in PubRel | PubComp;
    0x93 ReceiveMaximumExceeded "Receive Maximum exceeded" in Disconnect;
    0x94 TopicAliasInvalid "Topic Alias invalid" in Disconnect;
    0x95 PacketTooLarge "Packet too large" in ConnAck | Disconnect;
    0x96 MessageRateTooHigh "Message rate too high" in Disconnect;
    0x97 QuotaExceeded "Quota exceeded" in ConnAck | PubAck | PubRec | SubAck | Disconnect;
    0x98 AdministrativeAction "Administrative action" in Disconnect;
    0x99 PayloadFormatInvalid "Payload format invalid" in ConnAck | PubAck | PubRec | Disconnect;
    0x9A RetainNotSupported "Retain not supported" in ConnAck | Disconnect;
    0x9B QoSNotSupported "QoS not supported" in ConnAck | Disconnect;
    0x9C UseAnotherServer "Use another server" in ConnAck | Disconnect;
    0x9D ServerMoved "Server moved" in ConnAck | Disconnect;
    0x9E SharedSubscriptionsNotSupported "Shared Subscriptions not supported" in SubAck | Disconnect;
    0x9F ConnectionRateExceeded "Connection rate exceeded" in ConnAck | Disconnect;
    0xA0 MaximumConnectTime "Maximum connect time" in Disconnect;
    0xA1 SubscriptionIdentifiersNotSupported "Subscription Identifiers not supported" in SubAck | Disconnect;
    0xA2 WildcardSubscriptionsNotSupported "Wildcard Subscriptions not supported" in SubAck | Disconnect;
}

impl ReasonCode {
    /// Its byte on the wire.
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// Whether it reports a failure: 0x80 and above.
    pub const fn is_failure(self) -> bool {
        self as u8 >= 0x80
    }

    /// Whether a packet of that type may carry it (table 2-6; for DISCONNECT and AUTH of either side).
    pub const fn is_valid_in(self, packet_type: PacketType) -> bool {
        self.carriers() & packet_type.bit() != 0
    }

    /// The return code of a 3.x CONNACK that says the same, or the nearest.
    pub const fn connect_return_code(self) -> ConnectReturnCode {
        match self {
            Self::Success => ConnectReturnCode::Accepted,
            Self::UnsupportedProtocolVersion => ConnectReturnCode::UnacceptableProtocolVersion,
            Self::ClientIdentifierNotValid => ConnectReturnCode::IdentifierRejected,
            Self::BadUserNameOrPassword => ConnectReturnCode::BadUserNameOrPassword,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => {
                ConnectReturnCode::NotAuthorized
            }
            _ => ConnectReturnCode::ServerUnavailable,
        }
    }
}

impl From<super::QoS> for ReasonCode {
    /// The Reason Code that grants a QoS in a SUBACK.
    fn from(granted: super::QoS) -> Self {
        match granted {
            super::QoS::AtMostOnce => Self::Success,
            super::QoS::AtLeastOnce => Self::GrantedQoS1,
            super::QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{:02X} {}", self.value(), self.text())
    }
}

/// The return code of a CONNACK of MQTT 3.1 and 3.1.1 (3.1.1 section 3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// 0x00: the connection is accepted.
    Accepted = 0,
    /// 0x01: the server does not support the protocol level.
    UnacceptableProtocolVersion = 1,
    /// 0x02: the Client Identifier is not allowed.
    IdentifierRejected = 2,
    /// 0x03: the MQTT service is unavailable.
    ServerUnavailable = 3,
    /// 0x04: user name or password are wrong.
    BadUserNameOrPassword = 4,
    /// 0x05: the client is not authorized to connect.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The return code of that value; `None` of 6 to 255, which are reserved.
    pub const fn from_value(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The Reason Code of 5.0 that says the same.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::Accepted => ReasonCode::Success,
            Self::UnacceptableProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
            Self::IdentifierRejected => ReasonCode::ClientIdentifierNotValid,
            Self::ServerUnavailable => ReasonCode::ServerUnavailable,
            Self::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            Self::NotAuthorized => ReasonCode::NotAuthorized,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_code() {
        for value in 0..=u8::MAX {
            if let Some(code) = ReasonCode::from_value(value) {
                assert_eq!(code.value(), value);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(ReasonCode::from_value).count(), 43);
        assert_eq!(ReasonCode::ALL.len(), 43);
    }

    #[test]
    fn table_2_6_counts_the_codes_of_each_packet() {
        let count = |packet_type| ReasonCode::ALL.iter().filter(|code| code.is_valid_in(packet_type)).count();
        assert_eq!(count(PacketType::ConnAck), 22);
        assert_eq!(count(PacketType::PubAck), 9);
        assert_eq!(count(PacketType::PubRec), 9);
        assert_eq!(count(PacketType::PubRel), 2);
        assert_eq!(count(PacketType::PubComp), 2);
        assert_eq!(count(PacketType::SubAck), 12);
        assert_eq!(count(PacketType::UnsubAck), 7);
        assert_eq!(count(PacketType::Disconnect), 30);
        assert_eq!(count(PacketType::Auth), 3);
        assert_eq!(count(PacketType::Publish), 0);
    }

    #[test]
    fn connect_return_codes_go_both_ways() {
        for value in 0..=5 {
            let code = ConnectReturnCode::from_value(value);
            assert_eq!(code.map(|code| code.reason_code().connect_return_code()), code);
        }
        assert_eq!(ConnectReturnCode::from_value(6), None);
        assert_eq!(ReasonCode::QuotaExceeded.connect_return_code(), ConnectReturnCode::ServerUnavailable);
    }
}
