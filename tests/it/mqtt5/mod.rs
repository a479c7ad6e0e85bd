//! MQTT 5.0, one file a theme.

mod alias;
mod auth;
mod connack;
mod connect;
mod properties;
mod publish;
mod session;
mod shared;
mod subscribe;
