//! Frames: what one shard wrote in one turn, with its number and checksums, as it lies in a segment; and the scanner that
//! finds them again behind whatever damage lies between. Pure.

use std::ops::Range;

use crc32fast::Hasher;

/// Bytes before a frame's body: magic, length of the body (u32), number (u64), how many frames before it were not synced
/// when it was written (u32), checksum of these three, checksum of the body. All numbers are little-endian.
pub const FRAME_HEADER_LEN: usize = 28;
/// Longest body: what the length can say.
pub const FRAME_BODY_MAX: usize = u32::MAX as usize;

const MAGIC: [u8; 4] = *b"MYFR";

/// What the checksums of a segment's frames begin with: something that only this segment of this store has.
///
/// So no bytes that another file left on the disk's blocks pass for a frame, and no payload of a client who builds frames
/// in it, wherever damage makes the scanner search for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameKey(u32);

impl FrameKey {
    /// That of segment `seq` of `generation`: the first segment after a failure may have the number of one that was
    /// removed, but never its generation.
    pub fn new(store_id: u64, seq: u64, generation: u64) -> Self {
        Self(checksum(0, &[&store_id.to_le_bytes(), &seq.to_le_bytes(), &generation.to_le_bytes()]))
    }
}

/// What goes before `body`, of at most [`FRAME_BODY_MAX`] bytes. `unsynced`: frames right before it that are not synced yet; a
/// crash may take any of them, and only what was written after their sync proves that it did not.
pub fn frame_header(key: FrameKey, number: u64, unsynced: u32, body: &[u8]) -> [u8; FRAME_HEADER_LEN] {
    let mut header = [0; FRAME_HEADER_LEN];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..20].copy_from_slice(&unsynced.to_le_bytes());
    let header_sum = checksum(key.0, &[&header[4..20]]);
    header[20..24].copy_from_slice(&header_sum.to_le_bytes());
    header[24..].copy_from_slice(&checksum(header_sum, &[body]).to_le_bytes());
    header
}

/// CRC-32 of `parts`, going on from `start`.
fn checksum(start: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new_with_initial(start);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// A place in a segment where frames are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes that are no frame, or do not count; 0 if nothing is there.
    pub len: u64,
    /// Number of the first frame that is lost by it.
    pub first_lost: u64,
    /// How many frames are lost that had been synced.
    pub frames_lost: u64,
    /// The segment ends with it.
    pub is_tail: bool,
}

impl Damage {
    /// A crash interrupted a write: what is lost had not been synced, so that nobody was promised anything. What else that write
    /// has left behind the first gap does not count either, for it may rest on what is missing.
    pub const fn is_torn(&self) -> bool {
        self.is_tail && self.frames_lost == 0
    }
}

/// What [`Scanner::step`] comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A frame; its body is this range of the bytes that were handed in.
    Frame {
        /// Its number.
        number: u64,
        /// All frames with lower numbers than this had been synced when it was written.
        synced_before: u64,
        /// Where it begins in the file.
        offset: u64,
        /// Its body.
        body: Range<usize>,
    },
    /// Something else; the frame behind it, if there is one, comes next.
    Damage(Damage),
    /// Call again with at least this many bytes from `offset()` on: the file has them.
    More(usize),
    /// The segment ends here.
    End,
}

/// Finds the frames of one segment.
#[derive(Debug, Clone)]
pub struct Scanner {
    key: FrameKey,
    offset: u64,
    end: u64,
    /// No number lower than this is taken for a frame of this segment.
    expected: u64,
    /// Frames with lower numbers than this had been synced.
    synced_before: u64,
    damaged_from: Option<u64>,
    good_end: u64,
}

/// What lies at the scanner's offset.
enum Found {
    Frame { number: u64, unsynced: u32, len: usize },
    More(usize),
    Nothing,
}

impl Scanner {
    /// Scans a segment from `offset`, behind its header, to `end`, as far as it counts. Its first frame should be `first_frame`,
    /// and all with lower numbers than `synced_before` should be there; `u64::MAX` if that is not known: then what is missing
    /// at the end is not told.
    pub const fn new(key: FrameKey, offset: u64, end: u64, first_frame: u64, synced_before: u64) -> Self {
        let (expected, damaged_from) = (first_frame, None);
        Self { key, offset, end, expected, synced_before, damaged_from, good_end: offset }
    }

