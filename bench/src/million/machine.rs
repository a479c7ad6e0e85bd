//! What the machine has: read from `/proc` and `/sys` once, before the check; and what changes, once a second.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

/// States of a socket, as `/proc/net/tcp` has them.
const TCP_TIME_WAIT: &str = "06";
const TCP_LISTEN: &str = "0A";

/// What limits connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// CPUs that this process may use.
    pub(crate) cores: u64,
    pub(crate) memory_total_bytes: u64,
    /// MemAvailable, or what a control group leaves, whichever is less.
    pub(crate) memory_available_bytes: u64,
    /// Hard limit of open files of this process.
    pub(crate) open_files_max: u64,
    /// Soft limit of open files of the broker of `--pid`, which is its own matter to raise.
    pub(crate) peer_open_files_max: Option<u64>,
    /// The broker of `--pid` is a Myriad: its connections are no descriptors.
    pub(crate) peer_is_myriad: bool,
    /// `fs.file-max`, and how many are open.
    pub(crate) file_max: u64,
    pub(crate) files_open: u64,
    /// `net.ipv4.ip_local_port_range`, both included.
    pub(crate) ports: (u16, u16),
    /// The third number of `net.ipv4.tcp_mem`, bytes; a network namespace does not show it.
    pub(crate) tcp_memory_max_bytes: Option<u64>,
    pub(crate) somaxconn: u64,
    /// Tracked connections now and at most, where connection tracking is loaded.
    pub(crate) conntrack: Option<(u64, u64)>,
    /// Why io_uring can't be used, in one line.
    pub(crate) rings_error: Option<String>,
}

/// Bytes of a page, on all architectures on which package `shards` was tried.
const PAGE_BYTES: u64 = 4096;

impl Facts {
    /// Of this machine, in the network namespace of this thread. `peer`: process id of a broker that runs already.
    pub(crate) fn here(peer: Option<u32>) -> Self {
        let memory = MemoryInfo::now();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let numbers = |path: &str| numbers(&text(path));
        let first = |path: &str| numbers(path).first().copied();
        let ports = numbers("/proc/sys/net/ipv4/ip_local_port_range");
        let port = |i: usize, default| ports.get(i).and_then(|p| u16::try_from(*p).ok()).unwrap_or(default);
        let tracked = first("/proc/sys/net/netfilter/nf_conntrack_max")
            .map(|max| (first("/proc/sys/net/netfilter/nf_conntrack_count").unwrap_or(0), max));
        Self {
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            memory_total_bytes: memory.total_bytes,
            memory_available_bytes: memory.available_bytes.min(control_group_left().unwrap_or(u64::MAX)),
            open_files_max: getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard),
            peer_open_files_max: peer.and_then(|pid| open_files(&text(&format!("/proc/{pid}/limits")))),
            peer_is_myriad: peer.is_some_and(|pid| text(&format!("/proc/{pid}/comm")).starts_with("myriad")),
            file_max: first("/proc/sys/fs/file-max").unwrap_or(u64::MAX),
            files_open: first("/proc/sys/fs/file-nr").unwrap_or(0),
            ports: (port(0, 32_768), port(1, 60_999)),
            tcp_memory_max_bytes: numbers("/proc/sys/net/ipv4/tcp_mem")
                .get(2)
                .map(|pages| pages.saturating_mul(PAGE_BYTES)),
            somaxconn: first("/proc/sys/net/core/somaxconn").unwrap_or(4096),
            conntrack: tracked,
            rings_error: shards::probe::check(&shards::Config::default()).err().map(|e| e.to_string()),
        }
    }

    /// Ports that one source address may use.
    pub(crate) fn ports_len(&self) -> u64 {
        u64::from(self.ports.1.saturating_sub(self.ports.0)) + 1
    }
}

/// Memory of the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MemoryInfo {
    pub(crate) total_bytes: u64,
    pub(crate) available_bytes: u64,
    pub(crate) slab_bytes: u64,
}

