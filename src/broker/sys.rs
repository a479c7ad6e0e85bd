//! `$SYS`: shard 0 publishes the node's numbers as retained messages, every `sys.interval_s`. And the checks of a
//! broker's own books, for the simulator.

use std::sync::Arc;

use super::Broker;
use super::effects::Effects;
use crate::clock::Timestamp;
use crate::metrics::SysTree;
use crate::packet::QoS;
use crate::session::{Message, MessageHead, SessionSerial};

impl Broker {
    pub(super) fn publish_sys<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let config = Arc::clone(&self.clients.config);
        let shared = Arc::clone(&self.shared);
        self.totals.observe(&shared.metrics);
        let tree = SysTree {
            prefix: &config.sys.prefix,
            node: &config.node.name,
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: now.ms_since(shared.origins.now) / 1000,
            unix_s: (shared.started_unix_ms + now.0) / 1000,
            totals: &self.totals,
            shards: &shared.metrics,
        };
        let topics: Vec<_> = tree.topics().collect();
        for (topic, payload) in topics {
            let head = MessageHead {
                qos: QoS::AtMostOnce,
                retain: true,
                expires_at: None,
                publisher: SessionSerial::default(),
                owner: 0,
                number: 0,
            };
            self.publish_own(now, Message::new(head, &topic, &[], payload.as_bytes()), None, None, fx);
        }
        self.want_sys(now, config.sys.interval_s, fx);
    }

    pub(super) fn check_sessions(&self) -> Result<(), String> {
        for (index, session) in self.clients.sessions.iter() {
            if self.clients.find(&session.client_id) != Some(index) {
                return Err(format!("session {} is not found by its Client Identifier", session.client_id));
            }
            let Some(id) = session.connection else {
                if !session.is_persistent() {
                    return Err(format!("session {} outlived its connection", session.client_id));
                }
                continue;
            };
            let connection = self.clients.connections.get(id);
            if connection.is_none_or(|connection| connection.session != index) {
                return Err(format!("session {} names a connection that is not its own", session.client_id));
            }
            if connection.is_some_and(|c| c.stalled && c.partial.is_none()) {
                return Err(format!("session {} is stalled with nothing to wait for", session.client_id));
            }
        }
        Ok(())
    }

    pub(super) fn check_counts(&self) -> Result<(), String> {
        let sessions = || self.clients.sessions.iter().map(|(_, session)| session);
        let metrics = self.metrics();
        let counts = [
            ("sessions", metrics.sessions.load(), sessions().count()),
            ("clients", metrics.clients.load(), sessions().filter(|s| s.connection.is_some()).count()),
            (
                "sessions_persistent",
                metrics.sessions_persistent.load(),
                sessions().filter(|s| s.is_persistent()).count(),
            ),
            ("subscriptions", metrics.subscriptions.load(), sessions().map(|s| s.subscriptions.len()).sum()),
            (
                "subscribers",
                metrics.subscribers.load(),
                sessions().filter(|s| !s.subscriptions.is_empty()).count(),
            ),
            ("queues", metrics.queues.load(), sessions().map(|s| s.mqueue_len()).sum()),
            (
                "queues_high",
                metrics.queues_high.load(),
                sessions().filter(|s| s.outbound.as_ref().is_some_and(|o| o.mqueue.is_long())).count(),
            ),
            ("inflight", metrics.inflight.load(), sessions().map(|s| s.inflight_len()).sum()),
            ("retained", metrics.retained.load(), self.retained.len()),
            ("topics", metrics.topics.load(), self.router.filters_len()),
            ("delayed", metrics.delayed.load(), self.delayed_len()),
        ];
        for (name, counted, is) in counts {
            if counted != is as u64 {
                return Err(format!("the gauge {name} says {counted}, there are {is}"));
            }
        }
        Ok(())
    }
}
