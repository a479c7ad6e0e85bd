//! Integration tests of the shards: real sockets on 127.0.0.1, real rings.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod script;

mod admission;
mod capacity;
mod connect;
mod echo;
mod ending;
mod hand_over;
mod mail;
mod meddling;
mod slow_reader;
mod start;
mod timers;
mod torture;
