//! What a shard writes down of its sessions, and what waits until that is on disk. Entries of a turn collect in one buffer; at
//! the turn's end they leave as one frame under a ticket, and what was promised with them is kept until the ticket comes back.
//! Without storage (`durability = "memory"`) every call here is one comparison.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::deliver::From;
use super::effects::Effects;
use super::images::Walk;
use super::inspect::Receipt;
use super::message::SessionToken;
use super::operations::PendingSubAck;
use super::returns::place_of;
use crate::clock::Timestamp;
use crate::config::{Config, Durability};
use crate::packet::{Ack, PacketId, ProtocolVersion, QoS, ReasonCode};
use crate::session::{ConnectionId, Delivery, HELD, Message, Session, SessionSerial, UNCOMMITTED, Will};
use crate::storage::entry::{DELAYED_CLIENT_ID, put_varint};
use crate::storage::{Entry, StoredDelivery, StoredMessage, StoredSession, StoredWill, SubscriptionIds};

/// What may wait for the disk before clients have to wait that make more of it.
const AWAITED_MAX: usize = 262_144;
/// A frame is cut behind the entry with which it gets longer than this.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Memory of the buffer that is kept between turns.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

/// What one message reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Some subscription matched.
    pub matched: bool,
    /// Something of it is in the journal, which counts with the message's `Commit` only.
    pub written: bool,
    /// Deliveries of QoS 2 wait for that `Commit`.
    pub held: bool,
}

impl Reach {
    /// Only this much is known: whether some subscription matched.
    pub(super) const fn matched(matched: bool) -> Self {
        Self { matched, written: false, held: false }
    }

    /// Both together.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            matched: self.matched | other.matched,
            written: self.written | other.written,
            held: self.held | other.held,
        }
    }
}

/// What a `Commit` says, once the message has reached everyone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CommitKey {
    /// The message; 0: it has no place in the journal.
    pub(super) message: u64,
    /// The publishing session, if something of it changes.
    pub(super) publisher: Option<SessionToken>,
    /// QoS 2: its identifier.
    pub(super) packet_id: Option<PacketId>,
}

impl CommitKey {
    /// The `Commit`.
    pub(super) fn entry(&self, is_will: bool) -> Entry<'static> {
        Entry::Commit {
            number: self.message,
            publisher: self.publisher.map_or(0, |publisher| publisher.serial.0),
            packet_id: self.packet_id.map_or(0, PacketId::value),
            is_will,
        }
    }
}

/// What is kept until a ticket is back.
#[derive(Debug)]
pub(super) enum Awaited {
    /// A publisher's acknowledgement: its place among the owed; and what else the `Commit` lets go.
    Publisher { connection: ConnectionId, number: u32, reach: Reach, key: CommitKey },
    /// The `Commit` of a Will or of what a session left to others, for which deliveries of QoS 2 wait.
    Own(CommitKey),
    /// Deliveries of QoS 2 whose identifier is in the journal.
    Send(SessionToken, PacketId),
    /// PUBREL.
    PubRel(ConnectionId, PacketId, ReasonCode),
    /// PUBCOMP.
    PubComp(ConnectionId, PacketId, ReasonCode),
    /// SUBACK.
    SubAck(Box<PendingSubAck>),
    /// UNSUBACK.
    UnsubAck(Box<PendingSubAck>),
    /// What an operator changed.
    Operator(Receipt),
    /// CONNACK, and the session goes on or begins.
    ConnAck { connection: ConnectionId, session: SessionToken, packet: Vec<u8>, is_present: bool },
}

impl Awaited {
    /// The session that begins with it.
    pub(super) const fn begins(&self) -> Option<SessionToken> {
        match self {
            Self::ConnAck { session, is_present: false, .. } => Some(*session),
            _ => None,
        }
    }

