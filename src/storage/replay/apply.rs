//! What each entry does.

use std::sync::Arc;

use super::session::{Live, Queued, Rare, Slot};
use super::{Kept, Replay};
use crate::clock::Timestamp;
use crate::session::{Message, MessageHead, SessionSerial, ShareName, Will};
use crate::storage::RestoredSubscription;
use crate::storage::entry::{
    DELAYED_CLIENT_ID, Entry, StoredDelivery, StoredMessage, StoredSession, StoredWill, SubscriptionIds,
};

impl Replay {
    /// Applies the next entry of the journal; `time`: that of its frame.
    pub fn apply(&mut self, time: Timestamp, entry: &Entry<'_>) {
        self.entries += 1;
        self.note_time(time);
        self.note_names(entry);
        match *entry {
            Entry::Message(ref message) => self.message(message),
            Entry::Session(ref session) => self.session(session),
            Entry::Reset { serial } => {
                self.sessions.remove(&serial);
            }
            Entry::End { serial, keeps_will } => self.end(serial, keeps_will),
            Entry::Deliver(ref delivery) => self.deliver(delivery),
            Entry::Sent { serial, number, packet_id } => self.sent(serial, number, packet_id),
            Entry::Gone { serial, number } => {
                if let Some((session, message)) = self.named(serial, number) {
                    session.take_queued(message);
                }
            }
            Entry::Commit { number, publisher, packet_id, is_will } => {
                self.confirm(number);
                self.publisher_commits(publisher, packet_id, is_will);
            }
            Entry::Confirm { number } => self.confirm(number),
            Entry::Retain { number } => self.retain(number),
            Entry::Unretain { topic } => self.unretain(topic),
            Entry::Subscribe { serial, .. }
            | Entry::Unsubscribe { serial, .. }
            | Entry::Done { serial, .. }
            | Entry::Received { serial, .. }
            | Entry::Inbound { serial, .. }
            | Entry::InboundDone { serial, .. } => {
                if let Some(session) = self.sessions.get_mut(&serial) {
                    session.change(entry);
                }
            }
        }
    }

    /// Whoever wrote the journal was there at `time`.
    pub fn note_time(&mut self, time: Timestamp) {
        self.last_time = self.last_time.max(time);
    }

    /// Serials and numbers that are never to be given again.
    fn note_names(&mut self, entry: &Entry<'_>) {
        let (serial, number) = match *entry {
            Entry::Message(StoredMessage { number, publisher, .. })
            | Entry::Commit { number, publisher, .. } => (publisher, number),
            Entry::Session(StoredSession { serial, .. })
            | Entry::Reset { serial }
            | Entry::End { serial, .. }
            | Entry::Subscribe { serial, .. }
            | Entry::Unsubscribe { serial, .. }
            | Entry::Done { serial, .. }
            | Entry::Received { serial, .. }
            | Entry::Inbound { serial, .. }
            | Entry::InboundDone { serial, .. } => (serial, 0),
            Entry::Deliver(StoredDelivery { serial, number, .. })
            | Entry::Sent { serial, number, .. }
            | Entry::Gone { serial, number } => (serial, number),
            Entry::Retain { number } | Entry::Confirm { number } => (0, number),
            Entry::Unretain { .. } => (0, 0),
        };
        self.serial_max = self.serial_max.max(serial);
        self.number_max = self.number_max.max(number);
    }

    fn message(&mut self, stored: &StoredMessage<'_>) {
        let place = self.place(stored.number);
        let Some(known) = self.messages.get_mut(place as usize) else { return };
        if known.message.is_some() {
            // Written again, in a later generation.
            return;
        }
        let head = MessageHead {
            qos: stored.qos,
            retain: stored.retain,
            expires_at: stored.expires_at,
            publisher: SessionSerial(stored.publisher),
            owner: 0,
            number: stored.number,
        };
        known.message = Some(Message::new(head, stored.topic, stored.forwarded, stored.payload));
        if !self.awaited.is_empty() {
            self.settle_awaited(place);
        }
    }

    fn session(&mut self, stored: &StoredSession<'_>) {
        let will = stored.will.as_ref().map(|will| Box::new(restore_will(stored.serial, will)));
        if stored.is_new {
            let session = Live {
                client_id: stored.client_id.into(),
                will,
                disconnected_at: stored.disconnected_at,
                subscriptions: Default::default(),
                inflight: Default::default(),
                mqueue: Default::default(),
                inbound: Vec::new(),
                expiry_s: stored.expiry_s,
                user: stored.user,
                last_packet_id: stored.last_packet_id,
                version: stored.version,
            };
            self.sessions.insert(stored.serial, Box::new(session));
        } else if let Some(session) = self.sessions.get_mut(&stored.serial) {
            if *session.client_id != *stored.client_id {
                session.client_id = stored.client_id.into();
            }
            session.will = will;
            session.disconnected_at = stored.disconnected_at;
            session.expiry_s = stored.expiry_s;
            session.user = stored.user;
            session.last_packet_id = stored.last_packet_id;
            session.version = stored.version;
        }
    }

    fn end(&mut self, serial: u64, keeps_will: bool) {
        let Some(session) = self.sessions.remove(&serial).filter(|_| keeps_will) else { return };
        let is_delayed = *session.client_id == *DELAYED_CLIENT_ID;
        if let Some(will) = session.will {
            if is_delayed { &mut self.delayed } else { &mut self.wills }.insert(serial, will);
        }
    }

