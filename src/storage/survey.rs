//! Which files of a journal's folder count, by their names and headers: before anything in them is read.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;

use super::disk::Disk;
use super::frame::FrameKey;
use super::recover::RecoverError;
use super::report::Finding;
use super::segment::{
    HeaderError, Piece, SEGMENT_HEADER_LEN, SegmentHeader, SegmentReader, damaged_name, segment_name,
    segment_seq,
};

/// Generations in which frames of a file without a header are looked for: a checkpoint that fails is begun again.
const GENERATIONS_TRIED: u64 = 4;

/// A file of the journal.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) seq: u64,
    pub(super) len: u64,
    pub(super) header: Result<SegmentHeader, HeaderError>,
    /// That of its header; without one that of the generation in which frames were found.
    pub(super) key: Option<FrameKey>,
    /// Number of the first frame, by the header; without one that of the first that was found.
    pub(super) first_frame: u64,
}

/// What there is to read.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// In order: from the base on, what counts.
    pub(super) segments: Vec<Segment>,
    /// Header of the newest file that has one; `None`: there is no journal.
    pub(super) newest: Option<SegmentHeader>,
    pub(super) findings: Vec<Finding>,
    /// Files that are to be put aside, not removed.
    pub(super) damaged: Vec<u64>,
    /// The highest generation of all.
    pub(super) generation: u64,
    /// A number that no frame has had.
    pub(super) next_frame: u64,
    /// A gap was accepted now, by the options of this start.
    pub(super) accepts_now: bool,
}

impl Survey {
    /// Looks at all files. `accept_damage`: goes on without those that are missing or can't be used.
    pub(super) fn take<D: Disk>(disk: &D, accept_damage: bool) -> Result<Self, RecoverError> {
        let mut survey = Self { next_frame: 1, ..Self::default() };
        let mut all = survey.headers(disk, accept_damage)?;
        if let Some(last) = all.pop_if(|last| last.header == Err(HeaderError::Cut)) {
            survey.findings.push(Finding::JustMade { file: segment_name(last.seq) });
        }
        let is_misplaced = |segment: &Segment| segment.header.is_ok_and(|header| header.seq != segment.seq);
        survey.expel(&mut all, is_misplaced, accept_damage)?;
        let Some(newest) = all.iter().rev().find_map(|segment| segment.header.ok()) else {
            return survey.without_headers(all, accept_damage);
        };
        survey.newest = Some(newest);
        let is_foreign =
            |segment: &Segment| segment.header.is_ok_and(|header| header.store_id != newest.store_id);
        survey.expel(&mut all, is_foreign, accept_damage)?;
        survey.find_keys(disk, &mut all, newest.store_id, accept_damage)?;
        for header in all.iter().filter_map(|segment| segment.header.ok()) {
            survey.generation = survey.generation.max(header.generation);
            survey.next_frame = survey.next_frame.max(header.first_frame);
        }
        all.retain(|segment| segment.seq >= newest.base);
        if newest.mending_since != 0 {
            survey.drop_unmended(&mut all, newest.last_that_counts());
        }
        survey.check_gaps(&all, &newest, accept_damage)?;
        survey.segments = all;
        Ok(survey)
    }

    fn headers<D: Disk>(&mut self, disk: &D, accept_damage: bool) -> Result<Vec<Segment>, RecoverError> {
        let names = disk.list().map_err(RecoverError::Folder)?;
        let mut seqs: Vec<u64> = names.iter().filter_map(|name| segment_seq(name)).collect();
        seqs.sort_unstable();
        let mut all = Vec::new();
        for seq in seqs {
            match read_header(disk, seq) {
                Ok(segment) => {
                    if let Err(error @ HeaderError::Newer(_)) = segment.header {
                        return Err(RecoverError::Newer { file: segment_name(seq), error });
                    }
                    all.push(segment);
                }
                Err(error) if accept_damage => self.put_aside(seq, format!("can't be read: {error}")),
                Err(error) => return Err(RecoverError::Unreadable { file: segment_name(seq), error }),
            }
        }
        Ok(all)
    }

    /// No file says what the journal is.
    fn without_headers(mut self, all: Vec<Segment>, accept_damage: bool) -> Result<Self, RecoverError> {
        for segment in all {
            let Err(error) = segment.header else { continue };
            if !accept_damage {
                return Err(RecoverError::Header { file: segment_name(segment.seq), error });
            }
            self.put_aside(segment.seq, error.to_string());
        }
        Ok(self)
    }

