//! What carries MQTT over a connection's bytes. Functions of their arguments: bytes in, bytes out.

#[cfg(feature = "server")]
pub mod tls;
