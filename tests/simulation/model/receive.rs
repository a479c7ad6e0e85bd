//! The checks at every PUBLISH that a client reads.

use std::collections::BTreeSet;

use super::message::{MessageNumber, matches, number_of};
use super::session::{Snapshot, Subscription};
use super::{Model, SessionNumber};
use crate::trace::{Check, broken, ensure};
use crate::wire::Publish;

/// A PUBLISH as its client saw it.
pub struct Reception<'p> {
    pub now: u64,
    /// When the broker wrote it.
    pub written: u64,
    pub is_v5: bool,
    pub session: SessionNumber,
    pub publish: &'p Publish,
    /// Topic Name, aliases resolved.
    pub topic: &'p str,
    /// Not a repetition as far as the client can tell.
    pub fresh: bool,
    /// It came on this connection before.
    pub retried: bool,
}

/// How a message came to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Live,
    /// As a retained message, for a new subscription.
    Retained,
    /// Nobody can tell.
    Either,
}

impl Model {
    /// Checks a PUBLISH against everything known; gives the message that it carries, if it carries one of ours.
    pub fn received(&mut self, reception: &Reception<'_>) -> Check<Option<MessageNumber>> {
        self.checked.receptions += 1;
        let Reception { session, publish, topic, .. } = reception;
        let repeated = reception.retried || self.sessions[*session].connections > 1;
        ensure(!publish.dup || repeated, "dup-only-repeated", || {
            format!("DUP on the first connection of the session: {publish:?}")
        })?;
        if topic.starts_with("$SYS/") {
            let wanted = self.sessions[*session].subscriptions.iter().any(|s| matches(&s.filter, topic));
            ensure(wanted, "unmatched-delivery", || format!("nobody asked for {topic}"))?;
            self.sys_received(reception)?;
            return Ok(None);
        }
        if publish.payload.is_empty() {
            self.received_delete(reception)?;
            return Ok(None);
        }
        let Some(number) = number_of(&publish.payload).filter(|&n| n < self.messages.len()) else {
            return broken("payload-unaltered", format!("{publish:?}"));
        };
        let message = &self.messages[number];
        ensure(message.topic == *topic && message.size == publish.payload.len(), "topic-unaltered", || {
            format!("message {number} went to {} and came on {topic}", message.topic)
        })?;
        ensure(!message.is_denied(), "denied-delivery", || {
            format!("message {number} {message:?} was denied")
        })?;
        self.check_will(number, reception)?;
        let way = self.check_wanted(number, reception)?;
        self.check_expiry(number, reception, way)?;
        self.check_retained(number, reception, way)?;
        if way == Way::Live {
            self.check_order(number, reception)?;
        }
        self.count(number, reception, way)?;
        Ok(Some(number))
    }

    /// A Will is seen only when it is due.
    fn check_will(&self, number: MessageNumber, reception: &Reception<'_>) -> Check {
        let will = self.connections.iter().filter_map(|c| c.will).find(|w| w.message == number);
        let undue = will.is_some_and(|will| !will.may_be_seen(reception.now));
        ensure(!undue, "will-only-when-due", || {
            format!("message {number}: {will:?} seen at {}", reception.now)
        })
    }

    /// Some subscription asks for it, with this QoS, RETAIN and Subscription Identifiers. Says which way it came.
    fn check_wanted(&self, number: MessageNumber, reception: &Reception<'_>) -> Check<Way> {
        let (message, session) = (&self.messages[number], &self.sessions[reception.session]);
        let publish = reception.publish;
        let live: Vec<&Subscription> = session.live(message).collect();
        let snapshots: Vec<&Subscription> = session.snapshots(message).collect();
        let is_live = live.iter().any(|s| publish.retain == (s.retain_as_published && message.retain));
        let is_snapshot = publish.retain && !snapshots.is_empty();
        ensure(!live.is_empty() || is_snapshot, "unmatched-delivery", || {
            format!(
                "message {number} {message:?} came to session {} of client {}",
                reception.session, session.client
            )
        })?;
        ensure(is_live || is_snapshot, "retain-flag", || {
            format!("message {number} of RETAIN {} came with RETAIN {}", message.retain, publish.retain)
        })?;
        let all = || live.iter().chain(snapshots.iter());
        let fits = |s: &&Subscription| {
            let replaced = s.successor.map(|next| &session.subscriptions[next]);
            publish.qos == message.qos.min(s.qos_max())
                || replaced.is_some_and(|r| publish.qos == message.qos.min(r.qos_max()))
        };
        ensure(all().any(fits), "delivery-qos", || {
            format!("message {number} of QoS {} came with QoS {}", message.qos, publish.qos)
        })?;
        // Of a Shared Subscription also the identifier that it had before it was left and made again.
        let former = |s: &Subscription| {
            let same = |o: &Subscription| s.share.is_some() && o.is_same_filter(s);
            session.subscriptions.iter().filter(move |o| same(o)).map(|o| o.id).collect::<Vec<u32>>()
        };
        let known =
            publish.subscription_ids.iter().all(|id| all().any(|s| s.id == *id || former(s).contains(id)));
        ensure(known, "subscription-identifiers", || {
            format!("message {number}: {:?}", publish.subscription_ids)
        })?;
        if let ([one], []) | ([], [one]) = (live.as_slice(), snapshots.as_slice())
            && one.successor.is_none()
            && one.share.is_none()
        {
            let expected: Vec<u32> = (one.id > 0).then_some(one.id).into_iter().collect();
            ensure(publish.subscription_ids == expected, "subscription-identifiers", || {
                format!("message {number}: {:?} instead of {expected:?}", publish.subscription_ids)
            })?;
        }
        Ok(match (is_live, is_snapshot) {
            (true, true) => Way::Either,
            (true, false) => Way::Live,
            _ => Way::Retained,
        })
    }