    /// Whose connection is told something by it that it can't be told while the disk fails.
    pub(super) const fn promised_to(&self) -> Option<ConnectionId> {
        match self {
            Self::Publisher { connection, .. } | Self::ConnAck { connection, .. } => Some(*connection),
            Self::SubAck(pending) | Self::UnsubAck(pending) => Some(pending.connection),
            Self::Operator(_) | Self::Own(_) | Self::Send(..) | Self::PubRel(..) | Self::PubComp(..) => None,
        }
    }
}

/// Who waits for the `Commit` of a message: the identifier if it is inflight.
pub(super) type Holders = SmallVec<[(SessionToken, Option<PacketId>); 1]>;

/// A shard's side of the journal.
#[derive(Debug)]
pub(super) struct Journal {
    is_on: bool,
    is_synced: bool,
    is_down: bool,
    backlog_max: usize,
    buffer: Vec<u8>,
    /// Where the buffer is cut into several frames.
    cuts: Vec<usize>,
    ticket: u64,
    durable: u64,
    /// Frames on their way: ticket and bytes.
    under_way: VecDeque<(u64, usize)>,
    under_way_bytes: usize,
    awaited: VecDeque<(u64, Awaited)>,
    /// Sessions with deliveries of QoS 2 that wait for a message's `Commit`.
    held: HashMap<u64, Holders, ahash::RandomState>,
    /// Of the publication under way: it counts with its `Commit` only; what it came to.
    is_conditional: bool,
    reach: Reach,
    next_number: u64,
    step: u64,
    /// Wills that are due and whose `Commit` is not written yet, each under a serial of its own.
    wills_under_way: BTreeMap<SessionSerial, Will>,
    /// Messages that sessions left to other members of a Shared Subscription, each under a serial of its own.
    returns: BTreeMap<SessionSerial, Delivery>,
    pub(super) generation: u32,
    /// Generations that other shards have begun before this one.
    marks: Vec<u32>,
    pub(super) walk: Option<Box<Walk>>,
    /// The generation whose images may name what this turn writes: its end is to be told.
    pub(super) fence: Option<u32>,
}

impl Journal {
    /// For shard number `shard` of `shards`; message numbers begin at `first_number`.
    pub(super) fn new(config: &Config, shard: u16, shards: u16, first_number: u64) -> Self {
        let durability = config.storage.durability;
        Self {
            is_on: durability != Durability::Memory,
            is_synced: durability == Durability::Sync,
            is_down: false,
            backlog_max: config.storage.backlog_bytes as usize,
            buffer: Vec::new(),
            cuts: Vec::new(),
            ticket: 1,
            durable: 0,
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            awaited: VecDeque::new(),
            held: HashMap::default(),
            is_conditional: false,
            reach: Reach::default(),
            next_number: first_number.max(1) + u64::from(shard),
            step: u64::from(shards.max(1)),
            wills_under_way: BTreeMap::new(),
            returns: BTreeMap::new(),
            generation: 1,
            marks: Vec::new(),
            walk: None,
            fence: None,
        }
    }

    /// Whether anything outlasts the process at all.
    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether acknowledgements wait for the disk.
    #[inline]
    pub(super) const fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Whether something that was written or should have been may not be on disk.
    pub(super) fn is_behind(&self) -> bool {
        self.is_down || self.walk.is_some() || !self.buffer.is_empty() || self.durable + 1 < self.ticket
    }

    /// Whether the disk takes nothing now.
    pub(super) const fn is_down(&self) -> bool {
        self.is_down
    }

    /// The disk takes nothing any more: what it has not confirmed is in doubt, and written anew with the next images.
    pub(super) fn fail(&mut self) {
        self.is_down = true;
        self.buffer.clear();
        self.cuts.clear();
        self.under_way.clear();
        self.under_way_bytes = 0;
        self.walk = None;
        self.fence = None;
    }

