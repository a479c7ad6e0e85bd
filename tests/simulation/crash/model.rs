//! What a broker that crashes promises to clients whose sessions outlast it. A second, smaller model beside the large one: only
//! durable sessions, QoS 1 and 2, and only what a crash could break.
//!
//! What a crash may do, and nothing more: a message that was not acknowledged is lost or kept; a QoS 1 message comes again,
//! with or without DUP; a SUBSCRIBE, UNSUBSCRIBE or CONNECT without an answer has happened or not; a Will waits for its
//! client once more; retained messages that a SUBSCRIBE asked for come again from the first one if not all had come.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::message::{MessageNumber, matches};
use crate::trace::{Check, ensure};

/// Filters that clients choose from. With the Subscription Identifier that is its place here, QoS and options by place.
pub const FILTERS: [&str; 10] =
    ["t/0", "t/1", "t/+", "t/#", "+/0", "r/#", "r/+/0", "w/#", "$share/g/s/+", "$share/h/s/0"];

/// Longest that a packet is under way or unread, ms.
const WIRE_MS: u64 = 1_500;

/// The QoS of every subscription to a filter.
pub fn qos_of(filter: usize) -> u8 {
    if FILTERS[filter] == "w/#" { 2 } else { 1 + (filter % 2) as u8 }
}

/// Retain As Published of every subscription to a filter, in 5.0.
pub fn keeps_retain(filter: usize) -> bool {
    filter.is_multiple_of(3)
}

/// A filter without its Share Name, and whether it has one.
pub fn bare(filter: usize) -> (&'static str, bool) {
    let text = FILTERS[filter];
    match text.strip_prefix("$share/") {
        Some(rest) => (rest.split_once('/').map_or("", |(_, filter)| filter), true),
        None => (text, false),
    }
}

/// An Application Message.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub publisher: usize,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    pub delete: bool,
    pub size: usize,
    /// Stamps of its transmissions; a Will's: none.
    pub sent: Vec<u64>,
    /// When its publisher heard that it is accepted: stamp and time.
    pub accepted: Option<(u64, u64)>,
    pub will: Option<Will>,
    /// Message Expiry Interval in seconds, and when the last one that was sent with it is over, ms.
    pub expiry_s: Option<u32>,
    pub expires_at: u64,
}

/// What is known of a Will.
#[derive(Debug, Clone, Copy)]
pub struct Will {
    pub socket: usize,
    pub delay_s: u32,
}

/// One SUBSCRIBE.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Place in `FILTERS`.
    pub filter: usize,
    pub sent: u64,
    pub acked: Option<(u64, u64)>,
    /// UNSUBSCRIBE was sent.
    pub leaving: Option<u64>,
    /// It can't cause a delivery of anything sent from then on.
    pub over: Option<u64>,
}

/// How often a session got a message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Got {
    /// As a new one; and those of them that were published and came with QoS 2.
    pub fresh: u32,
    pub exact: u32,
    /// When it came first, ms.
    pub first_at: u64,
}

/// A session as its client knows it.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub client: usize,
    pub is_v5: bool,
    pub ended: bool,
    /// Its client never comes back.
    pub is_left: bool,
    /// Session Expiry Interval, seconds; `None`: does not expire.
    pub expiry_s: Option<u32>,
    pub subscriptions: Vec<Subscription>,
    pub got: BTreeMap<MessageNumber, Got>,
    /// Last key by publisher, topic, QoS of the publication and of the delivery.
    pub last: BTreeMap<(usize, String, u8, u8), MessageNumber>,
}

impl Session {
    /// Whether the client has, or may have, a subscription to a filter.
    pub fn knows(&self, filter: usize) -> bool {
        self.subscriptions.iter().any(|s| s.filter == filter && s.over.is_none())
    }

    /// Subscriptions that may deliver a message live.
    fn live<'s>(&'s self, message: &'s Message) -> impl Iterator<Item = &'s Subscription> {
        let first = message.sent.first().copied().unwrap_or(0);
        let once = message.sent.len() == 1;
        let until = message.accepted.filter(|_| once).map_or(u64::MAX, |accepted| accepted.0);
        self.subscriptions.iter().filter(move |s| {
            let (filter, is_shared) = bare(s.filter);
            // A Shared Subscription gives a message again when its member's session ends: also to one who came later.
            matches(filter, &message.topic)
                && (is_shared || s.sent <= until)
                && first <= s.over.unwrap_or(u64::MAX)
        })
    }

