//! What N connections need of the kernel: each setting with its bound, the formula behind it and the reason; and what the
//! usual lists name and this one leaves out. The values that the machine has are not known here, but for the few facts
//! that a formula takes.

/// Most connections of one data ring, as package `shards` has it.
pub(super) const RING_SLOTS_MAX: u64 = 16 * 1024;
/// `LimitNOFILE` with which rings are as large as they get, with room for all else.
pub(super) const FILES_PER_PROCESS: u64 = 65_536;
/// Open files left for everything else on the machine.
const FILES_SPARE: u64 = 65_536;
/// Locked memory of a shard without its data rings: glommio's three rings and their buffers (measured on Linux 6.18).
const SHARD_LOCKED_BYTES: u64 = 216 * 1024;
/// Locked memory below which glommio does not start.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// Slots of a shard's rings that are not for its share of the connections: for identifiers that do not hash evenly, for
/// refusals and for accepts.
pub(super) const SLOTS_SPARE: u64 = 1024 + 128;

/// What formulas take besides the number of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Connections of the broker.
    pub(super) connections: u64,
    /// Clients run on this machine too.
    pub(super) load_generator: bool,
    /// CPUs that the broker may use: as many shards.
    pub(super) cpus: u64,
    /// Memory of the machine, in pages.
    pub(super) memory_pages: u64,
    /// The hard limit of open files here.
    pub(super) files_per_ring: u64,
}

impl Facts {
    /// Sockets on this machine.
    fn sockets(&self) -> u64 {
        self.connections.saturating_mul(if self.load_generator { 2 } else { 1 })
    }
}

/// The bound of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// The number or a larger one.
    AtLeast(u64),
    /// The number or a smaller one.
    AtMost(u64),
}

impl Bound {
    /// Whether `now` is within it.
    pub(super) fn holds(self, now: u64) -> bool {
        match self {
            Self::AtLeast(bound) => now >= bound,
            Self::AtMost(bound) => now <= bound,
        }
    }

    /// The number nearest to `now` within it: what is enough already stays.
    pub(super) fn mended(self, now: u64) -> u64 {
        match self {
            Self::AtLeast(bound) => now.max(bound),
            Self::AtMost(bound) => now.min(bound),
        }
    }

    /// The bound itself.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => bound,
        }
    }
}

/// Where a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A file below /proc/sys that can be written.
    Sysctl,
    /// A file below /proc/sys that only says what the kernel was started with.
    BootParameter,
    /// A row of /proc/self/limits, by its name there: the soft limit.
    SoftLimit(&'static str),
    /// The hard limit, to which the broker raises the soft one.
    HardLimit(&'static str),
    /// The kernel's release; its number is 100 x major + minor.
    Kernel,
}

/// When a changed setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// At once.
    Now,
    /// When the broker is started the next time.
    BrokerRestart,
    /// After a reboot.
    Reboot,
}

/// Whose end of the connections needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// The broker's.
    Broker,
    /// The clients' end.
    LoadGenerator,
}

/// One setting.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// As sysctl or getrlimit name it.
    pub(super) name: &'static str,
    /// Where it is.
    pub(super) place: Place,
    /// What its numbers have to be, in their order.
    pub(super) wanted: Vec<Bound>,
    /// Why, in one or two lines.
    pub(super) reason: String,
    /// When a change is felt.
    pub(super) effect: Effect,
    /// Who needs it.
    pub(super) concern: Concern,
    /// Whether less than wanted makes the check fail; if not it costs a little and works.
    pub(super) matters: bool,
    /// Why the file may not be there.
    pub(super) absent: &'static str,
}

const OF_THE_HOST: &str = "belongs to the host, not to this network namespace";
const NOT_TRACKED: &str = "connection tracking is not loaded";
const NOT_THERE: &str = "this kernel has none";

fn sysctl(name: &'static str, wanted: &[Bound], reason: String) -> Setting {
    Setting {
        name,
        place: Place::Sysctl,
        wanted: wanted.to_vec(),
        reason,
        effect: Effect::Now,
        concern: Concern::Broker,
        matters: true,
        absent: NOT_THERE,
    }
}

/// All settings that so many connections need, in the order of the output.
pub(super) fn all(facts: &Facts) -> Vec<Setting> {
    let mut settings = of_the_process(facts);
    settings.extend(of_files(facts));
    settings.extend(of_arrivals(facts));
    settings.extend(of_sockets(facts));
    settings.extend(of_tracking(facts));
    settings.push(of_clients());
    settings
}