    /// Images of a new generation begin: from here on everything is written. What waits for the disk is said again, since
    /// that the disk has it may be learned only after all older files are gone.
    /// `others`: shards that begin it too, and say so.
    pub(super) fn begin_generation(&mut self, generation: u32, others: u16) {
        let marked = self.marks.iter().filter(|mark| **mark == generation).count() as u16;
        self.marks.retain(|mark| *mark > generation);
        let held_before = self.held.keys().copied().collect();
        self.is_down = false;
        self.generation = generation;
        self.walk = Some(Box::new(Walk::new(held_before, others.saturating_sub(marked))));
        self.write_returns();
        for (serial, will) in &self.wills_under_way {
            encode_due_will(*serial, will, &mut self.buffer);
        }
        for (_, awaited) in &self.awaited {
            match awaited {
                Awaited::Publisher { key, .. } => key.entry(false).encode(&mut self.buffer),
                Awaited::Own(key) => key.entry(key.publisher.is_some()).encode(&mut self.buffer),
                _ => {}
            }
        }
    }

    /// Another shard has begun the images of `generation`.
    pub(super) fn mark(&mut self, generation: u32) {
        match &mut self.walk {
            Some(walk) if self.generation == generation => {
                walk.marks_awaited = walk.marks_awaited.saturating_sub(1);
            }
            _ if self.generation < generation => self.marks.push(generation),
            // That generation has come to nothing: the disk failed.
            _ => {}
        }
    }

    /// Whether a session outlasts the process.
    #[inline]
    pub(super) fn keeps(&self, session: &Session) -> bool {
        self.is_on && session.is_persistent()
    }

    /// The number of a new message; 0 without a journal.
    pub(super) fn number(&mut self) -> u64 {
        if !self.is_on {
            return 0;
        }
        let number = self.next_number;
        self.next_number += self.step;
        number
    }

    /// Writes an entry.
    pub(super) fn write(&mut self, entry: &Entry<'_>) {
        if self.is_on && !self.is_down {
            entry.encode(&mut self.buffer);
        }
    }

    /// Writes a message, unless it is in this generation of the journal already.
    pub(super) fn write_message(&mut self, message: &Message) {
        if self.is_on && !self.is_down && message.write_in(self.generation) {
            Entry::Message(stored_message(message)).encode(&mut self.buffer);
            if self.buffer.len() - self.cuts.last().copied().unwrap_or(0) > FRAME_BYTES_MAX {
                // Nothing has to be in one frame with the messages that it names.
                self.cuts.push(self.buffer.len());
            }
        }
    }

    /// A publication begins: what is written of it counts with its `Commit` only, if it gets one.
    pub(super) fn begin(&mut self, is_conditional: bool) {
        self.is_conditional = is_conditional;
        self.reach = Reach::default();
    }

    /// What the publication came to so far.
    pub(super) fn take_reach(&mut self, matched: bool) -> Reach {
        self.is_conditional = false;
        Reach { matched, ..std::mem::take(&mut self.reach) }
    }

    /// Whether a delivery of the publication has to wait for its `Commit`.
    pub(super) const fn holds(&self) -> bool {
        self.is_conditional && self.is_synced
    }

    /// Writes that a delivery leaves the mqueue undelivered. `kept`: serial of its session, if that is kept.
    pub(super) fn write_gone(&mut self, kept: Option<u64>, delivery: &Delivery) {
        let number = delivery.message.head().number;
        if let Some(serial) = kept
            && delivery.qos > QoS::AtMostOnce
            && number > 0
        {
            self.write(&Entry::Gone { serial, number });
        }
    }

    /// Writes that a message is the Retained Message of its topic. The broker's own are not kept.
    pub(super) fn write_retained(&mut self, message: &Message) {
        let number = message.head().number;
        if number > 0 {
            self.write_message(message);
            self.write(&Entry::Retain { number });
        }
    }

