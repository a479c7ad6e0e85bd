//! The state that a journal comes to, back in the shards: each gets its sessions, its slice of the Retained Messages and the
//! members of its Shared Subscriptions, before any client comes.

use std::sync::Arc;

use super::Broker;
use super::effects::{Effects, Timer};
use super::message::SessionToken;
use crate::clock::Timestamp;
use crate::interest::{Placement, ShardId};
use crate::packet::PacketId;
use crate::router::{SessionIndex, SubscriptionOptions};
use crate::session::{
    Inbound, Inflight, Outbound, Session, SessionSerial, ShareName, Slot, Subscription, Will,
};
use crate::storage::{
    RETAINED_UNDER_WAY, Restored, RestoredReturn, RestoredSession, RestoredSlot, RestoredSubscription,
};
use crate::topic;

/// What one shard gets.
#[derive(Debug, Default)]
pub struct RestoredShard {
    sessions: Vec<RestoredSession>,
    retained: Vec<Arc<crate::session::Message>>,
    members: Vec<RestoredMember>,
    wills: Vec<Will>,
    returned: Vec<RestoredReturn>,
}

/// A member of a Shared Subscription, for its home.
#[derive(Debug)]
struct RestoredMember {
    share: Arc<ShareName>,
    shard: ShardId,
    token: SessionToken,
    options: SubscriptionOptions,
    id: u32,
}

/// Gives each of `shards` shards what is its own.
pub fn distribute(restored: Restored, placement: &Placement, shards: u16) -> Vec<RestoredShard> {
    let mut parts: Vec<RestoredShard> = (0..shards).map(|_| RestoredShard::default()).collect();
    let at = |shard: ShardId| usize::from(shard.0);
    for session in restored.sessions {
        let home = placement.home_of(&session.client_id);
        // The place that it will have: sessions come into an empty table in this order.
        let index = parts.get(at(home)).map_or(0, |part| part.sessions.len() as u32);
        let token = SessionToken { index, serial: SessionSerial(session.serial) };
        for RestoredSubscription { filter, options, id } in &session.subscriptions {
            let Ok(Some(share)) = topic::parse_share(filter) else { continue };
            let share_home = placement.home_of_share(share.name, share.filter);
            let share = Arc::new(ShareName { name: share.name.into(), filter: share.filter.into() });
            let options = SubscriptionOptions::from_bits(*options);
            if let Some(part) = parts.get_mut(at(share_home)) {
                part.members.push(RestoredMember { share, shard: home, token, options, id: *id });
            }
        }
        if let Some(part) = parts.get_mut(at(home)) {
            part.sessions.push(session);
        }
    }
    for message in restored.retained {
        if let Some(part) = parts.get_mut(at(placement.slice_of(message.topic()))) {
            part.retained.push(message);
        }
    }
    for will in restored.wills {
        if let Some(part) = parts.get_mut(at(placement.slice_of(will.message.topic()))) {
            part.wills.push(will);
        }
    }
    for returned in restored.returned {
        let Some(share) = &returned.delivery.share else { continue };
        if let Some(part) = parts.get_mut(at(placement.home_of_share(&share.name, &share.filter))) {
            part.returned.push(returned);
        }
    }
    parts
}

impl Broker {
    /// Takes over what a journal has for this shard. Once, after `start` and before any client.
    pub fn restore<E: Effects>(&mut self, now: Timestamp, restored: RestoredShard, fx: &mut E) {
        let RestoredShard { sessions, retained, members, wills, returned } = restored;
        let mut wills_seen = 0;
        for session in sessions {
            self.restore_session(now, session, &mut wills_seen, fx);
        }
        for message in retained {
            self.restore_retained(message);
        }
        for RestoredMember { share, shard, token, options, id } in members {
            self.restore_member(shard, share, token, options, id);
        }
        for will in wills {
            if will.delay_s > 0 {
                let due = Timestamp(u64::from(will.delay_s) * 1000).max(now.plus_s(1));
                self.restore_delayed(due, will, fx);
                continue;
            }
            let serial = will.message.head().publisher;
            self.clients.journal.keep_will(serial, will.clone());
            self.restored_wills.push_back((serial, will));
        }
        for returned in returned {
            self.restore_return(returned);
        }
        if !self.restored_wills.is_empty() || !self.restored_returns.is_empty() {
            // Other shards may not be there yet.
            fx.set_timer(Timer::Legacies, now.plus_s(1));
        }
    }