fn of_the_process(facts: &Facts) -> Vec<Setting> {
    vec![
        Setting {
            place: Place::Kernel,
            effect: Effect::Reboot,
            ..sysctl(
                "kernel",
                &[Bound::AtLeast(601)],
                "the data rings need what Linux 6.1 brought (DEFER_TASKRUN)".into(),
            )
        },
        Setting {
            absent: "this kernel has no such switch (it came with 6.6): io_uring is on",
            effect: Effect::BrokerRestart,
            ..sysctl(
                "kernel.io_uring_disabled",
                &[Bound::AtMost(0)],
                "the broker talks to the kernel through io_uring only. 1 leaves it to root and \
                 kernel.io_uring_group, 2 to nobody"
                    .into(),
            )
        },
        Setting {
            place: Place::SoftLimit("Max locked memory"),
            effect: Effect::BrokerRestart,
            ..sysctl(
                "RLIMIT_MEMLOCK",
                &[Bound::AtLeast(locked_bytes(facts))],
                format!(
                    "the rings of {} shards are charged to it, for all processes of a user. LimitMEMLOCK= in the unit",
                    facts.cpus
                ),
            )
        },
        Setting {
            place: Place::HardLimit("Max open files"),
            effect: Effect::BrokerRestart,
            matters: false,
            ..sysctl(
                "RLIMIT_NOFILE",
                &[Bound::AtLeast(FILES_PER_PROCESS)],
                "the size of a ring's table, not the number of connections: where it is lower a shard opens several \
                 rings. LimitNOFILE= in the unit"
                    .into(),
            )
        },
    ]
}

fn of_files(facts: &Facts) -> Vec<Setting> {
    vec![
        sysctl(
            "fs.file-max",
            &[Bound::AtLeast(facts.sockets().saturating_add(FILES_SPARE))],
            "a connection is an open file of the kernel though it has no descriptor; 65,536 more for the rest. \
             Without limit where systemd 240 or newer starts the machine"
                .into(),
        ),
        Setting {
            matters: false,
            effect: Effect::BrokerRestart,
            ..sysctl(
                "fs.nr_open",
                &[Bound::AtLeast(FILES_PER_PROCESS)],
                "the ceiling of RLIMIT_NOFILE: LimitNOFILE= can't be more".into(),
            )
        },
    ]
}

/// When all clients come at once.
fn of_arrivals(facts: &Facts) -> Vec<Setting> {
    let queue = burst(facts.connections);
    vec![
        Setting {
            effect: Effect::BrokerRestart,
            ..sysctl(
                "net.core.somaxconn",
                &[Bound::AtLeast(queue)],
                format!(
                    "caps `backlog` of a listener (set that to {queue} too): while the accept queue is full a client's \
                     SYN is dropped, and it tries again a second later"
                ),
            )
        },
        sysctl(
            "net.ipv4.tcp_max_syn_backlog",
            &[Bound::AtLeast(queue)],
            "half-open connections of a listener, where SYN cookies are off: the accept queue's length bounds them \
             otherwise"
                .into(),
        ),
        Setting {
            absent: OF_THE_HOST,
            ..sysctl(
                "net.core.netdev_max_backlog",
                &[Bound::AtLeast(queue)],
                "packets that wait for a CPU: loopback, RPS and drivers without NAPI use it. A full queue drops \
                 (second column of /proc/net/softnet_stat)"
                    .into(),
            )
        },
    ]
}

fn of_sockets(facts: &Facts) -> Vec<Setting> {
    let pressure = socket_pages(facts);
    vec![
        Setting {
            absent: OF_THE_HOST,
            ..sysctl(
                "net.ipv4.tcp_mem",
                &[
                    Bound::AtLeast(pressure / 4 * 3),
                    Bound::AtLeast(pressure),
                    Bound::AtLeast(pressure / 2 * 3),
                ],
                "pages of buffers of all sockets: a socket with anything queued holds at least one, so a message to all \
                 clients takes one each. At most half of the memory; an idle socket holds none"
                    .into(),
            )
        },
        Setting {
            absent: OF_THE_HOST,
            ..sysctl(
                "net.ipv4.tcp_max_orphans",
                &[Bound::AtLeast(facts.connections / 8)],
                "connections closed here whose client has not yet answered, one in eight at a time: past it they are \
                 reset, and the DISCONNECT that was under way is lost"
                    .into(),
            )
        },
        Setting {
            place: Place::BootParameter,
            effect: Effect::Reboot,
            matters: false,
            ..sysctl(
                "net.ipv4.tcp_ehash_entries",
                &[Bound::AtLeast(table_entries(facts))],
                format!(
                    "slots of the kernel's table of connections: about two sockets a slot. Start the kernel with \
                     thash_entries={}",
                    table_entries(facts)
                ),
            )
        },
    ]
}

