//! The configuration: what the TOML file, `--set` and the command line resolve to, checked once so that the other
//! modules can trust it. `keys` is the table of every key; reading, `--set`, printing and reloading all walk it.
//! Pure but for `Arguments::load`, which reads the file: no clock, no name lookup.

mod access;
mod auth;
mod bridge;
mod check;
mod cli;
mod draft;
mod error;
mod keys;
mod listener_url;
mod modules;
mod print;
mod redact;
mod reload;
mod repeated;
mod sections;
mod tls;
mod value;

pub use access::{AccessRules, Networks};
pub use auth::{Auth, AuthFile, ClientIds, Http, HttpMethod, HttpRequest, Jwt, OnError, Scram, TokenFrom};
pub use bridge::{BRIDGE_CLIENT_PREFIX, BRIDGE_MARK, Bridge, BridgeRoute, BridgeTls};
pub use cli::{Arguments, Cli, Command};
pub use error::{Error, Origin};
pub use listener_url::{ListenerUrl, Scheme};
pub use modules::{AutoSubscription, Delayed, Rewrite};
pub use redact::shown_url;
pub use reload::Reload;
pub use sections::{
    Acl, Admin, Config, Durability, FileMode, Limits, Listener, Log, LogFormat, LogTarget, Mqtt, NoMatch,
    Node, Quota, Retained, Session, ShardCount, SharedStrategy, Storage, Sys,
};
pub use tls::{CertificateField, ListenerTls, TlsVersion};

impl Config {
    /// The configuration that the TOML document `text` describes; what it leaves out has its default.
    /// `name` is the file's name as it shall stand in errors. A function of its arguments.
    ///
    /// # Errors
    /// What is not TOML, an unknown key, a value of the wrong kind or out of its range, or values that
    /// contradict each other; with the line.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, Error> {
        let mut draft = draft::Draft::default();
        draft.file(text, name)?;
        draft.finish(|_| {})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
