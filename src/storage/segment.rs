//! Segments: the files of the journal. Their names, the header with which each begins, reading one frame by frame in
//! portions, and where a journal ends, as the reader tells the writer.

use std::io;

use crc32fast::hash;

use super::disk::Disk;
use super::frame::{Damage, FrameKey, Scanner, Step};
use super::marks::{MARK_LEN, Mark};

/// Bytes of a header.
pub const SEGMENT_HEADER_LEN: usize = 128;
/// Version of the format that this Myriad writes. It reads this one and all before.
pub const FORMAT_VERSION: u32 = 1;

/// In all versions: these bytes come first, then the version, and the checksum is the last 4 of `SEGMENT_HEADER_LEN`.
const MAGIC: [u8; 8] = *b"MYRIADJ\n";
/// Where the numbers begin, and how many there are.
const NUMBERS_AT: usize = 12;
const NUMBERS: usize = 9;
const MARK_AT: usize = NUMBERS_AT + 8 * NUMBERS;
const SUM_AT: usize = SEGMENT_HEADER_LEN - 4;

const _: () = assert!(MARK_AT + MARK_LEN == SUM_AT);

/// Bytes that are read of a segment at a time.
const PORTION_BYTES: usize = 4 * 1024 * 1024;

/// File name of segment `seq`.
pub fn segment_name(seq: u64) -> String {
    format!("journal-{seq:016}.myj")
}

/// Which segment has this file name.
pub fn segment_seq(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".myj")?;
    let seq = digits.parse().ok()?;
    (segment_name(seq) == name).then_some(seq)
}

/// What a damaged segment is called when it would have been removed.
pub fn damaged_name(seq: u64) -> String {
    format!("{}.damaged", segment_name(seq))
}

/// Why a file's first bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file is shorter than a header: a crash came when the segment was just made.
    #[error("the file ends within its header")]
    Cut,
    /// The checksum is wrong, or it never was a segment.
    #[error("the header is damaged")]
    Damaged,
    /// A later Myriad wrote it.
    #[error("its format is version {0}, and this Myriad knows those up to {FORMAT_VERSION}")]
    Newer(u32),
}

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number: one more than that of the segment before.
    pub seq: u64,
    /// Recovery begins with this segment; those before it are of no use any more.
    pub base: u64,
    /// How many checkpoints were begun up to here. Images in this segment belong to this one.
    pub generation: u64,
    /// The store that it belongs to: random, made once.
    pub store_id: u64,
    /// Key of the hashes of User Names in the journal.
    pub user_key: u64,
    /// Number that its first frame has.
    pub first_frame: u64,
    /// Bytes of the segment before it that count: what lies behind them was never acknowledged and is not read. 0 for the
    /// first segment of a store.
    pub previous_len: u64,
    /// The disk had failed before this segment: it and all before the next header that says 0 here do not count, those from this
    /// number on, because they rest on frames that were never written. 0: no failure is behind it that was not mended.
    pub mending_since: u64,
    /// Missing or unreadable segments before this one were accepted by the operator; 0: none were.
    pub accepted_before: u64,
    /// When it was begun.
    pub mark: Mark,
}

impl SegmentHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        for (at, number) in self.numbers().into_iter().enumerate() {
            let at = NUMBERS_AT + 8 * at;
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[MARK_AT..MARK_AT + MARK_LEN].copy_from_slice(&self.mark.encode());
        let sum = hash(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    const fn numbers(&self) -> [u64; NUMBERS] {
        [
            self.seq,
            self.base,
            self.generation,
            self.store_id,
            self.user_key,
            self.first_frame,
            self.previous_len,
            self.mending_since,
            self.accepted_before,
        ]
    }

    /// The header at the beginning of `bytes`.
    ///
    /// # Errors
    /// Why there is none that this version can read.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header = bytes.first_chunk::<SEGMENT_HEADER_LEN>().ok_or(HeaderError::Cut)?;
        if header[..8] != MAGIC || header[SUM_AT..] != hash(&header[..SUM_AT]).to_le_bytes() {
            return Err(HeaderError::Damaged);
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if version > FORMAT_VERSION {
            return Err(HeaderError::Newer(version));
        }
        let number = |at: usize| {
            header[NUMBERS_AT + 8 * at..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight))
        };
        let mark = header[MARK_AT..].first_chunk::<MARK_LEN>().ok_or(HeaderError::Cut)?;
        Ok(Self {
            seq: number(0),
            base: number(1),
            generation: number(2),
            store_id: number(3),
            user_key: number(4),
            first_frame: number(5),
            previous_len: number(6),
            mending_since: number(7),
            accepted_before: number(8),
            mark: Mark::decode(mark),
        })
    }

