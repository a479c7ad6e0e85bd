//! A session's own list of its subscriptions, sorted by filter number. One subscription needs no heap block.
//! The filter's text lives in the shard's index (`router`); here is only its number.

use smallvec::SmallVec;

/// One subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Number of the filter, in the router or (shared) in the table of memberships.
    pub filter: u32,
    /// Subscription Identifier; 0: none.
    pub id: u32,
    /// A Shared Subscription.
    pub shared: bool,
}

impl Subscription {
    const fn key(&self) -> (bool, u32) {
        (self.shared, self.filter)
    }
}

/// All subscriptions of a session.
#[derive(Debug, Default)]
pub struct Subscriptions {
    sorted: SmallVec<[Subscription; 1]>,
}

impl Subscriptions {
    /// Adds or replaces; true if it is new.
    pub fn insert(&mut self, subscription: Subscription) -> bool {
        match self.sorted.binary_search_by_key(&subscription.key(), Subscription::key) {
            Ok(at) => {
                if let Some(slot) = self.sorted.get_mut(at) {
                    *slot = subscription;
                }
                false
            }
            Err(at) => {
                self.sorted.insert(at, subscription);
                true
            }
        }
    }

    /// The subscription of a filter.
    pub fn find(&self, shared: bool, filter: u32) -> Option<&Subscription> {
        let at = self.sorted.binary_search_by_key(&(shared, filter), Subscription::key).ok()?;
        self.sorted.get(at)
    }

    /// Takes one out.
    pub fn remove(&mut self, shared: bool, filter: u32) -> Option<Subscription> {
        let at = self.sorted.binary_search_by_key(&(shared, filter), Subscription::key).ok()?;
        Some(self.sorted.remove(at))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.sorted.iter()
    }

    /// Those behind one, which may be gone, in their order: not shared first, by number of the filter.
    pub fn iter_after(&self, after: Option<(bool, u32)>) -> impl Iterator<Item = &Subscription> {
        let skipped = after.map_or(0, |after| self.sorted.partition_point(|other| other.key() <= after));
        self.sorted.iter().skip(skipped)
    }

    /// Takes all out.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_3_8_4_3_a_second_subscription_to_a_filter_replaces_the_first() {
        let mut subscriptions = Subscriptions::default();
        assert!(subscriptions.insert(Subscription { filter: 7, id: 0, shared: false }));
        assert!(!subscriptions.insert(Subscription { filter: 7, id: 9, shared: false }));
        assert!(subscriptions.insert(Subscription { filter: 7, id: 3, shared: true }));
        assert_eq!(subscriptions.find(false, 7).map(|s| s.id), Some(9));
        assert_eq!(subscriptions.remove(true, 7).map(|s| s.id), Some(3));
        assert_eq!(subscriptions.len(), 1);
    }
}