    /// Retained: never one older than what was there when the SUBSCRIBE was sent, never an older one after a newer
    /// live one.
    fn check_retained(&mut self, number: MessageNumber, reception: &Reception<'_>, way: Way) -> Check {
        let message = &self.messages[number];
        if !message.retain {
            return Ok(());
        }
        let (key, once) = (message.key, message.sent.len() <= 1);
        let session = &self.sessions[reception.session];
        if way == Way::Retained && !reception.publish.dup {
            self.checked.retained += 1;
            let newest = session.live_retained.get(&message.topic).copied().unwrap_or(0);
            ensure(newest <= key || !once, "retained-never-older-after-newer", || {
                format!(
                    "message {number} {message:?} (key {key}) came as retained after a live one of key {newest}"
                )
            })?;
            let floor = |s: &Subscription| s.floors.get(&message.topic).copied().unwrap_or(0);
            let fresh_enough = session.snapshots(message).any(|s| floor(s) <= key);
            ensure(fresh_enough || !once, "retained-not-stale", || {
                format!(
                    "message {number} {message:?} came although a newer one was accepted before SUBSCRIBE"
                )
            })?;
        }
        let topic = message.topic.clone();
        let session = &mut self.sessions[reception.session];
        if way == Way::Live && once {
            let newest = session.live_retained.entry(topic.clone()).or_default();
            *newest = (*newest).max(key);
        }
        let newest = session.newest_retained.entry(topic).or_default();
        *newest = (*newest).max(key);
        Ok(())
    }

    /// First receptions are in the order of publication, for each publisher, topic and QoS [MQTT-4.6.0-6].
    fn check_order(&mut self, number: MessageNumber, reception: &Reception<'_>) -> Check {
        let message = &self.messages[number];
        let session = &self.sessions[reception.session];
        let shared = session.live(message).any(|s| s.share.is_some());
        let known = session.got.contains_key(&number);
        // A repetition of a QoS 1 PUBLISH may be news to who subscribed in between, or whose mqueue was full, or where it expired; one of a
        // birth comes after the Wills of the connections that had no time for it.
        let lasting = session.is_owed(message) && self.queue_len_max >= 100 && message.expiry_s.is_none();
        let birth = message.topic.starts_with("w/");
        let counts = message.sent.len() <= 1 || !birth && (message.qos == 2 || lasting);
        if shared || known || !counts {
            return Ok(());
        }
        let stream = (message.publisher, message.topic.clone(), message.qos, reception.publish.qos);
        let key = message.key;
        let out_of_turn = session.last.get(&stream).is_some_and(|&last| self.is_out_of_turn(number, last));
        if out_of_turn {
            return Ok(());
        }
        let message = &self.messages[number];
        let last = self.sessions[reception.session].last.entry(stream).or_default();
        ensure(key >= *last, "order", || {
            format!(
                "message {number} (key {key}) of client {} on {} at QoS {}/{} came after key {last}",
                message.publisher, message.topic, message.qos, reception.publish.qos
            )
        })?;
        *last = key;
        Ok(())
    }

