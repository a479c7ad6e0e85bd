//! A slab that grows by chunks, with the free list inside the values: no growth step copies what is already
//! there. Used for outputs and timers; connections have their own table.

/// Values per chunk.
const CHUNK: usize = 256;
/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// A value with room for the index of another.
pub(crate) trait Link: Default {
    fn next(&self) -> u32;
    fn set_next(&mut self, next: u32);
}

/// A chunked slab.
pub(crate) struct Chunks<T> {
    chunks: Vec<Box<[T]>>,
    free: u32,
    live: usize,
}

impl<T: Link> Chunks<T> {
    /// An empty slab.
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, live: 0 }
    }

    /// Takes a place; the value there is what its last owner left.
    pub(crate) fn take(&mut self) -> u32 {
        if self.free == NONE {
            let first = (self.chunks.len() * CHUNK) as u32;
            self.chunks.push((0..CHUNK).map(|_| T::default()).collect());
            for index in (first..first + CHUNK as u32).rev() {
                self.link_free(index);
            }
        }
        let index = self.free;
        self.free = self[index].next();
        self[index].set_next(NONE);
        self.live += 1;
        index
    }

    /// Gives a place back.
    pub(crate) fn give(&mut self, index: u32) {
        self.live -= 1;
        self.link_free(index);
    }

    fn link_free(&mut self, index: u32) {
        let free = self.free;
        self[index].set_next(free);
        self.free = index;
    }

    /// Number of places taken.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Frees all chunks when no place is taken and more than `chunks` of them exist.
    pub(crate) fn trim(&mut self, chunks: usize) {
        if self.live == 0 && self.chunks.len() > chunks {
            self.chunks = Vec::new();
            self.free = NONE;
        }
    }
}

impl<T> std::ops::Index<u32> for Chunks<T> {
    type Output = T;
    fn index(&self, index: u32) -> &T {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

impl<T> std::ops::IndexMut<u32> for Chunks<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}
