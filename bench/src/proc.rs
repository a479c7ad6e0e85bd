//! CPU time and memory of the broker, of this program and of the machine, out of `/proc`.

use std::fs;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

/// Clock ticks a second in `/proc`: fixed by the kernel's interface on all architectures that Rust's std supports.
const TICKS_PER_S: f64 = 100.0;

/// What a process used until now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads, seconds.
    pub(crate) cpu_s: f64,
    pub(crate) rss_bytes: u64,
    /// The anonymous part of it: heap and stacks.
    pub(crate) anon_bytes: u64,
    pub(crate) threads: u64,
}

impl Usage {
    /// Of a process by its id.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        Self::read(&pid.to_string()).map_err(|_| anyhow!("--pid {pid}: no such process"))
    }

    /// Of this program.
    pub(crate) fn own() -> Self {
        Self::read("self").unwrap_or_default()
    }

    fn read(process: &str) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        Ok(Self {
            cpu_s: cpu_seconds(&stat).context("unknown form of /proc/PID/stat")?,
            rss_bytes: status_field(&status, "VmRSS").and_then(kib).unwrap_or(0),
            anon_bytes: status_field(&status, "RssAnon").and_then(kib).unwrap_or(0),
            threads: status_field(&status, "Threads").and_then(|v| v.parse().ok()).unwrap_or(0),
        })
    }
}

/// User and system seconds from the text of `/proc/PID/stat`. The name may hold spaces and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_S)
}

fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn kib(value: &str) -> Option<u64> {
    value.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|n| n * 1024)
}

/// Seconds that all CPUs of the machine have been busy.
pub(crate) fn machine_busy_s() -> f64 {
    fs::read_to_string("/proc/stat").ok().and_then(|stat| busy_seconds(&stat)).unwrap_or(0.0)
}

/// Busy seconds from the text of `/proc/stat`: all but idle and iowait; guests are within user.
fn busy_seconds(stat: &str) -> Option<f64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
    let ticks: Vec<u64> = fields.map_while(|f| f.parse().ok()).collect();
    let busy = |i: &usize| ![3, 4].contains(i);
    Some(ticks.iter().enumerate().filter(|(i, _)| busy(i)).map(|(_, n)| *n).sum::<u64>() as f64 / TICKS_PER_S)
}

/// The machine, as a condition of the results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
}

impl Machine {
    /// This machine.
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1));
        Self {
            cpu: model.unwrap_or("unknown").trim().to_owned(),
            cpus: info.lines().filter(|l| l.starts_with("processor")).count() as u64,
            memory_bytes: status_field(&read("/proc/meminfo"), "MemTotal").and_then(kib).unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The broker's process, as a condition of the results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: Vec<String>,
    pub(crate) threads: u64,
    /// CPUs that it may use.
    pub(crate) cpus_allowed: String,
}

impl Process {
    /// The process with this id.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let threads = Usage::of(pid)?.threads;
        let command = fs::read(format!("/proc/{pid}/cmdline"))?;
        let command = command.split(|b| *b == 0).filter(|part| !part.is_empty());
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            pid,
            command: command.map(|part| String::from_utf8_lossy(part).into_owned()).collect(),
            threads,
            cpus_allowed: status_field(&status, "Cpus_allowed_list").unwrap_or_default().to_owned(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 100 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 a"), None);
    }

    #[test]
    fn idle_and_iowait_are_not_busy() {
        assert_eq!(busy_seconds("cpu  100 0 100 900 900 50 50 0 10 0\ncpu0 1\n"), Some(3.0));
        assert_eq!(busy_seconds("intr 1"), None);
    }

    #[test]
    fn status_fields_are_found_by_their_whole_name() {
        let status = "VmRSSx:\t1 kB\nVmRSS:\t  2048 kB\nThreads:\t3\n";
        assert_eq!(status_field(status, "VmRSS").and_then(kib), Some(2048 * 1024));
        assert_eq!(status_field(status, "Threads"), Some("3"));
    }

    #[test]
    fn this_process_is_measurable() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 100_000 && usage.threads >= 1);
        assert_eq!(Process::of(std::process::id()).unwrap().pid, std::process::id());
        assert!(Machine::here().cpus >= 1);
    }

    #[test]
    fn a_missing_process_is_named() {
        assert_eq!(Usage::of(u32::MAX).unwrap_err().to_string(), "--pid 4294967295: no such process");
    }
}
