//! The machine check: what N connections need against what the machine has, a row each, with the mend. Pure
//! arithmetic over [`Facts`].

use std::fmt::Write as _;

use super::machine::Facts;
use super::results::{CheckRow, Verdict};
use super::size::{bytes, grouped};
use super::target::per_source;

/// Kernel memory of one end of an idle TCP connection that is in a ring (3.6 KB socket, 0.3 KB ring), bytes.
const KERNEL_BYTES: u64 = 3_950;
/// User space of a connection: the broker's (Myriad's aim) and this program's.
const BROKER_BYTES: u64 = 700;
const LOAD_BYTES: u64 = 80;
/// Memory that is to stay available, as the fill stops below it: a part of the total.
const SPARE_PART: u64 = 10;
/// For buffers of TCP that are in use at a time.
const TCP_BYTES_MIN: u64 = 64 << 20;
/// The share of clients that have two connections for a moment (takeover), as a divisor; and a few more.
const TWICE_PART: u64 = 50;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) connections: u64,
    /// Addresses to connect from; 0: one, the kernel's choice.
    pub(crate) sources: u64,
    /// This program starts the broker.
    pub(crate) own_broker: bool,
    /// The broker runs on this machine.
    pub(crate) both_ends_here: bool,
    /// Handshakes outstanding.
    pub(crate) handshakes: u64,
    pub(crate) network_namespace: bool,
}

/// All rows.
pub(crate) fn rows(facts: &Facts, wish: &Wish) -> Vec<CheckRow> {
    let mut rows = vec![cores(facts), memory(facts, wish), open_files(facts, wish)];
    rows.extend([file_max(facts, wish), ports(facts, wish)]);
    rows.extend(tcp_memory(facts));
    rows.push(backlog(facts, wish));
    rows.extend(conntrack(facts, wish));
    rows.push(rings(facts));
    rows
}

/// Connections for which all rows suffice; `None`: no row limits them.
pub(crate) fn fits(rows: &[CheckRow]) -> Option<u64> {
    rows.iter().filter_map(|row| row.fits).min()
}

/// The rows as a table, with the last line.
pub(crate) fn table(rows: &[CheckRow], wanted: u64) -> String {
    let mut text = format!("{:<22} {:>20} {:>20}\n", "machine", "has", "needed");
    for row in rows {
        let verdict = match (row.verdict, &row.mend) {
            (Verdict::Ok, _) => "ok".to_owned(),
            (Verdict::FallsShort, Some(mend)) => format!("falls short -> {mend}"),
            (Verdict::FallsShort, None) => "falls short".to_owned(),
            (Verdict::Fatal, mend) => format!("impossible -> {}", mend.as_deref().unwrap_or("")),
        };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{:<22} {:>20} {:>20}  {verdict}", row.name, row.has, row.needs);
    }
    let fit = fits(rows).map_or("any number of".to_owned(), grouped);
    let _ = writeln!(text, "{fit} connections would fit ({} wanted)", grouped(wanted));
    text
}

struct Row {
    name: &'static str,
    has: String,
    needs: String,
    fits: Option<u64>,
    /// It suffices.
    ok: bool,
    mend: String,
}

impl From<Row> for CheckRow {
    fn from(row: Row) -> Self {
        Self {
            name: row.name.to_owned(),
            has: row.has,
            needs: row.needs,
            verdict: if row.ok { Verdict::Ok } else { Verdict::FallsShort },
            fits: row.fits,
            mend: (!row.ok).then_some(row.mend),
        }
    }
}

fn cores(facts: &Facts) -> CheckRow {
    Row {
        name: "cores",
        has: facts.cores.to_string(),
        needs: "2".into(),
        fits: None,
        ok: facts.cores >= 2,
        mend: "works on one, but broker and load share it".into(),
    }
    .into()
}

fn memory(facts: &Facts, wish: &Wish) -> CheckRow {
    let ends = if wish.both_ends_here { 2 } else { 1 };
    let broker = if wish.both_ends_here { BROKER_BYTES } else { 0 };
    let each = ends * KERNEL_BYTES + broker + LOAD_BYTES;
    let spare = facts.memory_total_bytes / SPARE_PART;
    let fits = facts.memory_available_bytes.saturating_sub(spare) / each;
    Row {
        name: "memory",
        has: bytes(facts.memory_available_bytes),
        needs: bytes(wish.connections * each + spare),
        fits: Some(fits),
        ok: fits >= wish.connections,
        mend: format!("about {each} B a connection, a tenth of all stays free; stop other programs"),
    }
    .into()
}