    /// Writes a delivery to a session that is kept. `packet_id`: it is inflight.
    pub(super) fn write_delivery(&mut self, serial: u64, delivery: &Delivery, packet_id: Option<PacketId>) {
        if delivery.message.head().number == 0 {
            return;
        }
        self.write_message(&delivery.message);
        self.write(&Entry::Deliver(stored_delivery(serial, delivery, packet_id, self.is_conditional)));
        self.reach.written = true;
    }

    /// Writes that a delivery is inflight, and notes what one of QoS 2 waits for before it is sent.
    pub(super) fn write_inflight(
        &mut self,
        token: SessionToken,
        delivery: &Delivery,
        packet_id: PacketId,
        from: From,
    ) {
        let number = delivery.message.head().number;
        let is_held = delivery.sent_s == HELD;
        match from {
            From::Publication => {
                self.write_delivery(token.serial.0, delivery, Some(packet_id));
                if is_held && self.is_conditional {
                    return self.hold(number, token, Some(packet_id));
                }
            }
            From::Mqueue => {
                let packet_id = packet_id.value();
                self.write(&Entry::Sent { serial: token.serial.0, number, packet_id });
            }
        }
        if is_held {
            self.wait(Awaited::Send(token, packet_id));
        }
    }

    /// A Will is due: from here on the journal has it under `serial`, apart from its session, until its `Commit`.
    pub(super) fn begin_will(&mut self, serial: SessionSerial, will: &Will) {
        if self.is_on && !self.is_down {
            encode_due_will(serial, will, &mut self.buffer);
        }
        self.keep_will(serial, will.clone());
    }

    /// A message is to be published at `due`: the journal has it under `serial` until its `Commit`, as a Will.
    pub(super) fn write_delayed(&mut self, serial: SessionSerial, will: &Will, due: Timestamp) {
        if self.is_on && !self.is_down {
            let due_s = u32::try_from(due.0.div_ceil(1000)).unwrap_or(u32::MAX);
            encode_apart(serial, will, (DELAYED_CLIENT_ID, due_s), &mut self.buffer);
        }
    }

    /// A Will that the journal has under `serial` is still to be published.
    pub(super) fn keep_will(&mut self, serial: SessionSerial, will: Will) {
        self.wills_under_way.insert(serial, will);
    }

    /// The Will's `Commit` is written.
    pub(super) fn end_will(&mut self, serial: SessionSerial) {
        self.wills_under_way.remove(&serial);
    }

    /// A message is left to other members of a Shared Subscription: from here on the journal has it under `serial`, apart from the
    /// session that ends.
    pub(super) fn begin_return(&mut self, serial: SessionSerial, delivery: Delivery) {
        if self.is_on && !self.is_down {
            encode_return(serial, &delivery, &mut self.buffer);
        }
        self.returns.insert(serial, delivery);
    }

    /// What the journal has under `serial` for other members.
    pub(super) fn returned(&self, serial: SessionSerial) -> Option<&Delivery> {
        self.returns.get(&serial)
    }

    /// Another member has it, or there is none.
    pub(super) fn end_return(&mut self, serial: SessionSerial) {
        self.returns.remove(&serial);
        self.write(&Entry::End { serial: serial.0, keeps_will: false });
    }

    /// Writes anew what is on its way to other members.
    fn write_returns(&mut self) {
        let returns = std::mem::take(&mut self.returns);
        for delivery in returns.values() {
            self.write_message(&delivery.message);
        }
        for (serial, delivery) in &returns {
            encode_return(*serial, delivery, &mut self.buffer);
        }
        self.returns = returns;
    }

    /// What the journal has under `serial` waits for the `Commit` of its message.
    pub(super) fn hold_return(&mut self, number: u64, serial: SessionSerial) {
        self.held.entry(number).or_default().push((place_of(serial), None));
    }

    /// A delivery of QoS 2 that waits for the `Commit` of its message.
    pub(super) fn hold(&mut self, number: u64, token: SessionToken, packet_id: Option<PacketId>) {
        self.held.entry(number).or_default().push((token, packet_id));
        self.reach.held = true;
    }

