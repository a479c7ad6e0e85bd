//! How connections and sessions end: DISCONNECT, loss, takeover, expiry, drain; and what becomes of the Will.

use std::sync::Arc;

use super::effects::{Close, Effects};
use super::journal::CommitKey;
use super::message::SessionToken;
use super::receive::Flow;
use super::{Broker, DRAIN_BUDGET};
use crate::clock::Timestamp;
use crate::connection::Error;
use crate::connection::Phase;
use crate::packet::{Disconnect, ReasonCode};
use crate::router::{FilterId, SessionIndex};
use crate::session::{ConnectionId, Message, MessageHead, Session, SessionSerial, Will};
use crate::storage::Entry;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Otherwise than by DISCONNECT: the Will is due [MQTT-3.1.2-8].
    Lost,
    /// The client said goodbye; the Will goes without being published [MQTT-3.14.4-3].
    Goodbye,
    /// Another connection with its Client Identifier came; whether the session goes on with it.
    Takeover {
        /// The new connection did not ask for a clean start.
        goes_on: bool,
    },
    /// The node shuts down.
    Drain,
}

impl Broker {
    pub(super) fn disconnect<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        disconnect: &Disconnect<'_>,
        fx: &mut E,
    ) -> Flow {
        self.metrics().packets_disconnect_received.inc();
        if is_servers_own(disconnect.reason) {
            self.violation(now, id, "a DISCONNECT with a Reason Code that only servers send (3.14.2.1)", fx);
            return Flow::Gone;
        }
        let end = if disconnect.reason == ReasonCode::Success { End::Goodbye } else { End::Lost };
        if let Some(expiry_s) = disconnect.session_expiry_s {
            let may_extend = self.clients.connections.get(id).is_some_and(|c| c.may_extend_expiry);
            if expiry_s > 0 && !may_extend {
                let error = Error::Violation(
                    "a Session Expiry Interval in DISCONNECT after 0 in CONNECT (3.14.2.2.2)",
                );
                self.fail(now, id, &error, fx);
                return Flow::Gone;
            }
            let expiry_s = expiry_s.min(self.config().session.expiry_s_max);
            if expiry_s == 0 {
                self.end_with_session(now, id, end, fx);
                return Flow::Gone;
            }
            if let Some(index) = self.clients.connections.get(id).map(|connection| connection.session) {
                self.change_expiry(index, expiry_s);
            }
        }
        fx.close(id, Close::Flush);
        self.end_connection(now, id, end, fx);
        Flow::Gone
    }

    /// The client wants its session to end with its connection after all. As long as it has not ended it is what it was: what it
    /// leaves, a Will or messages for other members of a Shared Subscription, outlasts a crash as that of any session that was kept.
    fn end_with_session<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, end: End, fx: &mut E) {
        let index = self.clients.connections.get(id).map(|connection| connection.session);
        let Some(session) = index.and_then(|index| self.clients.token(index)) else { return };
        fx.close(id, Close::Flush);
        self.end_connection(now, id, end, fx);
        if self.clients.session_by(session).is_some() {
            self.end_session(now, session.index, fx);
        }
    }

    pub(super) fn closed<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        self.end_connection(now, id, End::Lost, fx);
    }

    /// Forgets a connection; what follows for its session and its Will.
    pub(super) fn end_connection<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        end: End,
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.remove(id) else { return };
        self.metrics().connections_closed.inc();
        self.leave_quota(&connection);
        self.end_handshake(id);
        if !matches!(connection.phase, Phase::Committing | Phase::Connected) {
            return;
        }
        self.metrics().clients.dec();
        let failure = self.failure;
        self.audit_disconnected(now, &connection, end);
        if self.clients.sight.traces.is_on() {
            self.trace_disconnected(id, &connection, failure, end, fx);
        }
        self.tell_disconnected(now, &connection, failure, end, fx);
        self.hook_disconnected(now, &connection, (failure, end), fx);
        let index = connection.session;
        // Nothing waits for who is gone: how slow it was ends with it.
        self.clients.sight.slow.relieved(now, index);
        let client = self.clients.client_hash(index);
        let Some(session) = self.clients.sessions.get_mut(index) else { return };
        session.connection = None;
        session.since = now;
        let is_persistent = session.is_persistent();
        let is_kept = self.clients.journal.keeps(session);
        let will = match end {
            // The Will of a session that outlasts the node is published after its next start (5.0 section 3.1.2.5).
            End::Drain if is_kept => None,
            End::Goodbye | End::Drain => {
                session.will = None;
                None
            }
            End::Lost => session.will.take_if(|will| will.delay_s == 0 || !is_persistent),
            // The new connection comes before any delay is over [MQTT-3.1.3-9]: either now or never.
            End::Takeover { goes_on } => {
                session.will.take().filter(|will| will.delay_s == 0 || !goes_on || !is_persistent)
            }
        };
        // Without the Will that is due, which the journal has apart from the session then.
        self.write_session(index, false);
        if is_persistent {
            self.want_session_end(index, fx);
            self.tell_presence(index, false, fx);
        } else {
            self.end_session(now, index, fx);
        }
        if let Some(will) = will {
            self.publish_will(now, *will, client, is_kept, fx);
        }
    }

    /// Sets the timer for what comes first: the Will or the session's end.
    pub(super) fn want_session_end<E: Effects>(&mut self, index: u32, fx: &mut E) {
        let Some(session) = self.clients.sessions.get(index) else { return };
        let first = match (session.will_at(), session.expires_at()) {
            (Some(will), Some(end)) => Some(will.min(end)),
            (will, end) => will.or(end),
        };
        if let Some(at) = first {
            self.clients.want_session_timer(index, at, fx);
        }
    }

    /// Ends a session: subscriptions, queues and cursors go, a Will that was still delayed is published.
    pub(super) fn end_session<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        let client = self.clients.client_hash(index);
        let Some(mut session) = self.clients.remove_session(index) else { return };
        self.count_persistent(session.is_persistent(), false);
        self.cursors.remove(&index);
        let is_kept = self.clients.journal.keeps(&session);
        self.release_session_quota(index, session.subscriptions.len());
        self.drop_subscriptions(index, &mut session, fx);
        self.clients.give_up(&mut session);
        if is_kept {
            self.clients.journal.write(&Entry::End { serial: session.serial.0, keeps_will: false });
        }
        if let Some(will) = session.will.take() {
            self.publish_will(now, *will, client, is_kept, fx);
        }
        // Other members may get new messages written: what tells of this end, the Will's beginning too, is in one frame before that.
        self.send_shared_news(now, fx);
    }

    fn drop_subscriptions<E: Effects>(&mut self, index: u32, session: &mut Session, fx: &mut E) {
        let subscriptions = session.subscriptions.take();
        let is_kept = self.clients.journal.keeps(session);
        if !subscriptions.is_empty() {
            self.metrics().subscribers.dec();
        }
        for subscription in subscriptions.iter() {
            self.metrics().subscriptions.dec();
            if subscription.shared {
                self.leave_share(index, session.serial, subscription.filter, fx);
            } else {
                self.unsubscribe_filter(FilterId(subscription.filter), SessionIndex(index), is_kept);
            }
        }
    }

    /// Publishes a Will now: its Message Expiry Interval counts from here (3.1.3.2.4). `is_kept`: its
    /// session outlasts the process, and so does the Will until everyone has it.
    pub(super) fn publish_will<E: Effects>(
        &mut self,
        now: Timestamp,
        will: Will,
        client: Option<u64>,
        is_kept: bool,
        fx: &mut E,
    ) {
        let serial = is_kept.then(|| self.clients.next_serial());
        if let Some(serial) = serial {
            self.clients.journal.begin_will(serial, &will);
        }
        self.publish_due_will(now, will, client, serial, fx);
    }

    /// Publishes a Will that the journal has under `serial`, if it has it.
    pub(super) fn publish_due_will<E: Effects>(
        &mut self,
        now: Timestamp,
        will: Will,
        client: Option<u64>,
        serial: Option<SessionSerial>,
        fx: &mut E,
    ) {
        let (message, key) = self.due_message(now, &will, serial);
        self.publish_own(now, message, client, key, fx);
    }

    /// What is published of a Will that is due, and what its `Commit` says; `None`: there is no journal.
    pub(super) fn due_message(
        &mut self,
        now: Timestamp,
        will: &Will,
        serial: Option<SessionSerial>,
    ) -> (Arc<Message>, Option<CommitKey>) {
        let expires_at = will.expiry_s.map(|seconds| now.plus_s(u64::from(seconds)));
        let number = self.clients.journal.number();
        let message = if expires_at.is_none() && number == 0 {
            Arc::clone(&will.message)
        } else {
            let head = MessageHead { expires_at, number, ..*will.message.head() };
            Message::new(head, will.message.topic(), will.message.forwarded(), will.message.payload())
        };
        let publisher = serial.map(|serial| SessionToken { index: u32::MAX, serial });
        let key = (number > 0).then_some(CommitKey { message: number, publisher, packet_id: None });
        (message, key)
    }

    /// Sends everyone away, within a budget a turn.
    pub(super) fn drain<E: Effects>(&mut self, fx: &mut E) {
        if self.draining.is_none() {
            fx.stop_accepting();
            self.draining = Some(0);
        }
    }

    pub(super) fn continue_drain<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        for _ in 0..DRAIN_BUDGET {
            let Some(id) = self.draining.and_then(|from| self.clients.connections.next_from(from)) else {
                // Those that come by hand-over meanwhile.
                self.draining = Some(0);
                return;
            };
            self.draining = Some(id.index + 1);
            self.send_disconnect(id, ReasonCode::ServerShuttingDown, None, fx);
            fx.close(id, Close::Flush);
            self.end_connection(now, id, End::Drain, fx);
        }
    }
}

/// Reason Codes of DISCONNECT that section 3.14.2.1 gives to servers alone.
const fn is_servers_own(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::NotAuthorized
            | ReasonCode::ServerBusy
            | ReasonCode::ServerShuttingDown
            | ReasonCode::KeepAliveTimeout
            | ReasonCode::SessionTakenOver
            | ReasonCode::TopicFilterInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QoSNotSupported
            | ReasonCode::UseAnotherServer
            | ReasonCode::ServerMoved
            | ReasonCode::SharedSubscriptionsNotSupported
            | ReasonCode::ConnectionRateExceeded
            | ReasonCode::MaximumConnectTime
            | ReasonCode::SubscriptionIdentifiersNotSupported
            | ReasonCode::WildcardSubscriptionsNotSupported
    )
}
