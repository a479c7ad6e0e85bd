//! The configuration: what the TOML file, `--set` and the command line resolve to.
//! Values here are resolved and checked; the other modules trust them.

mod sections;

pub use sections::{
    Config, Limits, Listener, ListenerUrl, Mqtt, Node, Retained, Session, ShardCount, SharedStrategy, Sys,
};
