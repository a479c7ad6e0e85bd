//! `myriadctl tune` as a program, on machines made of files: what it says, what it changes, how it ends.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// A machine that carries a million connections.
const GOOD: [(&str, &str); 20] = [
    ("proc/sys/kernel/osrelease", "6.12.3-generic"),
    ("proc/sys/kernel/io_uring_disabled", "0"),
    ("proc/sys/fs/file-max", "9223372036854775807"),
    ("proc/sys/fs/file-nr", "1500\t0\t9223372036854775807"),
    ("proc/sys/fs/nr_open", "1073741816"),
    ("proc/sys/net/core/somaxconn", "16384"),
    ("proc/sys/net/core/netdev_max_backlog", "16384"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4096"),
    ("proc/sys/net/ipv4/tcp_mem", "750000\t1000000\t1500000"),
    ("proc/sys/net/ipv4/tcp_max_orphans", "262144"),
    ("proc/sys/net/ipv4/tcp_ehash_entries", "524288"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999"),
    ("proc/sys/net/netfilter/nf_conntrack_max", "2000000"),
    ("proc/sys/net/netfilter/nf_conntrack_buckets", "524288"),
    ("proc/sys/net/netfilter/nf_conntrack_count", "100"),
    ("proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", "432000"),
    ("proc/meminfo", "MemTotal:       33554432 kB\nMemFree: 1 kB\nMemAvailable:   30000000 kB\n"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            1024                 1048576              files     \n\
         Max locked memory         8388608              8388608              bytes     \n",
    ),
    ("proc/self/status", "CapEff:\t0000000000000000\nSeccomp:\t0\nCpus_allowed_list:\t0-3,6\n"),
];

struct Machine {
    root: PathBuf,
}

impl Machine {
    fn good() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tune-{}-{number}", std::process::id()));
        let machine = Self { root };
        GOOD.iter().fold(machine, |machine, (path, text)| machine.with(path, text))
    }

    fn with(self, path: &str, text: &str) -> Self {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
        self
    }

    fn without(self, path: &str) -> Self {
        let path = self.root.join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        self
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn tune(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_myriadctl"));
        Run::new(command.arg("tune").arg("--root").arg(&self.root).args(args).output().unwrap())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[derive(Debug)]
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn new(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The columns of a setting's line in the table, from the second on.
    #[track_caller]
    fn row(&self, setting: &str) -> String {
        let start = format!("  {setting} ");
        let line = self.stdout.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no {setting} in\n{}", self.stdout));
        line[start.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn ends(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}{}", self.stdout, self.stderr);
        self
    }
}

#[test]
fn a_machine_that_has_everything_is_ok() {
    for args in [&[][..], &["--check"], &["--check", "--connections", "1_000_000"]] {
        let run = Machine::good().tune(args).ends(0);
        assert!(run.stdout.contains("1,000,000 connections: ok"), "{}", run.stdout);
        assert_eq!(run.row("kernel"), ">= 6.1 6.12 ok");
        assert_eq!(run.row("fs.file-max"), ">= 1065536 unlimited ok");
        assert!(run.row("net.ipv4.ip_local_port_range").ends_with("too high, for clients only"));
        assert!(run.row("net.ipv4.tcp_max_syn_backlog").contains("not applicable: tcp_syncookies is on"));
    }
}

#[test]
fn bad_arguments_exit_2() {
    let machine = Machine::good();
    for args in [
        &["--connections", "lots"][..],
        &["--connections", "0"],
        &["--connections", "1G"],
        &["--connections", "101M"],
        &["--check", "--apply"],
        &["--check", "--print"],
        &["--print", "--apply"],
        &["--print", "--json"],
        &["--print=all"],
        &["surplus"],
    ] {
        let run = machine.tune(args).ends(2);
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{args:?}");
    }
    assert!(!machine.root.join("etc").exists());
}

#[test]
fn each_setting_that_falls_short_is_named_and_fails_the_check() {
    for (setting, path, value, how) in [
        ("kernel", "kernel/osrelease", "5.15.0-91", "too low"),
        ("kernel.io_uring_disabled", "kernel/io_uring_disabled", "2", "too high"),
        ("fs.file-max", "fs/file-max", "1065535", "too low"),
        ("net.core.somaxconn", "net/core/somaxconn", "4096", "too low"),
        ("net.core.netdev_max_backlog", "net/core/netdev_max_backlog", "1000", "too low"),
        ("net.ipv4.tcp_mem", "net/ipv4/tcp_mem", "750000 1000000 1499999", "too low"),
        ("net.ipv4.tcp_max_orphans", "net/ipv4/tcp_max_orphans", "65536", "too low"),
        ("net.netfilter.nf_conntrack_max", "net/netfilter/nf_conntrack_max", "1100000", "too low"),
        (
            "net.netfilter.nf_conntrack_tcp_timeout_established",
            "net/netfilter/nf_conntrack_tcp_timeout_established",
            "600",
            "too low",
        ),
    ] {
        let run = Machine::good().with(&format!("proc/sys/{path}"), value).tune(&[]).ends(1);
        assert!(run.row(setting).ends_with(how), "{}", run.row(setting));
        assert!(run.stdout.contains("falls short, 1 of 16 settings"), "{setting}: {}", run.stdout);
    }
}

#[test]
fn what_works_all_the_same_does_not_fail_the_check() {
    for (setting, path, value) in [
        ("fs.nr_open", "fs/nr_open", "32768"),
        ("net.ipv4.tcp_ehash_entries", "net/ipv4/tcp_ehash_entries", "-262144"),
        ("net.netfilter.nf_conntrack_buckets", "net/netfilter/nf_conntrack_buckets", "65536"),
    ] {
        let run = Machine::good().with(&format!("proc/sys/{path}"), value).tune(&[]).ends(0);
        assert!(run.row(setting).ends_with("too low, but works"), "{}", run.row(setting));
    }
}

#[test]
fn what_is_not_there_is_not_applicable() {
    let machine = Machine::good()
        .without("proc/sys/net/netfilter")
        .without("proc/sys/net/core/netdev_max_backlog")
        .without("proc/sys/net/ipv4/tcp_mem")
        .without("proc/sys/kernel/io_uring_disabled");
    let run = machine.tune(&[]).ends(0);
    assert!(
        run.row("net.netfilter.nf_conntrack_max")
            .ends_with("not applicable: connection tracking is not loaded")
    );
    assert!(run.row("net.ipv4.tcp_mem").contains("belongs to the host, not to this network namespace"));
    assert!(run.row("kernel.io_uring_disabled").contains("not applicable"));
    assert!(!run.stdout.contains("\n  nf_conntrack_max "), "no limit either: {}", run.stdout);
    let file = machine.tune(&["--print"]).ends(0).stdout;
    assert!(file.contains("# net.netfilter.nf_conntrack_max = 1250000"), "{file}");
}

#[test]
fn tracking_that_no_rule_asks_for_limits_nothing() {
    let machine = Machine::good()
        .with("proc/sys/net/netfilter/nf_conntrack_count", "0")
        .with("proc/sys/net/netfilter/nf_conntrack_max", "65536");
    let run = machine.tune(&[]).ends(0);
    assert!(run.row("net.netfilter.nf_conntrack_max").ends_with("nothing is tracked: no rule asks for it"));
    let machine = machine.with("proc/sys/net/netfilter/nf_conntrack_count", "10");
    let run = machine.tune(&[]).ends(1);
    assert!(run.stdout.contains("65,526 fit (nf_conntrack_max)"), "{}", run.stdout);
}

#[test]
fn what_cannot_be_read_is_said_and_fails_the_check() {
    let machine = Machine::good().without("proc/sys/fs/file-max");
    fs::create_dir(machine.root.join("proc/sys/fs/file-max")).unwrap();
    let run = machine.tune(&[]).ends(1);
    assert!(run.row("fs.file-max").contains("not readable: Is a directory"), "{}", run.stdout);
    let run = Machine::good().with("proc/sys/net/ipv4/tcp_mem", "1000000").tune(&[]).ends(1);
    assert!(
        run.row("net.ipv4.tcp_mem").contains("not readable: 1 numbers where 3 were expected"),
        "{}",
        run.stdout
    );
}

#[test]
fn memory_and_control_groups_limit_the_connections() {
    let small = "MemTotal:       4194304 kB\nMemAvailable:   3565158 kB\n";
    let run = Machine::good().with("proc/meminfo", small).tune(&["--connections", "100k"]).ends(0);
    assert!(run.stdout.contains("100,000 connections: ok"));
    let run = Machine::good().with("proc/meminfo", small).tune(&[]).ends(1);
    assert!(run.stdout.contains("falls short, 685,367 fit (memory)"), "{}", run.stdout);
    let grouped = Machine::good()
        .with("proc/self/cgroup", "0::/system.slice/myriad.service")
        .with("sys/fs/cgroup/system.slice/myriad.service/memory.max", "max")
        .with("sys/fs/cgroup/system.slice/myriad.service/memory.current", "1")
        .with("sys/fs/cgroup/system.slice/memory.max", "2000000000")
        .with("sys/fs/cgroup/system.slice/memory.current", "860000000");
    let run = grouped.tune(&[]).ends(1);
    assert!(run.stdout.contains("200,000 fit (memory)"), "{}", run.stdout);
}

#[test]
fn locked_memory_counts_where_it_is_charged() {
    let limits = "Max open files  20000 20000 files\nMax locked memory  1048576 unlimited bytes\n";
    let machine = Machine::good().with("proc/self/limits", limits);
    let run = machine.tune(&[]).ends(1);
    assert_eq!(run.row("RLIMIT_MEMLOCK"), ">= 7127040 1048576 too low", "5 shards of 14 rings");
    assert!(run.row("RLIMIT_NOFILE").ends_with("20000 too low, but works"));
    assert!(run.stdout.contains("they take 14 rings on each of 5 shards"), "{}", run.stdout);
    let machine = machine.with("proc/self/status", "CapEff:\t0000000000004000\nCpus_allowed_list:\t0-4\n");
    let run = machine.tune(&[]).ends(0);
    assert!(run.row("RLIMIT_MEMLOCK").contains("not applicable: CAP_IPC_LOCK"));
}

#[test]
fn so_few_descriptors_that_rings_run_out_limit_the_connections() {
    let limits = "Max open files  256 256 files\nMax locked memory  unlimited unlimited bytes\n";
    let run = Machine::good().with("proc/self/limits", limits).tune(&[]).ends(1);
    assert!(run.stdout.contains("fit (RLIMIT_NOFILE)"), "{}", run.stdout);
    // Two shards at 1,024 descriptors: the broker starts for 448,000 connections and refuses to for 449,000.
    let limits = "Max open files  1024 1024 files\nMax locked memory  unlimited unlimited bytes\n";
    let machine = Machine::good().with("proc/self/limits", limits);
    let machine = machine.with("proc/self/status", "CapEff:\t0\nCpus_allowed_list:\t0-1\n");
    assert!(machine.tune(&[]).ends(1).stdout.contains("448,873 fit (RLIMIT_NOFILE)"));
}

#[test]
fn clients_on_the_machine_need_ports_and_twice_the_sockets() {
    let run = Machine::good().tune(&["--load-generator"]).ends(1);
    assert!(run.row("net.ipv4.ip_local_port_range").ends_with("too high"));
    assert!(run.row("net.ipv4.tcp_mem").starts_with(">= 1500000 2000000 3000000"));
    let machine = Machine::good().with("proc/sys/net/ipv4/ip_local_port_range", "1000 60999");
    let file = machine.tune(&["--load-generator", "--print"]).ends(0).stdout;
    assert!(file.contains("\nnet.ipv4.ip_local_port_range = 1000 65535\n"), "{file}");
    let file = machine.tune(&["--print"]).ends(0).stdout;
    assert!(file.contains("\n# net.ipv4.ip_local_port_range = "), "{file}");
}

#[test]
fn print_writes_a_file_for_sysctl_and_nothing_else() {
    let machine = Machine::good().with("proc/sys/net/core/somaxconn", "128");
    let run = machine.tune(&["--print"]).ends(0);
    assert!(run.stderr.is_empty());
    let mut settings = Vec::new();
    for line in run.stdout.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once(" = ").unwrap();
        assert!(value.split(' ').all(|number| number.parse::<u64>().is_ok()), "{line}");
        settings.push((name, value));
    }
    assert!(settings.contains(&("net.core.somaxconn", "16384")), "{settings:?}");
    assert!(
        settings.contains(&("fs.file-max", "9223372036854775807")),
        "never lower than it is: {settings:?}"
    );
    assert!(settings.contains(&("net.ipv4.tcp_mem", "750000 1000000 1500000")), "{settings:?}");
    assert!(
        settings.iter().all(|(name, _)| !name.starts_with("RLIMIT") && *name != "net.ipv4.tcp_ehash_entries")
    );
    assert!(run.stdout.contains("# - net.ipv4.tcp_tw_recycle: gone since Linux 4.12"));
    assert!(!machine.root.join("etc").exists(), "printing changes nothing");
}

#[test]
fn apply_changes_the_kernel_and_the_next_boot_and_again_changes_nothing() {
    let machine = Machine::good()
        .with("proc/sys/net/core/somaxconn", "128")
        .with("proc/sys/net/ipv4/tcp_mem", "100 2000000 300")
        .with("proc/sys/net/netfilter/nf_conntrack_max", "65536");
    let printed = machine.tune(&["--print"]).ends(0).stdout;
    let run = machine.tune(&["--apply"]).ends(0);
    assert!(run.stdout.contains("net.core.somaxconn: 128 -> 16384\n"), "{}", run.stdout);
    assert!(run.stdout.contains("3 settings changed"), "{}", run.stdout);
    assert_eq!(machine.read("proc/sys/net/core/somaxconn"), "16384\n");
    assert_eq!(machine.read("proc/sys/net/ipv4/tcp_mem"), "750000 2000000 1500000\n");
    assert_eq!(machine.read("proc/sys/fs/file-max"), "9223372036854775807\n");
    assert_eq!(machine.read("proc/sys/net/ipv4/ip_local_port_range"), "32768\t60999\n", "of clients only");
    assert_eq!(machine.read("etc/sysctl.d/60-myriad.conf"), printed);
    assert_eq!(fs::read_dir(machine.root.join("etc/sysctl.d")).unwrap().count(), 1, "no draft is left");
    machine.tune(&["--check"]).ends(0);
    let again = machine.tune(&["--apply"]).ends(0);
    assert!(again.stdout.contains("0 settings changed"), "{}", again.stdout);
    assert_eq!(machine.read("etc/sysctl.d/60-myriad.conf"), printed);
    let fewer = machine.tune(&["--apply", "--connections", "100k"]).ends(0);
    assert!(fewer.stdout.contains("0 settings changed"), "{}", fewer.stdout);
    assert_eq!(machine.read("proc/sys/net/core/somaxconn"), "16384\n", "never lowered");
}

#[test]
fn what_the_kernel_refuses_is_listed_and_the_rest_applied() {
    let machine = Machine::good()
        .with("proc/sys/net/core/somaxconn", "128")
        .without("proc/sys/fs/file-max")
        .without("proc/sys/net/ipv4/tcp_max_orphans");
    // A file of the real kernel that nobody may write, not even root; and one that says nothing.
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, machine.root.join(at)).unwrap();
    link("/proc/sys/kernel/ngroups_max", "proc/sys/fs/file-max");
    link("/dev/null", "proc/sys/net/ipv4/tcp_max_orphans");
    let run = machine.tune(&["--apply"]).ends(1);
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stderr);
    assert!(lines[0].starts_with("myriadctl: fs.file-max = 1065536 was refused: "), "{}", lines[0]);
    assert!(
        lines[1].starts_with("myriadctl: net.ipv4.tcp_max_orphans = 125000 was refused: "),
        "{}",
        lines[1]
    );
    assert_eq!(machine.read("proc/sys/net/core/somaxconn"), "16384\n");
    let file = machine.read("etc/sysctl.d/60-myriad.conf");
    assert!(
        file.contains("\nnet.core.somaxconn = 16384\n") && file.contains("\n# fs.file-max = 1065536\n"),
        "{file}"
    );
    let json = machine.tune(&["--apply", "--json"]).ends(1);
    let outcome: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(outcome["refused"].as_array().unwrap().len(), 2, "{outcome}");
}

#[test]
fn apply_that_cannot_write_its_file_changes_nothing() {
    let machine = Machine::good().with("proc/sys/net/core/somaxconn", "128").with("etc/sysctl.d", "a file");
    let run = machine.tune(&["--apply"]).ends(1);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("60-myriad.conf, so nothing was changed; run it as root"), "{}", run.stderr);
    assert_eq!(machine.read("proc/sys/net/core/somaxconn"), "128\n");
}

#[test]
fn json_has_the_whole_check() {
    let machine = Machine::good().with("proc/sys/net/core/somaxconn", "128");
    let run = machine.tune(&["--json"]).ends(1);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((report["ok"].as_bool(), report["connections"].as_u64()), (Some(false), Some(1_000_000)));
    let settings = report["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["name"] == "net.core.somaxconn").unwrap();
    assert_eq!(
        (setting["wanted"].as_str(), setting["now"].as_str(), setting["verdict"].as_str()),
        (Some(">= 16384"), Some("128"), Some("too low"))
    );
    assert!(report["connections_that_fit"].as_array().unwrap().iter().any(|limit| limit["name"] == "memory"));
    let run = Machine::good().tune(&["--json"]).ends(0);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["ok"].as_bool(), Some(true));
}

/// The values of a unit's key.
fn values<'t>(unit: &'t str, key: &str) -> Vec<&'t str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_has_the_limits_of_a_million() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/myriad.service");
    let unit = fs::read_to_string(path).unwrap();
    let drop_in = Machine::good().tune(&["--print=systemd"]).ends(0).stdout;
    for key in ["LimitNOFILE", "LimitMEMLOCK"] {
        assert_eq!(values(&unit, key), values(&drop_in, key), "{key}");
        assert_eq!(values(&unit, key).len(), 1);
    }
    let calls = values(&unit, "SystemCallFilter");
    let (allowed, denied) = (calls[0], calls[1]);
    for call in ["@system-service", "io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(allowed.split(' ').any(|word| word == call), "{call} is not allowed: {allowed}");
    }
    assert!(
        denied.starts_with('~') && !denied.contains("@aio") && !denied.contains("@resources"),
        "{denied}"
    );
    assert!(!unit.contains("ProcSubset=") || unit.contains("no ProcSubset=pid"));
}
