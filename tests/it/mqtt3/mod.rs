//! MQTT 3.1.1, and 3.1 where it differs, one file a theme.

mod connect;