fn of_tracking(facts: &Facts) -> Vec<Setting> {
    let entries = facts.connections.saturating_add(facts.connections / 4);
    let tracked = |name, least, reason: &str| Setting {
        absent: NOT_TRACKED,
        ..sysctl(name, &[Bound::AtLeast(least)], reason.into())
    };
    vec![
        tracked(
            "net.netfilter.nf_conntrack_max",
            entries,
            "a firewall that tracks connections drops new ones when its table is full; a quarter more for closed ones \
             that linger. About 320 B each; better still: `notrack` for the broker's ports",
        ),
        Setting {
            matters: false,
            ..tracked(
                "net.netfilter.nf_conntrack_buckets",
                entries / 4,
                "slots of that table: about four entries a slot",
            )
        },
        tracked(
            "net.netfilter.nf_conntrack_tcp_timeout_established",
            65_535,
            "seconds: the longest Keep Alive. A connection that is forgotten earlier is cut though its client lives",
        ),
    ]
}

fn of_clients() -> Setting {
    Setting {
        concern: Concern::LoadGenerator,
        ..sysctl(
            "net.ipv4.ip_local_port_range",
            &[Bound::AtMost(1024), Bound::AtLeast(65_535)],
            "ports of outgoing connections: as many clients as it is wide for each source address. A broker only \
             accepts and needs none"
                .into(),
        )
    }
}

/// Data rings of one shard for its share of the connections, as package `shards` opens them.
pub(super) fn rings_per_shard(facts: &Facts) -> u64 {
    let share = facts.connections.div_ceil(facts.cpus.max(1));
    let slots = share.saturating_add(share / 16).saturating_add(SLOTS_SPARE);
    slots.div_ceil(facts.files_per_ring.clamp(1, RING_SLOTS_MAX))
}

/// Bytes of locked memory for the rings of all shards.
fn locked_bytes(facts: &Facts) -> u64 {
    let rings = rings_per_shard(facts).saturating_mul(facts.cpus);
    // The queues are shorter where there are many rings.
    let ring_bytes = 1024
        * match rings {
            0..=8 => 108,
            9..=16 => 92,
            _ => 84,
        };
    let shards = facts.cpus.saturating_mul(SHARD_LOCKED_BYTES);
    rings.saturating_mul(ring_bytes).saturating_add(shards).max(LOCKED_BYTES_MIN)
}

/// What may wait when all clients come again at once: one in 64, which a core accepts in about half a second.
fn burst(connections: u64) -> u64 {
    (connections / 64).checked_next_power_of_two().unwrap_or(u64::MAX).clamp(4096, 65_536)
}

/// Pages of socket buffers at which the kernel begins to save: one a socket, but never so many that the maximum, half
/// as much again, is more than half of the memory.
fn socket_pages(facts: &Facts) -> u64 {
    facts.sockets().min(facts.memory_pages / 3)
}

fn table_entries(facts: &Facts) -> u64 {
    (facts.sockets() / 2).checked_next_power_of_two().unwrap_or(u64::MAX)
}

