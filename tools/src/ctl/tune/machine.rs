//! The machine as /proc shows it. All paths are below one root, so that tests have a machine of their own. Nothing is
//! judged here.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bit of CAP_IPC_LOCK.
const CAP_IPC_LOCK: u64 = 14;
/// Entry of the auxiliary vector that has the size of a page.
const AT_PAGESZ: u64 = 6;

/// A machine, real or made up for a test.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
}

/// What a setting's file said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Its numbers.
    Numbers(Vec<u64>),
    /// There is no such file.
    Absent,
    /// It can't be read, and why.
    Unreadable(String),
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Memory {
    /// All of it, or what the control group may have.
    pub(super) total: u64,
    /// What can be had without swapping.
    pub(super) available: u64,
}

impl Machine {
    /// The machine whose files are below `root`: `/` is this one.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Where a file of the machine is.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn text(&self, below: &str) -> Option<String> {
        fs::read_to_string(self.path(below)).ok()
    }

    fn sysctl_path(&self, name: &str) -> PathBuf {
        self.root.join("proc/sys").join(name.replace('.', "/"))
    }

    /// The numbers of a setting below /proc/sys.
    pub(super) fn sysctl(&self, name: &str) -> Reading {
        match fs::read_to_string(self.sysctl_path(name)) {
            Ok(text) => numbers(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Absent,
            Err(error) => Reading::Unreadable(error.to_string()),
        }
    }

    /// Writes a setting below /proc/sys.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(super) fn set_sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        let mut file = fs::File::options().write(true).truncate(true).open(self.sysctl_path(name))?;
        // One write: the kernel takes each for a value of its own.
        file.write_all(format!("{value}\n").as_bytes())
    }

    /// The soft limit of a row of /proc/self/limits; `unlimited` is the largest number.
    pub(super) fn soft_limit(&self, row: &str) -> Reading {
        self.limit(row, 0)
    }

    /// The hard limit of a row of /proc/self/limits.
    pub(super) fn hard_limit(&self, row: &str) -> Reading {
        self.limit(row, 1)
    }

    fn limit(&self, row: &str, column: usize) -> Reading {
        let Some(text) = self.text("proc/self/limits") else {
            return Reading::Unreadable("/proc/self/limits can't be read".into());
        };
        let line = text.lines().find_map(|line| line.strip_prefix(row));
        match line.and_then(|line| line.split_whitespace().nth(column)) {
            Some("unlimited") => Reading::Numbers(vec![u64::MAX]),
            Some(number) => numbers(number),
            None => Reading::Absent,
        }
    }

    /// The kernel's release, such as `6.1.0-37-amd64`.
    pub(super) fn release(&self) -> Option<String> {
        Some(self.text("proc/sys/kernel/osrelease")?.trim().to_owned())
    }

    /// CPUs that a process may use, at least 1.
    pub(super) fn cpus(&self) -> u64 {
        let status = self.text("proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
        let sizes = list.trim().split(',').map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.parse::<u64>(), last.parse::<u64>()) {
                (Ok(first), Ok(last)) if last >= first => last - first + 1,
                _ => 0,
            }
        });
        sizes.sum::<u64>().max(1)
    }

    /// Whether locked memory is not charged to this process.
    pub(super) fn may_lock_memory(&self) -> bool {
        let status = self.text("proc/self/status").unwrap_or_default();
        let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
        set >> CAP_IPC_LOCK & 1 == 1
    }

    /// Whether a seccomp filter is in force, as in a container.
    pub(super) fn is_filtered(&self) -> bool {
        let status = self.text("proc/self/status").unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
    }

    /// Bytes of a page.
    pub(super) fn page_bytes(&self) -> u64 {
        let vector = fs::read(self.path("proc/self/auxv")).unwrap_or_default();
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let entries = vector.chunks_exact(16).map(|entry| (word(&entry[..8]), word(&entry[8..])));
        entries
            .filter(|(kind, _)| *kind == AT_PAGESZ)
            .map(|(_, bytes)| bytes)
            .find(|b| *b > 0)
            .unwrap_or(4096)
    }

    /// Connections that the firewall tracks; `None` where nothing is tracked: tracking is not there, or no rule asks
    /// for it (then the table stays empty whatever is connected).
    pub(super) fn tracked(&self) -> Option<u64> {
        match self.sysctl("net.netfilter.nf_conntrack_count") {
            Reading::Numbers(count) => count.first().copied().filter(|count| *count > 0),
            _ => None,
        }
    }

    /// Open files of the whole system.
    pub(super) fn files_open(&self) -> u64 {
        match self.sysctl("fs.file-nr") {
            Reading::Numbers(numbers) => numbers.first().copied().unwrap_or(0),
            _ => 0,
        }
    }

    /// The memory, as little of it as a control group (version 2) leaves.
    pub(super) fn memory(&self) -> Option<Memory> {
        let text = self.text("proc/meminfo")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
        };
        let whole = Memory { total: field("MemTotal:")?, available: field("MemAvailable:")? };
        Some(self.control_groups().into_iter().fold(whole, |least, group| Memory {
            total: least.total.min(group.total),
            available: least.available.min(group.available),
        }))
    }

    /// What the control groups above this process may have and have left, those with a limit.
    fn control_groups(&self) -> Vec<Memory> {
        let list = self.text("proc/self/cgroup").unwrap_or_default();
        let Some(own) = list.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
        let base = Path::new("sys/fs/cgroup");
        let own = base.join(own);
        let read = |group: &Path, file: &str| -> Option<u64> {
            fs::read_to_string(self.root.join(group).join(file)).ok()?.trim().parse().ok()
        };
        own.ancestors()
            .take_while(|group| group.starts_with(base))
            .filter_map(|group| {
                let total = read(group, "memory.max")?;
                let used = read(group, "memory.current")?;
                Some(Memory { total, available: total.saturating_sub(used) })
            })
            .collect()
    }
}

/// Numbers with white space between them. A network namespace shows a table that is not its own with a minus sign.
fn numbers(text: &str) -> Reading {
    let numbers: Result<Vec<u64>, _> =
        text.split_whitespace().map(|word| word.trim_start_matches('-').parse()).collect();
    match numbers {
        Ok(numbers) if !numbers.is_empty() => Reading::Numbers(numbers),
        _ => Reading::Unreadable(format!("`{}` is no number", text.trim())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::new(Path::new("/"));
        assert!(machine.page_bytes().is_power_of_two() && machine.page_bytes() >= 4096);
        assert!(machine.release().is_some_and(|release| release.contains('.')));
        let memory = machine.memory().unwrap();
        assert!(memory.available > 0 && memory.available <= memory.total);
        assert!(matches!(machine.hard_limit("Max open files"), Reading::Numbers(_)));
        assert!(
            matches!(machine.sysctl("net.ipv4.ip_local_port_range"), Reading::Numbers(list) if list.len() == 2)
        );
        assert_eq!(machine.sysctl("net.ipv4.no_such_setting"), Reading::Absent);
    }

    #[test]
    fn numbers_of_the_kernel() {
        assert_eq!(numbers("32768\t60999\n"), Reading::Numbers(vec![32_768, 60_999]));
        assert_eq!(numbers("-262144\n"), Reading::Numbers(vec![262_144]));
        assert_eq!(numbers("9223372036854775807"), Reading::Numbers(vec![i64::MAX as u64]));
        assert!(matches!(numbers("on"), Reading::Unreadable(_)));
        assert!(matches!(numbers("\n"), Reading::Unreadable(_)));
    }
}
