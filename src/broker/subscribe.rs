//! SUBSCRIBE and UNSUBSCRIBE: each filter is judged by itself, the interest table knows of it before the SUBACK
//! leaves, retained messages follow.

use std::borrow::Cow;

use super::Broker;
use super::deliver::count_sent;
use super::effects::Effects;
use super::journal::Awaited;
use super::modules::PacketKind;
use super::mount::mounted_filter;
use super::observe;
use super::operations::{Pending, PendingSubAck, Waiter};
use super::receive::Flow;
use crate::acl::Action;
use crate::clock::Timestamp;
use crate::connection::Error;
use crate::packet::{
    self, PacketId, ReasonCode, RetainHandling, Subscribe, SubscriptionOptions as Asked, Unsubscribe,
};
use crate::router::{FilterId, SessionIndex, SubscriptionOptions};
use crate::session::{ConnectionId, Subscription};
use crate::storage::{Entry, RETAINED_UNDER_WAY};
use crate::topic;

/// A retained delivery that a new subscription causes.
pub(super) struct Wanted {
    filter: String,
    options: SubscriptionOptions,
    id: u32,
}

impl Broker {
    pub(super) fn subscribe<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        subscribe: &Subscribe<'_>,
        fx: &mut E,
    ) -> Flow {
        if self.policy.asks_http {
            let asked = subscribe.subscriptions.clone();
            let meant: Vec<Cow<'_, str>> =
                asked.map(|asked| self.meant_filter(id, PacketKind::Subscribe, asked.filter)).collect();
            let filters = meant.iter().map(|filter| match topic::parse_share(filter) {
                Ok(Some(share)) => (Action::Subscribe, share.filter),
                _ => (Action::Subscribe, &**filter),
            });
            if self.waits_for_answers(now, id, None, filters, fx) {
                return Flow::Wait;
            }
        }
        self.metrics().packets_subscribe.inc();
        if let Some(error) =
            subscribe.subscriptions.clone().find_map(|s| shared_no_local(s.filter, &s.options))
        {
            self.fail(now, id, &error, fx);
            return Flow::Gone;
        }
        let Some(index) = self.clients.connections.get(id).map(|connection| connection.session) else {
            return Flow::Gone;
        };
        let subscription_id = subscribe.subscription_id.unwrap_or(0);
        let mut reasons = Vec::new();
        let mut wanted = Vec::new();
        let mut pending = Pending::new(Waiter::Nobody);
        for asked in subscribe.subscriptions.clone() {
            let reason = self.subscribe_one(
                id,
                index,
                asked.filter,
                &asked.options,
                subscription_id,
                &mut wanted,
                &mut pending,
                fx,
            );
            reasons.push(reason);
        }
        let suback = PendingSubAck { connection: id, packet_id: subscribe.packet_id, reasons };
        if pending.is_begun() {
            self.set_subscriber(&pending, suback);
        } else {
            self.finish_suback(Box::new(suback), fx);
        }
        self.open_cursors(index, wanted);
        Flow::Next
    }

    /// Retained messages follow to new subscriptions.
    pub(super) fn open_cursors(&mut self, index: u32, wanted: Vec<Wanted>) {
        for Wanted { filter, options, id } in wanted {
            self.open_cursor(index, &filter, options, id);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one filter of a SUBSCRIBE with all that it may change")]
    fn subscribe_one<E: Effects>(
        &mut self,
        id: ConnectionId,
        index: u32,
        text: &str,
        asked: &Asked,
        subscription_id: u32,
        wanted: &mut Vec<Wanted>,
        pending: &mut Pending,
        fx: &mut E,
    ) -> ReasonCode {
        let filter = self.meant_filter(id, PacketKind::Subscribe, text);
        if let Err(reason) = self.check_filter(&filter) {
            return reason;
        }
        if !self.may_subscribe(id, &filter) {
            return ReasonCode::NotAuthorized;
        }
        let full = self.full_filter(id, &filter);
        self.subscribe_full(index, &full, asked, subscription_id, wanted, pending, fx)
    }

    /// Whether a session has the subscription with a checked filter as the broker has it.
    pub(super) fn is_subscribed(&self, index: u32, text: &str) -> bool {
        if let Ok(Some(share)) = topic::parse_share(text) {
            return self.memberships.find(index, share.name, share.filter).is_some();
        }
        let Some(session) = self.clients.sessions.get(index) else { return false };
        self.router.find(text).is_some_and(|f| session.subscriptions.find(false, f.0).is_some())
    }

    /// Subscribes a session, connected or not, with a checked filter as the broker has it (a mountpoint before it).
    #[expect(clippy::too_many_arguments, reason = "one filter of a SUBSCRIBE with all that it may change")]
    pub(super) fn subscribe_full<E: Effects>(
        &mut self,
        index: u32,
        text: &str,
        asked: &Asked,
        subscription_id: u32,
        wanted: &mut Vec<Wanted>,
        pending: &mut Pending,
        fx: &mut E,
    ) -> ReasonCode {
        let share = topic::parse_share(text).ok().flatten();
        let is_known = self.is_subscribed(index, text);
        let Some(session) = self.clients.sessions.get(index) else { return ReasonCode::UnspecifiedError };
        if !is_known
            && session.subscriptions.len() >= self.config().limits.subscriptions_per_session_max as usize
        {
            return ReasonCode::QuotaExceeded;
        }
        let kept = self.clients.journal.keeps(session).then_some(session.serial.0);
        if kept.is_some() && self.clients.journal.is_down() {
            self.metrics().storage_refused.inc();
            return ReasonCode::QuotaExceeded;
        }
        if !is_known && !self.usages.is_empty() && !self.enter_subscription(index) {
            return ReasonCode::QuotaExceeded;
        }
        let qos = (asked.qos as u8).min(self.config().mqtt.qos_max);
        let options =
            SubscriptionOptions::new(qos, asked.no_local, asked.retain_as_published, subscription_id > 0);
        let mut stored = options.bits();
        if let Some(share) = share {
            self.join_share(index, &share, options, subscription_id, pending, fx);
        } else {
            self.subscribe_filter(index, text, options, subscription_id);
            if kept.is_some() && !is_known {
                self.interest.make_durable(text);
            }
            let wants_retained = match asked.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => !is_known,
                RetainHandling::DoNotSend => false,
            };
            if wants_retained && self.config().mqtt.retain_available && self.may_have_retained(text) {
                wanted.push(Wanted { filter: text.to_owned(), options, id: subscription_id });
                stored |= if qos > 0 { RETAINED_UNDER_WAY } else { 0 };
            }
            stored |= self.cursor_mark(index, text, options);
        }
        if let Some(serial) = kept {
            let (options, id) = (stored, subscription_id);
            self.clients.journal.write(&Entry::Subscribe { serial, filter: text, options, id });
        }
        match qos {
            0 => ReasonCode::Success,
            1 => ReasonCode::GrantedQoS1,
            _ => ReasonCode::GrantedQoS2,
        }
    }

    /// What a client means by a filter: a prefix of emqttd may stand for a Shared Subscription, and by the rules it may be another
    /// one. Not checked yet.
    fn meant_filter<'f>(&self, id: ConnectionId, kind: PacketKind, text: &'f str) -> Cow<'f, str> {
        let canonical = topic::canonical(text);
        let rewritten = match topic::parse_share(&canonical) {
            Ok(Some(share)) => self
                .rewritten(id, None, kind, share.filter)
                .map(|filter| format!("$share/{}/{filter}", share.name)),
            Ok(None) => self.rewritten(id, None, kind, &canonical),
            Err(_) => None,
        };
        rewritten.map_or(canonical, Cow::Owned)
    }

    /// A filter with the client's mountpoint before it, if it has one.
    fn full_filter<'f>(&self, id: ConnectionId, filter: &'f str) -> Cow<'f, str> {
        match self.clients.connections.get(id) {
            Some(connection) => mounted_filter(self.mount(connection), filter),
            None => filter.into(),
        }
    }

    /// Whether a filter may be subscribed with, and which Shared Subscription it names.
    pub(super) fn check_filter<'a>(&self, text: &'a str) -> Result<Option<topic::Share<'a>>, ReasonCode> {
        let config = self.config();
        let limits = topic::TopicLimits {
            len_max: config.limits.topic_len_max,
            levels_max: config.limits.topic_levels_max,
        };
        topic::check_filter(text, &limits).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        let share = topic::parse_share(text).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if share.is_some() && !config.mqtt.shared_available {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if topic::has_wildcard(text) && !config.mqtt.wildcard_available {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        Ok(share)
    }

    fn subscribe_filter(
        &mut self,
        index: u32,
        text: &str,
        options: SubscriptionOptions,
        subscription_id: u32,
    ) {
        let subscribed = self.router.subscribe(text, SessionIndex(index), options);
        if subscribed.is_new_filter {
            self.announce(subscribed.filter);
        }
        self.add_subscription(
            index,
            Subscription { filter: subscribed.filter.0, id: subscription_id, shared: false },
        );
    }

    /// Notes a subscription with its session.
    pub(super) fn add_subscription(&mut self, index: u32, subscription: Subscription) {
        let Some(session) = self.clients.sessions.get_mut(index) else { return };
        let is_first = session.subscriptions.is_empty();
        if session.subscriptions.insert(subscription) {
            let metrics = self.metrics();
            metrics.subscriptions.inc();
            if is_first {
                metrics.subscribers.inc();
            }
        }
    }

    /// All Shared Subscriptions of a SUBSCRIBE have their homes' answer: SUBACK, when the disk has it.
    pub(super) fn finish_suback<E: Effects>(&mut self, suback: Box<PendingSubAck>, fx: &mut E) {
        if self.waits_for_disk(suback.connection) {
            self.clients.journal.wait(Awaited::SubAck(suback));
        } else {
            self.send_suback(&suback, fx);
        }
    }

    /// SUBACK.
    pub(super) fn send_suback<E: Effects>(&mut self, suback: &PendingSubAck, fx: &mut E) {
        if self.clients.sight.traces.is_on() {
            let text = || observe::reasons("SUBACK", suback.packet_id.value(), &suback.reasons);
            self.trace_sent(suback.connection, text, fx);
        }
        let Some(connection) = self.clients.connections.get(suback.connection) else { return };
        let (version, index) = (connection.version, connection.session);
        let output = fx.output(suback.connection);
        let before = output.len();
        packet::encode_suback(version, suback.packet_id, suback.reasons.iter().copied(), output);
        let metrics = self.metrics();
        count_sent(metrics, &metrics.packets_suback, output.len() - before);
        self.ready_cursor(index);
    }

    pub(super) fn unsubscribe<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        unsubscribe: &Unsubscribe<'_>,
        fx: &mut E,
    ) -> Flow {
        self.metrics().packets_unsubscribe.inc();
        let Some(connection) = self.clients.connections.get(id) else { return Flow::Gone };
        let (is_v5, index) = (connection.is_v5(), connection.session);
        if self.clients.journal.is_down() && self.is_kept(id) {
            self.metrics().storage_refused.inc();
            if !is_v5 {
                // Its UNSUBACK can't say no.
                self.fail(now, id, &Error::StorageDown, fx);
                return Flow::Gone;
            }
            let refused: Vec<_> =
                unsubscribe.filters.clone().map(|_| ReasonCode::ImplementationSpecificError).collect();
            self.send_unsuback(id, unsubscribe.packet_id, &refused, fx);
            return Flow::Next;
        }
        let reasons: Vec<ReasonCode> =
            unsubscribe.filters.clone().map(|filter| self.unsubscribe_one(id, index, filter, fx)).collect();
        let packet_id = unsubscribe.packet_id;
        if self.waits_for_disk(id) {
            let unsuback = PendingSubAck { connection: id, packet_id, reasons };
            self.clients.journal.wait(Awaited::UnsubAck(Box::new(unsuback)));
        } else {
            self.send_unsuback(id, packet_id, &reasons, fx);
        }
        Flow::Next
    }

    pub(super) fn send_unsuback<E: Effects>(
        &mut self,
        id: ConnectionId,
        packet_id: PacketId,
        reasons: &[ReasonCode],
        fx: &mut E,
    ) {
        if self.clients.sight.traces.is_on() {
            self.trace_sent(id, || observe::reasons("UNSUBACK", packet_id.value(), reasons), fx);
        }
        let Some(version) = self.clients.connections.get(id).map(|connection| connection.version) else {
            return;
        };
        let output = fx.output(id);
        let before = output.len();
        packet::encode_unsuback(version, packet_id, reasons.iter().copied(), output);
        let metrics = self.metrics();
        count_sent(metrics, &metrics.packets_unsuback, output.len() - before);
    }

    fn unsubscribe_one<E: Effects>(
        &mut self,
        id: ConnectionId,
        index: u32,
        text: &str,
        fx: &mut E,
    ) -> ReasonCode {
        let filter = self.meant_filter(id, PacketKind::Unsubscribe, text);
        match self.check_filter(&filter) {
            Ok(_) => {}
            Err(ReasonCode::TopicFilterInvalid) => return ReasonCode::TopicFilterInvalid,
            // What can't be subscribed to was not.
            Err(_) => return ReasonCode::NoSubscriptionExisted,
        }
        let full = self.full_filter(id, &filter);
        self.unsubscribe_full(index, &full, fx)
    }

    /// Ends a session's subscription with a checked filter as the broker has it (a mountpoint before it).
    pub(super) fn unsubscribe_full<E: Effects>(&mut self, index: u32, text: &str, fx: &mut E) -> ReasonCode {
        let share = topic::parse_share(text).ok().flatten();
        let Some(session) = self.clients.sessions.get_mut(index) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        let found = match share {
            Some(share) => {
                self.memberships.find(index, share.name, share.filter).map(|number| (true, number))
            }
            None => self.router.find(text).map(|filter| (false, filter.0)),
        };
        let Some((is_shared, number)) = found.filter(|(s, n)| session.subscriptions.remove(*s, *n).is_some())
        else {
            return ReasonCode::NoSubscriptionExisted;
        };
        let (is_last, serial) = (session.subscriptions.is_empty(), session.serial);
        let is_kept = self.clients.journal.keeps(session);
        if is_kept {
            self.clients.journal.write(&Entry::Unsubscribe { serial: serial.0, filter: text });
        }
        let metrics = self.metrics();
        metrics.subscriptions.dec();
        if !self.usages.is_empty() {
            self.leave_subscription(index);
        }
        if is_last {
            metrics.subscribers.dec();
        }
        if is_shared {
            self.leave_share(index, serial, number, fx);
        } else {
            self.unsubscribe_filter(FilterId(number), SessionIndex(index), is_kept);
            self.drop_cursors(index, text);
        }
        ReasonCode::Success
    }

    /// Takes a subscription out of the index, and the filter out of the interest table with its last one. `is_kept`: its
    /// session outlasts the process.
    pub(super) fn unsubscribe_filter(&mut self, filter: FilterId, session: SessionIndex, is_kept: bool) {
        let text = self.router.filter(filter).to_owned();
        if is_kept {
            self.interest.make_volatile(&text);
        }
        if self.router.unsubscribe_id(filter, session).is_some_and(|unsubscribed| unsubscribed.filter_gone) {
            self.withdraw(&text);
        }
    }
}

/// No Local on a Shared Subscription [MQTT-3.8.3-4].
fn shared_no_local(filter: &str, options: &Asked) -> Option<Error> {
    (options.no_local && topic::canonical(filter).starts_with("$share/"))
        .then_some(Error::Violation("No Local on a Shared Subscription [MQTT-3.8.3-4]"))
}
