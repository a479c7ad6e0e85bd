//! The journal's time: milliseconds that never jump, whatever becomes of the wall clock, the process or the machine.
//! Marks tie it to the machine's clocks; from the last one a start reckons how long nobody was there. Pure.

use crc32fast::hash;

use crate::clock::Timestamp;

/// Name of the file that has the last mark, in the folder of the journal. It is a convenience: without it the last segment's
/// mark and the last frame's time count.
pub const CLOCK_FILE: &str = "clock";

/// Time between two signs of life, ms: a process that was killed lived until a moment between its last one and the next.
pub const SIGN_OF_LIFE_MS: u64 = 10_000;

/// Bytes of an encoded mark.
pub const MARK_LEN: usize = 40;

/// 2024-01-01 in Unix time, ms: a wall clock before that was never set.
const WALL_CLOCK_MIN_MS: u64 = 1_704_067_200_000;

const CLOCK_MAGIC: [u8; 8] = *b"MYCLOCK1";

/// What the machine's clocks say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clocks {
    /// Unix time, ms; 0 before 1970.
    pub unix_ms: u64,
    /// Time since the machine started, sleep included (CLOCK_BOOTTIME), ms.
    pub boot_ms: u64,
    /// Which start of the machine that was (`/proc/sys/kernel/random/boot_id`); 0: unknown.
    pub boot_id: u128,
}

/// A moment in the journal's time and by the machine's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// In the journal's time.
    pub journal: Timestamp,
    /// By the machine's clocks.
    pub clocks: Clocks,
}

impl Mark {
    /// The mark of a later moment, of which only the journal's time is known: that of a frame behind this mark.
    #[must_use]
    pub const fn carried_to(self, journal: Timestamp) -> Self {
        let ms = journal.ms_since(self.journal);
        let Clocks { unix_ms, boot_ms, boot_id } = self.clocks;
        let clocks =
            Clocks { unix_ms: unix_ms.saturating_add(ms), boot_ms: boot_ms.saturating_add(ms), boot_id };
        Self { journal: self.journal.plus_ms(ms), clocks }
    }

    /// Its bytes: four numbers, little-endian.
    pub fn encode(&self) -> [u8; MARK_LEN] {
        let mut bytes = [0; MARK_LEN];
        bytes[..8].copy_from_slice(&self.journal.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.clocks.unix_ms.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.clocks.boot_ms.to_le_bytes());
        bytes[24..].copy_from_slice(&self.clocks.boot_id.to_le_bytes());
        bytes
    }

    /// The mark that `encode` gave these bytes.
    pub fn decode(bytes: &[u8; MARK_LEN]) -> Self {
        let number = |at: usize| bytes[at..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
        let boot_id = u128::from(number(24)) | u128::from(number(32)) << 64;
        let clocks = Clocks { unix_ms: number(8), boot_ms: number(16), boot_id };
        Self { journal: Timestamp(number(0)), clocks }
    }
}

/// What the journal's time is now: that of the last sign of life and the time that passed since.
///
/// Within one start of the machine its own clock knows. Else the wall clocks' difference counts, unless one of them was
/// not set or it is negative: then no time passed, so that what expires lives rather too long than too short.
pub fn journal_now(last: Mark, now: Clocks) -> Timestamp {
    let before = last.clocks;
    let away_ms = if before.boot_id != 0 && before.boot_id == now.boot_id {
        now.boot_ms.saturating_sub(before.boot_ms)
    } else if before.unix_ms.min(now.unix_ms) < WALL_CLOCK_MIN_MS {
        0
    } else {
        now.unix_ms.saturating_sub(before.unix_ms)
    };
    last.journal.plus_ms(away_ms)
}

/// What the clock file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockFile {
    /// When it was written.
    pub mark: Mark,
    /// All frames of the journal with lower numbers than this were synced then.
    pub synced_before: u64,
}