    /// Whether a message must come once it is accepted.
    fn is_owed(&self, message: &Message, is_shared: bool) -> bool {
        let Some(&first) = message.sent.first() else { return false };
        !self.ended
            && !self.is_left
            && self.subscriptions.iter().any(|s| {
                let (filter, shared) = bare(s.filter);
                shared == is_shared
                    && matches(filter, &message.topic)
                    && s.acked.is_some_and(|acked| acked.0 < first)
                    && s.leaving.is_none()
            })
    }
}

crate::seeds::counts! {
    /// How often each promise was put to the test.
    Checked {
        crashes,
        failures,
        checkpoints,
        receptions,
        owed,
        once,
        shared,
        retained,
        wills,
        resumed,
        refused,
        restored,
        snapshots,
        given_back,
        expiring,
        sessions_expired,
        qos0_retained,
        wall_jumps,
    }
}

/// All clients' knowledge.
#[derive(Default)]
pub struct Model {
    pub messages: Vec<Message>,
    pub sessions: Vec<Session>,
    /// Moments of the crashes, ms.
    pub crashes: Vec<u64>,
    /// What was acknowledged so many ms before a crash may be lost, ms; `None`: nothing may.
    pub tail_ms: Option<u64>,
    /// Transmissions of retained messages by topic: stamp, message, in order.
    pub transmissions: BTreeMap<String, Vec<(u64, MessageNumber)>>,
    /// The last of them, by topic, that its publisher knows accepted.
    pub settled: BTreeMap<String, (u64, MessageNumber)>,
    /// Fresh copies that members of Shared Subscriptions got, by filter and message.
    pub shared_fresh: BTreeMap<(usize, MessageNumber), u32>,
    /// Places in Shared Subscriptions that were left.
    pub members_gone: u32,
    pub checked: Checked,
}

/// A PUBLISH as its client saw it.
#[derive(Debug)]
pub struct Reception<'p> {
    pub now: u64,
    pub session: usize,
    pub number: MessageNumber,
    pub qos: u8,
    pub dup: bool,
    pub retain: bool,
    pub ids: &'p [u32],
    /// Not a repetition as far as the client can tell.
    pub fresh: bool,
}

impl Model {
    /// A PUBLISH goes out (again).
    pub fn sent(&mut self, number: MessageNumber, stamp: u64, now: u64) {
        let message = &mut self.messages[number];
        message.sent.push(stamp);
        message.expires_at = message.expiry_s.map_or(u64::MAX, |seconds| now + u64::from(seconds) * 1000);
        if message.retain {
            self.transmissions.entry(message.topic.clone()).or_default().push((stamp, number));
        }
    }

    /// PUBACK or PUBREC has come in.
    pub fn accepted(&mut self, number: MessageNumber, stamp: u64, now: u64) {
        let message = &mut self.messages[number];
        message.accepted.get_or_insert((stamp, now));
        // The repetition of a QoS 2 PUBLISH changes nothing if the first one was seen.
        let counts = if message.qos == 2 { message.sent.first() } else { message.sent.last() };
        let last = counts.copied().unwrap_or(0);
        if message.retain {
            let settled = self.settled.entry(message.topic.clone()).or_default();
            *settled = (*settled).max((last, number));
        }
    }

    /// A session is over, or may be.
    pub fn session_ended(&mut self, session: usize) {
        let session = &mut self.sessions[session];
        if !std::mem::replace(&mut session.ended, true) {
            self.members_gone +=
                session.subscriptions.iter().filter(|s| bare(s.filter).1 && s.over.is_none()).count() as u32;
        }
    }

    /// Whether what was true for a client at `at` may be lost with a crash.
    pub fn may_be_tail(&self, at: u64) -> bool {
        self.tail_ms.is_some_and(|ms| self.crashes.iter().any(|crash| (at..=at + ms).contains(crash)))
    }