/// What the usual lists set and this one does not, each with the reason.
pub(super) const LEFT_OUT: [(&str, &str); 12] = [
    ("net.ipv4.tcp_tw_recycle", "gone since Linux 4.12: it refused clients behind one NAT"),
    (
        "net.ipv4.tcp_tw_reuse",
        "for outgoing connections only, so never a broker's; 2, the default, has it for loopback",
    ),
    ("net.ipv4.tcp_max_tw_buckets", "past it TIME_WAIT ends early, which a listener does not feel"),
    (
        "net.ipv4.tcp_fin_timeout",
        "shortens FIN_WAIT_2 only, not TIME_WAIT; what waits there is a small entry without a socket",
    ),
    ("net.core.rmem_default, wmem_default", "not for TCP: tcp_rmem and tcp_wmem stand in their place"),
    (
        "net.core.rmem_max, wmem_max",
        "cap what a program asks for with SO_RCVBUF and SO_SNDBUF; Myriad asks for nothing",
    ),
    (
        "net.ipv4.tcp_rmem, tcp_wmem",
        "limits, not reservations: an idle socket holds no buffer, and smaller ones slow every client down",
    ),
    ("net.core.optmem_max", "room for socket options and ancillary data, of which there is none"),
    (
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        "nf_conntrack_max has the room for those that linger",
    ),
    (
        "net.ipv4.tcp_keepalive_*",
        "the broker asks for no TCP keepalive: MQTT's Keep Alive finds dead clients",
    ),
    ("vm.overcommit_memory, transparent hugepages", "no reason to change them was found"),
    ("DefaultLimitNOFILE, limits.conf", "LimitNOFILE= of the unit says it for the broker alone"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn facts(connections: u64) -> Facts {
        Facts {
            connections,
            load_generator: false,
            cpus: 2,
            memory_pages: 24 * 1024 * 1024 / 4,
            files_per_ring: 1 << 20,
        }
    }

    fn wanted(facts: &Facts, name: &str) -> Vec<u64> {
        let setting = all(facts).into_iter().find(|setting| setting.name == name).unwrap();
        setting.wanted.iter().map(|bound| bound.number()).collect()
    }

    #[test]
    fn a_million() {
        let facts = facts(1_000_000);
        assert_eq!(wanted(&facts, "fs.file-max"), [1_065_536]);
        assert_eq!(wanted(&facts, "fs.nr_open"), [65_536]);
        assert_eq!(wanted(&facts, "RLIMIT_NOFILE"), [65_536]);
        assert_eq!(wanted(&facts, "net.core.somaxconn"), [16_384]);
        assert_eq!(wanted(&facts, "net.ipv4.tcp_mem"), [750_000, 1_000_000, 1_500_000]);
        assert_eq!(wanted(&facts, "net.netfilter.nf_conntrack_max"), [1_250_000]);
        assert_eq!(wanted(&facts, "net.ipv4.tcp_ehash_entries"), [524_288]);
        assert_eq!(wanted(&facts, "RLIMIT_MEMLOCK"), [2 * (216 + 33 * 84) * 1024]);
    }

    #[test]
    fn all_that_is_at_least_grows_with_the_connections() {
        let (few, many) = (all(&facts(1_000)), all(&facts(10_000_000)));
        for (few, many) in few.iter().zip(&many) {
            for (few_bound, many_bound) in few.wanted.iter().zip(&many.wanted) {
                match (few_bound, many_bound) {
                    (Bound::AtLeast(few), Bound::AtLeast(many)) => assert!(few <= many),
                    (few, many) => assert_eq!(few, many),
                }
            }
        }
        assert_eq!((burst(100_000), burst(10_000_000)), (4096, 65_536));
    }

    #[test]
    fn no_count_overflows_and_no_machine_is_too_small() {
        for connections in [1, u64::MAX] {
            for cpus in [1, 1024] {
                let facts =
                    Facts { connections, cpus, memory_pages: 0, files_per_ring: 0, load_generator: true };
                assert!(all(&facts).len() > 10);
            }
        }
    }

    #[test]
    fn socket_buffers_never_take_more_than_half_of_the_memory() {
        let small = Facts { memory_pages: 300_000, ..facts(1_000_000) };
        assert_eq!(wanted(&small, "net.ipv4.tcp_mem"), [75_000, 100_000, 150_000]);
    }

    #[test]
    fn both_ends_on_one_machine_need_twice_the_sockets() {
        let both = Facts { load_generator: true, ..facts(1_000_000) };
        assert_eq!(wanted(&both, "fs.file-max"), [2_065_536]);
        assert_eq!(wanted(&both, "net.ipv4.tcp_mem")[1], 2_000_000);
        assert_eq!(wanted(&both, "net.ipv4.tcp_max_orphans"), [125_000]);
    }

    #[test]
    fn low_descriptor_limits_mean_more_rings_which_are_charged() {
        let low = Facts { files_per_ring: 4_096, ..facts(1_000_000) };
        assert_eq!(wanted(&low, "RLIMIT_MEMLOCK"), [2 * (216 + 130 * 84) * 1024]);
    }

    #[test]
    fn mending_never_lowers_what_is_enough() {
        assert_eq!(Bound::AtLeast(5).mended(9), 9);
        assert_eq!(Bound::AtLeast(5).mended(3), 5);
        assert_eq!(Bound::AtMost(1024).mended(32_768), 1024);
        assert_eq!(Bound::AtMost(1024).mended(1000), 1000);
        assert!(Bound::AtMost(0).holds(0) && !Bound::AtMost(0).holds(2));
    }

    #[test]
    fn every_setting_has_one_reason_and_none_is_also_left_out() {
        for setting in all(&facts(1_000_000)) {
            assert!(!setting.reason.is_empty() && setting.reason.len() < 220, "{}", setting.name);
            assert!(LEFT_OUT.iter().all(|(name, _)| *name != setting.name), "{}", setting.name);
        }
    }
}
