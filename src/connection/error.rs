//! Why a connection is closed: who is at fault, what was found and expected. Each has exactly one Reason Code
//! and one class to be counted in.

use thiserror::Error;

use crate::packet::{self, ErrorKind, QoS, ReasonCode};

/// A client broke a rule or a limit.
#[derive(Debug, Error)]
pub enum Error {
    /// The bytes are no packet that a client may send.
    #[error(transparent)]
    Packet(#[from] packet::Error),
    /// The packet is well-formed and not allowed here.
    #[error("protocol violation: {0}")]
    Violation(&'static str),
    /// A Topic Alias beyond what was granted.
    #[error("Topic Alias is {found}, at most {max} are granted [MQTT-3.3.2-9]")]
    TopicAlias {
        /// Found.
        found: u16,
        /// Granted.
        max: u16,
    },
    /// A QoS beyond Maximum QoS.
    #[error("PUBLISH has QoS {found:?}, at most {max} is supported [MQTT-3.2.2-11]")]
    Qos {
        /// Found.
        found: QoS,
        /// `mqtt.qos_max`.
        max: u8,
    },
    /// RETAIN where Retain Available is 0.
    #[error("PUBLISH has RETAIN set, `mqtt.retain_available` is off [MQTT-3.2.2-14]")]
    Retain,
    /// More PUBLISHes unacknowledged than Receive Maximum.
    #[error("more than {max} PUBLISHes of QoS 1 and 2 are unacknowledged [MQTT-3.3.4-9]")]
    ReceiveMaximum {
        /// Receive Maximum granted.
        max: usize,
    },
    /// Nothing was heard for 1.5 times the Keep Alive.
    #[error("nothing was heard for {silence_ms} ms, Keep Alive allows {max_ms} [MQTT-3.1.2-22]")]
    KeepAlive {
        /// Milliseconds of silence.
        silence_ms: u64,
        /// Milliseconds allowed.
        max_ms: u32,
    },
    /// No CONNECT within `limits.connect_timeout_s`.
    #[error("no complete CONNECT within {0} s of the connection")]
    ConnectTimeout(u32),
    /// The credentials of a connected client have ended.
    #[error("the credentials have expired")]
    CredentialsExpired,
    /// The disk takes nothing, and something was promised that needs it.
    #[error("the disk takes nothing now: what was published or asked for is not kept; it may be repeated")]
    StorageDown,
    /// A connected client failed to authenticate again.
    #[error("re-authentication failed [MQTT-4.12.1-2]")]
    Reauthentication,
}

impl Error {
    /// The Reason Code of its DISCONNECT.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Packet(error) => error.reason_code(),
            Self::Violation(_) => ReasonCode::ProtocolError,
            Self::TopicAlias { .. } => ReasonCode::TopicAliasInvalid,
            Self::Qos { .. } => ReasonCode::QoSNotSupported,
            Self::Retain => ReasonCode::RetainNotSupported,
            Self::ReceiveMaximum { .. } => ReasonCode::ReceiveMaximumExceeded,
            Self::KeepAlive { .. } => ReasonCode::KeepAliveTimeout,
            Self::ConnectTimeout(_) | Self::CredentialsExpired => ReasonCode::MaximumConnectTime,
            Self::Reauthentication => ReasonCode::NotAuthorized,
            Self::StorageDown => ReasonCode::QuotaExceeded,
        }
    }

    /// The class in which it is counted.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Packet(error) => error.kind(),
            Self::Violation(_) => ErrorKind::Protocol,
            Self::TopicAlias { .. }
            | Self::Qos { .. }
            | Self::Retain
            | Self::ReceiveMaximum { .. }
            | Self::KeepAlive { .. }
            | Self::ConnectTimeout(_)
            | Self::CredentialsExpired
            | Self::Reauthentication
            | Self::StorageDown => ErrorKind::Limit,
        }
    }
}