    /// Checks a PUBLISH with one of our payloads.
    pub fn received(&mut self, reception: &Reception<'_>) -> Check {
        self.checked.receptions += 1;
        let Reception { session, number, qos, .. } = *reception;
        let message = &self.messages[number];
        let story = || format!("message {number} {message:?} came as {reception:?}");
        let session = &self.sessions[session];
        let live: Vec<&Subscription> = session.live(message).collect();
        let asked = session
            .subscriptions
            .iter()
            .filter(|s| !bare(s.filter).1 && message.retain && matches(FILTERS[s.filter], &message.topic));
        let asked: Vec<&Subscription> = asked.collect();
        let is_snapshot = reception.retain && !asked.is_empty();
        ensure(!live.is_empty() || is_snapshot, "crash-unmatched-delivery", story)?;
        let all = || live.iter().chain(&asked);
        let keeps = |s: &&&Subscription| session.is_v5 && keeps_retain(s.filter);
        let is_right = is_snapshot
            || reception.retain == (message.retain && live.iter().any(|s| keeps(&s)))
            || message.retain && !reception.retain && !live.iter().all(|s| keeps(&s));
        ensure(is_right, "crash-retain-flag", story)?;
        let fits = |s: &&Subscription| message.qos.min(qos_of(s.filter)) == qos;
        ensure(all().any(fits), "crash-delivery-qos", story)?;
        let known: BTreeSet<u32> = all().map(|s| s.filter as u32 + 1).collect();
        let are_known = reception.ids.iter().all(|id| known.contains(id));
        let are_there = reception.ids.is_empty() != session.is_v5;
        ensure(are_known && are_there, "crash-subscription-identifiers", story)?;
        // What goes out for the first time has time left, a moment for the wire apart [MQTT-3.3.2-5].
        let is_first = reception.fresh && !reception.dup && message.expiry_s.is_some();
        let is_late = is_first && message.expires_at.saturating_add(WIRE_MS) < reception.now;
        ensure(!is_late || self.tail_ms.is_some(), "crash-no-expired-message", story)?;
        self.checked.expiring += u64::from(message.expiry_s.is_some());
        self.checked.qos0_retained += u64::from(message.retain && message.qos == 0);
        if !is_snapshot {
            self.check_order(reception)?;
        }
        self.count(reception)
    }

    /// First receptions come in the order of publication, for each publisher, topic and QoS.
    fn check_order(&mut self, reception: &Reception<'_>) -> Check {
        let Reception { session, number, qos, .. } = *reception;
        let message = &self.messages[number];
        let topic = &message.topic;
        let session = &self.sessions[session];
        // The repetition of a PUBLISH may be news to who subscribed in between; of a QoS 2 one only if a crash forgot the first.
        let is_known_at_once = message.qos == 2 && self.crashes.is_empty();
        let counts = message.sent.len() == 1 || is_known_at_once || session.is_owed(message, false);
        // The first one may have expired before it came here, and its repetition begins anew.
        let counts = counts && (message.sent.len() == 1 || message.expiry_s.is_none());
        let is_shared = session.live(message).any(|s| bare(s.filter).1);
        let is_known = session.got.contains_key(&number);
        if is_shared || is_known || !counts || message.will.is_some() || self.tail_ms.is_some() {
            return Ok(());
        }
        let stream = (message.publisher, topic.clone(), message.qos, qos);
        let last = session.last.get(&stream).copied().unwrap_or(0);
        ensure(last <= number, "crash-order", || {
            format!("message {number} {message:?} came to client {} after {last}", session.client)
        })?;
        self.sessions[reception.session].last.insert(stream, number);
        Ok(())
    }

    /// No copy too many.
    fn count(&mut self, reception: &Reception<'_>) -> Check {
        let Reception { number, qos, .. } = *reception;
        let message = &self.messages[number];
        let session = &self.sessions[reception.session];
        let plain = u32::from(session.live(message).any(|s| !bare(s.filter).1));
        let shares: BTreeSet<usize> =
            session.live(message).filter(|s| bare(s.filter).1).map(|s| s.filter).collect();
        let snapshots = session
            .subscriptions
            .iter()
            .filter(|s| message.retain && !bare(s.filter).1 && matches(FILTERS[s.filter], &message.topic));
        let snapshots = snapshots.count() as u32 * (self.crashes.len() as u32 + 1);
        let places = plain + shares.len() as u32 + snapshots;
        let is_exact = message.qos == 2 && qos == 2;
        let again = (self.crashes.len() as u32 + 1) * message.sent.len().max(1) as u32 + self.members_gone;
        let allowed = if is_exact { places } else { places * again };
        let fresh = reception.fresh && (is_exact || !reception.dup);
        let got = session.got.get(&number).copied().unwrap_or_default();
        // Before its QoS 2 PUBLISH is committed it may have come to a subscription with QoS 1.
        let before = if is_exact { got.exact } else { got.fresh };
        let is_right = !fresh || before < allowed || self.tail_ms.is_some();
        ensure(is_right, if is_exact { "crash-exactly-once" } else { "crash-no-duplicate" }, || {
            format!("message {number} {message:?} came to client {} {} times", session.client, before + 1)
        })?;
        self.checked.once += u64::from(fresh && is_exact);
        for filter in shares.into_iter().filter(|_| fresh && is_exact && plain == 0) {
            let fresh = self.shared_fresh.entry((filter, number)).or_default();
            *fresh += 1;
            let (fresh, groups) = (*fresh, self.groups(number));
            ensure(fresh <= groups || self.tail_ms.is_some(), "crash-shared-one-member", || {
                format!("message {number} {message:?} came {fresh} times to members")
            })?;
        }
        let got = self.sessions[reception.session].got.entry(number).or_default();
        got.fresh += u32::from(fresh);
        got.exact += u32::from(fresh && is_exact);
        if got.first_at == 0 {
            got.first_at = reception.now;
        }
        Ok(())
    }

