//! Promises that wait for the disk: what leaves when a ticket is back, what is refused while the disk takes nothing.
//! Storage is described in `docs/STORAGE.md`; what a shard writes is in `journal`.

use super::Broker;
use super::commits::Publisher;
use super::disconnect::End;
use super::effects::{Close, Effects};
use super::journal::{Awaited, CommitKey, Reach};
use super::message::{SessionToken, ShardMessage};
use super::receive::Flow;
use crate::clock::Timestamp;
use crate::connection::{Error, OwedAck, OwedKind, Phase};
use crate::interest::{Interest, ShardId};
use crate::packet::{PacketId, Publish, QoS, ReasonCode};
use crate::router::FilterId;
use crate::session::ConnectionId;
use crate::storage::Entry;

impl Broker {
    /// Everyone who wants a client's PUBLISH has it: it is committed, when all older ones of its session are.
    pub(super) fn publish_arrived<E: Effects>(
        &mut self,
        now: Timestamp,
        publisher: Publisher,
        reach: Reach,
        fx: &mut E,
    ) {
        let connection = self.clients.connections.get_mut(publisher.connection);
        if let Some(owed) = connection.and_then(|connection| connection.owed.as_mut()) {
            owed.arrived(publisher.number);
        }
        let Some(place) = publisher.place else {
            return self.commit_publish(now, publisher, reach, fx);
        };
        self.commits.arrived(place, publisher, reach);
        while let Some((publisher, reach)) = self.commits.next_ready(place) {
            self.commit_publish(now, publisher, reach, fx);
        }
    }

    /// Commits a client's PUBLISH; it is acknowledged when that is on disk.
    fn commit_publish<E: Effects>(&mut self, now: Timestamp, publisher: Publisher, reach: Reach, fx: &mut E) {
        let Publisher { connection, number, key, .. } = publisher;
        if !needs_commit(&key, reach) {
            return self.acknowledge_owed(now, connection, number, reach.matched, fx);
        }
        self.write_commit(&key);
        let journal = &mut self.clients.journal;
        if journal.is_synced() {
            journal.wait(Awaited::Publisher { connection, number, reach, key });
        } else {
            self.end_inbound_commit(now, &key, reach.matched, fx);
            self.acknowledge_owed(now, connection, number, reach.matched, fx);
        }
    }

    fn write_commit(&mut self, key: &CommitKey) {
        self.clients.journal.write(&key.entry(false));
        if let (Some(publisher), Some(packet_id)) = (key.publisher, key.packet_id)
            && let Some(inbound) =
                self.clients.session_by(publisher).and_then(|session| session.inbound.as_mut())
        {
            inbound.note_written(packet_id);
        }
    }

    /// Everyone who wants a Will has it.
    pub(super) fn commit_will<E: Effects>(
        &mut self,
        now: Timestamp,
        key: CommitKey,
        reach: Reach,
        fx: &mut E,
    ) {
        if key.publisher.is_some() || reach.written {
            self.clients.journal.write(&key.entry(true));
        }
        if let Some(publisher) = key.publisher {
            self.clients.journal.end_will(publisher.serial);
        }
        let journal = &mut self.clients.journal;
        if !reach.held {
            return;
        }
        if journal.is_synced() {
            journal.wait(Awaited::Own(key));
        } else {
            self.committed_everywhere(now, key.message, fx);
        }
    }

    /// Frames up to `ticket` are on disk: what was promised with them is told.
    pub(super) fn stored<E: Effects>(&mut self, now: Timestamp, ticket: u64, fx: &mut E) {
        let was_backlogged = self.clients.journal.is_backlogged();
        self.clients.journal.confirmed(ticket);
        while let Some(awaited) = self.clients.journal.next_due() {
            self.fulfil(now, awaited, fx);
        }
        self.resume_backlogged(now, was_backlogged, fx);
    }

    /// Frames up to `ticket` are written while the disk mends: others may follow.
    pub(super) fn written<E: Effects>(&mut self, now: Timestamp, ticket: u64, fx: &mut E) {
        let was_backlogged = self.clients.journal.is_backlogged();
        self.clients.journal.written(ticket);
        self.resume_backlogged(now, was_backlogged, fx);
    }

    fn resume_backlogged<E: Effects>(&mut self, now: Timestamp, was_backlogged: bool, fx: &mut E) {
        if was_backlogged && !self.clients.journal.is_backlogged() {
            self.resume_stalled(now, fx);
        }
    }

