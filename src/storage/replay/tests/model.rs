//! A small store of sessions that writes the journal as shards do and knows what must come back. Written for plainness: lists,
//! copies, no sharing; nothing in common with the code that reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::packet::{ProtocolVersion, QoS};
use crate::session::{Delivery, Message, MessageHead, SessionSerial, ShareName, Will};
use crate::storage::{
    Entry, Restored, RestoredSession, RestoredSlot, RestoredSubscription, StoredDelivery, StoredMessage,
    StoredSession, StoredWill, SubscriptionIds,
};

const TOPICS: [&str; 5] = ["a", "b/c", "käse", "d/e/f", "w"];
const CLIENTS: [&str; 7] = ["c1", "c2", "c3", "c4", "c5", "c6", "c7"];
const FILTERS: [&str; 4] = ["a/#", "+", "$share/g/b/c", "d/e/f"];

/// The same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 16) as usize % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}

#[derive(Debug, Clone)]
struct Publication {
    topic: &'static str,
    payload: String,
    qos: QoS,
    retain: bool,
    publisher: u64,
    expires_at: Option<Timestamp>,
    is_committed: bool,
}

#[derive(Debug, Clone)]
struct Sending {
    number: u64,
    qos: QoS,
    retain: bool,
    ids: Vec<u32>,
    share: Option<(&'static str, &'static str)>,
    /// Written before its message was committed.
    is_conditional: bool,
}

#[derive(Debug, Clone, Copy)]
struct LastWord {
    delay_s: u32,
    expiry_s: Option<u32>,
    payload: &'static str,
}