    /// Of a journal whose newest segment this is, the last segment that counts. Those behind it are removed by the writer.
    pub const fn last_that_counts(&self) -> u64 {
        if self.mending_since == 0 { self.seq } else { self.mending_since.saturating_sub(1) }
    }

    /// What the checksums of its frames begin with.
    pub fn key(&self) -> FrameKey {
        FrameKey::new(self.store_id, self.seq, self.generation)
    }
}

/// Where a journal ends, as its reader found it: where the writer goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEnd {
    /// The store's identity.
    pub store_id: u64,
    /// Key of the hashes of User Names.
    pub user_key: u64,
    /// First segment that recovery needs; 0 where there is no segment.
    pub base: u64,
    /// Last segment that counts; 0 where there is none. Files behind it are removed (or put aside, if they are in `damaged`).
    pub last: u64,
    /// Bytes of `last` that count: up to the end of its last good frame.
    pub last_len: u64,
    /// Bytes of the segments `base..=last`.
    pub bytes: u64,
    /// The last generation.
    pub generation: u64,
    /// Number that the next frame gets: higher than any that was seen.
    pub next_frame: u64,
    /// Segments in which damage was found: they are renamed where others are removed.
    pub damaged: Vec<u64>,
    /// What the operator accepted at this start or before ([`SegmentHeader::accepted_before`]).
    pub accepted_before: u64,
}

impl JournalEnd {
    /// That of a journal that has nothing yet. Both numbers should be random.
    pub const fn fresh(store_id: u64, user_key: u64) -> Self {
        Self {
            store_id,
            user_key,
            base: 0,
            last: 0,
            last_len: 0,
            bytes: 0,
            generation: 0,
            next_frame: 1,
            damaged: Vec::new(),
            accepted_before: 0,
        }
    }
}

/// What a segment consists of.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'b> {
    /// A frame's body.
    Frame {
        /// Its number.
        number: u64,
        /// All frames with lower numbers than this had been synced when it was written.
        synced_before: u64,
        /// Where it begins in the file.
        offset: u64,
        /// What the shard wrote.
        body: &'b [u8],
    },
    /// Something else.
    Damage(Damage),
}

/// Reads a segment's frames in portions.
#[derive(Debug)]
pub struct SegmentReader<'d, D> {
    disk: &'d D,
    name: String,
    scanner: Scanner,
    end: u64,
    /// What the file has from `at` on.
    buffer: Vec<u8>,
    at: u64,
}

impl<'d, D: Disk> SegmentReader<'d, D> {
    /// Reads segment `name` behind its header. `end`: its length, or what the next header says counts of it, if that is less.
    pub fn new(disk: &'d D, name: &str, key: FrameKey, first_frame: u64, end: u64) -> Self {
        Self::with_synced(disk, name, key, first_frame, end, u64::MAX)
    }

    /// The same, where all frames with lower numbers than `synced_before` had been synced: if one of those is missing, that is
    /// damage; if another is, the segment ends there ([`Damage::is_torn`]). Of a segment that has a next one that is the number
    /// of that one's first frame.
    pub fn with_synced(
        disk: &'d D,
        name: &str,
        key: FrameKey,
        first_frame: u64,
        end: u64,
        synced_before: u64,
    ) -> Self {
        let at = (SEGMENT_HEADER_LEN as u64).min(end);
        let scanner = Scanner::new(key, at, end, first_frame, synced_before);
        Self { disk, name: name.to_owned(), scanner, end, buffer: Vec::new(), at }
    }

