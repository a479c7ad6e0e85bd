//! MQTT 5.0, one file a theme.

mod connect;
