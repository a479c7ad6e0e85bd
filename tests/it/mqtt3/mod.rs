//! MQTT 3.1.1, and 3.1 where it differs, one file a theme.

use crate::wire::Version;

mod connect;
mod flow;
mod malformed;
mod publish;
mod session;
mod subscribe;
mod will;

/// The versions before 5.0.
const OLD: [Version; 2] = [Version::V31, Version::V311];
