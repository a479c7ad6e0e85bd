//! The machine against the settings: a verdict for each, and how many connections fit.

use crate::count::grouped;

use super::machine::{Machine, Memory, Reading};
use super::settings::{
    self, Bound, Concern, Facts, Place, RING_SLOTS_MAX, SLOTS_SPARE, Setting, rings_per_shard,
};

/// Memory of an idle client with one subscription: the kernel's 4.0 KB for its socket and the broker's 0.7 KB.
const CONNECTION_BYTES: u64 = 4_700;
/// The same with the client's end on the same machine.
const BOTH_ENDS_BYTES: u64 = 6_800;
/// Descriptors of the broker: for each ring, for each shard besides, and for everything else.
const DESCRIPTORS_PER_RING: u64 = 2;
const DESCRIPTORS_PER_SHARD: u64 = 12;
const DESCRIPTORS_SPARE: u64 = 64;

/// How a setting stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As wanted.
    Enough,
    /// Not as wanted: `too low` or `too high`.
    Short(&'static str),
    /// Can't be told, and why.
    Unreadable(String),
    /// Does not exist or does not count here, and why.
    NotApplicable(&'static str),
}

/// A setting on this machine.
#[derive(Debug)]
pub(super) struct Row {
    /// What is wanted.
    pub(super) setting: Setting,
    /// What is there.
    pub(super) now: Vec<u64>,
    /// How the two compare.
    pub(super) verdict: Verdict,
}

impl Row {
    fn new(setting: Setting, machine: &Machine) -> Self {
        let reading = match setting.place {
            Place::Sysctl | Place::BootParameter => machine.sysctl(setting.name),
            Place::SoftLimit(row) => machine.soft_limit(row),
            Place::HardLimit(row) => machine.hard_limit(row),
            Place::Kernel => release(machine),
        };
        let (now, verdict) = match reading {
            Reading::Absent => (Vec::new(), Verdict::NotApplicable(setting.absent)),
            Reading::Unreadable(why) => (Vec::new(), Verdict::Unreadable(why)),
            Reading::Numbers(now) if now.len() != setting.wanted.len() => {
                let why = format!("{} numbers where {} were expected", now.len(), setting.wanted.len());
                (now, Verdict::Unreadable(why))
            }
            Reading::Numbers(now) => {
                let verdict = exemption(&setting, machine)
                    .map_or_else(|| compare(&setting.wanted, &now), Verdict::NotApplicable);
                (now, verdict)
            }
        };
        Self { setting, now, verdict }
    }

    /// The numbers that satisfy the setting and lower nothing that is enough.
    pub(super) fn mended(&self) -> Vec<u64> {
        self.setting.wanted.iter().zip(&self.now).map(|(bound, now)| bound.mended(*now)).collect()
    }
}

/// All that is known about this machine for so many connections.
#[derive(Debug)]
pub(super) struct Report {
    /// Connections asked for.
    pub(super) connections: u64,
    /// Whether clients run here too.
    pub(super) load_generator: bool,
    /// The kernel's release, if it tells.
    pub(super) release: Option<String>,
    /// CPUs that the broker may use.
    pub(super) cpus: u64,
    /// The memory, if the kernel tells.
    pub(super) memory: Option<Memory>,
    /// Whether a seccomp filter is in force.
    pub(super) is_filtered: bool,
    /// The settings.
    pub(super) rows: Vec<Row>,
    /// What limits the number of connections, and to how many.
    pub(super) limits: Vec<Limit>,
}

/// One thing that only so many connections have room in.
#[derive(Debug)]
pub(super) struct Limit {
    /// What it is.
    pub(super) name: &'static str,
    /// Connections that fit.
    pub(super) fits: u64,
    /// How that comes about.
    pub(super) because: String,
}

impl Report {
    /// Reads the machine and compares it.
    pub(super) fn new(machine: &Machine, connections: u64, load_generator: bool) -> Self {
        let memory = machine.memory();
        let files_per_ring = match machine.hard_limit("Max open files") {
            Reading::Numbers(numbers) => numbers[0],
            _ => 1024,
        };
        let facts = Facts {
            connections,
            load_generator,
            cpus: machine.cpus(),
            memory_pages: memory.unwrap_or_default().total / machine.page_bytes(),
            files_per_ring,
        };
        let rows: Vec<Row> =
            settings::all(&facts).into_iter().map(|setting| Row::new(setting, machine)).collect();
        Self {
            connections,
            load_generator,
            release: machine.release(),
            cpus: facts.cpus,
            memory,
            is_filtered: machine.is_filtered(),
            rows,
            limits: limits(machine, memory, &facts),
        }
    }

    /// Whether a row is about an end of the connections that is on this machine.
    pub(super) fn concerns(&self, setting: &Setting) -> bool {
        setting.concern == Concern::Broker || self.load_generator
    }

    /// Whether the check fails because of this row.
    pub(super) fn fails(&self, row: &Row) -> bool {
        row.setting.matters
            && self.concerns(&row.setting)
            && matches!(row.verdict, Verdict::Short(_) | Verdict::Unreadable(_))
    }

    /// The tightest limit.
    pub(super) fn tightest(&self) -> Option<&Limit> {
        self.limits.iter().min_by_key(|limit| limit.fits)
    }

    /// Whether everything that matters is as wanted and all connections fit.
    pub(super) fn is_enough(&self) -> bool {
        !self.rows.iter().any(|row| self.fails(row))
            && self.tightest().is_none_or(|limit| limit.fits >= self.connections)
    }

    /// Whether a setting at such a place falls short.
    pub(super) fn is_short(&self, place: impl Fn(Place) -> bool) -> bool {
        self.rows.iter().any(|row| {
            place(row.setting.place)
                && self.concerns(&row.setting)
                && matches!(row.verdict, Verdict::Short(_))
        })
    }
}

fn compare(wanted: &[Bound], now: &[u64]) -> Verdict {
    let broken = wanted.iter().zip(now).find(|(bound, now)| !bound.holds(**now));
    match broken {
        None => Verdict::Enough,
        Some((Bound::AtLeast(_), _)) => Verdict::Short("too low"),
        Some((Bound::AtMost(_), _)) => Verdict::Short("too high"),
    }
}

/// Why a setting that is there does not count.
fn exemption(setting: &Setting, machine: &Machine) -> Option<&'static str> {
    match setting.name {
        "RLIMIT_MEMLOCK" if machine.may_lock_memory() => Some("CAP_IPC_LOCK: nothing is charged"),
        "net.ipv4.tcp_max_syn_backlog" => match machine.sysctl("net.ipv4.tcp_syncookies") {
            Reading::Numbers(on) if on != [0] => Some("tcp_syncookies is on: not looked at"),
            _ => None,
        },
        name if name.starts_with("net.netfilter.") && machine.tracked().is_none() => {
            Some("nothing is tracked: no rule asks for it")
        }
        _ => None,
    }
}