    /// Where in the file the bytes of the next call begin.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the last good frame ended.
    pub const fn good_end(&self) -> u64 {
        self.good_end
    }

    /// The number that the next frame should have.
    pub const fn next_frame(&self) -> u64 {
        self.expected
    }

    /// Goes on to the next frame or damage. `bytes` are what the file has from `offset()` on, or as many of them as are read.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        let begin = self.offset;
        loop {
            let at = (self.offset - begin) as usize;
            let rest = bytes.get(at..).unwrap_or_default();
            match self.find(rest) {
                Found::Frame { number, unsynced, len } => return self.found(number, unsynced, at, len),
                Found::More(len) => return Step::More(len),
                Found::Nothing if self.offset == self.end => return self.at_end(),
                Found::Nothing => {
                    self.damaged_from.get_or_insert(self.offset);
                    self.skip(rest);
                }
            }
        }
    }

    fn found(&mut self, number: u64, unsynced: u32, at: usize, len: usize) -> Step {
        let offset = self.offset;
        if self.damaged_from.is_some() || number != self.expected {
            let from = self.damaged_from.take().unwrap_or(offset);
            let first_lost = self.expected;
            if first_lost >= self.synced_before {
                self.offset = self.end;
                let len = self.end - from;
                return Step::Damage(Damage { offset: from, len, first_lost, frames_lost: 0, is_tail: true });
            }
            self.expected = number;
            let (len, frames_lost) = (offset - from, number - first_lost);
            return Step::Damage(Damage { offset: from, len, first_lost, frames_lost, is_tail: false });
        }
        let body = at + FRAME_HEADER_LEN..at + FRAME_HEADER_LEN + len;
        self.offset += (FRAME_HEADER_LEN + len) as u64;
        self.good_end = self.offset;
        self.expected = number.saturating_add(1);
        let synced_before = number.saturating_sub(u64::from(unsynced));
        Step::Frame { number, synced_before, offset, body }
    }

    fn at_end(&mut self) -> Step {
        let first_lost = self.expected;
        let is_known = self.synced_before != u64::MAX;
        let frames_lost = if is_known { self.synced_before.saturating_sub(first_lost) } else { 0 };
        if self.damaged_from.is_none() && frames_lost == 0 {
            return Step::End;
        }
        let offset = self.damaged_from.take().unwrap_or(self.end);
        self.expected += frames_lost;
        Step::Damage(Damage { offset, len: self.end - offset, first_lost, frames_lost, is_tail: true })
    }

    /// Whether `rest` begins with a frame.
    fn find(&self, rest: &[u8]) -> Found {
        let left = self.end.saturating_sub(self.offset);
        if left < FRAME_HEADER_LEN as u64 {
            return Found::Nothing;
        }
        let Some((header, rest)) = rest.split_first_chunk::<FRAME_HEADER_LEN>() else {
            return Found::More(FRAME_HEADER_LEN);
        };
        let u32_at =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let header_sum = u32_at(20);
        if header[..4] != MAGIC || header_sum != checksum(self.key.0, &[&header[4..20]]) {
            return Found::Nothing;
        }
        let len = u32_at(4) as usize;
        let number = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
        let whole = FRAME_HEADER_LEN + len;
        if whole as u64 > left || number < self.expected {
            return Found::Nothing;
        }
        match rest.get(..len) {
            None => Found::More(whole),
            Some(body) if checksum(header_sum, &[body]) == u32_at(24) => {
                Found::Frame { number, unsynced: u32_at(16), len }
            }
            Some(_) => Found::Nothing,
        }
    }

    /// Goes to the next place in `rest` where a frame may begin: a byte further at least.
    fn skip(&mut self, rest: &[u8]) {
        let left = self.end - self.offset;
        let known = rest.len() as u64;
        let next = rest.get(1..).and_then(|rest| rest.windows(MAGIC.len()).position(|four| four == MAGIC));
        self.offset += match next {
            Some(at) => (at as u64 + 1).min(left),
            None if known >= left => left,
            // The magic may begin in the last three bytes.
            None => known.saturating_sub(MAGIC.len() as u64 - 1).max(1),
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: FrameKey = FrameKey(0x1234_5678);

    /// Frames from number 1 on; those from `unsynced_from` on were written without a sync between them.
    fn frames_since(unsynced_from: u64, bodies: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, body) in (1_u64..).zip(bodies) {
            let unsynced = number.saturating_sub(unsynced_from) as u32;
            bytes.extend_from_slice(&frame_header(KEY, number, unsynced, body));
            bytes.extend_from_slice(body);
        }
        bytes
    }

    /// The same, each synced.
    fn frames(bodies: &[&[u8]]) -> Vec<u8> {
        frames_since(u64::MAX, bodies)
    }

    /// Numbers and bodies, and damage, in order; `portion`: bytes that are read at a time.
    fn scan_synced(bytes: &[u8], portion: usize, synced: u64) -> (Vec<(u64, Vec<u8>)>, Vec<Damage>) {
        let mut scanner = Scanner::new(KEY, 0, bytes.len() as u64, 1, synced);
        let (mut found, mut damage) = (Vec::new(), Vec::new());
        let mut window = portion;
        for _ in 0..10 * bytes.len() + 10 {
            let rest = &bytes[scanner.offset() as usize..];
            let rest = &rest[..rest.len().min(window)];
            let end = scanner.offset() as usize + rest.len();
            match scanner.step(rest) {
                Step::Frame { number, body, .. } => found.push((number, rest[body].to_vec())),
                Step::Damage(what) => damage.push(what),
                Step::More(len) => {
                    assert!(scanner.offset() as usize + len > end);
                    assert!(scanner.offset() as usize + len <= bytes.len());
                    window = len.max(portion);
                    continue;
                }
                Step::End => return (found, damage),
            }
            window = portion;
        }
        panic!("the scanner does not end");
    }

    fn scan(bytes: &[u8], portion: usize) -> (Vec<(u64, Vec<u8>)>, Vec<Damage>) {
        scan_synced(bytes, portion, u64::MAX)
    }

    const BODIES: [&[u8]; 4] = [b"one", b"", b"MYFR of a payload MYFR", b"four"];

    #[test]
    fn frames_come_back_whatever_the_portions() {
        let bytes = frames(&BODIES);
        for portion in [1, 7, 24, 30, 1000] {
            let (found, damage) = scan(&bytes, portion);
            assert_eq!(damage, []);
            let bodies: Vec<_> = found.iter().map(|(_, body)| body.as_slice()).collect();
            assert_eq!(bodies, BODIES);
            assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_segment_cut_anywhere_keeps_what_is_whole_and_names_the_tail() {
        let bytes = frames(&BODIES);
        let ends: Vec<usize> = BODIES
            .iter()
            .scan(0, |end, body| {
                *end += FRAME_HEADER_LEN + body.len();
                Some(*end)
            })
            .collect();
        for len in 0..=bytes.len() {
            let (found, damage) = scan(&bytes[..len], 11);
            let whole = ends.iter().filter(|end| **end <= len).count();
            assert_eq!(found.len(), whole, "cut to {len}");
            let end = if whole == 0 { 0 } else { ends[whole - 1] };
            if end == len {
                assert_eq!(damage, []);
            } else {
                let tail = Damage {
                    offset: end as u64,
                    len: (len - end) as u64,
                    first_lost: whole as u64 + 1,
                    frames_lost: 0,
                    is_tail: true,
                };
                assert_eq!(damage, [tail], "cut to {len}");
            }
        }
    }

    #[test]
    fn one_flipped_bit_costs_one_frame_wherever_it_is() {
        let bytes = frames(&BODIES);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            for portion in [5, 1000] {
                let (found, damage) = scan(&bytes, portion);
                assert_eq!(found.len(), BODIES.len() - 1, "bit {bit}");
                assert_eq!(damage.len(), 1, "bit {bit}: {damage:?}");
                let lost = (1..=4).find(|number| found.iter().all(|(found, _)| found != number)).unwrap();
                assert_eq!(damage[0].first_lost, lost);
                let is_last = lost == 4;
                assert_eq!((damage[0].frames_lost, damage[0].is_tail), (u64::from(!is_last), is_last));
                let len = FRAME_HEADER_LEN + BODIES[lost as usize - 1].len();
                assert_eq!(damage[0].len, len as u64, "bit {bit}");
            }
        }
    }

    #[test]
    fn frames_that_a_client_or_another_segment_wrote_are_none() {
        let other = FrameKey::new(7, 1, 1);
        let forged = [frame_header(other, 2, 0, b"forged").as_slice(), b"forged"].concat();
        let mut bytes = frames(&[&forged, b"true"]);
        assert_eq!(scan(&bytes, 100).0.len(), 2);
        bytes[0] ^= 1;
        let (found, damage) = scan(&bytes, 100);
        assert_eq!(found, [(2, b"true".to_vec())]);
        assert_eq!(damage.len(), 1);
        assert_ne!(FrameKey::new(7, 1, 1), FrameKey::new(7, 2, 1));
        assert_ne!(FrameKey::new(7, 1, 1), FrameKey::new(8, 1, 1));
        assert_ne!(FrameKey::new(7, 1, 1), FrameKey::new(7, 1, 2));
    }

    #[test]
    fn frames_whose_place_nobody_marks_are_counted_by_their_numbers() {
        let bytes = frames(&BODIES);
        let second = FRAME_HEADER_LEN + BODIES[0].len();
        let third = second + FRAME_HEADER_LEN;
        let without_second = [&bytes[..second], &bytes[third..]].concat();
        let (found, damage) = scan(&without_second, 100);
        assert_eq!(found.len(), 3);
        let gap = Damage { offset: second as u64, len: 0, first_lost: 2, frames_lost: 1, is_tail: false };
        assert_eq!(damage, [gap]);
    }

    #[test]
    fn a_tail_of_zeros_is_a_tail() {
        let mut bytes = frames(&BODIES);
        let len = bytes.len();
        bytes.resize(len + 5000, 0);
        let (found, damage) = scan(&bytes, 512);
        assert_eq!(found.len(), 4);
        assert_eq!((damage[0].offset, damage[0].len, damage[0].is_tail), (len as u64, 5000, true));
    }

    #[test]
    fn a_gap_in_what_was_not_synced_ends_the_segment() {
        let bytes = frames_since(2, &BODIES);
        let second = FRAME_HEADER_LEN + BODIES[0].len();
        for portion in [5, 1000] {
            let (found, damage) = scan_synced(&bytes, portion, 2);
            assert_eq!((found.len(), damage.len()), (4, 0));
            let mut torn = bytes.clone();
            torn[second + 9] ^= 1;
            let (found, damage) = scan_synced(&torn, portion, 2);
            assert_eq!(found.len(), 1);
            let (offset, len) = (second as u64, (bytes.len() - second) as u64);
            assert_eq!(damage, [Damage { offset, len, first_lost: 2, frames_lost: 0, is_tail: true }]);
            assert!(damage[0].is_torn());
            // The first was synced.
            let mut damaged = bytes.clone();
            damaged[second - 1] ^= 1;
            let (found, damage) = scan_synced(&damaged, portion, 2);
            assert_eq!((found.len(), damage.len(), damage[0].frames_lost), (3, 1, 1));
            assert!(!damage[0].is_torn());
        }
    }

    #[test]
    fn frames_that_were_synced_and_are_not_there_are_counted() {
        let bytes = frames(&BODIES);
        let (found, damage) = scan_synced(&bytes, 100, 8);
        assert_eq!(found.len(), 4);
        let offset = bytes.len() as u64;
        assert_eq!(damage, [Damage { offset, len: 0, first_lost: 5, frames_lost: 3, is_tail: true }]);
        let (_, damage) = scan_synced(&bytes[..bytes.len() - 1], 100, 6);
        assert_eq!((damage[0].first_lost, damage[0].frames_lost), (4, 2));
        assert!(!damage[0].is_torn());
    }
}
