//! What one user has of a node, over all its connections and shards: words that are added to and taken from when a client
//! connects, subscribes or retains, not with every packet (but for the message rate, where there is one).

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;

use super::gate::Flow;
use super::own_quota::{OwnQuota, Resource};
use crate::clock::Timestamp;
use crate::config::Quota;

/// How many there are of one thing.
#[derive(Debug, Default)]
pub struct Share(AtomicU32);

impl Share {
    /// One more, unless there are `max` already (0: any number may be); whether it was counted.
    pub fn enter(&self, max: u32) -> bool {
        let max = if max == 0 { u32::MAX } else { max };
        self.0.fetch_update(Relaxed, Relaxed, |count| (count < max).then(|| count + 1)).is_ok()
    }

    /// So many less.
    pub fn leave(&self, count: u32) {
        // Never below 0: what left was counted before.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |had| Some(had.saturating_sub(count)));
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// A user's own word on one resource, which its newest credentials may change while others read it.
#[derive(Debug)]
struct OwnMax(AtomicU32);

impl OwnMax {
    /// No word. What would say so many means any number.
    const UNSAID: u32 = u32::MAX;

    fn set(&self, own: Option<u32>) {
        let word = own.map_or(Self::UNSAID, |max| if max == Self::UNSAID { 0 } else { max });
        self.0.store(word, Relaxed);
    }

    fn or(&self, common: u32) -> u32 {
        match self.0.load(Relaxed) {
            Self::UNSAID => common,
            own => own,
        }
    }
}

impl Default for OwnMax {
    fn default() -> Self {
        Self(AtomicU32::new(Self::UNSAID))
    }
}

/// What one user has.
#[derive(Debug, Default)]
pub struct Usage {
    /// Which user: stands in its messages. Never 0.
    pub number: u32,
    name: Box<str>,
    own: [OwnMax; Resource::NAMES.len()],
    /// Connections.
    pub connections: Share,
    /// Sessions, with and without a connection.
    pub sessions: Share,
    /// Subscriptions of all its sessions.
    pub subscriptions: Share,
    /// Retained messages that it published.
    pub retained: Share,
    messages: Flow,
    /// The rate by which `messages` was taken from last.
    per_s: AtomicU32,
}

impl Usage {
    /// Its User Name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much it may have of a resource, by its own quota or else by `common`; 0: any number.
    pub fn max(&self, resource: Resource, common: &Quota) -> u32 {
        let common = resource.max_of(common);
        self.own.get(resource as usize).map_or(common, |own| own.or(common))
    }

    fn set_own(&self, quota: &OwnQuota) {
        for ((_, resource), own) in Resource::NAMES.into_iter().zip(&self.own) {
            own.set(quota.find(resource));
        }
    }

    /// The turn of one of its connections to publish, where it may `per_s` times a second; `None`: now, and `take_message`
    /// takes it. Otherwise it is taken: each that waits has a turn of its own, so that they do not all wake for one of them.
    pub fn turn(&self, now: Timestamp, per_s: u32) -> Option<Timestamp> {
        self.go_by(now, per_s);
        self.messages.empty_until(now, per_s).map(|_| self.messages.reserve(now, per_s))
    }

    /// A turn that was `at`, looked at again: others that stood before it may be gone, or the rate another one.
    pub fn turn_again(&self, now: Timestamp, per_s: u32, at: Timestamp) -> Timestamp {
        self.go_by(now, per_s);
        at.min(self.messages.reserved_until())
    }

    /// A turn is not used.
    pub fn leave_turn(&self) {
        self.messages.give_back(self.per_s.load(Relaxed));
    }

    /// It has published without having waited for a turn.
    pub fn take_message(&self, now: Timestamp, per_s: u32) {
        self.messages.owe(now, per_s);
    }

    fn go_by(&self, now: Timestamp, per_s: u32) {
        let before = self.per_s.load(Relaxed);
        if before != per_s && self.per_s.swap(per_s, Relaxed) == before && before != 0 {
            // Turns far ahead by a slow rate would keep the user from a faster one.
            self.messages.begin_anew(now);
        }
    }

    fn is_idle(&self) -> bool {
        [&self.connections, &self.sessions, &self.retained].iter().all(|share| share.count() == 0)
    }
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Box<str>, Arc<Usage>, RandomState>,
    by_number: HashMap<u32, Arc<Usage>, RandomState>,
    last_number: u32,
}

/// What becomes of a connection of a user.
#[derive(Debug)]
pub enum Entry {
    /// It is counted among what the user has.
    Counted(Arc<Usage>),
    /// Its user has as many as it may have.
    Full,
    /// Nothing limits its user, and nothing is counted of it.
    Free,
}

/// All users that have something at the time and are counted.
#[derive(Debug, Default)]
pub struct Users {
    table: Mutex<Table>,
    /// Users in it: where there are none nobody has to lock it.
    len: AtomicUsize,
}

impl Users {
    /// A connection of user `name`, of whose quota its credentials say `own` and the configuration `common`. That of the
    /// newest credentials holds for all that the user has. `takes_over`: it has another one's place in a moment.
    pub fn connect(&self, name: &str, own: &OwnQuota, common: &Quota, takes_over: bool) -> Entry {
        let is_limited = common.is_configured() || !own.is_empty();
        if !is_limited && self.len.load(Relaxed) == 0 {
            return Entry::Free;
        }
        let mut table = self.table();
        let usage = match table.by_name.get(name) {
            Some(usage) => Arc::clone(usage),
            None if is_limited => self.add(&mut table, name),
            None => return Entry::Free,
        };
        usage.set_own(own);
        let max = match usage.max(Resource::Connections, common) {
            0 => 0,
            max => max.saturating_add(u32::from(takes_over)),
        };
        if usage.connections.enter(max) { Entry::Counted(usage) } else { Entry::Full }
    }

    fn add(&self, table: &mut Table, name: &str) -> Arc<Usage> {
        table.last_number = table.last_number.wrapping_add(1).max(1);
        let usage = Arc::new(Usage { number: table.last_number, name: name.into(), ..Usage::default() });
        table.by_name.insert(name.into(), Arc::clone(&usage));
        table.by_number.insert(usage.number, Arc::clone(&usage));
        self.len.store(table.by_number.len(), Relaxed);
        usage
    }

    /// Something of the user has gone: if that was all, it is forgotten.
    pub fn forget_if_idle(&self, usage: &Usage) {
        // With the lock: whoever connects meanwhile has been counted, or finds nothing and begins anew.
        let mut table = self.table();
        if usage.is_idle() {
            table.by_number.remove(&usage.number);
            if table.by_name.get(&usage.name).is_some_and(|known| known.number == usage.number) {
                table.by_name.remove(&usage.name);
            }
            self.len.store(table.by_number.len(), Relaxed);
        }
    }

    /// The user with this number, if it has something.
    pub fn find(&self, number: u32) -> Option<Arc<Usage>> {
        self.table().by_number.get(&number).cloned()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds the lock can leave it half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TWO: Quota =
        Quota { connections_max: 2, sessions_max: 0, subscriptions_max: 0, retained_max: 0, publish_rate: 0 };

    fn own(resource: Resource, max: u32) -> OwnQuota {
        let mut own = OwnQuota::NONE;
        own.set(resource, max);
        own
    }

    fn counted(entry: Entry) -> Arc<Usage> {
        match entry {
            Entry::Counted(usage) => usage,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_user_is_counted_up_to_its_quota_and_forgotten_when_it_has_nothing() {
        let users = Users::default();
        let connect = |name, takes_over| users.connect(name, &OwnQuota::NONE, &TWO, takes_over);
        let usage = counted(connect("u", false));
        counted(connect("u", false));
        assert!(matches!(connect("u", false), Entry::Full));
        counted(connect("u", true));
        assert_ne!(counted(connect("v", false)).number, usage.number);
        assert!(usage.retained.enter(1) && !usage.retained.enter(1));
        usage.connections.leave(3);
        users.forget_if_idle(&usage);
        assert!(users.find(usage.number).is_some());
        usage.retained.leave(1);
        users.forget_if_idle(&usage);
        assert!(users.find(usage.number).is_none());
        assert_ne!(counted(connect("u", false)).number, usage.number);
    }

    #[test]
    fn the_own_quota_of_the_newest_credentials_goes_before_that_of_all() {
        let users = Users::default();
        let connect = |own: &OwnQuota, common: &Quota| users.connect("u", own, common, false);
        let four = own(Resource::Connections, 4);
        assert!(matches!(connect(&OwnQuota::NONE, &Quota::default()), Entry::Free));
        let usage = counted(connect(&four, &TWO));
        (0..3).for_each(|_| drop(counted(connect(&four, &TWO))));
        assert!(matches!(connect(&four, &TWO), Entry::Full));
        assert_eq!(usage.max(Resource::Sessions, &Quota { sessions_max: 7, ..TWO }), 7);
        // 0, and the largest number that can be written, are any number.
        for any in [0, u32::MAX] {
            counted(connect(&own(Resource::Connections, any), &TWO));
            assert_eq!(usage.max(Resource::Connections, &TWO), 0);
        }
        assert!(matches!(connect(&OwnQuota::NONE, &TWO), Entry::Full));
        // Whom nothing limits any more is counted on as long as it is known.
        counted(connect(&OwnQuota::NONE, &Quota::default()));
        usage.connections.leave(7);
        users.forget_if_idle(&usage);
        assert!(matches!(connect(&OwnQuota::NONE, &Quota::default()), Entry::Free));
    }

    #[test]
    fn zero_is_any_number() {
        let share = Share::default();
        assert!((0..1000).all(|_| share.enter(0)));
        assert_eq!(share.count(), 1000);
        share.leave(2000);
        assert_eq!(share.count(), 0);
    }

    #[test]
    fn the_message_rate_is_that_of_all_connections_together() {
        let usage = Usage::default();
        for _ in 0..10 {
            assert_eq!(usage.turn(Timestamp(0), 10), None);
            usage.take_message(Timestamp(0), 10);
        }
        // Each that waits has its own turn, and who comes later is behind them.
        let turns = [0; 4].map(|_| usage.turn(Timestamp(0), 10).unwrap().0);
        assert_eq!(turns, [100, 200, 300, 400]);
        assert_eq!(usage.turn(Timestamp(400), 10), Some(Timestamp(500)));
        assert_eq!(usage.turn(Timestamp(600), 10), None);
    }

    #[test]
    fn turns_that_are_not_used_bring_the_others_forward() {
        let usage = Usage::default();
        (0..10).for_each(|_| usage.take_message(Timestamp(0), 10));
        let turns = [0; 20].map(|_| usage.turn(Timestamp(0), 10).unwrap());
        assert_eq!(usage.turn_again(Timestamp(50), 10, turns[19]), Timestamp(2000));
        (0..19).for_each(|_| usage.leave_turn());
        assert_eq!(usage.turn_again(Timestamp(50), 10, turns[19]), Timestamp(100));
    }

    #[test]
    fn another_rate_forgets_the_turns_of_the_former_one() {
        let usage = Usage::default();
        let turns = [0; 100].map(|_| {
            usage.take_message(Timestamp(0), 1);
            usage.turn(Timestamp(0), 1)
        });
        assert_eq!(turns[99], Some(Timestamp(199_000)));
        assert_eq!(usage.turn_again(Timestamp(500), 1000, turns[99].unwrap()), Timestamp(500));
        assert_eq!(usage.turn(Timestamp(500), 1000), Some(Timestamp(501)));
        assert_eq!(usage.turn(Timestamp(502), 1000), None);
    }
}
