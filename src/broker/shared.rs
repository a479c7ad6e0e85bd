//! Shared Subscriptions. The home of one knows all its members, on whatever shard, and picks one for each
//! message, connected ones first (5.0 section 4.8.2). A member's shard knows its memberships.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Broker;
use super::clients::SharedNews;
use super::deliver::Terms;
use super::effects::Effects;
use super::journal::Reach;
use super::message::{OperationId, SessionToken, ShardMessage, SharedDelivery};
use super::operations::{Pending, PendingSubAck, Waiter};
use super::publication::Publication;
use crate::clock::Timestamp;
use crate::config::SharedStrategy;
use crate::interest::ShardId;
use crate::packet::QoS;
use crate::router::SubscriptionOptions;
use crate::session::{SessionSerial, ShareName, Subscription};
use crate::slab::ChunkedSlab;
use crate::topic::Share;

/// Members compared for `least_inflight` at most: beyond, that many chosen at random.
const COMPARED_MAX: usize = 64;

/// One member, as its home sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    shard: ShardId,
    token: SessionToken,
    options: SubscriptionOptions,
    subscription_id: u32,
    inflight: u32,
}

/// A Shared Subscription at its home.
#[derive(Debug)]
struct Group {
    share: Arc<ShareName>,
    /// Members whose clients are connected, and the others.
    members: [Vec<Member>; 2],
    places: HashMap<SessionSerial, (bool, usize), ahash::RandomState>,
    next: usize,
    sticky: Option<SessionSerial>,
}

const ONLINE: usize = 0;
const OFFLINE: usize = 1;

impl Group {
    fn new(share: Arc<ShareName>) -> Self {
        Self { share, members: [Vec::new(), Vec::new()], places: HashMap::default(), next: 0, sticky: None }
    }

    fn insert(&mut self, member: Member, online: bool) {
        let list = &mut self.members[if online { ONLINE } else { OFFLINE }];
        self.places.insert(member.token.serial, (online, list.len()));
        list.push(member);
    }

    fn remove(&mut self, serial: SessionSerial) -> Option<Member> {
        let (online, at) = self.places.remove(&serial)?;
        let list = &mut self.members[if online { ONLINE } else { OFFLINE }];
        if at >= list.len() {
            return None;
        }
        let member = list.swap_remove(at);
        if let Some(moved) = list.get(at) {
            self.places.insert(moved.token.serial, (online, at));
        }
        Some(member)
    }

    fn member_mut(&mut self, serial: SessionSerial) -> Option<&mut Member> {
        let (online, at) = *self.places.get(&serial)?;
        self.members[if online { ONLINE } else { OFFLINE }].get_mut(at)
    }

    fn pick(
        &mut self,
        strategy: SharedStrategy,
        publication: &Publication<'_>,
        random: u64,
    ) -> Option<Member> {
        let Self { members, next, sticky, places, .. } = self;
        let is_online = !members[ONLINE].is_empty();
        let list = &mut members[if is_online { ONLINE } else { OFFLINE }];
        let len = list.len();
        if len == 0 {
            return None;
        }
        let hash = |text: &[u8]| ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(text) as usize;
        let at = match strategy {
            SharedStrategy::RoundRobin => {
                *next = (*next + 1) % len;
                *next
            }
            SharedStrategy::Random => random as usize % len,
            SharedStrategy::LeastInflight => {
                let start = random as usize % len;
                let compared = (0..len.min(COMPARED_MAX)).map(|n| (start + n) % len);
                compared.min_by_key(|at| list.get(*at).map_or(u32::MAX, |member| member.inflight))?
            }
            SharedStrategy::Sticky => {
                let kept = sticky.and_then(|serial| places.get(&serial).copied());
                match kept {
                    Some((online, at)) if online == is_online => at.min(len - 1),
                    _ => random as usize % len,
                }
            }
            SharedStrategy::HashPublisher => hash(&publication.head.publisher.0.to_le_bytes()) % len,
            SharedStrategy::HashTopic => hash(publication.topic.as_bytes()) % len,
        };
        let member = list.get_mut(at)?;
        *sticky = Some(member.token.serial);
        member.inflight = member.inflight.saturating_add(1);
        Some(*member)
    }
}

