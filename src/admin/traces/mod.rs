//! Traces as operators see them: begun, listed, read, ended. Shards hand events over without waiting; a thread of its own writes them into
//! files and into rings (`ring`) that the API reads. Every queue, ring and file has a bound, and what is beyond is counted.

mod ring;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::broker::{TRACES_MAX, TraceEvent};
use crate::metrics::rfc3339;
pub(super) use ring::Line;
use ring::Ring;

/// Events that may wait for the thread, of all shards together.
const EVENTS_MAX: usize = 8_192;
/// Files of former traces that are kept; then the oldest go.
const FILES_MAX: usize = 20;

/// Hands events to the thread; each shard has one.
#[derive(Debug, Clone)]
pub struct TraceWriter {
    events: SyncSender<(u64, TraceEvent)>,
}

impl TraceWriter {
    /// Hands one over; false: too many wait, it is lost.
    pub fn write(&self, event: TraceEvent) -> bool {
        self.events.try_send((unix_ms(), event)).is_ok()
    }
}

/// What a trace is to be.
#[derive(Debug, Clone)]
pub struct TraceOrder {
    /// `client`, `topic` or `address`.
    pub kind: &'static str,
    /// Which.
    pub name: String,
    /// Of a client: within which mountpoint, empty for none; `None`: whichever.
    pub mountpoint: Option<String>,
    /// How long.
    pub seconds: u32,
    /// Bytes of its events, after which no more are taken.
    pub bytes_max: u64,
    /// Into a file too.
    pub file: bool,
}

/// A trace, as it is listed.
#[derive(Debug, Clone)]
pub struct TraceState {
    /// Its number.
    pub id: u32,
    /// What it was begun with.
    pub order: TraceOrder,
    /// When it began, Unix milliseconds.
    pub begun_at_ms: u64,
    /// When it ends, or has ended.
    pub ends_at_ms: u64,
    /// It goes on.
    pub is_active: bool,
    /// Events taken.
    pub events: u64,
    /// Events not taken.
    pub dropped: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Where they are written.
    pub path: Option<PathBuf>,
}

struct Trace {
    state: TraceState,
    file: Option<File>,
    ring: Ring,
}

impl Trace {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.state.ends_at_ms
    }

    fn take(&mut self, at_ms: u64, event: &TraceEvent) {
        let line = Line::new(self.state.events + 1, at_ms, event);
        let text = format!("{}\n", line.text_line());
        if self.state.bytes + text.len() as u64 > self.state.order.bytes_max {
            self.state.dropped += 1;
            return;
        }
        self.state.events += 1;
        self.state.bytes += text.len() as u64;
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(text.as_bytes())
        {
            tracing::error!(trace = self.state.id, %error, "the trace's file can't be written; the trace goes on without it");
            self.file = None;
        }
        self.ring.push(line);
    }
}

/// The traces of the node.
#[derive(Clone)]
pub struct TraceDesk {
    traces: Arc<Mutex<BTreeMap<u32, Trace>>>,
    dir: PathBuf,
    next_id: Arc<Mutex<u32>>,
}

