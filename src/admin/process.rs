//! What the kernel says of this process: memory, CPU, open files.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What the process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    /// Bytes in RAM.
    pub(super) memory_bytes: u64,
    /// Bytes of address space.
    pub(super) virtual_bytes: u64,
    /// Seconds of CPU since the start, all threads together.
    pub(super) cpu_s: f64,
    /// Open descriptors; those that rings hold are not among them.
    pub(super) open_files: u64,
}

/// Reads it; 0 is what the kernel does not say.
pub(super) fn read() -> Process {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Process {
        memory_bytes: kilobytes("VmRSS:").unwrap_or(0) * 1024,
        virtual_bytes: kilobytes("VmSize:").unwrap_or(0) * 1024,
        cpu_s: cpu_s(),
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
    }
}

/// Seconds of CPU that the process used since its start.
pub(super) fn cpu_s() -> f64 {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        let process = read();
        assert!(
            process.memory_bytes > 100_000 && process.virtual_bytes > process.memory_bytes,
            "{process:?}"
        );
        assert!(process.open_files >= 3, "{process:?}");
    }
}