/// All Shared Subscriptions whose home is here.
#[derive(Debug)]
pub(super) struct Groups {
    groups: ChunkedSlab<Group>,
    by_name: HashMap<Arc<ShareName>, u32, ahash::RandomState>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { groups: ChunkedSlab::new(), by_name: HashMap::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many members a group has.
    pub(super) fn members_len(&self, group: u32) -> usize {
        self.groups.get(group).map_or(0, |group| group.places.len())
    }

    /// The Shared Subscription of a group.
    pub(super) fn share(&self, group: u32) -> Option<&ShareName> {
        self.groups.get(group).map(|group| &*group.share)
    }

    /// The members of a group.
    pub(super) fn members(&self, group: u32) -> impl Iterator<Item = (ShardId, SessionToken)> + '_ {
        let members = self.groups.get(group).into_iter().flat_map(|group| group.members.iter().flatten());
        members.map(|member| (member.shard, member.token))
    }

    fn find(&mut self, share: &ShareName) -> Option<&mut Group> {
        self.groups.get_mut(*self.by_name.get(share)?)
    }
}

/// One session's place in one Shared Subscription, at the session's shard.
#[derive(Debug)]
struct Membership {
    session: u32,
    share: Arc<ShareName>,
    options: SubscriptionOptions,
}

/// All memberships of this shard's sessions.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    slab: ChunkedSlab<Membership>,
    by_name: HashMap<(u32, Arc<ShareName>), u32, ahash::RandomState>,
}

impl Memberships {
    /// The number of a session's membership.
    pub(super) fn find(&self, session: u32, name: &str, filter: &str) -> Option<u32> {
        if self.by_name.is_empty() {
            return None;
        }
        let share = Arc::new(ShareName { name: name.into(), filter: filter.into() });
        self.by_name.get(&(session, share)).copied()
    }

    fn contains(&self, session: u32, share: &Arc<ShareName>) -> bool {
        self.by_name.contains_key(&(session, Arc::clone(share)))
    }

    pub(super) fn insert(
        &mut self,
        session: u32,
        share: &Arc<ShareName>,
        options: SubscriptionOptions,
    ) -> u32 {
        let number = self.slab.insert(Membership { session, share: Arc::clone(share), options });
        self.by_name.insert((session, Arc::clone(share)), number);
        number
    }

    /// Which Shared Subscription, and with which options.
    pub(super) fn share(&self, number: u32) -> Option<(&ShareName, SubscriptionOptions)> {
        self.slab.get(number).map(|membership| (&*membership.share, membership.options))
    }

    fn remove(&mut self, number: u32) -> Option<Arc<ShareName>> {
        let Membership { session, share, .. } = self.slab.remove(number)?;
        self.by_name.remove(&(session, Arc::clone(&share)));
        Some(share)
    }
}

impl Broker {
    /// A session here subscribes with `$share/{name}/{filter}`.
    pub(super) fn join_share<E: Effects>(
        &mut self,
        index: u32,
        share: &Share<'_>,
        options: SubscriptionOptions,
        subscription_id: u32,
        pending: &mut Pending,
        fx: &mut E,
    ) {
        let Some(serial) = self.clients.sessions.get(index).map(|session| session.serial) else { return };
        let name = Arc::new(ShareName { name: share.name.into(), filter: share.filter.into() });
        let number = match self.memberships.find(index, share.name, share.filter) {
            Some(number) => {
                if let Some(membership) = self.memberships.slab.get_mut(number) {
                    membership.options = options;
                }
                number
            }
            None => {
                self.metrics().subscriptions_shared.inc();
                self.memberships.insert(index, &name, options)
            }
        };
        self.add_subscription(index, Subscription { filter: number, id: subscription_id, shared: true });
        let member = SessionToken { index, serial };
        let home = self.home_of(&name);
        if home == self.shard {
            self.join_group(home, name, member, options, subscription_id);
        } else {
            let operation = self.expect_answer(pending);
            let join = ShardMessage::SharedJoin { share: name, member, options, subscription_id, operation };
            self.send_control(home, join, fx);
        }
    }

