//! The rules of `access` and `trusted` that are in effect, by listener. Asked at each accept, on every shard; a reload replaces
//! them for the connections that come after it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use shards::Filter;

use crate::config::{AccessRules, Config, Networks};

/// What decides about a listener's connections.
#[derive(Debug, Clone)]
struct Rules {
    access: AccessRules,
    /// Those that may send PROXY headers, where these are expected.
    trusted: Option<Networks>,
}

/// The rules of all listeners. The lock is taken once an accept, never on the path of a packet, and written at a reload.
#[derive(Debug)]
pub(super) struct Access {
    rules: RwLock<Vec<Rules>>,
    /// Listeners that an operator stopped: whoever still comes in, as to a Unix socket, which stays open, is closed at once. Not kept
    /// over a restart.
    stopped: Vec<AtomicBool>,
}

fn rules(config: &Config) -> Vec<Rules> {
    let of_each = config.listeners.iter().map(|listener| Rules {
        access: listener.access.clone(),
        trusted: listener.proxy_protocol.then(|| listener.trusted.clone()),
    });
    of_each.collect()
}

impl Access {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        let stopped = config.listeners.iter().map(|_| AtomicBool::new(false)).collect();
        Arc::new(Self { rules: RwLock::new(rules(config)), stopped })
    }

    /// The rules of this configuration from now on.
    pub(super) fn replace(&self, config: &Config) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules(config);
    }

    fn ask(&self, listener: u16, question: impl Fn(&Rules) -> bool) -> bool {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.get(usize::from(listener)).is_none_or(question)
    }

    /// Whether a client with this address may come in.
    pub(super) fn allows(&self, listener: u16, client: IpAddr) -> bool {
        self.ask(listener, |rules| rules.access.allows(client))
    }

    /// Whether a connection from this address may: behind a load balancer it is the load balancer that connects, and the client's
    /// address is in the header.
    fn admits(&self, listener: u16, remote: IpAddr) -> bool {
        !self.is_stopped(usize::from(listener))
            && self.ask(listener, |rules| match &rules.trusted {
                Some(trusted) => trusted.contains(remote),
                None => rules.access.allows(remote),
            })
    }

    /// Whether an operator stopped that listener.
    pub(super) fn is_stopped(&self, listener: usize) -> bool {
        self.stopped.get(listener).is_some_and(|stopped| stopped.load(Relaxed))
    }

    /// Stops a listener or lets it go on; its connections stay. `false`: there is no such listener.
    pub(super) fn stop(&self, listener: usize, is_stopped: bool) -> bool {
        self.stopped.get(listener).map(|stopped| stopped.store(is_stopped, Relaxed)).is_some()
    }

    /// What `shards` asks at each accept of a listener.
    pub(super) fn filter(self: &Arc<Self>, listener: usize) -> Option<Filter> {
        let (access, listener) = (Arc::clone(self), u16::try_from(listener).ok()?);
        Some(Filter(Arc::new(move |remote| access.admits(listener, remote))))
    }
}