    /// The same for the newest segment, which has to be read once more to know what had been synced: a frame says it of those
    /// before it, and the clock file (`clock_synced_before`, 0 without one) of those at the end.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn newest(
        disk: &'d D,
        name: &str,
        key: FrameKey,
        first_frame: u64,
        end: u64,
        clock_synced_before: u64,
    ) -> io::Result<Self> {
        let mut synced = clock_synced_before.max(first_frame);
        let mut all = Self::new(disk, name, key, first_frame, end);
        while let Some(piece) = all.next()? {
            if let Piece::Frame { synced_before, .. } = piece {
                synced = synced.max(synced_before);
            }
        }
        Ok(Self::with_synced(disk, name, key, first_frame, end, synced))
    }

    /// The next frame or damage; `None` at the end.
    ///
    /// # Errors
    /// The file can't be read.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from it")]
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        loop {
            let from = (self.scanner.offset() - self.at) as usize;
            match self.scanner.step(self.buffer.get(from..).unwrap_or_default()) {
                Step::Frame { number, synced_before, offset, body } => {
                    let body = &self.buffer[from + body.start..from + body.end];
                    return Ok(Some(Piece::Frame { number, synced_before, offset, body }));
                }
                Step::Damage(damage) => return Ok(Some(Piece::Damage(damage))),
                Step::End => return Ok(None),
                Step::More(len) => self.read_more(len)?,
            }
        }
    }

    /// How far it has come: offset in the file.
    pub const fn offset(&self) -> u64 {
        self.scanner.offset()
    }

    /// Where the last good frame ended: [`JournalEnd::last_len`].
    pub const fn good_end(&self) -> u64 {
        self.scanner.good_end()
    }

    /// The number that the next frame should have: what the next segment begins with if nothing is lost.
    pub const fn next_frame(&self) -> u64 {
        self.scanner.next_frame()
    }

    /// Makes sure that the buffer begins at the scanner's offset and has `len` bytes.
    fn read_more(&mut self, len: usize) -> io::Result<()> {
        let done = ((self.scanner.offset() - self.at) as usize).min(self.buffer.len());
        self.buffer.drain(..done);
        self.at = self.scanner.offset();
        while self.buffer.len() < len {
            let from = self.at + self.buffer.len() as u64;
            let portion = (self.end - from).min(len.max(PORTION_BYTES) as u64) as usize;
            let read = self.disk.read(&self.name, from, portion)?;
            if read.is_empty() {
                let why = format!("{} became shorter while it was read", self.name);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            self.buffer.extend_from_slice(&read);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::marks::Clocks;
    use super::*;
    use crate::clock::Timestamp;

    fn header() -> SegmentHeader {
        SegmentHeader {
            seq: 12,
            base: 3,
            generation: 4,
            store_id: 0x0102_0304_0506_0708,
            user_key: u64::MAX,
            first_frame: 99,
            previous_len: 1 << 40,
            mending_since: 0,
            accepted_before: 7,
            mark: Mark {
                journal: Timestamp(5),
                clocks: Clocks { unix_ms: 6, boot_ms: 7, boot_id: 1 << 100 },
            },
        }
    }

    #[test]
    fn names_say_which_segment_it_is() {
        assert_eq!(segment_name(17), "journal-0000000000000017.myj");
        for seq in [0, 1, 17, 9_999_999_999_999_999, u64::MAX] {
            assert_eq!(segment_seq(&segment_name(seq)), Some(seq));
            assert_eq!(segment_seq(&damaged_name(seq)), None);
        }
        for name in ["clock", "LOCK", "journal-17.myj", "journal-+000000000000017.myj", "journal-.myj"] {
            assert_eq!(segment_seq(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_comes_back_or_is_an_error() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        assert_eq!(SegmentHeader::decode(&[bytes.as_slice(), b"more"].concat()), Ok(header()));
        for len in 0..bytes.len() {
            assert_eq!(SegmentHeader::decode(&bytes[..len]), Err(HeaderError::Cut));
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn what_came_after_a_failure_that_was_not_mended_does_not_count() {
        assert_eq!(header().last_that_counts(), 12);
        assert_eq!(SegmentHeader { mending_since: 10, ..header() }.last_that_counts(), 9);
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let sum = hash(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        let error = SegmentHeader::decode(&bytes).unwrap_err();
        assert_eq!(error, HeaderError::Newer(2));
        assert!(error.to_string().contains("version 2"));
    }
}