    fn fulfil<E: Effects>(&mut self, now: Timestamp, awaited: Awaited, fx: &mut E) {
        match awaited {
            Awaited::Publisher { connection, number, reach, key } => {
                if reach.held {
                    self.committed_everywhere(now, key.message, fx);
                }
                self.end_inbound_commit(now, &key, reach.matched, fx);
                self.acknowledge_owed(now, connection, number, reach.matched, fx);
            }
            Awaited::Own(key) => self.committed_everywhere(now, key.message, fx),
            Awaited::Send(token, packet_id) => self.clients.send_released(now, token, packet_id, fx),
            Awaited::PubRel(connection, packet_id, reason) => {
                self.send_pubrel(connection, packet_id, reason, fx);
            }
            Awaited::PubComp(connection, packet_id, reason) => {
                self.send_pubcomp(connection, packet_id, reason, fx);
            }
            Awaited::SubAck(pending) => self.send_suback(&pending, fx),
            Awaited::UnsubAck(pending) => {
                self.send_unsuback(pending.connection, pending.packet_id, &pending.reasons, fx);
            }
            Awaited::Operator(receipt) => self.receipts.close(receipt),
            Awaited::ConnAck { connection, packet, is_present, .. } => {
                self.go_in(now, connection, &packet, is_present, fx);
            }
        }
    }

    /// A QoS 2 message is committed. A later connection of its publisher that repeated it meanwhile gets the PUBREC.
    fn end_inbound_commit<E: Effects>(&mut self, now: Timestamp, key: &CommitKey, matched: bool, fx: &mut E) {
        let (Some(publisher), Some(packet_id)) = (key.publisher, key.packet_id) else { return };
        let inbound = self.clients.session_by(publisher).and_then(|session| session.inbound.as_mut());
        if let Some((connection, number)) = inbound.and_then(|inbound| inbound.end_commit(packet_id)) {
            self.acknowledge_owed(now, connection, number, matched, fx);
        }
    }

    /// The `Commit` of a message is on disk: deliveries of QoS 2 may go, on every shard.
    pub(super) fn committed_everywhere<E: Effects>(&mut self, now: Timestamp, number: u64, fx: &mut E) {
        for shard in (0..self.shards).map(ShardId).filter(|shard| *shard != self.shard) {
            self.send_control(shard, ShardMessage::Committed { number }, fx);
        }
        self.release_held(now, number, fx);
    }

    /// Sends the deliveries of QoS 2 that waited for a message's `Commit`.
    pub(super) fn release_held<E: Effects>(&mut self, now: Timestamp, number: u64, fx: &mut E) {
        for (token, packet_id) in self.clients.journal.release(number) {
            if let Some(packet_id) = packet_id {
                self.clients.send_released(now, token, packet_id, fx);
                continue;
            }
            let Some(session) = self.clients.session_by(token) else {
                // It has ended, and left the message to others.
                self.start_return(now, token.serial, fx);
                continue;
            };
            if let Some(outbound) = &mut session.outbound {
                outbound.mqueue.commit(number);
            }
            self.clients.pump(now, token.index, fx);
        }
    }