fn open_files(facts: &Facts, wish: &Wish) -> CheckRow {
    // Direct descriptors: the limit bounds a ring's table, and there are as many rings as it takes.
    if wish.own_broker || facts.peer_is_myriad {
        let has = facts.peer_open_files_max.unwrap_or(facts.open_files_max).min(facts.open_files_max);
        // Two for each ring, and some; n descriptors allow rings of n slots.
        let needs = (wish.connections.saturating_mul(9) / 4).isqrt().saturating_add(128).max(1024);
        return Row {
            name: "RLIMIT_NOFILE",
            has: grouped(has),
            needs: grouped(needs),
            fits: None,
            ok: has >= needs,
            mend: "raise it: ulimit -Hn 1048576".into(),
        }
        .into();
    }
    let has = facts.peer_open_files_max;
    // A broker needs some for itself.
    let fits = has.map(|n| n.saturating_sub(100));
    Row {
        name: "RLIMIT_NOFILE (broker)",
        has: has.map_or("unknown".into(), |n| if n == u64::MAX { "unlimited".into() } else { grouped(n) }),
        needs: grouped(wish.connections + 100),
        fits: fits.filter(|n| *n < u64::MAX / 2),
        ok: fits.is_none_or(|n| n >= wish.connections),
        mend: "start the broker with more: ulimit -n, systemd LimitNOFILE=".into(),
    }
    .into()
}

fn file_max(facts: &Facts, wish: &Wish) -> CheckRow {
    let ends = if wish.both_ends_here { 2 } else { 1 };
    let left = facts.file_max.saturating_sub(facts.files_open);
    let needs = ends * (wish.connections + wish.connections / TWICE_PART) + 1024;
    let fits = left.saturating_sub(1024) / ends * TWICE_PART / (TWICE_PART + 1);
    Row {
        name: "fs.file-max",
        has: grouped(left),
        needs: grouped(needs),
        fits: Some(fits),
        ok: fits >= wish.connections || left >= needs,
        mend: format!("sysctl fs.file-max={}", (needs + facts.files_open).next_multiple_of(100_000)),
    }
    .into()
}

fn ports(facts: &Facts, wish: &Wish) -> CheckRow {
    let sources = wish.sources.max(1);
    let fits = sources * per_source(facts.ports_len());
    Row {
        name: "local ports",
        has: format!("{} x {}", grouped(facts.ports_len()), grouped(sources)),
        needs: grouped(wish.connections),
        fits: Some(fits),
        ok: fits >= wish.connections,
        mend: "more --source-addresses, or sysctl net.ipv4.ip_local_port_range=\"1024 65535\"".into(),
    }
    .into()
}

fn tcp_memory(facts: &Facts) -> Option<CheckRow> {
    let max = facts.tcp_memory_max_bytes?;
    let row = Row {
        name: "net.ipv4.tcp_mem",
        has: bytes(max),
        needs: bytes(TCP_BYTES_MIN),
        fits: None,
        ok: max >= TCP_BYTES_MIN,
        mend: "sysctl net.ipv4.tcp_mem=\"65536 131072 262144\"".into(),
    };
    Some(row.into())
}

fn backlog(facts: &Facts, wish: &Wish) -> CheckRow {
    Row {
        name: "net.core.somaxconn",
        has: grouped(facts.somaxconn),
        needs: grouped(wish.handshakes),
        fits: None,
        ok: facts.somaxconn >= wish.handshakes || !wish.both_ends_here,
        mend: format!("sysctl net.core.somaxconn={}, or fewer --handshakes", wish.handshakes),
    }
    .into()
}

fn conntrack(facts: &Facts, wish: &Wish) -> Option<CheckRow> {
    let (now, max) = facts.conntrack?;
    let left = max.saturating_sub(now);
    // A namespace of its own tracks nothing until somebody adds a rule to it.
    let limits = !wish.network_namespace && max > 0;
    let row = Row {
        name: "conntrack",
        has: grouped(left),
        needs: if limits { grouped(wish.connections + wish.connections / TWICE_PART) } else { "0".into() },
        fits: limits.then_some(left * TWICE_PART / (TWICE_PART + 1)),
        ok: !limits || left >= wish.connections + wish.connections / TWICE_PART,
        mend: "--netns (as root), or sysctl net.netfilter.nf_conntrack_max".into(),
    };
    Some(row.into())
}

