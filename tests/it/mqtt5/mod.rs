//! MQTT 5.0, one file a theme.

mod alias;
mod auth;
mod connack;
mod connect;
mod keep_alive;
mod malformed;
mod order;
mod properties;
mod publish;
mod queue;
mod races;
mod resume;
mod retained;
mod session;
mod shared;
mod subscribe;
mod torture;
mod will;
