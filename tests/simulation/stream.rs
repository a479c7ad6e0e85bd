//! When the bytes of a stream were written: what lets the model know the very moment of each packet.

use std::collections::VecDeque;

/// Ends of the pieces of one stream, each with its moment.
#[derive(Default)]
pub struct Marks {
    end: u64,
    pieces: VecDeque<(u64, u64)>,
}

impl Marks {
    /// `len` bytes more, at `now`.
    pub fn append(&mut self, len: usize, now: u64) {
        self.end += len as u64;
        match self.pieces.back_mut() {
            Some(last) if last.1 == now => last.0 = self.end,
            _ => self.pieces.push_back((self.end, now)),
        }
    }

    /// When the byte before `offset` was written. Offsets only grow: older pieces are forgotten.
    pub fn written_at(&mut self, offset: u64) -> u64 {
        while self.pieces.len() > 1 && self.pieces[0].0 < offset {
            self.pieces.pop_front();
        }
        self.pieces.front().map_or(0, |piece| piece.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_moment() {
        let mut marks = Marks::default();
        for (len, now) in [(3, 10), (2, 10), (4, 20), (1, 30)] {
            marks.append(len, now);
        }
        let moments = [1, 5, 6, 9, 10].map(|offset| marks.written_at(offset));
        assert_eq!(moments, [10, 10, 20, 20, 30]);
    }
}