impl MemoryInfo {
    /// Now.
    pub(crate) fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| numbers(rest).first().copied()).unwrap_or(0) * 1024
        };
        Self {
            total_bytes: field("MemTotal"),
            available_bytes: field("MemAvailable"),
            slab_bytes: field("Slab"),
        }
    }
}

/// Memory of TCP's buffers in this network namespace, bytes.
pub(crate) fn tcp_buffers_bytes() -> u64 {
    parse_sockstat(&fs::read_to_string("/proc/net/sockstat").unwrap_or_default())
}

fn parse_sockstat(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.iter().position(|word| *word == "mem");
    let pages = at.and_then(|at| words.get(at + 1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

/// TCP sockets of this network namespace whose local port is `port`, but for those that listen and those that only wait
/// for their time to be over.
pub(crate) fn tcp_sockets_at(port: u16) -> u64 {
    let files = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::File::open);
    // A line at a time: a million sockets make a long file.
    let lines =
        files.into_iter().flatten().flat_map(|file| BufReader::new(file).lines().map_while(Result::ok));
    lines.filter(|line| is_socket_at(line, port)).count() as u64
}

/// A line of `/proc/net/tcp`: number, local address, remote address, state, all in hexadecimal digits.
fn is_socket_at(line: &str, port: u16) -> bool {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = words.next().and_then(|address| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok());
    let state = words.nth(1).unwrap_or_default();
    local == Some(port) && ![TCP_TIME_WAIT, TCP_LISTEN].contains(&state)
}

/// All numbers of a text, until one that is none.
fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// What the control group of this process may still take, where it has a limit.
fn control_group_left() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let read = |dir: &str, name: &str| {
        let text = fs::read_to_string(Path::new(dir).join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (dir, max, used) = match controllers {
            "" => (format!("/sys/fs/cgroup{path}"), "memory.max", "memory.current"),
            "memory" => {
                (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => return None,
        };
        Some(read(&dir, max)?.saturating_sub(read(&dir, used)?))
    })
}

/// The soft limit of open files from the text of `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel_are_read() {
        let text =
            "MemTotal:       100 kB\nMemFree: 1 kB\nMemAvailable:   50 kB\nSlab: 7 kB\nSReclaimable: 9 kB\n";
        let expected = MemoryInfo { total_bytes: 102_400, available_bytes: 51_200, slab_bytes: 7_168 };
        assert_eq!(MemoryInfo::parse(text), expected);
        let text = "sockets: used 29\nTCP: inuse 10 orphan 0 tw 5 alloc 12 mem 3\nUDP: inuse 0 mem 0\n";
        assert_eq!(parse_sockstat(text), 3 * 4096);
        let text =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024     524288    files\n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(open_files("Max open files unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(numbers("32768\t60999\n"), [32_768, 60_999]);
    }

    #[test]
    fn sockets_are_known_by_their_port_and_state() {
        let line = |local: &str, state: &str| {
            format!("   7: 0100007F:{local} 0200007F:C350 {state} 00000000:00000000 00:00000000 0 0 0 1")
        };
        for state in ["01", "08"] {
            assert!(is_socket_at(&line("075B", state), 1883), "{state}");
        }
        for other in [line("075C", "01"), line("075B", TCP_TIME_WAIT), line("075B", TCP_LISTEN)] {
            assert!(!is_socket_at(&other, 1883), "{other}");
        }
        assert!(!is_socket_at("  sl  local_address rem_address   st tx_queue rx_queue", 1883));
    }

    #[test]
    fn this_machine_is_known() {
        let facts = Facts::here(Some(std::process::id()));
        assert!(facts.cores > 0 && facts.memory_total_bytes > facts.memory_available_bytes);
        assert!(facts.ports_len() > 1000 && facts.file_max > facts.files_open);
        assert!(facts.peer_open_files_max.unwrap() <= facts.open_files_max);
    }
}