    /// Whom the answers to `pending` are for: its SUBACK.
    pub(super) fn set_subscriber(&mut self, pending: &Pending, suback: PendingSubAck) {
        self.set_waiter(pending, Waiter::Subscriber(Box::new(suback)));
    }

    /// A session here leaves the Shared Subscription of its membership `number`.
    pub(super) fn leave_share<E: Effects>(
        &mut self,
        index: u32,
        serial: SessionSerial,
        number: u32,
        fx: &mut E,
    ) {
        let Some(share) = self.memberships.remove(number) else { return };
        self.metrics().subscriptions_shared.dec();
        let member = SessionToken { index, serial };
        let home = self.home_of(&share);
        if home == self.shard {
            self.leave_group(&share, member);
        } else {
            self.send_control(home, ShardMessage::SharedLeave { share, member }, fx);
        }
    }

    /// Tells the homes of a session's Shared Subscriptions whether its client is connected.
    pub(super) fn tell_presence<E: Effects>(&mut self, index: u32, connected: bool, fx: &mut E) {
        let Some(session) = self.clients.sessions.get(index) else { return };
        let member = SessionToken { index, serial: session.serial };
        let shared = session.subscriptions.iter().filter(|subscription| subscription.shared);
        let shares: Vec<Arc<ShareName>> = shared
            .filter_map(|subscription| {
                Some(Arc::clone(&self.memberships.slab.get(subscription.filter)?.share))
            })
            .collect();
        for share in shares {
            let home = self.home_of(&share);
            if home == self.shard {
                self.set_presence(&share, member, connected);
            } else {
                self.send_control(home, ShardMessage::SharedPresence { share, member, connected }, fx);
            }
        }
    }

    /// One message for one group: to a member here at once, to another shard as a message.
    pub(super) fn deliver_shared<E: Effects>(
        &mut self,
        now: Timestamp,
        group: u32,
        publication: &mut Publication<'_>,
        pending: &mut Pending,
        fx: &mut E,
    ) {
        let Some((share, member)) = self.pick(group, publication) else { return };
        if member.shard == self.shard {
            self.deliver_to_member(now, &share, &member, publication, fx);
            return;
        }
        let is_tracked = publication.head.qos > QoS::AtMostOnce;
        let credit = pending.is_publisher() && fx.reserve(member.shard);
        if pending.is_publisher() && !credit && !is_tracked {
            return self.clients.dropped(&self.metrics().dropped_no_credit);
        }
        let must_answer = pending.is_bounded() && (is_tracked || !credit || pending.is_counted());
        let operation = must_answer.then(|| self.expect_answer(pending));
        let message = Arc::clone(publication.message());
        self.send_to_member(share, &member, message, operation, credit, fx);
    }

    /// The member that gets a message, if the Shared Subscription has any.
    pub(super) fn pick_member(
        &mut self,
        share: &ShareName,
        publication: &Publication<'_>,
    ) -> Option<(Arc<ShareName>, Member)> {
        let group = *self.groups.by_name.get(share)?;
        self.pick(group, publication)
    }

    /// Whether a member's session is on this shard.
    pub(super) fn is_here(&self, member: &Member) -> bool {
        member.shard == self.shard
    }

    fn pick(&mut self, group: u32, publication: &Publication<'_>) -> Option<(Arc<ShareName>, Member)> {
        let strategy = self.config().mqtt.shared_strategy;
        let random = self.next_random();
        let group = self.groups.groups.get_mut(group)?;
        let member = group.pick(strategy, publication, random)?;
        Some((Arc::clone(&group.share), member))
    }

    pub(super) fn deliver_to_member<E: Effects>(
        &mut self,
        now: Timestamp,
        share: &Arc<ShareName>,
        member: &Member,
        publication: &mut Publication<'_>,
        fx: &mut E,
    ) {
        let id = [member.subscription_id];
        let terms = Terms {
            qos: QoS::from_bits(member.options.qos()).unwrap_or_default(),
            retain_as_published: member.options.retain_as_published(),
            retained: false,
            ids: if member.options.has_id() { &id } else { &[] },
            share: Some(share),
        };
        self.clients.deliver(now, member.token.index, publication, &terms, fx);
    }

