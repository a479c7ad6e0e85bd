//! A disk in memory that does everything a real one may do: forgets what was not synced, tears the last write, runs full,
//! fails syncs and loses what they were to keep, flips bits. The same seed does the same. Handles share one disk, so that
//! a test keeps one while the writer uses another.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;

/// Bytes that a torn write is garbled within, and that are written out of order.
const SECTOR_BYTES: usize = 512;

/// A handle of a simulated disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

/// An open file; of no use after a crash.
#[derive(Debug)]
pub struct SimulatedFile {
    id: u64,
    crashes: u64,
}

#[derive(Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    /// This much of it was synced.
    synced: usize,
    /// What a failed sync lost: readable until a crash, zeros after it, whatever later syncs say.
    lost: Vec<Range<usize>>,
}

impl Contents {
    fn cut(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.synced = self.synced.min(len);
        for range in &mut self.lost {
            *range = range.start.min(len)..range.end.min(len);
        }
    }

    /// A sync takes everything for synced, also one that fails: the system takes the pages for clean, and the next sync succeeds
    /// without them.
    fn sync(&mut self, fault: Option<SyncFault>) -> io::Result<()> {
        let unsynced = std::mem::replace(&mut self.synced, self.bytes.len())..self.bytes.len();
        let Some(fault) = fault else { return Ok(()) };
        if fault == SyncFault::Lost && !unsynced.is_empty() {
            self.lost.push(unsynced);
        }
        Err(io::Error::other("the sync failed"))
    }
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

/// What the next sync does instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFault {
    /// Fails, but what it was to keep is kept.
    Kept,
    /// Fails, and what it was to keep is gone after a crash.
    Lost,
}

#[derive(Debug)]
struct State {
    random: u64,
    contents: BTreeMap<u64, Contents>,
    next_id: u64,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    /// Files whose names a failed sync lost, whatever later syncs say.
    lost_names: BTreeSet<u64>,
    crashes: u64,
    free: Option<u64>,
    append_fault: Option<io::ErrorKind>,
    sync_fault: Option<SyncFault>,
    /// Operations that still succeed before the power goes; `None`: it stays.
    power: Option<u64>,
    operations: u64,
    syncs: u64,
}

impl State {
    /// A random number below `below`, or 0.
    fn below(&mut self, below: usize) -> usize {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if below == 0 { 0 } else { (z % below as u64) as usize }
    }

