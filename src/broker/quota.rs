//! Quotas of a user: connections, sessions, subscriptions, retained messages and message rate, over all its clients.
//! Only verified User Names have any, and only where the configuration or their credentials set some.

use std::sync::Arc;

use super::Broker;
use super::clients::Clients;
use crate::clock::Timestamp;
use crate::connection::Connection;
use crate::limits::{Entry, Resource, Usage};
use crate::packet::ReasonCode;
use crate::session::ConnectionId;

/// Longest time until a connection that waits for its turn looks at it again: the rate may be another one since, or those
/// before it gone.
const TURN_LOOK_MS: u64 = 10_000;

impl Broker {
    /// Counts a client that connects, before its session is touched. One that takes its session over from another
    /// connection of the same user takes that one's place too: for this moment there is one more.
    ///
    /// # Errors
    /// Its user has its quota of connections, or of sessions and this would be a new one.
    pub(super) fn enter_quota(&mut self, id: ConnectionId, session_name: &str) -> Result<(), ReasonCode> {
        let quota = &self.clients.config.quota;
        let Some(connection) = self.clients.connections.get(id) else { return Ok(()) };
        let Some(identity) = connection.identity.as_deref() else { return Ok(()) };
        let Some(username) = identity.username.as_deref() else { return Ok(()) };
        let takes_over = self.quota_of_session(session_name).is_some_and(|old| old.name() == username);
        let usage = match self.shared.users.connect(username, &identity.quota, quota, takes_over) {
            Entry::Counted(usage) => usage,
            Entry::Full => {
                self.metrics().quota_refused.inc();
                return Err(ReasonCode::QuotaExceeded);
            }
            Entry::Free => return Ok(()),
        };
        let is_new = self.clients.find_own(id, session_name).is_none();
        if is_new && !usage.sessions.enter(usage.max(Resource::Sessions, quota)) {
            usage.connections.leave(1);
            self.shared.users.forget_if_idle(&usage);
            self.metrics().quota_refused.inc();
            return Err(ReasonCode::QuotaExceeded);
        }
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.allowance.get_or_insert_default().usage = Some(usage);
        }
        Ok(())
    }

    /// What the user has whose connection the session has now.
    fn quota_of_session(&self, session_name: &str) -> Option<&Arc<Usage>> {
        let session = self.clients.sessions.get(self.clients.find(session_name)?)?;
        usage_of(self.clients.connections.get(session.connection?)?)
    }

    /// The session at `index` is that of the connection. `was_there`: before it came; a session that ended for it has been
    /// given back with all it had.
    pub(super) fn assign_quota(&mut self, id: ConnectionId, index: u32, was_there: bool) {
        let usage = self.clients.connections.get(id).and_then(usage_of);
        let Some(usage) = usage.map(Arc::clone) else { return };
        if was_there {
            if self.usages.contains_key(&index) {
                return;
            }
            // Of the time before there were quotas, or made anew: it counts, though no limit was asked.
            usage.sessions.enter(0);
        }
        let subscriptions = self.clients.sessions.get(index).map_or(0, |session| session.subscriptions.len());
        for _ in 0..subscriptions {
            usage.subscriptions.enter(0);
        }
        self.usages.insert(index, usage);
    }

    /// The connection is gone.
    pub(super) fn leave_quota(&self, connection: &Connection) {
        if let Some(usage) = usage_of(connection) {
            if connection.allowance.as_ref().is_some_and(|allowance| allowance.turn.is_some()) {
                usage.leave_turn();
            }
            usage.connections.leave(1);
            self.shared.users.forget_if_idle(usage);
        }
    }

    /// The session at `index` is gone, and so many subscriptions with it.
    pub(super) fn release_session_quota(&mut self, index: u32, subscriptions: usize) {
        if self.usages.is_empty() {
            return;
        }
        if let Some(usage) = self.usages.remove(&index) {
            usage.sessions.leave(1);
            usage.subscriptions.leave(u32::try_from(subscriptions).unwrap_or(u32::MAX));
            self.shared.users.forget_if_idle(&usage);
        }
    }

    /// Whether the session's user may have one more subscription; it is counted.
    pub(super) fn enter_subscription(&self, index: u32) -> bool {
        let Some(usage) = self.usages.get(&index) else { return true };
        let is_counted = usage.subscriptions.enter(usage.max(Resource::Subscriptions, &self.config().quota));
        if !is_counted {
            self.metrics().quota_refused.inc();
        }
        is_counted
    }

    /// A subscription of the session is gone.
    pub(super) fn leave_subscription(&self, index: u32) {
        if let Some(usage) = self.usages.get(&index) {
            usage.subscriptions.leave(1);
        }
    }

    /// Whose number stands in a connection's messages; 0: nobody's.
    pub(super) fn owner(&self, id: ConnectionId) -> u32 {
        self.clients.connections.get(id).and_then(usage_of).map_or(0, |usage| usage.number)
    }

    /// Whether user number `owner` may retain one message more; it is counted.
    pub(super) fn enter_retained(&self, owner: u32) -> bool {
        if owner == 0 {
            return true;
        }
        let is_counted = match self.shared.users.find(owner) {
            Some(usage) => usage.retained.enter(usage.max(Resource::Retained, &self.config().quota)),
            None => true,
        };
        if !is_counted {
            self.metrics().quota_refused.inc();
        }
        is_counted
    }

    /// User number `owner` has one retained message more, whatever its quota.
    pub(super) fn take_over_retained(&self, owner: u32) {
        if owner != 0
            && let Some(usage) = self.shared.users.find(owner)
        {
            usage.retained.enter(0);
        }
    }

    /// A retained message of user number `owner` is gone.
    pub(super) fn leave_retained(&self, owner: u32) {
        if owner != 0
            && let Some(usage) = self.shared.users.find(owner)
        {
            usage.retained.leave(1);
            self.shared.users.forget_if_idle(&usage);
        }
    }

    /// When the connection may publish next, by its user's rate; `None`: now. One that has to wait has a turn of its own from
    /// here on, until it has published.
    #[inline]
    pub(super) fn user_pause(&mut self, now: Timestamp, id: ConnectionId) -> Option<Timestamp> {
        if self.usages.is_empty() { None } else { self.turn_of(now, id) }
    }

    fn turn_of(&mut self, now: Timestamp, id: ConnectionId) -> Option<Timestamp> {
        let Clients { config, connections, metrics, .. } = &mut self.clients;
        let allowance = connections.get_mut(id)?.allowance.as_mut()?;
        let usage = allowance.usage.as_ref()?;
        let per_s = usage.max(Resource::PublishRate, &config.quota);
        if per_s == 0 {
            return None;
        }
        let turn = match allowance.turn {
            Some(turn) => usage.turn_again(now, per_s, turn),
            None => usage.turn(now, per_s)?,
        };
        allowance.turn = Some(turn);
        if turn <= now {
            return None;
        }
        metrics.quota_rate_waits.inc();
        Some(turn.min(now.plus_ms(TURN_LOOK_MS)))
    }

    /// Whether the connection's next packet is a PUBLISH whose turn has not come.
    pub(super) fn waits_for_turn(&self, now: Timestamp, id: ConnectionId) -> bool {
        let allowance = self.clients.connections.get(id).and_then(|connection| connection.allowance.as_ref());
        allowance.and_then(|allowance| allowance.turn).is_some_and(|turn| turn > now)
    }

    /// The connection's user has published.
    #[inline]
    pub(super) fn take_user_message(&mut self, now: Timestamp, id: ConnectionId) {
        if self.usages.is_empty() {
            return;
        }
        let Clients { config, connections, .. } = &mut self.clients;
        let allowance = connections.get_mut(id).and_then(|connection| connection.allowance.as_mut());
        let Some(allowance) = allowance else { return };
        // Who waited for its turn has paid already.
        if allowance.turn.take().is_none()
            && let Some(usage) = &allowance.usage
        {
            let per_s = usage.max(Resource::PublishRate, &config.quota);
            if per_s > 0 {
                usage.take_message(now, per_s);
            }
        }
    }
}

fn usage_of(connection: &Connection) -> Option<&Arc<Usage>> {
    connection.allowance.as_ref()?.usage.as_ref()
}
