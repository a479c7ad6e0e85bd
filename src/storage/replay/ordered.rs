//! Things in the order in which they came, found by their key: subscriptions by filter, inflight slots by identifier.
//! Nearly all lists are short and only a vector; a long one has an index, so that no history of a session, however
//! long, costs the square of its length.

use std::hash::Hash;

use ahash::RandomState;
use hashbrown::HashTable;

/// Longest list that is searched from its beginning.
const SEARCHED_MAX: usize = 32;

/// What has a key.
pub(super) trait Keyed {
    /// What it is found by.
    type Key: ?Sized + Eq + Hash;

    /// Its key.
    fn key(&self) -> &Self::Key;
}

/// A list without two of one key.
#[derive(Debug)]
pub(super) struct Ordered<T> {
    /// `None`: was removed.
    items: Vec<Option<T>>,
    live: usize,
    /// Where the keys are, of a long list.
    places: Option<Box<Places>>,
}

/// An index of a list. Filters are chosen by clients: the hash has a random key.
#[derive(Debug)]
struct Places {
    table: HashTable<u32>,
    hasher: RandomState,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { items: Vec::new(), live: 0, places: None }
    }
}

impl<T: Keyed> Ordered<T> {
    pub(super) fn get_mut(&mut self, key: &T::Key) -> Option<&mut T> {
        let at = self.place(key)?;
        self.items.get_mut(at)?.as_mut()
    }

    /// Takes the place of the one that has the same key, or becomes the last.
    pub(super) fn replace(&mut self, item: T) {
        match self.get_mut(item.key()) {
            Some(old) => *old = item,
            None => self.push(item),
        }
    }

    /// Becomes the last; one that has the same key goes.
    pub(super) fn append(&mut self, item: T) {
        self.remove(item.key());
        self.push(item);
    }

    pub(super) fn remove(&mut self, key: &T::Key) -> Option<T> {
        let at = self.place(key)?;
        let item = self.items.get_mut(at)?.take();
        self.live -= usize::from(item.is_some());
        if let Some(places) = &mut self.places
            && let Ok(entry) =
                places.table.find_entry(places.hasher.hash_one(key), |place| *place as usize == at)
        {
            entry.remove();
        }
        if self.items.len() > 2 * self.live + SEARCHED_MAX || self.live == 0 {
            self.close_up();
        }
        item
    }

    /// All of them, in order.
    pub(super) fn into_items(self) -> impl Iterator<Item = T> {
        self.items.into_iter().flatten()
    }

    fn push(&mut self, item: T) {
        if let Some(places) = &mut self.places {
            let Places { table, hasher } = &mut **places;
            let place = self.items.len() as u32;
            table.insert_unique(hasher.hash_one(item.key()), place, |place| {
                hash_at(hasher, &self.items, *place)
            });
        }
        self.items.push(Some(item));
        self.live += 1;
        if self.places.is_none() && self.items.len() > SEARCHED_MAX {
            self.close_up();
        }
    }

    fn place(&self, key: &T::Key) -> Option<usize> {
        let is_at =
            |place: usize| self.items.get(place).and_then(Option::as_ref).is_some_and(|i| i.key() == key);
        match &self.places {
            Some(places) => {
                let found = places.table.find(places.hasher.hash_one(key), |place| is_at(*place as usize));
                found.map(|place| *place as usize)
            }
            None => (0..self.items.len()).find(|place| is_at(*place)),
        }
    }

    /// Drops the gaps; makes the index anew if there is to be one.
    fn close_up(&mut self) {
        self.items.retain(Option::is_some);
        self.places = None;
        if self.items.len() <= SEARCHED_MAX {
            return;
        }
        let hasher = RandomState::default();
        let mut table = HashTable::with_capacity(self.items.len() * 2);
        for place in 0..self.items.len() as u32 {
            let hash = |place: &u32| hash_at(&hasher, &self.items, *place);
            table.insert_unique(hash(&place), place, hash);
        }
        self.places = Some(Box::new(Places { table, hasher }));
    }
}

fn hash_at<T: Keyed>(hasher: &RandomState, items: &[Option<T>], place: u32) -> u64 {
    items.get(place as usize).and_then(Option::as_ref).map_or(0, |item| hasher.hash_one(item.key()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    impl Keyed for (u16, u32) {
        type Key = u16;
        fn key(&self) -> &u16 {
            &self.0
        }
    }

    #[test]
    fn agrees_with_a_plain_list_under_random_changes() {
        let mut ordered = Ordered::default();
        let mut model: Vec<(u16, u32)> = Vec::new();
        let mut random = 7_u64;
        for step in 0..60_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Tides: grows past the limit of a searched list, and shrinks below it.
            let keys = if (step / 5_000) % 2 == 0 { 300 } else { 20 };
            let key = (random >> 40) as u16 % keys;
            let at = model.iter().position(|(other, _)| *other == key);
            match (random >> 33) % 4 {
                0 => {
                    ordered.append((key, step));
                    at.map(|at| model.remove(at));
                    model.push((key, step));
                }
                1 => {
                    ordered.replace((key, step));
                    match at {
                        Some(at) => model[at].1 = step,
                        None => model.push((key, step)),
                    }
                }
                _ => {
                    let key = if keys == 20 { model.first().map_or(key, |first| first.0) } else { key };
                    let at = model.iter().position(|(other, _)| *other == key);
                    assert_eq!(ordered.remove(&key), at.map(|at| model.remove(at)));
                    assert!(ordered.get_mut(&key).is_none());
                }
            }
            assert_eq!(ordered.live, model.len());
            if step % 501 == 0 {
                assert!(ordered.items.iter().flatten().eq(&model));
            }
        }
        assert!(ordered.into_items().eq(model));
    }

    #[test]
    fn a_long_list_is_not_searched_from_its_beginning() {
        let mut ordered = Ordered::default();
        for key in 0..u16::MAX {
            ordered.append((key, 0));
        }
        // From the end: a search from the beginning would take minutes here.
        for key in (0..u16::MAX).rev() {
            assert!(ordered.remove(&key).is_some());
        }
        assert!(ordered.items.is_empty() && ordered.places.is_none());
    }
}