    /// Whether deliveries of the message still wait for its `Commit`.
    pub(super) fn is_held(&self, number: u64) -> bool {
        self.held.contains_key(&number)
    }

    /// The message is committed: who waits for it.
    pub(super) fn release(&mut self, number: u64) -> Holders {
        let waiting = self.held.remove(&number).unwrap_or_default();
        if self.walk.as_mut().is_some_and(|walk| walk.held_before.remove(&number)) {
            // Its `Commit` may lie before this generation.
            self.write(&Entry::Confirm { number });
        }
        waiting
    }

    /// Keeps something until all that was written so far is on disk.
    pub(super) fn wait(&mut self, awaited: Awaited) {
        self.awaited.push_back((self.ticket, awaited));
    }

    /// All frames up to `ticket` are on disk.
    pub(super) fn confirmed(&mut self, ticket: u64) {
        self.durable = self.durable.max(ticket);
        self.written(ticket);
    }

    /// All frames up to `ticket` are out of the way, and promise nothing yet.
    pub(super) fn written(&mut self, ticket: u64) {
        while self.under_way.front().is_some_and(|(of, _)| *of <= ticket) {
            if let Some((_, bytes)) = self.under_way.pop_front() {
                self.under_way_bytes -= bytes;
            }
        }
    }

    /// The next thing that waits no longer.
    pub(super) fn next_due(&mut self) -> Option<Awaited> {
        let (ticket, _) = self.awaited.front()?;
        if *ticket > self.durable { None } else { self.awaited.pop_front().map(|(_, awaited)| awaited) }
    }

    /// The CONNACK of a connection, if it waits.
    pub(super) fn take_connack(&mut self, of: ConnectionId) -> Option<Vec<u8>> {
        self.awaited.iter_mut().find_map(|(_, awaited)| match awaited {
            Awaited::ConnAck { connection, packet, .. } if *connection == of => Some(std::mem::take(packet)),
            _ => None,
        })
    }

    /// Everything that waits.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &Awaited> {
        self.awaited.iter().map(|(_, awaited)| awaited)
    }

    /// Bytes of this turn.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether so much waits for the disk that publishers of durable messages have to wait too.
    pub(super) fn is_backlogged(&self) -> bool {
        self.under_way_bytes > self.backlog_max || self.awaited.len() > AWAITED_MAX
    }

    /// Whether so much waits for the disk that images have to wait.
    pub(super) const fn is_busy(&self) -> bool {
        self.under_way_bytes > self.backlog_max / 4
    }

    /// The turn is over: its entries leave, before any message to another shard does.
    pub(super) fn end_turn<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let has_news =
            !self.buffer.is_empty() || self.awaited.back().is_some_and(|(ticket, _)| *ticket == self.ticket);
        if has_news && !self.is_down {
            self.hand_over(now, fx);
        }
        if let Some(generation) = self.fence.take() {
            fx.fenced(generation);
        }
    }

    /// Sends the frame of this turn, also an empty one.
    pub(super) fn hand_over<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let mut from = 0;
        for cut in std::mem::take(&mut self.cuts) {
            // Under the ticket before: what waits for this one waits for the last part.
            self.send_part(now, self.ticket - 1, from, cut, fx);
            from = cut;
        }
        self.send_part(now, self.ticket, from, self.buffer.len(), fx);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.ticket += 1;
    }

    fn send_part<E: Effects>(&mut self, now: Timestamp, ticket: u64, from: usize, to: usize, fx: &mut E) {
        let mut frame = Vec::with_capacity(to - from + 10);
        put_varint(&mut frame, now.0);
        frame.extend_from_slice(self.buffer.get(from..to).unwrap_or_default());
        self.under_way.push_back((ticket, frame.len()));
        self.under_way_bytes += frame.len();
        let is_awaited = self.awaited.back().is_some_and(|(of, _)| *of == self.ticket)
            || self.walk.is_some()
            || self.is_busy()
            || self.is_backlogged();
        fx.store(ticket, frame, is_awaited);
    }

    /// PUBACK, PUBCOMP, a PUBREC that refuses: the identifier is free.
    pub(super) fn write_done(&mut self, serial: u64, ack: &Ack<'_>) {
        self.write(&Entry::Done { serial, packet_id: ack.packet_id.value() });
    }
}