    /// What sessions left that had ended before the crash: Wills, so many a second, and messages for other members of their
    /// Shared Subscriptions.
    pub(super) fn pass_on_legacies<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let has_more = self.start_restored_returns(now, fx);
        for _ in 0..self.config().storage.will_rate {
            let Some((serial, will)) = self.restored_wills.pop_front() else { break };
            self.publish_due_will(now, will, None, Some(serial), fx);
        }
        if has_more || !self.restored_wills.is_empty() {
            fx.set_timer(Timer::Legacies, now.plus_s(1));
        }
    }

    fn restore_session<E: Effects>(
        &mut self,
        now: Timestamp,
        mut restored: RestoredSession,
        wills_seen: &mut u64,
        fx: &mut E,
    ) {
        let subscriptions = std::mem::take(&mut restored.subscriptions);
        let mut session = session_of(restored);
        if let Some(will) = &mut session.will {
            let storage = &self.clients.config.storage;
            // Its client may come back first; and not all Wills of a node are due in one moment.
            let place_s = *wills_seen / u64::from(storage.will_rate.max(1));
            *wills_seen += 1;
            let due = session.since.plus_s(u64::from(will.delay_s));
            let earliest = now.plus_s(u64::from(storage.will_grace_s) + place_s);
            let delay_ms = due.max(earliest).ms_since(session.since);
            will.delay_s = u32::try_from(delay_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        }
        let (inflight, waiting) = (session.inflight_len() as u64, session.mqueue_len() as u64);
        let index = self.clients.add_session(session);
        self.count_persistent(false, true);
        self.metrics().inflight.set(self.metrics().inflight.load() + inflight);
        self.metrics().queues.set(self.metrics().queues.load() + waiting);
        self.clients.judge_queue(index);
        for subscription in subscriptions {
            self.restore_subscription(index, &subscription);
        }
        self.want_session_end(index, fx);
    }

    fn restore_subscription(&mut self, index: u32, subscription: &RestoredSubscription) {
        let RestoredSubscription { filter, options, id } = subscription;
        let is_being_given = *options & RETAINED_UNDER_WAY != 0;
        let options = SubscriptionOptions::from_bits(*options);
        let Ok(share) = topic::parse_share(filter) else { return };
        if let Some(share) = share {
            let name = Arc::new(ShareName { name: share.name.into(), filter: share.filter.into() });
            let number = self.memberships.insert(index, &name, options);
            self.metrics().subscriptions_shared.inc();
            self.add_subscription(index, Subscription { filter: number, id: *id, shared: true });
            return;
        }
        let subscribed = self.router.subscribe(filter, SessionIndex(index), options);
        if subscribed.is_new_filter {
            self.announce(subscribed.filter);
        }
        self.interest.make_durable(filter);
        self.add_subscription(index, Subscription { filter: subscribed.filter.0, id: *id, shared: false });
        if is_being_given {
            self.reopen_cursor(index, filter, options, *id);
        }
    }
}

fn session_of(restored: RestoredSession) -> Session {
    let serial = SessionSerial(restored.serial);
    let mut session = Session::new(&restored.client_id, serial, restored.version);
    session.expiry_s = restored.expiry_s;
    session.user = restored.user;
    session.last_packet_id = restored.last_packet_id;
    session.since = restored.disconnected_at;
    session.will = restored.will;
    if !restored.inbound.is_empty() {
        session.inbound = Some(Box::new(Inbound::restored(restored.inbound)));
    }
    if restored.inflight.is_empty() && restored.mqueue.is_empty() {
        return session;
    }
    let slots = restored.inflight.into_iter().filter_map(|(id, slot)| {
        let slot = match slot {
            RestoredSlot::Publish(delivery) => Slot::Publish(delivery),
            RestoredSlot::Release => Slot::Release { unsent: false },
        };
        PacketId::new(id).map(|id| (id, slot))
    });
    let mut outbound =
        Outbound { inflight: Inflight::restored(slots, restored.last_packet_id), ..Outbound::default() };
    for delivery in restored.mqueue {
        outbound.mqueue.push(delivery, u32::MAX, |_| {});
    }
    session.outbound = Some(Box::new(outbound));
    session
}