    /// Counts an operation that changes something; an error once the power is gone.
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.power {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.operations += 1;
        Ok(())
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name}: No such file"));
        self.names.get(name).copied().ok_or_else(missing)
    }

    fn file(&mut self, file: &SimulatedFile) -> io::Result<&mut Contents> {
        let is_open = file.crashes == self.crashes;
        let contents = if is_open { self.contents.get_mut(&file.id) } else { None };
        contents.ok_or_else(|| io::Error::other("the file was open before a crash"))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
        self.reclaim();
    }

    /// Gives back the space of files that no name leads to, now or after a crash.
    fn reclaim(&mut self) {
        let mut freed = 0;
        let (names, synced, pending) = (&self.names, &self.synced_names, &self.unsynced_names);
        self.contents.retain(|id, contents| {
            let is_pending = pending
                .iter()
                .any(|change| matches!(change, NameChange::Create(_, created) if created == id));
            let is_named = is_pending || names.values().chain(synced.values()).any(|named| named == id);
            freed += if is_named { 0 } else { contents.bytes.len() as u64 };
            is_named
        });
        self.free = self.free.map(|free| free + freed);
    }

    fn keep_names(&mut self) {
        let kept = self.names.iter().filter(|(_, id)| !self.lost_names.contains(id));
        self.synced_names = kept.map(|(name, id)| (name.clone(), *id)).collect();
        self.unsynced_names.clear();
        self.reclaim();
    }

    fn lose_names(&mut self) {
        let known: BTreeSet<u64> = self.synced_names.values().copied().collect();
        self.lost_names.extend(self.names.values().filter(|id| !known.contains(id)));
    }

    fn crash(&mut self) {
        let lost = std::mem::take(&mut self.lost_names);
        let mut names = std::mem::take(&mut self.synced_names);
        for change in std::mem::take(&mut self.unsynced_names) {
            let is_lost = matches!(change, NameChange::Create(_, id) if lost.contains(&id));
            if !is_lost && self.below(2) == 0 {
                change.apply(&mut names);
            }
        }
        self.names = names.clone();
        self.synced_names = names;
        self.reclaim();
        let mut contents = std::mem::take(&mut self.contents);
        contents.values_mut().for_each(|contents| self.crash_file(contents));
        self.contents = contents;
        self.crashes += 1;
        (self.append_fault, self.sync_fault, self.power) = (None, None, None);
    }

    fn crash_file(&mut self, contents: &mut Contents) {
        let (synced, len) = (contents.synced, contents.bytes.len());
        for range in std::mem::take(&mut contents.lost) {
            contents.bytes[range].fill(0);
        }
        let kept = match self.below(4) {
            0 => synced,
            1 => len,
            _ => synced + self.below(len - synced + 1),
        };
        contents.bytes.truncate(kept);
        let unsynced = kept - synced;
        if unsynced > 0 && self.below(2) == 0 {
            let garbled = 1 + self.below(unsynced.min(SECTOR_BYTES));
            for at in kept - garbled..kept {
                contents.bytes[at] = self.below(256) as u8;
            }
        }
        if unsynced > SECTOR_BYTES && self.below(4) == 0 {
            // What came later was written, this sector was not.
            let at = synced + self.below(unsynced - SECTOR_BYTES);
            contents.bytes[at..at + SECTOR_BYTES].fill(0);
        }
        contents.synced = kept;
    }
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: seed,
            contents: BTreeMap::new(),
            next_id: 0,
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            lost_names: BTreeSet::new(),
            crashes: 0,
            free: None,
            append_fault: None,
            sync_fault: None,
            power: None,
            operations: 0,
            syncs: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes and comes back: of what was not synced some is gone, torn or garbled. Open files are closed; faults
    /// that were to come do not come.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// Lets `operations` more changes (create, append, sync, rename, remove) succeed; all that come then fail, up to a `crash`.
    pub fn lose_power_after(&self, operations: u64) {
        self.state().power = Some(operations);
    }

    /// Another disk with the same files, all of them synced: to try something on.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let copy = Self::new(state.random);
        let mut other = copy.state();
        for (id, contents) in &state.contents {
            let bytes = contents.bytes.clone();
            other.contents.insert(*id, Contents { synced: bytes.len(), bytes, lost: Vec::new() });
        }
        (other.next_id, other.names) = (state.next_id, state.names.clone());
        other.keep_names();
        drop(other);
        copy
    }

    /// Changes so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Syncs of files and names so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes that are free; `None`: any number.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.state().free = bytes;
    }

    /// The next append writes a part of what it should and fails.
    pub fn fail_append(&self, kind: io::ErrorKind) {
        self.state().append_fault = Some(kind);
    }

    /// The next sync, of a file or of names, fails.
    pub fn fail_sync(&self, fault: SyncFault) {
        self.state().sync_fault = Some(fault);
    }

    /// Turns bit `bit` of a file over, counted from its beginning; nothing if there is none.
    pub fn flip_bit(&self, name: &str, bit: usize) {
        let mut state = self.state();
        let Ok(id) = state.id(name) else { return };
        if let Some(byte) = state.contents.get_mut(&id).and_then(|contents| contents.bytes.get_mut(bit / 8)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Cuts a file to `len` bytes; nothing if it is not longer.
    pub fn cut_existing(&self, name: &str, len: usize) {
        let mut state = self.state();
        let Ok(id) = state.id(name) else { return };
        if let Some(contents) = state.contents.get_mut(&id) {
            contents.cut(len);
        }
    }

    /// A random number below `below` of the disk's own sequence, or 0: where a test wants to hurt it.
    pub fn random_below(&self, below: usize) -> usize {
        self.state().below(below)
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&mut self, name: &str) -> io::Result<SimulatedFile> {
        let mut state = self.state();
        state.operate()?;
        if state.names.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name}: File exists")));
        }
        state.next_id += 1;
        let id = state.next_id;
        state.contents.insert(id, Contents::default());
        state.change_name(NameChange::Create(name.to_owned(), id));
        Ok(SimulatedFile { id, crashes: state.crashes })
    }

    fn append(&mut self, file: &mut SimulatedFile, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.file(file)?;
        let bytes = parts.concat();
        let (kind, len) = match (state.append_fault.take(), state.free) {
            (Some(kind), _) => (Some(kind), state.below(bytes.len())),
            (None, Some(free)) if free < bytes.len() as u64 => {
                (Some(io::ErrorKind::StorageFull), free as usize)
            }
            _ => (None, bytes.len()),
        };
        state.free = state.free.map(|free| free.saturating_sub(len as u64));
        state.file(file)?.bytes.extend_from_slice(&bytes[..len]);
        kind.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn sync(&mut self, file: &mut SimulatedFile) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.syncs += 1;
        let fault = state.sync_fault.take();
        state.file(file)?.sync(fault)
    }

    fn sync_existing(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.syncs += 1;
        let fault = state.sync_fault.take();
        let id = state.id(name)?;
        state.contents.get_mut(&id).map_or(Ok(()), |contents| contents.sync(fault))
    }

    fn cut(&mut self, file: &mut SimulatedFile, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let contents = state.file(file)?;
        let before = contents.bytes.len();
        contents.cut(usize::try_from(len).unwrap_or(usize::MAX));
        let freed = (before - contents.bytes.len()) as u64;
        state.free = state.free.map(|free| free + freed);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.syncs += 1;
        let fault = state.sync_fault.take();
        if fault == Some(SyncFault::Lost) {
            state.lose_names();
        } else {
            state.keep_names();
        }
        fault.map_or(Ok(()), |_| Err(io::Error::other("the sync of names failed")))
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let state = self.state();
        let bytes = &state.contents[&state.id(name)?].bytes;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(len).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let state = self.state();
        Ok(state.contents[&state.id(name)?].bytes.len() as u64)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.id(from)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.id(name)?;
        state.change_name(NameChange::Remove(name.to_owned()));
        Ok(())
    }
}
