//! CONNECT and SUBSCRIBE of one thread's clients, with a bounded number outstanding.

use std::io;

use crate::clock::now_ns;
use crate::engine::Handler;
use crate::load;
use crate::scanner::{self, Frame};
use crate::stats::{Counters, Latency};
use crate::wire::{self, Allowed, Identity, ProtocolVersion};

/// The handler while clients connect and subscribe.
#[derive(Debug)]
pub(crate) struct Setup {
    version: ProtocolVersion,
    identities: Vec<String>,
    keep_alive_s: u16,
    username: Option<String>,
    password: Option<String>,
    qos: u8,
    /// When each connection was started, or should have been.
    pub(crate) since_ns: Vec<u64>,
    pub(crate) latency: Latency,
    pub(crate) counters: Counters,
    /// What the last CONNACK allowed: the same for all clients of a run.
    pub(crate) allowed: Allowed,
    last_words: Option<String>,
    pub(crate) failure: Option<(usize, String)>,
}

impl Setup {
    /// `identities` are the Client Identifiers in the order of the connections; `qos` is subscribed with.
    pub(crate) fn new(
        version: ProtocolVersion,
        identities: Vec<String>,
        keep_alive_s: u16,
        credentials: (Option<String>, Option<String>),
        qos: u8,
    ) -> Self {
        let (username, password) = credentials;
        Self {
            version,
            identities,
            keep_alive_s,
            username,
            password,
            qos,
            since_ns: Vec::new(),
            latency: Latency::new(),
            counters: Counters::default(),
            allowed: Allowed::ANYTHING,
            last_words: None,
            failure: None,
        }
    }

    /// The Client Identifier of a connection.
    pub(crate) fn identity(&self, index: usize) -> &str {
        self.identities.get(index).map_or("?", String::as_str)
    }

    fn fail(&mut self, index: usize, why: String) {
        self.failure.get_or_insert((index, why));
    }
}

impl Handler for Setup {
    fn opened(&mut self, index: usize, out: &mut Vec<u8>) {
        let client_id = self.identity(index);
        let identity = Identity {
            client_id,
            keep_alive_s: self.keep_alive_s,
            username: self.username.as_deref().map(|name| if name == "%c" { client_id } else { name }),
            password: self.password.as_deref(),
        };
        wire::connect(out, self.version, identity);
    }

    fn frame(&mut self, index: usize, frame: Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind() {
            scanner::CONNACK => match wire::connack(self.version, &frame) {
                Ok(allowed) => {
                    self.allowed = allowed;
                    self.counters.connected += 1;
                    let since_ns = self.since_ns.get(index).copied().unwrap_or_default();
                    self.latency.record(now_ns().saturating_sub(since_ns));
                }
                Err(why) => self.fail(index, why),
            },
            scanner::SUBACK => match wire::suback(self.version, &frame) {
                Ok(granted) if granted < self.qos => {
                    self.fail(index, format!("SUBACK granted QoS {granted}, asked for {}", self.qos));
                }
                Ok(_) => self.counters.subscribed += 1,
                Err(why) => self.fail(index, why),
            },
            scanner::PUBLISH => {
                // Somebody publishes already; without an answer the broker would stop after a few.
                if let Some(publish) = scanner::publish(self.version, &frame) {
                    load::answer(self.version, &publish, out);
                }
            }
            scanner::DISCONNECT => self.last_words = Some(wire::disconnect(self.version, &frame)),
            _ => {}
        }
    }

    fn closed(&mut self, index: usize, why: &io::Error) {
        let words = self.last_words.take().unwrap_or_else(|| io_words(why));
        self.fail(index, words);
    }
}

/// An error of a connection, with the mend where there is a usual one.
pub(crate) fn io_words(why: &io::Error) -> String {
    let text = why.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    match why.kind() {
        io::ErrorKind::ConnectionRefused => format!("{text}: no broker listens there"),
        io::ErrorKind::AddrNotAvailable => {
            format!("{text}: no free port or no such source address, see --source-addresses")
        }
        _ if why.raw_os_error() == Some(nix::errno::Errno::EMFILE as i32) => {
            format!("{text}: raise the limit (ulimit -n) or lower --clients")
        }
        _ => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_client_may_have_a_user_name_of_its_own() {
        for (username, expected) in [(None, None), (Some("u"), Some("u")), (Some("%c"), Some("c1"))] {
            let credentials = (username.map(str::to_owned), username.map(|_| "p".to_owned()));
            let identities = vec!["c0".into(), "c1".into()];
            let mut setup = Setup::new(ProtocolVersion::V311, identities, 0, credentials, 0);
            let mut out = Vec::new();
            setup.opened(1, &mut out);
            let connect = myriad::packet::connect::decode(&out).unwrap();
            assert_eq!((connect.client_id, connect.username), ("c1", expected));
        }
    }
}