fn rings(facts: &Facts) -> CheckRow {
    let error = facts.rings_error.clone();
    CheckRow {
        name: "io_uring".into(),
        has: if error.is_none() { "yes" } else { "no" }.into(),
        needs: "yes".into(),
        verdict: if error.is_none() { Verdict::Ok } else { Verdict::Fatal },
        fits: None,
        mend: error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            cores: 2,
            memory_total_bytes: 24_000_000_000,
            memory_available_bytes: 20_000_000_000,
            open_files_max: 20_000,
            peer_open_files_max: None,
            peer_is_myriad: false,
            file_max: 2_400_000,
            files_open: 1_000,
            ports: (32_768, 60_999),
            tcp_memory_max_bytes: Some(2 << 30),
            somaxconn: 4096,
            conntrack: None,
            rings_error: None,
        }
    }

    fn wish(connections: u64) -> Wish {
        Wish {
            connections,
            sources: 50,
            own_broker: true,
            both_ends_here: true,
            handshakes: 1024,
            network_namespace: false,
        }
    }

    fn row(facts: &Facts, wish: &Wish, name: &str) -> CheckRow {
        rows(facts, wish).into_iter().find(|row| row.name.starts_with(name)).unwrap()
    }

    #[test]
    fn a_million_fit_a_machine_of_24_gb() {
        let rows = rows(&facts(), &wish(1_000_000));
        assert!(rows.iter().all(|row| row.verdict == Verdict::Ok), "{}", table(&rows, 1_000_000));
        assert!(fits(&rows).unwrap() >= 1_000_000);
    }

    #[test]
    fn memory_limits_by_what_both_ends_cost() {
        let mut f = facts();
        f.memory_available_bytes = 2_400_000_000 + 8_680 * 100_000;
        let memory = row(&f, &wish(1_000_000), "memory");
        assert_eq!((memory.verdict, memory.fits), (Verdict::FallsShort, Some(100_000)));
        let far = Wish { both_ends_here: false, own_broker: false, ..wish(200_000) };
        assert_eq!(row(&f, &far, "memory").verdict, Verdict::Ok);
    }

    #[test]
    fn open_files_limit_only_a_broker_of_others() {
        assert_eq!(row(&facts(), &wish(1_000_000), "RLIMIT_NOFILE").fits, None);
        let few = Facts { open_files_max: 1024, ..facts() };
        assert_eq!(row(&few, &wish(100_000), "RLIMIT_NOFILE").verdict, Verdict::Ok);
        assert_eq!(row(&few, &wish(1_000_000), "RLIMIT_NOFILE").verdict, Verdict::FallsShort);
        let peer = Wish { own_broker: false, ..wish(100_000) };
        let f = Facts { peer_open_files_max: Some(20_000), ..facts() };
        let open = row(&f, &peer, "RLIMIT_NOFILE");
        assert_eq!((open.verdict, open.fits), (Verdict::FallsShort, Some(19_900)));
        let myriad = Facts { peer_is_myriad: true, ..f.clone() };
        assert_eq!(row(&myriad, &peer, "RLIMIT_NOFILE").fits, None);
        let unlimited = Facts { peer_open_files_max: Some(u64::MAX), ..facts() };
        assert_eq!(row(&unlimited, &peer, "RLIMIT_NOFILE").fits, None);
    }

    #[test]
    fn ports_are_counted_by_source_address() {
        let one = Wish { sources: 0, ..wish(100_000) };
        let ports = row(&facts(), &one, "local ports");
        assert_eq!((ports.verdict, ports.fits), (Verdict::FallsShort, Some(22_585)));
        assert_eq!(row(&facts(), &wish(1_000_000), "local ports").fits, Some(50 * 22_585));
    }

    #[test]
    fn conntrack_limits_unless_in_a_namespace() {
        let f = Facts { conntrack: Some((1_000, 263_144)), ..facts() };
        let tracked = row(&f, &wish(1_000_000), "conntrack");
        assert_eq!((tracked.verdict, tracked.fits), (Verdict::FallsShort, Some(257_003)));
        assert!(tracked.mend.unwrap().contains("--netns"));
        let apart = Wish { network_namespace: true, ..wish(1_000_000) };
        assert_eq!(row(&f, &apart, "conntrack").verdict, Verdict::Ok);
        assert!(rows(&facts(), &wish(1)).iter().all(|row| row.name != "conntrack"));
    }

    #[test]
    fn without_io_uring_nothing_works() {
        let f = Facts { rings_error: Some("io_uring is disabled".into()), ..facts() };
        let rows = rows(&f, &wish(10));
        let row = rows.iter().find(|row| row.name == "io_uring").unwrap();
        assert_eq!(row.verdict, Verdict::Fatal);
        assert!(table(&rows, 10).contains("impossible -> io_uring is disabled"));
    }

    #[test]
    fn files_are_counted_for_both_ends() {
        let f = Facts { file_max: 1_000_000, ..facts() };
        let files = row(&f, &wish(1_000_000), "fs.file-max");
        assert_eq!(files.verdict, Verdict::FallsShort);
        assert!(files.fits.unwrap() < 500_000 && files.mend.unwrap().contains("fs.file-max=2100000"));
    }
}