    fn deliver(&mut self, delivery: &StoredDelivery<'_>) {
        if !self.sessions.contains_key(&delivery.serial) {
            return;
        }
        let message = self.place(delivery.number);
        let share = delivery.share.map(|(name, filter)| self.share(name, filter));
        let is_rare = share.is_some() || !delivery.subscription_ids.is_empty();
        let rare = is_rare.then(|| {
            let subscription_ids = match delivery.subscription_ids {
                SubscriptionIds::Numbers(&[]) | SubscriptionIds::Encoded(&[]) => Vec::new(),
                ref ids => ids.iter().collect(),
            };
            Box::new(Rare { subscription_ids, share })
        });
        let queued = Queued {
            rare,
            message,
            qos: delivery.qos,
            retain: delivery.retain,
            is_conditional: delivery.is_conditional,
        };
        let Some(session) = self.sessions.get_mut(&delivery.serial) else { return };
        match delivery.packet_id {
            Some(packet_id) if packet_id > 0 => {
                session.gave(packet_id);
                session.inflight.append(Slot { packet_id, publish: Some(queued) });
            }
            _ => session.mqueue.push_back(queued),
        }
    }

    fn sent(&mut self, serial: u64, number: u64, packet_id: u16) {
        let Some((session, message)) = self.named(serial, number) else { return };
        if packet_id == 0 {
            return;
        }
        session.gave(packet_id);
        if let Some(queued) = session.take_queued(message) {
            session.inflight.append(Slot { packet_id, publish: Some(queued) });
        }
    }

    fn confirm(&mut self, number: u64) {
        let place = self.place(number);
        if let Some(known) = self.messages.get_mut(place as usize) {
            known.is_committed = true;
        }
    }

    fn publisher_commits(&mut self, publisher: u64, packet_id: u16, is_will: bool) {
        if is_will {
            self.wills.remove(&publisher);
            self.delayed.remove(&publisher);
        }
        let Some(session) = self.sessions.get_mut(&publisher) else { return };
        if is_will {
            session.will = None;
        }
        if packet_id > 0 {
            session.insert_inbound(packet_id);
        }
    }

    fn retain(&mut self, number: u64) {
        let place = self.place(number);
        let Some(known) = self.messages.get(place as usize) else { return };
        match &known.message {
            Some(message) => {
                let kept = Kept { changed: self.entries, message: Some(place) };
                match self.retained.get_mut(message.topic()) {
                    Some(old) => *old = kept,
                    None => {
                        self.retained.insert(message.topic().into(), kept);
                    }
                }
            }
            None => {
                self.awaited.insert(place, self.entries);
            }
        }
    }

    fn unretain(&mut self, topic: &str) {
        if self.awaited.is_empty() {
            self.retained.remove(topic);
        } else {
            // One of those whose message has not come may be of this topic: this came later.
            self.retained.insert(topic.into(), Kept { changed: self.entries, message: None });
        }
    }

    /// A message has come; perhaps a `Retain` named it before.
    fn settle_awaited(&mut self, place: u32) {
        let Some(changed) = self.awaited.remove(&place) else { return };
        let Some(message) = self.messages.get(place as usize).and_then(|known| known.message.as_ref()) else {
            return;
        };
        if self.retained.get(message.topic()).is_none_or(|kept| kept.changed < changed) {
            self.retained.insert(message.topic().into(), Kept { changed, message: Some(place) });
        }
    }

    /// A known session and the place of a message whose number has come before.
    fn named(&mut self, serial: u64, number: u64) -> Option<(&mut Live, u32)> {
        let message = *self.numbers.get(&number)?;
        Some((self.sessions.get_mut(&serial)?, message))
    }

    /// The place of a number in `messages`, made when it is new.
    fn place(&mut self, number: u64) -> u32 {
        let next = self.messages.len() as u32;
        let place = *self.numbers.entry(number).or_insert(next);
        if place == next {
            self.messages.push(Default::default());
        }
        place
    }

    fn share(&mut self, name: &str, filter: &str) -> Arc<ShareName> {
        let hasher = &self.share_hasher;
        let hash = hasher.hash_one((name, filter));
        let found = self.shares.find(hash, |share| *share.name == *name && *share.filter == *filter);
        if let Some(share) = found {
            return share.clone();
        }
        let share = Arc::new(ShareName { name: name.into(), filter: filter.into() });
        self.shares
            .insert_unique(hash, share.clone(), |share| hasher.hash_one((&*share.name, &*share.filter)));
        share
    }
}

impl Live {
    fn change(&mut self, entry: &Entry<'_>) {
        match *entry {
            Entry::Subscribe { filter, options, id, .. } => {
                self.subscriptions.replace(RestoredSubscription { filter: filter.into(), options, id });
            }
            Entry::Unsubscribe { filter, .. } => {
                self.subscriptions.remove(filter);
            }
            Entry::Done { packet_id, .. } => {
                self.inflight.remove(&packet_id);
            }
            Entry::Received { packet_id, .. } if packet_id > 0 => {
                self.inflight.replace(Slot { packet_id, publish: None });
            }
            Entry::Inbound { packet_id, .. } if packet_id > 0 => self.insert_inbound(packet_id),
            Entry::InboundDone { packet_id, .. } => self.remove_inbound(packet_id),
            _ => {}
        }
    }
}

/// Its message is the session's own, without a number: it gets one when it is published.
fn restore_will(serial: u64, stored: &StoredWill<'_>) -> Will {
    let head = MessageHead {
        qos: stored.qos,
        retain: stored.retain,
        expires_at: None,
        publisher: SessionSerial(serial),
        owner: 0,
        number: 0,
    };
    Will {
        message: Message::new(head, stored.topic, stored.forwarded, stored.payload),
        expiry_s: stored.expiry_s,
        delay_s: stored.delay_s,
    }
}