    /// Takes out files of another store, or under another's name.
    fn expel(
        &mut self,
        all: &mut Vec<Segment>,
        is_foreign: impl Fn(&Segment) -> bool,
        accept_damage: bool,
    ) -> Result<(), RecoverError> {
        for segment in all.extract_if(.., |segment| is_foreign(segment)) {
            if !accept_damage {
                return Err(RecoverError::Foreign(segment_name(segment.seq)));
            }
            self.put_aside(segment.seq, "belongs to another journal or place in it".into());
        }
        Ok(())
    }

    /// Finds out how to read those without a header. A newest one without a frame was just being made: nothing is appended
    /// before the header is synced.
    fn find_keys<D: Disk>(
        &mut self,
        disk: &D,
        all: &mut Vec<Segment>,
        store_id: u64,
        accept_damage: bool,
    ) -> Result<(), RecoverError> {
        let last_seq = all.last().map_or(0, |last| last.seq);
        let known: BTreeMap<u64, u64> =
            all.iter().filter_map(|segment| Some((segment.seq, segment.header.ok()?.generation))).collect();
        let mut kept = Vec::new();
        for mut segment in all.drain(..) {
            if segment.header.is_err() {
                let file = segment_name(segment.seq);
                let before = known.range(..segment.seq).next_back().map(|(_, generation)| *generation);
                let after = known.range(segment.seq..).next().map(|(_, generation)| *generation);
                let highest = after.or_else(|| before.map(|before| before.saturating_add(GENERATIONS_TRIED)));
                match key_of(disk, &segment, store_id, before.unwrap_or(0)..=highest.unwrap_or(0)) {
                    Ok(found) => (segment.key, segment.first_frame) = found,
                    Err(error) if accept_damage => {
                        self.put_aside(segment.seq, format!("can't be read: {error}"));
                        continue;
                    }
                    Err(error) => return Err(RecoverError::Unreadable { file, error }),
                }
                if segment.key.is_none() && segment.seq == last_seq {
                    self.findings.push(Finding::JustMade { file });
                    continue;
                }
            }
            kept.push(segment);
        }
        *all = kept;
        Ok(())
    }

    /// Every file from the base on must be there, or its lack be accepted.
    fn check_gaps(
        &mut self,
        all: &[Segment],
        newest: &SegmentHeader,
        accept_damage: bool,
    ) -> Result<(), RecoverError> {
        let mut expected = newest.base;
        let end = newest.last_that_counts().saturating_add(1);
        for seq in all.iter().map(|segment| segment.seq).chain([end]) {
            if seq > expected {
                let file = segment_name(expected);
                let more = seq - expected - 1;
                let file = if more == 0 { file } else { format!("{file} and the {more} after it") };
                let known_before = seq <= newest.accepted_before;
                if !known_before && !accept_damage {
                    return Err(RecoverError::Missing(file));
                }
                self.accepts_now |= !known_before;
                let why = if known_before { "missing since before" } else { "missing" };
                self.findings.push(Finding::Missing { file, why: why.into() });
            }
            expected = expected.max(seq.saturating_add(1));
        }
        Ok(())
    }

    /// Leaves out what was written after the disk had failed, unless its checkpoint was completed: partial images over an older
    /// state would mix.
    fn drop_unmended(&mut self, all: &mut Vec<Segment>, last: u64) {
        for segment in all.extract_if(.., |segment| segment.seq > last) {
            self.findings.push(Finding::AfterFailure { file: segment_name(segment.seq) });
        }
    }

    fn put_aside(&mut self, seq: u64, why: String) {
        self.accepts_now = true;
        self.damaged.push(seq);
        let why = format!("{why} (it becomes {})", damaged_name(seq));
        self.findings.push(Finding::Missing { file: segment_name(seq), why });
    }
}

fn read_header<D: Disk>(disk: &D, seq: u64) -> io::Result<Segment> {
    let name = segment_name(seq);
    let header = SegmentHeader::decode(&disk.read(&name, 0, SEGMENT_HEADER_LEN)?);
    let (key, first_frame) = header.map_or((None, 0), |header| (Some(header.key()), header.first_frame));
    Ok(Segment { seq, len: disk.len(&name)?, header, key, first_frame })
}

/// The key under which a file without a header has a frame, and the number of that: that of the highest of `generations`,
/// or one before it.
fn key_of<D: Disk>(
    disk: &D,
    segment: &Segment,
    store_id: u64,
    generations: RangeInclusive<u64>,
) -> io::Result<(Option<FrameKey>, u64)> {
    let name = segment_name(segment.seq);
    for generation in generations.rev().take(GENERATIONS_TRIED as usize + 1) {
        let key = FrameKey::new(store_id, segment.seq, generation);
        let mut reader = SegmentReader::new(disk, &name, key, 0, segment.len);
        while let Some(piece) = reader.next()? {
            if let Piece::Frame { number, .. } = piece {
                return Ok((Some(key), number));
            }
        }
    }
    Ok((None, 0))
}
