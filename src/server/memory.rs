//! Measures the memory of the process for `limits.memory_max`: a side thread that sleeps where there is no limit.
//! Shards read what it found (`limits::Pressure`).

use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use crate::limits::{Level, Pressure};

/// Between two measurements: at 10 GB/s into memory that is a gigabyte, at the speed of a network a hundred megabytes.
const INTERVAL: Duration = Duration::from_millis(50);

/// The thread, to be woken when the limit changes.
#[derive(Debug)]
pub(super) struct MemoryMeter {
    pressure: Arc<Pressure>,
    thread: Thread,
}

impl MemoryMeter {
    /// Starts it, with `limits.memory_max` in bytes.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn start(pressure: Arc<Pressure>, memory_max: u64) -> std::io::Result<Self> {
        pressure.set_max(memory_max);
        let measured = Arc::clone(&pressure);
        let thread = thread::Builder::new().name("memory".into()).spawn(move || measure(&measured))?;
        Ok(Self { pressure, thread: thread.thread().clone() })
    }

    /// Another limit is in effect.
    pub(super) fn change(&self, memory_max: u64) {
        self.pressure.set_max(memory_max);
        self.thread.unpark();
    }
}

/// For as long as the process lives.
fn measure(pressure: &Pressure) {
    loop {
        let Some(used) = resident_bytes() else {
            tracing::error!("/proc/self/status says nothing of VmRSS: limits.memory_max has no effect");
            return;
        };
        let (before, after) = pressure.measured(used);
        if before != after {
            announce(before, after, used, pressure.max());
        }
        if pressure.max() == 0 {
            thread::park();
        } else {
            thread::park_timeout(INTERVAL);
        }
    }
}

fn announce(before: Level, after: Level, used: u64, max: u64) {
    let (used_mb, max_mb) = (used >> 20, max >> 20);
    if after > before {
        tracing::warn!(used_mb, max_mb, "memory nears limits.memory_max: {}", after.what());
    } else {
        tracing::info!(used_mb, max_mb, "memory falls: {}", after.what());
    }
}

/// Memory of the process that is in RAM.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_the_memory_of_this_process() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
