//! What the entries come to, at the journal's end.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

use super::session::{Live, Queued, Slot};
use super::{Known, Map, Replay, ReplayOutcome};
use crate::clock::Timestamp;
use crate::packet::QoS;
use crate::session::{Delivery, Message, NEVER, Will};
use crate::storage::{Restored, RestoredReturn, RestoredSession, RestoredSlot};

impl Replay {
    /// The state at `now`. `last_alive`: the last sign of life of who wrote the journal; then its connections ended.
    /// `Restored::user_key` is the caller's to fill in.
    pub fn finish(mut self, now: Timestamp, last_alive: Timestamp) -> (Restored, ReplayOutcome) {
        let mut outcome = ReplayOutcome::default();
        let mut restored = Restored {
            first_serial: self.serial_max.saturating_add(1),
            first_number: self.number_max.saturating_add(1),
            now,
            ..Restored::default()
        };
        let mut serials: Vec<u64> = self.sessions.keys().copied().collect();
        serials.sort_unstable();
        let ended = same_clients(&serials, &self.sessions);
        let mut wills = std::mem::take(&mut self.wills);
        restored.sessions.reserve_exact(serials.len() - ended.len());
        for serial in serials {
            let Some(mut live) = self.sessions.remove(&serial) else { continue };
            if live.client_id.is_empty() {
                // Of one that has ended, and was kept apart from it.
                leave(&self.messages, serial, *live, now, &mut outcome, &mut restored.returned);
                continue;
            }
            let since = live.disconnected_at.unwrap_or(last_alive);
            let is_expired = live.expiry_s != NEVER && since.plus_s(u64::from(live.expiry_s)) <= now;
            if is_expired || ended.binary_search(&serial).is_ok() {
                outcome.sessions_expired += u64::from(is_expired);
                let due = live.will.take().map(|will| (serial, Box::new(Will { delay_s: 0, ..*will })));
                wills.extend(due);
                leave(&self.messages, serial, *live, now, &mut outcome, &mut restored.returned);
                continue;
            }
            restored.sessions.push(restore(&self.messages, serial, *live, since, now, &mut outcome));
        }
        let mut wills: Vec<_> = wills.into_iter().collect();
        wills.sort_unstable_by_key(|(serial, _)| *serial);
        restored.wills = wills.into_iter().map(|(_, will)| *will).collect();
        outcome.retained_lost = self.awaited.len() as u64;
        restored.retained = self.finish_retained(now, &mut outcome);
        (restored, outcome)
    }

    fn finish_retained(self, now: Timestamp, outcome: &mut ReplayOutcome) -> Vec<Arc<Message>> {
        let mut kept: Vec<u32> = self.retained.into_values().filter_map(|kept| kept.message).collect();
        kept.sort_unstable();
        let messages = kept.into_iter().filter_map(|place| {
            let message = self.messages.get(place as usize)?.message.clone()?;
            let is_expired = message.is_expired(now);
            outcome.messages_expired += u64::from(is_expired);
            (!is_expired).then_some(message)
        });
        messages.collect()
    }
}

/// Of `serials`, in order, those whose Client Identifier a later one has too: that the later one ended them was lost.
fn same_clients(serials: &[u64], sessions: &Map<u64, Box<Live>>) -> Vec<u64> {
    let hasher = RandomState::default();
    let client = |serial: &u64| sessions.get(serial).map_or("", |live| &live.client_id);
    let mut latest: HashTable<u64> = HashTable::with_capacity(serials.len());
    let mut ended = Vec::new();
    for serial in serials.iter().filter(|serial| !client(serial).is_empty()) {
        let hash = hasher.hash_one(client(serial));
        match latest.find_mut(hash, |other| client(other) == client(serial)) {
            Some(other) => ended.push(std::mem::replace(other, *serial)),
            None => {
                latest.insert_unique(hash, *serial, |serial| hasher.hash_one(client(serial)));
            }
        }
    }
    ended.sort_unstable();
    ended
}

/// What a session that has ended leaves to other members of its Shared Subscriptions: a QoS 2 delivery once begun goes with it
/// [MQTT-4.8.2-5].
fn leave(
    messages: &[Known],
    serial: u64,
    live: Live,
    now: Timestamp,
    outcome: &mut ReplayOutcome,
    returned: &mut Vec<RestoredReturn>,
) {
    let inflight = live.inflight.into_items().filter_map(|slot| Some((Some(slot.packet_id), slot.publish?)));
    let inflight = inflight.filter(|(_, queued)| queued.qos == QoS::AtLeastOnce);
    for (packet_id, queued) in inflight.chain(live.mqueue.into_iter().map(|queued| (None, queued))) {
        if queued.rare.as_ref().is_none_or(|rare| rare.share.is_none()) {
            continue;
        }
        let Some(delivery) = delivery(messages, queued, outcome) else { continue };
        if delivery.message.is_expired(now) {
            outcome.messages_expired += 1;
        } else {
            returned.push(RestoredReturn { serial, packet_id, delivery });
        }
    }
}

fn restore(
    messages: &[Known],
    serial: u64,
    live: Live,
    since: Timestamp,
    now: Timestamp,
    outcome: &mut ReplayOutcome,
) -> RestoredSession {
    let mut inflight = Vec::new();
    for Slot { packet_id, publish } in live.inflight.into_items() {
        match publish {
            None => inflight.push((packet_id, RestoredSlot::Release)),
            // Expired or not: its delivery has begun, and the identifier is in use [MQTT-3.3.2-5].
            Some(queued) => {
                let delivery = delivery(messages, queued, outcome);
                inflight.extend(delivery.map(|delivery| (packet_id, RestoredSlot::Publish(delivery))));
            }
        }
    }
    let mut mqueue = Vec::with_capacity(live.mqueue.len());
    for queued in live.mqueue {
        let Some(delivery) = delivery(messages, queued, outcome) else { continue };
        if delivery.message.is_expired(now) {
            outcome.messages_expired += 1;
        } else {
            mqueue.push(delivery);
        }
    }
    RestoredSession {
        serial,
        client_id: live.client_id,
        version: live.version,
        expiry_s: live.expiry_s,
        user: live.user,
        last_packet_id: live.last_packet_id,
        disconnected_at: since,
        was_connected: live.disconnected_at.is_none(),
        will: live.will,
        subscriptions: live.subscriptions.into_items().collect(),
        inbound: live.inbound,
        inflight,
        mqueue,
    }
}

/// The delivery, if its message is complete and known.
fn delivery(messages: &[Known], queued: Queued, outcome: &mut ReplayOutcome) -> Option<Delivery> {
    let known = messages.get(queued.message as usize)?;
    if queued.is_conditional && !known.is_committed {
        outcome.uncommitted += 1;
        return None;
    }
    let Some(message) = known.message.clone() else {
        outcome.deliveries_lost += 1;
        return None;
    };
    let (subscription_ids, share) =
        queued.rare.map_or((Vec::new(), None), |rare| (rare.subscription_ids, rare.share));
    Some(Delivery {
        message,
        subscription_ids: (!subscription_ids.is_empty()).then(|| Box::new(subscription_ids)),
        share,
        sent_s: 0,
        qos: queued.qos,
        retain: queued.retain,
    })
}
