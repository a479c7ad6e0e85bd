//! The CPUs that the process may use: what `taskset`, cgroups and systemd leave of the machine.

/// Their numbers, ascending; CPU 0 if the kernel does not tell.
pub(super) fn allowed() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cpus = list.map(parse).unwrap_or_default();
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// The kernel's list format: `0-2,5`.
fn parse(list: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            cpus.extend(first..=last);
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel() {
        assert_eq!(parse("\t0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse("1"), [1]);
        assert!(parse("").is_empty());
        assert!(!allowed().is_empty());
    }
}