    pub(super) fn send_to_member<E: Effects>(
        &mut self,
        share: Arc<ShareName>,
        member: &Member,
        message: Arc<crate::session::Message>,
        operation: Option<OperationId>,
        credit: bool,
        fx: &mut E,
    ) {
        let delivery = Box::new(SharedDelivery {
            member: member.token,
            share,
            message,
            options: member.options,
            subscription_id: member.subscription_id,
        });
        self.metrics().shard_messages_sent.inc();
        let message = ShardMessage::SharedDeliver { delivery, operation, credit };
        if credit { fx.send(member.shard, message) } else { fx.send_control(member.shard, message) }
    }

    /// What other shards say about Shared Subscriptions.
    pub(super) fn shared_message<E: Effects>(
        &mut self,
        now: Timestamp,
        from: ShardId,
        message: ShardMessage,
        fx: &mut E,
    ) {
        match message {
            ShardMessage::SharedJoin { share, member, options, subscription_id, operation } => {
                self.join_group(from, share, member, options, subscription_id);
                self.send_control(
                    from,
                    ShardMessage::Accepted { operation, reach: Reach::matched(true) },
                    fx,
                );
            }
            ShardMessage::SharedLeave { share, member } => self.leave_group(&share, member),
            ShardMessage::SharedPresence { share, member, connected } => {
                self.set_presence(&share, member, connected);
            }
            ShardMessage::SharedAcked { share, member } => self.member_acked(&share, member),
            ShardMessage::SharedDeliver { delivery, operation, credit } => {
                self.shared_deliver(now, from, *delivery, operation, credit, fx);
            }
            ShardMessage::SharedGiveBack { share, message, operation } => {
                let waiter = Waiter::Shard { from, operation: Some(operation), credit: false };
                self.give_to_next(now, &share, &message, Pending::new(waiter), fx);
            }
            ShardMessage::SharedReturn { share, message, operation } => {
                self.shared_return(now, &share, &message, operation, fx);
            }
            _ => {}
        }
    }

    fn shared_deliver<E: Effects>(
        &mut self,
        now: Timestamp,
        from: ShardId,
        delivery: SharedDelivery,
        operation: Option<OperationId>,
        credit: bool,
        fx: &mut E,
    ) {
        let SharedDelivery { member: token, share, message, options, subscription_id } = delivery;
        if credit {
            fx.release(from, 1);
        }
        let is_gone =
            self.clients.sessions.get(token.index).is_none_or(|session| session.serial != token.serial);
        // Or it has left, and its SharedLeave is still on the way: nothing new after UNSUBSCRIBE [MQTT-3.10.4-2].
        if is_gone || !self.memberships.contains(token.index, &share) {
            return self.send_control(from, ShardMessage::SharedReturn { share, message, operation }, fx);
        }
        let member = Member { shard: self.shard, token, options, subscription_id, inflight: 0 };
        self.clients.encoded.reset();
        self.clients.journal.begin(operation.is_some());
        self.deliver_to_member(now, &share, &member, &mut Publication::of(&message), fx);
        let reach = self.clients.journal.take_reach(true);
        if let Some(operation) = operation {
            self.send_control(from, ShardMessage::Accepted { operation, reach }, fx);
        }
    }

    /// A member could not have the message: the next one gets it, if there is one.
    fn shared_return<E: Effects>(
        &mut self,
        now: Timestamp,
        share: &Arc<ShareName>,
        message: &Arc<crate::session::Message>,
        operation: Option<OperationId>,
        fx: &mut E,
    ) {
        let mut publication = Publication::of(message);
        let Some((share, member)) = self.pick_member(share, &publication) else {
            self.clients.dropped(&self.metrics().dropped_session_end);
            if let Some(operation) = operation {
                self.answered(now, operation, Reach::default(), fx);
            }
            return;
        };
        if member.shard != self.shard {
            return self.send_to_member(share, &member, Arc::clone(message), operation, false, fx);
        }
        self.clients.encoded.reset();
        self.clients.journal.begin(operation.is_some());
        self.deliver_to_member(now, &share, &member, &mut publication, fx);
        let reach = self.clients.journal.take_reach(true);
        if let Some(operation) = operation {
            self.answered(now, operation, reach, fx);
        }
    }