    /// The disk takes nothing any more: who waits for a promise is sent away, and will repeat what it said.
    pub(super) fn storage_failed<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.clients.journal.fail();
        let begun: Vec<_> = self.clients.journal.awaited().filter_map(Awaited::begins).collect();
        let mut promised: Vec<_> = self.clients.journal.awaited().filter_map(Awaited::promised_to).collect();
        promised.sort_unstable();
        promised.dedup();
        for connection in promised {
            self.break_promise(now, connection, fx);
        }
        for session in begun {
            // Nobody was told of it; while the disk fails a client could go on with it, and lose it with a crash.
            if self.clients.session_by(session).is_some() {
                self.end_session(now, session.index, fx);
            }
        }
        self.resume_stalled(now, fx);
    }

    fn break_promise<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        let Some(connection) = self.clients.connections.get(id) else { return };
        if connection.phase == Phase::Committing {
            self.refuse(id, connection.version, ReasonCode::QuotaExceeded, fx);
            // It never was connected, as far as its client knows: no Will [MQTT-3.1.2-8].
            fx.close(id, Close::Flush);
            return self.end_connection(now, id, End::Goodbye, fx);
        }
        self.fail(now, id, &Error::StorageDown, fx);
    }

    /// Another connection takes the session over while the CONNACK of this one waits for the disk: it goes out first, so that its
    /// client can be told why it is closed [MQTT-3.1.4-3]. The other one waits for the same.
    pub(super) fn go_in_unheard<E: Effects>(&mut self, id: ConnectionId, fx: &mut E) {
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        if connection.phase == Phase::Committing
            && let Some(packet) = self.clients.journal.take_connack(id)
        {
            connection.phase = Phase::Connected;
            self.put_connack(id, &packet, fx);
        }
    }

    /// Whether a PUBLISH may not be taken now because of the disk; what becomes of it then.
    pub(super) fn judge_storage<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        (topic, is_delayed): (&str, bool),
        fx: &mut E,
    ) -> Option<Flow> {
        let journal = &self.clients.journal;
        if !(journal.is_down() || journal.is_backlogged()) {
            return None;
        }
        if publish.qos == QoS::AtMostOnce && (journal.is_down() || !publish.retain) {
            // Nothing was promised; and what is not retained is not written.
            return None;
        }
        if !is_delayed && !self.may_be_durable(id, publish, topic) {
            return None;
        }
        if !self.clients.journal.is_down() {
            self.metrics().storage_waits.inc();
            return Some(Flow::Stall);
        }
        self.metrics().storage_refused.inc();
        if !self.clients.connections.get(id)?.is_v5() {
            self.fail(now, id, &Error::StorageDown, fx);
            return Some(Flow::Gone);
        }
        self.count_received(publish);
        self.acknowledge_publish(id, publish, ReasonCode::QuotaExceeded, fx);
        Some(Flow::Next)
    }

    fn may_be_durable(&self, id: ConnectionId, publish: &Publish<'_>, topic: &str) -> bool {
        publish.retain
            || !self.shared.interest.durable(topic).is_empty()
            || (publish.qos == QoS::ExactlyOnce && self.is_kept(id))
    }

    /// Whether the session of a connection outlasts the process.
    pub(super) fn is_kept(&self, id: ConnectionId) -> bool {
        let session = self.clients.connections.get(id).map(|connection| connection.session);
        session
            .and_then(|index| self.clients.sessions.get(index))
            .is_some_and(|session| self.clients.journal.keeps(session))
    }

    /// The connection's session, if it outlasts the process.
    pub(super) fn kept_session(&self, id: ConnectionId) -> Option<SessionToken> {
        let index = self.clients.connections.get(id)?.session;
        let session = self.clients.sessions.get(index)?;
        self.clients.journal.keeps(session).then_some(SessionToken { index, serial: session.serial })
    }

    /// Gives a session another Session Expiry Interval. Whether it outlasts its connection may change with it.
    pub(super) fn change_expiry(&mut self, index: u32, expiry_s: u32) {
        let Some(session) = self.clients.sessions.get_mut(index) else { return };
        let was = session.is_persistent();
        session.expiry_s = expiry_s;
        let is = session.is_persistent();
        self.count_persistent(was, is);
        if was == is || !self.clients.journal.is_on() {
            return;
        }
        self.mark_durable(index, is);
        if is {
            self.write_image(index);
        } else if let Some(session) = self.clients.sessions.get(index) {
            let serial = session.serial.0;
            self.clients.journal.write(&Entry::End { serial, keeps_will: false });
        }
    }

    /// Tells the interest table whether the filters of a session are those of a durable one.
    fn mark_durable(&mut self, index: u32, is_durable: bool) {
        let Some(session) = self.clients.sessions.get(index) else { return };
        for subscription in session.subscriptions.iter().filter(|subscription| !subscription.shared) {
            let filter = self.router.filter(FilterId(subscription.filter));
            if is_durable {
                self.interest.make_durable(filter);
            } else {
                self.interest.make_volatile(filter);
            }
        }
    }

    /// Writes what a session is, beside subscriptions and queues.
    pub(super) fn write_session(&mut self, index: u32, is_new: bool) {
        let Some(session) = self.clients.sessions.get(index) else { return };
        if self.clients.journal.keeps(session) {
            let entry = Entry::Session(super::journal::stored_session(session, is_new));
            self.clients.journal.write(&entry);
        }
    }

    /// A connection before its CONNACK: the disk has its session now.
    pub(super) fn go_in<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connack: &[u8],
        is_present: bool,
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        connection.phase = Phase::Connected;
        connection.heard_at = now;
        let (index, is_stalled) = (connection.session, connection.stalled);
        self.put_connack(id, connack, fx);
        let has_queue = |session: &crate::session::Session| session.outbound.is_some();
        // A new session may have messages already: by automatic subscriptions, while the disk was waited for.
        if is_present || self.clients.sessions.get(index).is_some_and(has_queue) {
            self.resume_session(now, id, index, fx);
        }
        self.ready_cursor(index);
        if is_stalled {
            self.go_on(now, id, fx);
        }
    }

    /// Whether an answer to a subscriber has to wait for the disk.
    pub(super) fn waits_for_disk(&self, id: ConnectionId) -> bool {
        self.clients.journal.is_synced() && !self.clients.journal.is_down() && self.is_kept(id)
    }

    /// PUBREC of a client's QoS 2 message whose `Commit` is not on disk yet: it comes with that.
    pub(super) fn ask_commit_again(&mut self, id: ConnectionId, packet_id: PacketId) {
        let kind = OwedKind::PubRec(packet_id);
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        let owed = connection.owed.get_or_insert_default();
        if owed.contains(kind) {
            return;
        }
        let number = owed.push(OwedAck { kind, relayed: true, reason: None });
        if let Some(inbound) = self.clients.session_of(id).and_then(|session| session.inbound.as_mut()) {
            inbound.ask_again(packet_id, id, number);
        }
    }
}

/// Whether anything in the journal depends on the message's `Commit`.
pub(super) const fn needs_commit(key: &CommitKey, reach: Reach) -> bool {
    key.message > 0 && (reach.written || key.packet_id.is_some())
}