    /// Whether a message may come after the one with key `last` although it was published before: nobody knows when
    /// the broker saw a connection that was left before its answer; only who takes a connection over waits for its
    /// Will; a Will that is retained may overtake what was not acknowledged when the connection ended.
    fn is_out_of_turn(&self, number: MessageNumber, last: u64) -> bool {
        let message = &self.messages[number];
        let connection = &self.connections[message.socket];
        if connection.connack.is_none() || connection.is_contested {
            return true;
        }
        let overtaking = self.messages.iter().find(|m| m.key == last && m.topic == message.topic);
        let over_the_slice = overtaking.is_some_and(|m| m.retain);
        if !message.topic.starts_with("w/") {
            // Nobody answers a QoS 0 message, so nobody can wait for it.
            return message.qos == 0 && over_the_slice;
        }
        let (mine, other) = (message.key / 2, last / 2);
        if message.will {
            return last > message.key && (over_the_slice || !connection.is_taken_over || other != mine + 1);
        }
        let acknowledged = |until: u64| message.accepted.is_some_and(|at| at < until);
        overtaking.is_some_and(|m| {
            last > message.key && (m.retain || other > mine) && !acknowledged(m.interval().0)
        })
    }

    /// No copy too many.
    fn count(&mut self, number: MessageNumber, reception: &Reception<'_>, way: Way) -> Check {
        if self.workers[self.sessions[reception.session].client] {
            self.expire_members(reception.now);
        }
        let message = &self.messages[number];
        let session = &self.sessions[reception.session];
        let qos = reception.publish.qos;
        let sends = if message.qos == 1 { message.sent.len().max(1) as u32 } else { 1 };
        let plain = session.live(message).any(|s| s.share.is_none());
        let shares: BTreeSet<_> =
            session.live(message).filter(|s| s.share.is_some()).map(|s| (&s.share, &s.filter)).collect();
        let shares = shares.len() as u32;
        let snapshots = session.snapshots(message).count() as u32;
        let again = if qos == 1 && shares > 0 { self.members_gone } else { 0 };
        let allowed = sends * (u32::from(plain) + shares) + snapshots + again;
        let got = session.got(number);
        if reception.fresh {
            let invariant = if message.qos == 2 && qos == 2 { "exactly-once" } else { "no-duplicate" };
            ensure(got.fresh < allowed, invariant, || {
                format!(
                    "message {number} {message:?} came to client {} more than {allowed} times",
                    session.client
                )
            })?;
            if self.workers[session.client] && !plain && message.topic.starts_with("s/") {
                self.count_shared(number, qos, sends)?;
            }
        }
        let got = self.sessions[reception.session].got.entry(number).or_default();
        if got.any == 0 {
            got.first_at = reception.now;
            let queued = way == Way::Live && qos > 0 && !reception.publish.dup;
            got.queued_at = queued.then_some(reception.written);
        }
        got.any += 1;
        got.fresh += u32::from(reception.fresh);
        Ok(())
    }

    /// One member of each Shared Subscription gets it; at QoS 1 another one too if a member's session ended.
    fn count_shared(&mut self, number: MessageNumber, qos: u8, sends: u32) -> Check {
        let (topic, published) = (self.messages[number].topic.clone(), self.messages[number].qos);
        let mut groups: Vec<(&str, &str)> = Vec::new();
        for subscription in self.sessions.iter().flat_map(|s| &s.subscriptions) {
            if let Some(share) = &subscription.share
                && matches(&subscription.filter, &topic)
                && published.min(subscription.qos) == qos
                && !groups.contains(&(share, &subscription.filter))
            {
                groups.push((share, &subscription.filter));
            }
        }
        let again = if qos == 1 { self.members_gone } else { 0 };
        let allowed = groups.len() as u32 * sends + again;
        let fresh = self.shared_fresh.entry((number, qos)).or_default();
        *fresh += 1;
        ensure(*fresh <= allowed, "shared-one-member", || {
            format!("message {number} on {topic} came {fresh} times for {groups:?}")
        })
    }

    /// An empty payload: somebody deleted a retained message, and this session asked to hear of it.
    fn received_delete(&self, reception: &Reception<'_>) -> Check {
        let session = &self.sessions[reception.session];
        let wanted = self
            .messages
            .iter()
            .filter(|m| m.delete && m.topic == reception.topic)
            .any(|m| session.live(m).any(|s| reception.publish.retain == s.retain_as_published));
        ensure(wanted, "unmatched-delivery", || {
            format!("empty payload on {}: {:?}", reception.topic, reception.publish)
        })
    }
}

impl Snapshot {
    /// Whether retained messages must come.
    pub fn is_certain(self) -> bool {
        self == Self::Yes
    }
}
