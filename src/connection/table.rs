//! The connections of a shard by index. Grows by a chunk at a time, so that no turn moves what is there.
//! Beside each place stands when its timer fires: a place's next connection takes the timer over, so that a
//! churn of connections does not fill the timer wheel.

use super::Connection;
use crate::clock::Timestamp;
use crate::session::ConnectionId;

const CHUNK: usize = 512;

/// When a timer fires that is not set.
const UNSET: Timestamp = Timestamp(u64::MAX);

#[derive(Debug)]
struct Place {
    timer_at: Timestamp,
    connection: Option<Connection>,
}

impl Default for Place {
    fn default() -> Self {
        Self { timer_at: UNSET, connection: None }
    }
}

// One for each client: see `Session`.
const _: () = assert!(size_of::<Place>() <= 104);

/// All connections of a shard.
#[derive(Debug, Default)]
pub struct ConnectionTable {
    chunks: Vec<Option<Box<[Place]>>>,
    len: usize,
}

impl ConnectionTable {
    /// Puts a connection at its index; what was there is gone.
    pub fn insert(&mut self, id: ConnectionId, connection: Connection) {
        let (chunk, offset) = (id.index as usize / CHUNK, id.index as usize % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let Some(slot) = self.chunks.get_mut(chunk) else { return };
        let places = slot.get_or_insert_with(|| (0..CHUNK).map(|_| Place::default()).collect());
        if let Some(place) = places.get_mut(offset) {
            self.len += usize::from(place.connection.is_none());
            place.connection = Some(connection);
        }
    }

    /// The connection of that name, if it is still there.
    #[inline]
    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.place(id.index)?.connection.as_ref().filter(|c| c.generation == id.generation)
    }

    /// As `get`.
    #[inline]
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.place_mut(id.index)?.connection.as_mut().filter(|c| c.generation == id.generation)
    }

    /// Takes it out.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let place = self.place_mut(id.index)?;
        if place.connection.as_ref()?.generation != id.generation {
            return None;
        }
        let connection = place.connection.take();
        self.len -= usize::from(connection.is_some());
        connection
    }

    /// The name of whoever has this index now.
    pub fn id_at(&self, index: u32) -> Option<ConnectionId> {
        let generation = self.place(index)?.connection.as_ref()?.generation;
        Some(ConnectionId { index, generation })
    }

    /// Notes that a timer at `at` is wanted; true: one has to be set, false: an earlier one will do.
    pub fn want_timer(&mut self, index: u32, at: Timestamp) -> bool {
        let Some(place) = self.place_mut(index) else { return false };
        if place.timer_at <= at {
            return false;
        }
        place.timer_at = at;
        true
    }

    /// The timer of this index fired.
    pub fn timer_fired(&mut self, index: u32, now: Timestamp) {
        if let Some(place) = self.place_mut(index)
            && place.timer_at <= now
        {
            place.timer_at = UNSET;
        }
    }

    /// The first connection at `index` or after it.
    pub fn next_from(&self, index: u32) -> Option<ConnectionId> {
        let mut all = u32::MAX;
        self.next_within(index, &mut all).ok()
    }

    /// As `next_from`, but looks at so many places at most, and takes those that it looked at off.
    ///
    /// # Errors
    /// None was found: where to go on; `None`: the table ends here.
    pub fn next_within(&self, index: u32, places: &mut u32) -> Result<ConnectionId, Option<u32>> {
        let end = (self.chunks.len() * CHUNK) as u32;
        let mut index = index;
        while index < end {
            if *places == 0 {
                return Err(Some(index));
            }
            *places -= 1;
            if self.chunks.get(index as usize / CHUNK).is_none_or(Option::is_none) {
                index = (index / CHUNK as u32 + 1) * CHUNK as u32;
                continue;
            }
            if let Some(id) = self.id_at(index) {
                return Ok(id);
            }
            index += 1;
        }
        Err(None)
    }

    /// Connections in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn place(&self, index: u32) -> Option<&Place> {
        self.chunks.get(index as usize / CHUNK)?.as_ref()?.get(index as usize % CHUNK)
    }

    #[inline]
    fn place_mut(&mut self, index: u32) -> Option<&mut Place> {
        self.chunks.get_mut(index as usize / CHUNK)?.as_mut()?.get_mut(index as usize % CHUNK)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn connection(generation: u32) -> Connection {
        Connection::new(generation, 0, "127.0.0.1:1".parse().unwrap(), Timestamp(0))
    }

    #[test]
    fn a_name_of_a_former_holder_finds_nothing() {
        let mut table = ConnectionTable::default();
        let old = ConnectionId { index: 700, generation: 1 };
        let new = ConnectionId { index: 700, generation: 2 };
        table.insert(old, connection(1));
        assert!(table.remove(new).is_none());
        assert!(table.remove(old).is_some());
        table.insert(new, connection(2));
        assert!(table.get(old).is_none() && table.get_mut(new).is_some());
        assert_eq!((table.len(), table.next_from(0)), (1, Some(new)));
        assert_eq!(table.next_from(701), None);
    }

    #[test]
    fn a_search_among_empty_places_is_bounded_and_goes_on_where_it_was() {
        let mut table = ConnectionTable::default();
        let last = ConnectionId { index: 3 * CHUNK as u32 + 9, generation: 1 };
        let first = ConnectionId { index: 0, generation: 1 };
        table.insert(first, connection(1));
        table.remove(first);
        table.insert(last, connection(1));
        let mut places = 100;
        assert_eq!(table.next_within(0, &mut places), Err(Some(100)));
        assert_eq!(places, 0);
        // Chunks that were never needed cost one place each.
        places = CHUNK as u32 - 100 + 2 + 10;
        assert_eq!(table.next_within(100, &mut places), Ok(last));
        assert_eq!(places, 0);
        assert_eq!(table.next_within(last.index + 1, &mut 10_000), Err(None));
    }

    #[test]
    fn a_place_has_one_timer_over_all_its_connections() {
        let mut table = ConnectionTable::default();
        table.insert(ConnectionId { index: 3, generation: 1 }, connection(1));
        assert!(table.want_timer(3, Timestamp(100)));
        assert!(!table.want_timer(3, Timestamp(200)));
        assert!(table.want_timer(3, Timestamp(50)));
        table.timer_fired(3, Timestamp(50));
        assert!(table.want_timer(3, Timestamp(60)));
    }
}
