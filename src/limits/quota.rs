//! What one user has of a node, over all its connections and shards: words that are added to and taken from when a client
//! connects, subscribes or retains, not with every packet (but for the message rate, where there is one).

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;

use super::gate::Flow;
use crate::clock::Timestamp;

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

/// What one user has.
#[derive(Debug, Default)]
pub struct Usage {
    /// Which user: stands in its messages. Never 0.
    pub number: u32,
    name: Box<str>,
    /// Connections.
    pub connections: Share,
    /// Sessions, with and without a connection.
    pub sessions: Share,
    /// Subscriptions of all its sessions.
    pub subscriptions: Share,
    /// Retained messages that it published.
    pub retained: Share,
    messages: Flow,
}

impl Usage {
    /// Its User Name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it may publish again, where it may `per_s` times a second; `None`: now.
    pub fn publish_pause(&self, now: Timestamp, per_s: u32) -> Option<Timestamp> {
        self.messages.empty_until(now, per_s)
    }

    /// It has published.
    pub fn take_message(&self, now: Timestamp, per_s: u32) {
        self.messages.owe(now, per_s);
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

/// All users that have something at the time.
#[derive(Debug, Default)]
pub struct Users {
    table: Mutex<Table>,
}

impl Users {
    /// A connection of user `name`; `None`: it has `connections_max` already.
    pub fn connect(&self, name: &str, connections_max: u32) -> Option<Arc<Usage>> {
        let mut table = self.table();
        let usage = match table.by_name.get(name) {
            Some(usage) => Arc::clone(usage),
            None => {
                table.last_number = table.last_number.wrapping_add(1).max(1);
                let usage =
                    Arc::new(Usage { number: table.last_number, name: name.into(), ..Usage::default() });
                table.by_name.insert(name.into(), Arc::clone(&usage));
                table.by_number.insert(usage.number, Arc::clone(&usage));
                usage
            }
        };
        usage.connections.enter(connections_max).then_some(usage)
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

    #[test]
    fn a_user_is_counted_up_to_its_quota_and_forgotten_when_it_has_nothing() {
        let users = Users::default();
        let usage = users.connect("u", 2).unwrap();
        assert!(users.connect("u", 2).is_some() && users.connect("u", 2).is_none());
        assert!(users.connect("v", 2).is_some_and(|v| v.number != usage.number));
        assert!(usage.retained.enter(1) && !usage.retained.enter(1));
        usage.connections.leave(2);
        users.forget_if_idle(&usage);
        assert!(users.find(usage.number).is_some());
        usage.retained.leave(1);
        users.forget_if_idle(&usage);
        assert!(users.find(usage.number).is_none());
        assert!(users.connect("u", 1).is_some_and(|u| u.number != usage.number));
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
            assert_eq!(usage.publish_pause(Timestamp(0), 10), None);
            usage.take_message(Timestamp(0), 10);
        }
        usage.take_message(Timestamp(0), 10);
        assert_eq!(usage.publish_pause(Timestamp(0), 10), Some(Timestamp(200)));
        assert_eq!(usage.publish_pause(Timestamp(200), 10), None);
    }
}