impl std::fmt::Debug for TraceDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceDesk").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl TraceDesk {
    /// Starts the thread. Files come into `traces` in `data_dir`.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(data_dir: &Path) -> io::Result<(TraceWriter, Self)> {
        let (events, received) = sync_channel(EVENTS_MAX);
        let dir = data_dir.join("traces");
        // A number means one trace, also over restarts.
        let last = numbers_of(&dir).into_iter().max().unwrap_or(0);
        let desk = Self { traces: Arc::default(), dir, next_id: Arc::new(Mutex::new(last + 1)) };
        let writer = desk.clone();
        thread::Builder::new().name("traces".into()).spawn(move || writer.run(&received))?;
        Ok((TraceWriter { events }, desk))
    }

    fn run(&self, received: &Receiver<(u64, TraceEvent)>) {
        for (at_ms, event) in received {
            let mut traces = self.lock();
            for id in &event.traces {
                if let Some(trace) = traces.get_mut(id) {
                    trace.take(at_ms, &event);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Trace>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a trace and gives its number. The shards are told by whoever calls this.
    ///
    /// # Errors
    /// Its file can't be made. `None`: as many as there may be are active.
    pub fn begin(&self, order: TraceOrder) -> io::Result<Option<u32>> {
        let begun_at_ms = unix_ms();
        let mut traces = self.lock();
        while traces.len() >= TRACES_MAX {
            // The oldest that is over makes room; its file stays.
            let over = traces.iter().find(|(_, trace)| trace.is_over(begun_at_ms)).map(|(id, _)| *id);
            match over {
                Some(id) => drop(traces.remove(&id)),
                None => return Ok(None),
            }
        }
        let id = {
            let mut next = self.next_id.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next - 1
        };
        let file = if order.file { Some(self.make_file(id)?) } else { None };
        let path = file.is_some().then(|| self.path_of(id));
        let ends_at_ms = begun_at_ms + u64::from(order.seconds) * 1000;
        let state = TraceState {
            id,
            order,
            begun_at_ms,
            ends_at_ms,
            is_active: true,
            events: 0,
            dropped: 0,
            bytes: 0,
            path,
        };
        traces.insert(id, Trace { state, file, ring: Ring::default() });
        Ok(Some(id))
    }

    /// Every trace that is remembered.
    pub fn list(&self) -> Vec<TraceState> {
        let now_ms = unix_ms();
        let state = |trace: &Trace| TraceState { is_active: !trace.is_over(now_ms), ..trace.state.clone() };
        self.lock().values().map(state).collect()
    }

    /// Events of a trace after the one with number `after`, at most `limit`, and how many were not taken; `None`: there is no such trace.
    pub fn events(&self, id: u32, after: u64, limit: usize) -> Option<(Vec<Line>, u64)> {
        let traces = self.lock();
        let trace = traces.get(&id)?;
        let lines = trace.ring.after(after, limit);
        // Those that the ring has let go, seen from here.
        let first = lines.first().map_or(trace.state.events + 1, Line::seq);
        let missed = first.saturating_sub(after + 1);
        Some((lines, trace.state.dropped + missed))
    }

    /// Ends a trace and forgets it, its file too; false: there is none.
    pub fn end(&self, id: u32) -> bool {
        let Some(trace) = self.lock().remove(&id) else { return false };
        if let Some(path) = &trace.state.path
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "the trace's file stays");
        }
        true
    }

    fn path_of(&self, id: u32) -> PathBuf {
        self.dir.join(format!("{id}.log"))
    }

    /// For the broker's user alone: topics and payloads are in it.
    fn make_file(&self, id: u32) -> io::Result<File> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut numbers = numbers_of(&self.dir);
        numbers.sort_unstable();
        for old in numbers.iter().rev().skip(FILES_MAX - 1) {
            // If it stays it is tried again with the next one.
            let _ = std::fs::remove_file(self.path_of(*old));
        }
        OpenOptions::new().create_new(true).append(true).mode(0o600).open(self.path_of(id))
    }
}

/// The traces that have files.
fn numbers_of(dir: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let number = |entry: io::Result<std::fs::DirEntry>| {
        entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.parse::<u32>().ok()
    };
    entries.filter_map(number).collect()
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Unix milliseconds as the API writes them.
pub(super) fn written(unix_ms: u64) -> String {
    rfc3339(unix_ms)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn order(bytes_max: u64) -> TraceOrder {
        TraceOrder { kind: "client", name: "c".into(), mountpoint: None, seconds: 60, bytes_max, file: true }
    }

    fn event(id: u32, text: &str) -> TraceEvent {
        TraceEvent {
            traces: [id].into_iter().collect(),
            client_id: "c".into(),
            mountpoint: "".into(),
            event: "sent",
            text: text.into(),
        }
    }

    fn desk(name: &str) -> (TraceWriter, TraceDesk) {
        let dir = std::env::temp_dir().join(format!("myriad-traces-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        TraceDesk::start(&dir).unwrap()
    }

    fn wait_for(desk: &TraceDesk, id: u32, count: u64) {
        for _ in 0..1000 {
            let state = desk.list().into_iter().find(|state| state.id == id).unwrap();
            if state.events + state.dropped == count {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{:?}", desk.list());
    }

    #[test]
    fn events_come_into_the_file_and_the_ring_up_to_the_bound() {
        let (writer, desk) = desk("bound");
        let id = desk.begin(order(200)).unwrap().unwrap();
        for n in 0..10 {
            assert!(writer.write(event(id, &format!("PUBLISH line {n}\nevil\u{85}"))));
        }
        wait_for(&desk, id, 10);
        let (lines, dropped) = desk.events(id, 0, 100).unwrap();
        assert!(!lines.is_empty() && lines.len() as u64 + dropped == 10, "{lines:?} {dropped}");
        let path = desk.list()[0].path.clone().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 200 && text.lines().count() == lines.len(), "{text}");
        assert!(!text.contains('\u{85}'), "{text}");
        assert!(desk.end(id) && !desk.end(id) && !path.exists());
        std::fs::remove_dir_all(&desk.dir).unwrap();
    }

    #[test]
    fn so_many_are_active_and_numbers_go_on_after_a_restart() {
        let (_writer, traces) = desk("many");
        let begun: Vec<_> = (0..20).map_while(|_| traces.begin(order(1000)).unwrap()).collect();
        assert_eq!(begun.len(), TRACES_MAX);
        let (_writer, again) = TraceDesk::start(traces.dir.parent().unwrap()).unwrap();
        assert_eq!(again.begin(order(1000)).unwrap(), Some(begun.len() as u32 + 1));
        std::fs::remove_dir_all(&traces.dir).unwrap();
    }
}