    /// Shared Subscriptions that anyone may have which match a message.
    fn groups(&self, number: MessageNumber) -> u32 {
        let topic = &self.messages[number].topic;
        let all = self.sessions.iter().flat_map(|session| &session.subscriptions);
        let shared = all.filter(|s| bare(s.filter).1 && matches(bare(s.filter).0, topic));
        shared.map(|s| s.filter).collect::<BTreeSet<_>>().len() as u32
    }

    /// Everything is at rest: what was accepted has come.
    pub fn finish(&mut self) -> Check {
        for (number, message) in self.messages.iter().enumerate() {
            let Some((_, at)) = message.accepted else { continue };
            // PUBREL went with the tail: the broker takes the identifier's next message for a repetition.
            let is_taken_for_old =
                self.tail_ms.is_some() && message.qos == 2 && self.crashes.iter().any(|crash| *crash < at);
            if message.delete || message.expiry_s.is_some() || self.may_be_tail(at) || is_taken_for_old {
                continue;
            }
            for session in &self.sessions {
                let since = session.subscriptions.iter().filter_map(|s| s.acked.map(|acked| acked.1));
                if !session.is_owed(message, false) || since.into_iter().any(|at| self.may_be_tail(at)) {
                    continue;
                }
                self.checked.owed += 1;
                ensure(session.got.contains_key(&number), "crash-no-message-lost", || {
                    format!("client {} never got message {number} {message:?}", session.client)
                })?;
            }
            // A QoS 2 message goes with the session of the member that it was given to.
            let is_owed = self.sessions.iter().any(|s| s.is_owed(message, true));
            if !is_owed || message.qos == 2 && self.members_gone > 0 || self.tail_ms.is_some() {
                continue;
            }
            self.checked.shared += 1;
            let is_there = self.sessions.iter().any(|s| s.got.contains_key(&number));
            self.checked.given_back += u64::from(self.members_gone > 0);
            ensure(is_there, "crash-shared-no-message-lost", || {
                format!("no member got message {number} {message:?}")
            })?;
        }
        self.check_snapshots()
    }

    /// Who asked for retained messages and was told so got them all: one of each topic that had one for sure. Of QoS 0 none is promised.
    fn check_snapshots(&mut self) -> Check {
        if self.tail_ms.is_some() {
            return Ok(());
        }
        for session in self.sessions.iter().filter(|session| !session.ended && !session.is_left) {
            let asked = |s: &&Subscription| {
                !bare(s.filter).1 && s.acked.is_some() && s.leaving.is_none() && s.over.is_none()
            };
            for subscription in session.subscriptions.iter().filter(asked) {
                for (topic, transmissions) in &self.transmissions {
                    let mut sent = transmissions.iter().map(|(_, number)| &self.messages[*number]);
                    let may_go = sent.clone().any(|m| m.delete || m.expiry_s.is_some() || m.qos == 0);
                    let was_there = sent.any(|m| m.accepted.is_some_and(|at| at.0 < subscription.sent));
                    if may_go || !was_there || !matches(FILTERS[subscription.filter], topic) {
                        continue;
                    }
                    self.checked.snapshots += 1;
                    let has = session.got.keys().any(|number| self.messages[*number].topic == *topic);
                    ensure(has, "crash-snapshot-goes-on", || {
                        format!("client {} got nothing of {topic} for {subscription:?}", session.client)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// `found`: what a new subscriber to everything got as retained. It is what was accepted last, or sent after it.
    pub fn audit(&mut self, found: &BTreeMap<String, MessageNumber>) -> Check {
        if self.tail_ms.is_some() {
            return Ok(());
        }
        for (topic, transmissions) in &self.transmissions {
            let settled = self.settled.get(topic).copied();
            let may_expire =
                transmissions.iter().any(|(_, number)| self.messages[*number].expiry_s.is_some());
            let may_be: BTreeSet<Option<MessageNumber>> = transmissions
                .iter()
                .filter(|sent| settled.is_none_or(|settled| **sent >= settled))
                .map(|&(_, number)| Some(number).filter(|&number| !self.messages[number].delete))
                .chain(settled.is_none().then_some(None))
                .chain(may_expire.then_some(None))
                .collect();
            self.checked.retained += 1;
            let is = found.get(topic).copied();
            ensure(may_be.contains(&is), "crash-retained-is-the-last", || {
                format!("{topic}: a new subscriber got {is:?}, not one of {may_be:?}; settled {settled:?}")
            })?;
        }
        Ok(())
    }
}