    /// Tells homes what became of their messages.
    pub(super) fn send_shared_news<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        for news in std::mem::take(&mut self.clients.shared_news) {
            let (share, message) = match news {
                SharedNews::GivenBack(serial) => {
                    self.start_return(now, serial, fx);
                    continue;
                }
                SharedNews::Returned(share, message) => {
                    let returned =
                        ShardMessage::SharedReturn { share: Arc::clone(&share), message, operation: None };
                    (share, returned)
                }
                SharedNews::Acked(share, index, serial) => {
                    let member = SessionToken { index, serial };
                    let acked = ShardMessage::SharedAcked { share: Arc::clone(&share), member };
                    (share, acked)
                }
            };
            let home = self.home_of(&share);
            if home == self.shard {
                self.shared_message(now, home, message, fx);
            } else {
                self.send_control(home, message, fx);
            }
        }
    }

    fn join_group(
        &mut self,
        shard: ShardId,
        share: Arc<ShareName>,
        token: SessionToken,
        options: SubscriptionOptions,
        subscription_id: u32,
    ) {
        let number = match self.groups.by_name.get(&share) {
            Some(number) => *number,
            None => {
                let number = self.groups.groups.insert(Group::new(Arc::clone(&share)));
                self.groups.by_name.insert(Arc::clone(&share), number);
                let attached = self.router.attach_group(&share.filter, number);
                if attached.is_new_filter {
                    self.announce(attached.filter);
                }
                if self.clients.journal.is_on() {
                    // Whether its members outlast the process is their shards' knowledge.
                    self.interest.make_durable(&share.filter);
                }
                number
            }
        };
        let Some(group) = self.groups.groups.get_mut(number) else { return };
        let inflight = group.remove(token.serial).map_or(0, |member| member.inflight);
        group.insert(Member { shard, token, options, subscription_id, inflight }, true);
    }

    /// A member that the journal has; its client is not connected.
    pub(super) fn restore_member(
        &mut self,
        shard: ShardId,
        share: Arc<ShareName>,
        token: SessionToken,
        options: SubscriptionOptions,
        subscription_id: u32,
    ) {
        self.join_group(shard, Arc::clone(&share), token, options, subscription_id);
        self.set_presence(&share, token, false);
    }

    fn leave_group(&mut self, share: &Arc<ShareName>, member: SessionToken) {
        let Some(number) = self.groups.by_name.get(share).copied() else { return };
        let Some(group) = self.groups.groups.get_mut(number) else { return };
        group.remove(member.serial);
        if !group.places.is_empty() {
            return;
        }
        self.groups.groups.remove(number);
        self.groups.by_name.remove(share);
        if self.clients.journal.is_on() {
            self.interest.make_volatile(&share.filter);
        }
        if self.router.detach_group(&share.filter, number).is_some_and(|detached| detached.filter_gone) {
            self.withdraw(&share.filter);
        }
    }

    fn set_presence(&mut self, share: &ShareName, member: SessionToken, connected: bool) {
        let Some(group) = self.groups.find(share) else { return };
        if let Some(member) = group.remove(member.serial) {
            group.insert(member, connected);
        }
    }

    fn member_acked(&mut self, share: &ShareName, member: SessionToken) {
        if let Some(member) = self.groups.find(share).and_then(|group| group.member_mut(member.serial)) {
            member.inflight = member.inflight.saturating_sub(1);
        }
    }

    pub(super) fn home_of(&self, share: &ShareName) -> ShardId {
        self.shared.placement.home_of_share(&share.name, &share.filter)
    }

    /// Sends without credit and counts it.
    pub(super) fn send_control<E: Effects>(&self, to: ShardId, message: ShardMessage, fx: &mut E) {
        self.metrics().shard_messages_sent.inc();
        fx.send_control(to, message);
    }
}