/// What the clock file of store `store_id` is to hold: magic, store, number of a frame, mark, checksum.
pub fn encode_clock_file(store_id: u64, clock: ClockFile) -> Vec<u8> {
    let (store, frame) = (store_id.to_le_bytes(), clock.synced_before.to_le_bytes());
    let mut bytes = [CLOCK_MAGIC.as_slice(), &store, &frame, &clock.mark.encode()].concat();
    let sum = hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// What a clock file has; `None` if it is not whole or another store's. It is written without a sync: after a crash it
/// may be anything.
pub fn decode_clock_file(store_id: u64, bytes: &[u8]) -> Option<ClockFile> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    let (magic, rest) = body.split_first_chunk::<8>()?;
    let (store, rest) = rest.split_first_chunk::<8>()?;
    let (frame, mark) = rest.split_first_chunk::<8>()?;
    let is_ours =
        *magic == CLOCK_MAGIC && *store == store_id.to_le_bytes() && *sum == hash(body).to_le_bytes();
    let mark: &[u8; MARK_LEN] = mark.try_into().ok()?;
    is_ours.then(|| ClockFile { mark: Mark::decode(mark), synced_before: u64::from_le_bytes(*frame) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_000_000_000;

    fn mark(journal: u64, unix_ms: u64, boot_ms: u64, boot_id: u128) -> Mark {
        Mark { journal: Timestamp(journal), clocks: Clocks { unix_ms, boot_ms, boot_id } }
    }

    fn clocks(unix_ms: u64, boot_ms: u64, boot_id: u128) -> Clocks {
        Clocks { unix_ms, boot_ms, boot_id }
    }

    #[test]
    fn within_one_start_of_the_machine_the_wall_clock_does_not_count() {
        let last = mark(500, NOON, 10_000, 7);
        for wall in [0, NOON - 1_000_000, NOON, NOON + 86_400_000, u64::MAX] {
            assert_eq!(journal_now(last, clocks(wall, 12_500, 7)), Timestamp(3000));
        }
        assert_eq!(journal_now(last, clocks(NOON, 9000, 7)), Timestamp(500));
    }

    #[test]
    fn over_a_start_of_the_machine_the_wall_clock_counts() {
        let last = mark(500, NOON, 10_000, 7);
        assert_eq!(journal_now(last, clocks(NOON + 60_000, 3, 8)), Timestamp(60_500));
        assert_eq!(journal_now(last, clocks(NOON - 60_000, 3, 8)), Timestamp(500), "set back");
        let unknown = mark(500, NOON, 10_000, 0);
        assert_eq!(journal_now(unknown, clocks(NOON + 60_000, 20_000, 0)), Timestamp(60_500));
    }

    #[test]
    fn a_wall_clock_that_was_never_set_does_not_count() {
        assert_eq!(journal_now(mark(500, 9000, 9000, 7), clocks(NOON, 3, 8)), Timestamp(500), "set since");
        assert_eq!(journal_now(mark(500, NOON, 9000, 7), clocks(4000, 3, 8)), Timestamp(500), "lost since");
        assert_eq!(journal_now(mark(500, 9000, 9000, 7), clocks(14_000, 3, 8)), Timestamp(500));
    }

    #[test]
    fn time_never_overflows() {
        let last = mark(u64::MAX - 1, NOON, 0, 7);
        assert_eq!(journal_now(last, clocks(u64::MAX, u64::MAX, 7)), Timestamp(u64::MAX));
        assert_eq!(last.carried_to(Timestamp(u64::MAX)).journal, Timestamp(u64::MAX));
    }

    #[test]
    fn the_last_frame_carries_a_mark_on() {
        let carried = mark(500, NOON, 10_000, 7).carried_to(Timestamp(800));
        assert_eq!(carried, mark(800, NOON + 300, 10_300, 7));
        assert_eq!(carried.carried_to(Timestamp(20)), carried, "an earlier moment changes nothing");
    }

    #[test]
    fn a_clock_file_is_whole_and_of_this_store_or_nothing() {
        let clock = ClockFile { mark: mark(1, NOON, 3, u128::MAX - 4), synced_before: 77 };
        let bytes = encode_clock_file(9, clock);
        assert_eq!(decode_clock_file(9, &bytes), Some(clock));
        assert_eq!(decode_clock_file(8, &bytes), None);
        for len in 0..bytes.len() {
            assert_eq!(decode_clock_file(9, &bytes[..len]), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_clock_file(9, &bytes), None);
        }
    }
}