fn release(machine: &Machine) -> Reading {
    let Some(release) = machine.release() else {
        return Reading::Unreadable("/proc/sys/kernel/osrelease can't be read".into());
    };
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Reading::Numbers(vec![major * 100 + minor.min(99)]),
        _ => Reading::Unreadable(format!("`{release}` is no release")),
    }
}

fn limits(machine: &Machine, memory: Option<Memory>, facts: &Facts) -> Vec<Limit> {
    let mut limits = Vec::new();
    if let Some(memory) = memory {
        limits.push(by_memory(memory, facts.load_generator));
    }
    let ends = if facts.load_generator { 2 } else { 1 };
    if let Reading::Numbers(most) = machine.sysctl("fs.file-max") {
        let open = machine.files_open();
        limits.push(Limit {
            name: "fs.file-max",
            fits: most[0].saturating_sub(open) / ends,
            because: match most[0] {
                most if most >= i64::MAX as u64 => "open files of the whole system are not limited".into(),
                most => {
                    format!("{} open files of the whole system, {} in use", grouped(most), grouped(open))
                }
            },
        });
    }
    if let (Reading::Numbers(most), Some(used)) =
        (machine.sysctl("net.netfilter.nf_conntrack_max"), machine.tracked())
    {
        limits.push(Limit {
            name: "nf_conntrack_max",
            fits: most[0].saturating_sub(used),
            because: format!("{} tracked connections, {} in use", grouped(most[0]), grouped(used)),
        });
    }
    limits.push(by_descriptors(facts));
    limits
}

fn by_memory(memory: Memory, load_generator: bool) -> Limit {
    let bytes = if load_generator { BOTH_ENDS_BYTES } else { CONNECTION_BYTES };
    let ends = if load_generator { "both ends" } else { "the broker's end" };
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    Limit {
        name: "memory",
        fits: memory.available.saturating_sub(memory.total / 10) / bytes,
        because: format!(
            "{:.1} GiB available of {:.1}, a tenth kept free, {} KB each for {ends}",
            gib(memory.available),
            gib(memory.total),
            bytes as f64 / 1000.0
        ),
    }
}

/// Connections take no descriptors; their rings do, and no ring's table is larger than the limit.
fn by_descriptors(facts: &Facts) -> Limit {
    let per_ring = facts.files_per_ring.min(RING_SLOTS_MAX);
    let for_rings = facts.files_per_ring.saturating_sub(DESCRIPTORS_SPARE) / facts.cpus;
    let rings_max = for_rings.saturating_sub(DESCRIPTORS_PER_SHARD) / DESCRIPTORS_PER_RING;
    let rings_max = rings_max.min(u64::from(u16::MAX));
    let slots = rings_max.saturating_mul(per_ring).saturating_sub(SLOTS_SPARE);
    Limit {
        name: "RLIMIT_NOFILE",
        fits: (u128::from(slots) * u128::from(facts.cpus) * 16 / 17).min(u128::from(u64::MAX)) as u64,
        because: format!(
            "no descriptor a connection: they take {} on each of {} shards",
            match rings_per_shard(facts) {
                1 => "1 ring".into(),
                rings => format!("{} rings", grouped(rings)),
            },
            facts.cpus
        ),
    }
}