#[derive(Debug, Clone)]
struct Known {
    client_id: &'static str,
    version: ProtocolVersion,
    expiry_s: u32,
    user: u32,
    last: u16,
    disconnected_at: Option<Timestamp>,
    will: Option<LastWord>,
    subscriptions: Vec<(&'static str, u8, u32)>,
    inbound: BTreeSet<u16>,
    inflight: Vec<(u16, Option<Sending>)>,
    mqueue: Vec<Sending>,
}

/// What a checkpoint has not written yet.
#[derive(Debug)]
struct Imaging {
    /// The shards know of it.
    is_noticed: bool,
    sessions: Vec<u64>,
    topics: Vec<&'static str>,
    wills: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) random: Random,
    /// Some sessions and messages expire.
    pub(crate) has_expiry: bool,
    /// Time and bytes of each frame.
    pub(crate) frames: Vec<(Timestamp, Vec<u8>)>,
    /// Where reading may begin: the last complete checkpoint.
    pub(crate) base: usize,
    begun: usize,
    imaging: Option<Imaging>,
    now: Timestamp,
    sessions: BTreeMap<u64, Known>,
    messages: BTreeMap<u64, Publication>,
    retained: BTreeMap<&'static str, u64>,
    wills: BTreeMap<u64, LastWord>,
    written: BTreeSet<u64>,
    serials: u64,
    numbers: u64,
}

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            has_expiry: true,
            frames: Vec::new(),
            base: 0,
            begun: 0,
            imaging: None,
            now: Timestamp(1000),
            sessions: BTreeMap::new(),
            messages: BTreeMap::new(),
            retained: BTreeMap::new(),
            wills: BTreeMap::new(),
            written: BTreeSet::new(),
            serials: 0,
            numbers: 0,
        }
    }

    /// When the journal ends.
    pub(crate) fn last_alive(&self) -> Timestamp {
        self.now
    }

    pub(crate) const fn is_checkpointing(&self) -> bool {
        self.imaging.is_some()
    }

    /// The checkpoint is void.
    pub(crate) fn abandon_checkpoint(&mut self) {
        self.imaging = None;
    }

    /// One turn of a shard: a frame with the entries of one or more changes.
    pub(crate) fn turn(&mut self) {
        self.now = self.now.plus_ms(self.random.below(50) as u64);
        self.frames.push((self.now, Vec::new()));
        for _ in 0..=self.random.below(3) {
            match self.random.below(24) {
                0..=2 => self.connect(),
                3 => self.disconnect(),
                4..=5 => self.subscribe(),
                6..=10 => self.publish(),
                11..=12 => self.commit_one(),
                13..=15 => self.send(),
                16..=18 => self.acknowledge(),
                19 => self.leave_queue(),
                20 => self.inbound(),
                21 => self.unretain(),
                22 => self.end(),
                _ => self.publish_will(),
            }
        }
    }

    /// Begins a checkpoint, or goes on with it.
    pub(crate) fn checkpoint(&mut self) {
        let Some(imaging) = &mut self.imaging else {
            self.begun = self.frames.len();
            let (sessions, topics, wills) = (Vec::new(), Vec::new(), Vec::new());
            self.imaging = Some(Imaging { is_noticed: false, sessions, topics, wills });
            return;
        };
        self.frames.push((self.now, Vec::new()));
        if !imaging.is_noticed {
            imaging.is_noticed = true;
            imaging.sessions = self.sessions.keys().copied().collect();
            imaging.topics = self.retained.keys().copied().collect();
            imaging.wills = self.wills.keys().copied().collect();
            self.written.clear();
        } else if let Some(serial) = imaging.sessions.pop() {
            self.image(serial);
        } else if let Some(topic) = imaging.topics.pop() {
            if let Some(number) = self.retained.get(topic).copied() {
                self.write_message(number);
                self.emit(&Entry::Retain { number });
            }
        } else if let Some(serial) = imaging.wills.pop() {
            self.image_will(serial);
        } else {
            self.base = self.begun;
            self.imaging = None;
        }
    }

    fn emit(&mut self, entry: &Entry<'_>) {
        let (_, frame) = self.frames.last_mut().unwrap();
        entry.encode(frame);
    }

    fn write_message(&mut self, number: u64) {
        if !self.written.insert(number) {
            return;
        }
        let publication = self.messages[&number].clone();
        self.emit(&Entry::Message(StoredMessage {
            number,
            qos: publication.qos,
            retain: publication.retain,
            publisher: publication.publisher,
            expires_at: publication.expires_at,
            topic: publication.topic,
            forwarded: &[1, 2],
            payload: publication.payload.as_bytes(),
        }));
    }

    fn write_session(&mut self, serial: u64, known: &Known, is_new: bool) {
        self.emit(&Entry::Session(StoredSession {
            serial,
            is_new,
            client_id: known.client_id,
            version: known.version,
            expiry_s: known.expiry_s,
            user: known.user,
            last_packet_id: known.last,
            disconnected_at: known.disconnected_at,
            will: known.will.as_ref().map(|will| StoredWill {
                qos: QoS::AtLeastOnce,
                retain: false,
                delay_s: will.delay_s,
                expiry_s: will.expiry_s,
                topic: "w",
                forwarded: &[],
                payload: will.payload.as_bytes(),
            }),
        }));
    }

    fn write_delivery(&mut self, serial: u64, sending: &Sending, packet_id: Option<u16>) {
        self.emit(&Entry::Deliver(StoredDelivery {
            serial,
            number: sending.number,
            qos: sending.qos,
            retain: sending.retain,
            is_conditional: sending.is_conditional,
            packet_id,
            subscription_ids: SubscriptionIds::Numbers(&sending.ids),
            share: sending.share,
        }));
    }

    fn image(&mut self, serial: u64) {
        let Some(known) = self.sessions.get(&serial).cloned() else {
            // It ended since the checkpoint began: its `End` may name a session that is unknown from there on.
            return self.image_will(serial);
        };
        self.emit(&Entry::Reset { serial });
        self.write_session(serial, &known, true);
        for (filter, options, id) in &known.subscriptions {
            self.emit(&Entry::Subscribe { serial, filter, options: *options, id: *id });
        }
        for packet_id in &known.inbound {
            self.emit(&Entry::Inbound { serial, packet_id: *packet_id });
        }
        for (packet_id, slot) in &known.inflight {
            match slot {
                Some(sending) => self.image_delivery(serial, sending, Some(*packet_id)),
                None => self.emit(&Entry::Received { serial, packet_id: *packet_id }),
            }
        }
        known.mqueue.iter().for_each(|sending| self.image_delivery(serial, sending, None));
    }

    fn image_will(&mut self, serial: u64) {
        if let Some(will) = self.wills.get(&serial).copied() {
            self.write_session(serial, &Known { will: Some(will), ..blank("gone") }, true);
            self.emit(&Entry::End { serial, keeps_will: true });
        }
    }

    fn image_delivery(&mut self, serial: u64, sending: &Sending, packet_id: Option<u16>) {
        self.write_message(sending.number);
        let is_committed = self.messages[&sending.number].is_committed;
        // Whoever does not know whether it was committed writes it as it was, and who knows says so.
        let confirms = is_committed && sending.is_conditional && self.random.one_in(2);
        let is_conditional = sending.is_conditional && (!is_committed || confirms);
        self.write_delivery(serial, &Sending { is_conditional, ..sending.clone() }, packet_id);
        if confirms {
            self.emit(&Entry::Confirm { number: sending.number });
        }
    }

    fn some_session(&mut self) -> Option<u64> {
        let serials: Vec<u64> = self.sessions.keys().copied().collect();
        self.random.pick(&serials)
    }

    fn connect(&mut self) {
        let client_id = self.random.pick(&CLIENTS).unwrap();
        let will = self.random.one_in(2).then(|| LastWord {
            delay_s: self.random.below(9) as u32,
            expiry_s: self.random.one_in(2).then_some(7),
            payload: ["", "last word"][self.random.below(2)],
        });
        let there = self.sessions.iter().find(|(_, known)| known.client_id == client_id).map(|(s, _)| *s);
        match there {
            Some(serial) if self.random.below(3) > 0 => {
                let known = self.sessions.get_mut(&serial).unwrap();
                (known.will, known.disconnected_at) = (will, None);
                let known = known.clone();
                self.write_session(serial, &known, false);
            }
            there => {
                if let Some(serial) = there {
                    self.end_session(serial);
                }
                self.serials += 1;
                let last = [0, 5, 65_530, 65_535][self.random.below(4)];
                let shortest = if self.has_expiry { 3 } else { 1_000_000 };
                let expiry_s = [u32::MAX, u32::MAX, 1_000_000, shortest][self.random.below(4)];
                let known = Known { will, last, expiry_s, ..blank(client_id) };
                self.write_session(self.serials, &known, true);
                self.sessions.insert(self.serials, known);
            }
        }
    }

    fn disconnect(&mut self) {
        let Some(serial) = self.some_session() else { return };
        let known = self.sessions.get_mut(&serial).unwrap();
        known.disconnected_at = Some(self.now);
        if self.random.one_in(2) {
            known.will = None;
        }
        let known = known.clone();
        self.write_session(serial, &known, false);
    }

    fn end(&mut self) {
        if self.random.one_in(3)
            && let Some(serial) = self.some_session()
        {
            self.end_session(serial);
        }
    }

    fn end_session(&mut self, serial: u64) {
        let known = self.sessions.remove(&serial).unwrap();
        let keeps_will = self.random.one_in(2);
        self.emit(&Entry::End { serial, keeps_will });
        if let Some(will) = known.will.filter(|_| keeps_will) {
            self.wills.insert(serial, will);
        }
    }

    /// A Will goes out: that of an ended session or of one that lives.
    fn publish_will(&mut self) {
        let mut due: Vec<u64> = self.wills.keys().copied().collect();
        due.extend(self.sessions.iter().filter(|(_, known)| known.will.is_some()).map(|(serial, _)| *serial));
        let Some(publisher) = self.random.pick(&due) else { return };
        let number = self.begin_publication("w", publisher);
        self.commit(number, publisher, 0, true);
        self.wills.remove(&publisher);
        if let Some(known) = self.sessions.get_mut(&publisher) {
            known.will = None;
        }
    }

    fn subscribe(&mut self) {
        let Some(serial) = self.some_session() else { return };
        let filter = self.random.pick(&FILTERS).unwrap();
        let (options, id) = (self.random.below(32) as u8, self.random.below(3) as u32);
        let known = self.sessions.get_mut(&serial).unwrap();
        let at = known.subscriptions.iter().position(|(other, ..)| *other == filter);
        match at {
            Some(at) if self.random.one_in(2) => {
                known.subscriptions.remove(at);
                self.emit(&Entry::Unsubscribe { serial, filter });
            }
            at => {
                match at {
                    Some(at) => known.subscriptions[at] = (filter, options, id),
                    None => known.subscriptions.push((filter, options, id)),
                }
                self.emit(&Entry::Subscribe { serial, filter, options, id });
            }
        }
    }

    fn publish(&mut self) {
        let topic = self.random.pick(&TOPICS).unwrap();
        let publisher = if self.random.one_in(3) { 0 } else { self.some_session().unwrap_or(0) };
        let number = self.begin_publication(topic, publisher);
        if self.random.below(3) > 0 {
            let packet_id = if self.random.one_in(2) { self.random.below(100) as u16 } else { 0 };
            self.commit(number, publisher, packet_id, false);
        }
    }

    /// The message and its deliveries, of which some come before it.
    fn begin_publication(&mut self, topic: &'static str, publisher: u64) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let retain = self.random.one_in(4);
        let expires = self.random.one_in(8) && self.has_expiry;
        let publication = Publication {
            topic,
            payload: format!("payload {number}"),
            qos: if self.random.one_in(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
            retain,
            publisher,
            expires_at: expires.then(|| self.now.plus_ms(self.random.below(200_000) as u64)),
            is_committed: false,
        };
        self.messages.insert(number, publication);
        for _ in 0..self.random.below(4) {
            if self.random.one_in(2) {
                self.write_message(number);
            }
            self.deliver(number);
        }
        self.write_message(number);
        if retain {
            self.retained.insert(topic, number);
            self.emit(&Entry::Retain { number });
        }
        number
    }

    fn deliver(&mut self, number: u64) {
        let Some(serial) = self.some_session() else { return };
        let sending = Sending {
            number,
            qos: if self.random.one_in(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
            retain: self.random.one_in(5),
            ids: (0..self.random.below(3)).map(|n| n as u32 * 1000 + 1).collect(),
            share: self.random.one_in(4).then_some(("g", "b/c")),
            is_conditional: true,
        };
        let to_client = self.random.one_in(2);
        let packet_id = to_client.then(|| self.sessions.get_mut(&serial).unwrap().give());
        self.write_delivery(serial, &sending, packet_id);
        let known = self.sessions.get_mut(&serial).unwrap();
        match packet_id {
            Some(packet_id) => known.inflight.push((packet_id, Some(sending))),
            None => known.mqueue.push(sending),
        }
    }

    fn commit_one(&mut self) {
        let open: Vec<u64> = self.messages.iter().filter(|(_, m)| !m.is_committed).map(|(n, _)| *n).collect();
        let Some(number) = self.random.pick(&open) else { return };
        let publisher = self.messages[&number].publisher;
        self.commit(number, publisher, 0, false);
    }

    fn commit(&mut self, number: u64, publisher: u64, packet_id: u16, is_will: bool) {
        self.messages.get_mut(&number).unwrap().is_committed = true;
        self.emit(&Entry::Commit { number, publisher, packet_id, is_will });
        if packet_id > 0
            && let Some(known) = self.sessions.get_mut(&publisher)
        {
            known.inbound.insert(packet_id);
        }
    }

    fn send(&mut self) {
        let Some(serial) = self.some_session() else { return };
        let known = self.sessions.get_mut(&serial).unwrap();
        if known.mqueue.is_empty() {
            return;
        }
        let packet_id = known.give();
        let sending = known.mqueue.remove(0);
        let number = sending.number;
        known.inflight.push((packet_id, Some(sending)));
        self.emit(&Entry::Sent { serial, number, packet_id });
    }

    fn acknowledge(&mut self) {
        let Some(serial) = self.some_session() else { return };
        let known = self.sessions.get_mut(&serial).unwrap();
        let at = self.random.below(known.inflight.len().min(3));
        let Some((packet_id, slot)) = known.inflight.get_mut(at) else { return };
        let packet_id = *packet_id;
        if slot.is_some() && self.random.one_in(2) {
            *slot = None;
            self.emit(&Entry::Received { serial, packet_id });
        } else {
            known.inflight.remove(at);
            self.emit(&Entry::Done { serial, packet_id });
        }
    }

    fn leave_queue(&mut self) {
        let Some(serial) = self.some_session() else { return };
        let known = self.sessions.get_mut(&serial).unwrap();
        let at = self.random.below(known.mqueue.len());
        let Some(number) = known.mqueue.get(at).map(|sending| sending.number) else { return };
        let first = known.mqueue.iter().position(|sending| sending.number == number).unwrap();
        known.mqueue.remove(first);
        self.emit(&Entry::Gone { serial, number });
    }

    fn inbound(&mut self) {
        let Some(serial) = self.some_session() else { return };
        let packet_id = self.random.below(100) as u16 + 1;
        let known = self.sessions.get_mut(&serial).unwrap();
        if known.inbound.remove(&packet_id) || self.random.one_in(2) {
            self.emit(&Entry::InboundDone { serial, packet_id });
        } else {
            known.inbound.insert(packet_id);
            self.emit(&Entry::Inbound { serial, packet_id });
        }
    }

    fn unretain(&mut self) {
        let topic = self.random.pick(&TOPICS).unwrap();
        self.retained.remove(topic);
        self.emit(&Entry::Unretain { topic });
    }

    /// What must come back at `now`, where connections ended at `gone_at`.
    pub(crate) fn expected(&self, now: Timestamp, gone_at: Timestamp) -> Restored {
        let message = |number: u64| {
            let publication = &self.messages[&number];
            let head = MessageHead {
                qos: publication.qos,
                retain: publication.retain,
                expires_at: publication.expires_at,
                publisher: SessionSerial(publication.publisher),
                owner: 0,
                number,
            };
            Message::new(head, publication.topic, &[1, 2], publication.payload.as_bytes())
        };
        let delivery = |sending: &Sending| {
            let share = |(name, filter): (&str, &str)| ShareName { name: name.into(), filter: filter.into() };
            Delivery {
                message: message(sending.number),
                subscription_ids: (!sending.ids.is_empty()).then(|| Box::new(sending.ids.clone())),
                share: sending.share.map(|names| Arc::new(share(names))),
                sent_s: 0,
                qos: sending.qos,
                retain: sending.retain,
            }
        };
        let counts =
            |sending: &Sending| !sending.is_conditional || self.messages[&sending.number].is_committed;
        let is_fresh = |number: u64| self.messages[&number].expires_at.is_none_or(|at| at > now);
        let mut wills: BTreeMap<u64, Will> =
            self.wills.iter().map(|(serial, word)| (*serial, word.will(*serial))).collect();
        let mut sessions = Vec::new();
        for (serial, known) in &self.sessions {
            let since = known.disconnected_at.unwrap_or(gone_at);
            if known.expiry_s != u32::MAX && since.0 + u64::from(known.expiry_s) * 1000 <= now.0 {
                wills.extend(known.will.map(|word| (*serial, word.will(*serial))));
                continue;
            }
            let slot = |(packet_id, slot): &(u16, Option<Sending>)| match slot {
                None => Some((*packet_id, RestoredSlot::Release)),
                Some(sending) if counts(sending) => {
                    Some((*packet_id, RestoredSlot::Publish(delivery(sending))))
                }
                Some(_) => None,
            };
            let queued = known.mqueue.iter().filter(|sending| counts(sending) && is_fresh(sending.number));
            let subscription = |(filter, options, id): &(&str, u8, u32)| RestoredSubscription {
                filter: (*filter).into(),
                options: *options,
                id: *id,
            };
            sessions.push(RestoredSession {
                serial: *serial,
                client_id: known.client_id.into(),
                version: known.version,
                expiry_s: known.expiry_s,
                user: known.user,
                last_packet_id: known.last,
                disconnected_at: since,
                was_connected: known.disconnected_at.is_none(),
                will: known.will.map(|word| Box::new(word.will(*serial))),
                subscriptions: known.subscriptions.iter().map(subscription).collect(),
                inbound: known.inbound.iter().copied().collect(),
                inflight: known.inflight.iter().filter_map(slot).collect(),
                mqueue: queued.map(delivery).collect(),
            });
        }
        let retained =
            self.retained.values().filter(|number| is_fresh(**number)).map(|number| message(*number));
        Restored {
            sessions,
            retained: retained.collect(),
            wills: wills.into_values().collect(),
            now,
            ..Restored::default()
        }
    }
}

impl Known {
    /// The next identifier that is not in use.
    fn give(&mut self) -> u16 {
        loop {
            self.last = self.last % 65_535 + 1;
            if self.inflight.iter().all(|(packet_id, _)| *packet_id != self.last) {
                return self.last;
            }
        }
    }
}

impl LastWord {
    fn will(self, serial: u64) -> Will {
        let head = MessageHead {
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            publisher: SessionSerial(serial),
            owner: 0,
            number: 0,
        };
        let message = Message::new(head, "w", &[], self.payload.as_bytes());
        Will { message, expiry_s: self.expiry_s, delay_s: self.delay_s }
    }
}

fn blank(client_id: &'static str) -> Known {
    Known {
        client_id,
        version: ProtocolVersion::V5,
        expiry_s: u32::MAX,
        user: 4,
        last: 0,
        disconnected_at: None,
        will: None,
        subscriptions: Vec::new(),
        inbound: BTreeSet::new(),
        inflight: Vec::new(),
        mqueue: Vec::new(),
    }
}