/// A session that is none, but keeps something that one has left: it has no Client Identifier.
fn nobody(serial: SessionSerial) -> StoredSession<'static> {
    StoredSession {
        serial: serial.0,
        is_new: true,
        client_id: "",
        version: ProtocolVersion::V5,
        expiry_s: 0,
        user: 0,
        last_packet_id: 0,
        disconnected_at: Some(Timestamp::default()),
        will: None,
    }
}

/// A message that is left to other members of a Shared Subscription.
fn encode_return(serial: SessionSerial, delivery: &Delivery, out: &mut Vec<u8>) {
    Entry::Session(nobody(serial)).encode(out);
    Entry::Deliver(stored_delivery(serial.0, delivery, None, false)).encode(out);
}

/// A Will that is on its way out: as that of a session of its own, which has ended.
fn encode_due_will(serial: SessionSerial, will: &Will, out: &mut Vec<u8>) {
    encode_apart(serial, will, ("", 0), out);
}

fn encode_apart(serial: SessionSerial, will: &Will, (client_id, delay_s): (&str, u32), out: &mut Vec<u8>) {
    let will = Some(StoredWill { delay_s, ..stored_will(will) });
    let session = StoredSession { client_id, will, ..nobody(serial) };
    Entry::Session(session).encode(out);
    Entry::End { serial: serial.0, keeps_will: true }.encode(out);
}

/// A message as the journal has it.
fn stored_message(message: &Message) -> StoredMessage<'_> {
    let head = message.head();
    StoredMessage {
        number: head.number,
        qos: head.qos,
        retain: head.retain,
        publisher: head.publisher.0,
        expires_at: head.expires_at,
        topic: message.topic(),
        forwarded: message.forwarded(),
        payload: message.payload(),
    }
}

/// A delivery as the journal has it.
pub(super) fn stored_delivery(
    serial: u64,
    delivery: &Delivery,
    packet_id: Option<PacketId>,
    is_conditional: bool,
) -> StoredDelivery<'_> {
    StoredDelivery {
        serial,
        number: delivery.message.head().number,
        qos: delivery.qos,
        retain: delivery.retain,
        is_conditional: is_conditional || delivery.sent_s == UNCOMMITTED,
        packet_id: packet_id.map(PacketId::value),
        subscription_ids: SubscriptionIds::Numbers(
            delivery.subscription_ids.as_deref().map_or(&[], Vec::as_slice),
        ),
        share: delivery.share.as_deref().map(|share| (&*share.name, &*share.filter)),
    }
}

/// A session as the journal has it. `is_new`: the journal does not know it yet.
pub(super) fn stored_session(session: &Session, is_new: bool) -> StoredSession<'_> {
    let last = session.outbound.as_ref().map_or(session.last_packet_id, |o| o.inflight.last_given());
    StoredSession {
        serial: session.serial.0,
        is_new,
        client_id: &session.client_id,
        version: session.version,
        expiry_s: session.expiry_s,
        user: session.user,
        last_packet_id: last,
        disconnected_at: session.connection.is_none().then_some(session.since),
        will: session.will.as_deref().map(stored_will),
    }
}

fn stored_will(will: &Will) -> StoredWill<'_> {
    let head = will.message.head();
    StoredWill {
        qos: head.qos,
        retain: head.retain,
        delay_s: will.delay_s,
        expiry_s: will.expiry_s,
        topic: will.message.topic(),
        forwarded: will.message.forwarded(),
        payload: will.message.payload(),
    }
}
