//! The command line of `myriad-bench million`, checked before anything is started.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::size;
use crate::addresses::SourceAddresses;
use crate::wire::ProtocolVersion;

/// Connections of one source address, where the default chooses: far enough below the 28,232 ports of the default
/// range that a reconnecting client finds a free one at once, whatever waits in TIME_WAIT.
const PER_SOURCE_MAX: u64 = 25_000;
/// The part of a range of ports that is used, for the same reason.
const PORTS_PART: f64 = 0.8;

/// Options of `myriad-bench million`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Connections: 1000, 100k, 1M, 1_000_000
    #[arg(long, default_value = "1M", value_parser = size::count)]
    pub(crate) connections: u32,
    /// New connections a second; 0: as fast as the broker answers
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Seconds to hold the connections idle before anything else is measured
    #[arg(long, default_value_t = 10.0)]
    pub(crate) hold: f64,
    /// Use a running broker at this name or address instead of starting one
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Port of the running broker
    #[arg(long, default_value_t = 1883)]
    pub(crate) port: u16,
    /// Process id of the running broker, for its CPU time and memory
    #[arg(long, requires = "host")]
    pub(crate) pid: Option<u32>,
    /// The broker to start [default: myriad beside this program; with `cargo run` it is built first]
    #[arg(long, value_name = "PATH", conflicts_with = "host")]
    pub(crate) broker: Option<PathBuf>,
    /// Shards of the broker that is started: a number, or auto
    #[arg(long, value_name = "N|auto", default_value = "auto")]
    pub(crate) broker_shards: String,
    /// Passed on to the broker that is started; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "host")]
    pub(crate) set: Vec<String>,
    /// Log of the broker that is started [default: in the system's directory for temporary files]
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    pub(crate) broker_log: Option<PathBuf>,
    /// Threads that make the load [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) load_shards: Option<u16>,
    /// Both ends in a network namespace of their own: conntrack and port range of the host do not limit (needs root)
    #[arg(long, conflicts_with = "host")]
    pub(crate) netns: bool,
    /// Write everything that was measured as JSON to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Fill in steps, measure at each, and print how the costs grow: 1k,10k,100k,500k,1M
    #[arg(long, value_delimiter = ',', value_parser = size::count)]
    pub(crate) steps: Vec<u32>,
    /// MQTT: 3 (3.1), 4 (3.1.1) or 5 (5.0)
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=5))]
    pub(crate) version: u8,
    /// Addresses to connect from, used in turn [default for 127.0.0.0/8: 127.0.0.2 and up, as many as needed]
    #[arg(long)]
    pub(crate) source_addresses: Option<SourceAddresses>,
    /// Messages a second of the stages ping, p2p0, p2p1, and of the PINGREQs during the storm
    #[arg(long, default_value_t = 2000.0)]
    pub(crate) message_rate: f64,
    /// Seconds of each of the stages ping, p2p0 and p2p1
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Stages to run; fill and end always are
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub(crate) stages: Vec<StageName>,
    /// Handshakes outstanding at most, over all load shards [default: 512 a shard]
    #[arg(long, value_name = "N")]
    pub(crate) handshakes: Option<u32>,
    /// Keep Alive of the clients, seconds; they ping after three quarters of it
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(10..))]
    pub(crate) keep_alive: u16,
    /// Payload of each message, bytes; at least 16
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub(crate) payload: u32,
    /// No live view
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// What can be chosen with `--stages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StageName {
    /// All of them
    All,
    /// Connect and subscribe all clients
    Fill,
    /// Idle, but for due PINGREQs
    Hold,
    /// PINGREQ to PINGRESP at a fixed rate
    Ping,
    /// QoS 0 from a random client to a random client
    P2p0,
    /// QoS 1 from a random client to a random client
    P2p1,
    /// One message to a thousand clients
    Fanout,
    /// A tenth of the clients is cut and comes back at full speed
    Storm,
    /// A hundredth of the clients connects again under the same Client Identifier
    Takeover,
    /// All clients disconnect
    End,
}

impl Options {
    /// Whether `stage` is to be run.
    pub(crate) fn runs(&self, stage: StageName) -> bool {
        self.stages.iter().any(|s| [StageName::All, stage].contains(s))
    }

    /// The protocol version.
    pub(crate) fn protocol(&self) -> ProtocolVersion {
        match self.version {
            3 => ProtocolVersion::V31,
            4 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        }
    }

    /// Numbers of connections at which to measure, ascending; the last is `--connections` where no step is given.
    pub(crate) fn steps(&self) -> Vec<u32> {
        if self.steps.is_empty() { vec![self.connections] } else { self.steps.clone() }
    }

    /// The most connections that the run is to hold.
    pub(crate) fn wanted(&self) -> u32 {
        self.steps().last().copied().unwrap_or(self.connections)
    }

    /// Checks options against each other.
    ///
    /// # Errors
    /// What has to change.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (name, value, max) in [
            ("rate", self.rate, 1e7),
            ("hold", self.hold, 1e7),
            ("message-rate", self.message_rate, 1e6),
            ("duration", self.duration, 1e6),
        ] {
            if !(0.0..=max).contains(&value) {
                bail!("--{name} {value}: must be from 0 to {max}");
            }
        }
        if self.message_rate < 1.0 {
            bail!("--message-rate {}: at least 1", self.message_rate);
        }
        if !self.steps.is_sorted_by(|a, b| a < b) {
            bail!("--steps: each number must be larger than the one before");
        }
        if self.load_shards == Some(0) || self.handshakes == Some(0) {
            bail!("--load-shards and --handshakes: at least 1");
        }
        Ok(())
    }

    /// The running broker's address; `None`: one is to be started.
    ///
    /// # Errors
    /// No such host, or none of the family of `--source-addresses`.
    pub(crate) fn peer(&self) -> anyhow::Result<Option<SocketAddr>> {
        let Some(host) = &self.host else { return Ok(None) };
        let source = self.source_addresses.as_ref().and_then(|s| s.nth(0));
        let mut all = (host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("--host {host}: no such host"))?;
        match all.find(|a| source.is_none_or(|s| s.is_ipv4() == a.is_ipv4())) {
            Some(to) => Ok(Some(to)),
            None => bail!("--host {host}: no address of the family of --source-addresses"),
        }
    }

    /// The addresses to connect from to a broker at `to`, where a range of `ports` ports may be used. Empty: the
    /// kernel's choice, a single address.
    pub(crate) fn sources(&self, to: IpAddr, ports: u64) -> Vec<IpAddr> {
        match (&self.source_addresses, to) {
            (Some(given), _) => given.all().to_vec(),
            (None, IpAddr::V4(v4)) if v4.is_loopback() => {
                let per = per_source(ports).min(PER_SOURCE_MAX);
                let count = u64::from(self.wanted()).div_ceil(per).clamp(1, 1 << 20) as u32;
                let first = u32::from(Ipv4Addr::new(127, 0, 0, 2));
                (first..first + count).map(|a| IpAddr::V4(Ipv4Addr::from(a))).collect()
            }
            (None, _) => Vec::new(),
        }
    }
}

/// Connections that one source address has room for, of `ports` ports.
pub(crate) fn per_source(ports: u64) -> u64 {
    ((ports as f64 * PORTS_PART) as u64).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(line: &str) -> anyhow::Result<Options> {
        let line = format!("myriad-bench million {line}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Million(options) => options.check().map(|()| *options),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_a_million_clients_of_an_own_broker() {
        let o = options("").unwrap();
        assert_eq!((o.connections, o.version, o.keep_alive, o.message_rate), (1_000_000, 4, 300, 2000.0));
        assert!(o.peer().unwrap().is_none() && o.runs(StageName::Storm));
        assert_eq!((o.steps(), o.wanted()), (vec![1_000_000], 1_000_000));
    }

    #[test]
    fn steps_grow_and_stages_are_chosen() {
        let o = options("--steps 1k,10k,1_00_000 --stages ping,p2p1 --set a.b=1 --set c.d=2").unwrap();
        assert_eq!((o.steps(), o.wanted()), (vec![1_000, 10_000, 100_000], 100_000));
        assert!(o.runs(StageName::Ping) && !o.runs(StageName::Storm));
        assert_eq!(o.set, ["a.b=1", "c.d=2"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, part) in [
            ("--connections 1G", "1G"),
            ("--steps 10k,1k", "--steps"),
            ("--message-rate 0", "--message-rate"),
            ("--hold=-1", "--hold"),
            ("--stages fill,sleep", "sleep"),
            ("--load-shards 0", "--load-shards"),
            ("--pid 1", "--host"),
            ("--host a --netns", "--netns"),
            ("--keep-alive 5", "--keep-alive"),
        ] {
            let error = format!("{:#}", options(line).unwrap_err());
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn loopback_gets_as_many_source_addresses_as_it_needs() {
        let o = options("--connections 1M").unwrap();
        let sources = o.sources(Ipv4Addr::LOCALHOST.into(), 28_232);
        assert_eq!(sources.len(), 1_000_000_usize.div_ceil(22_585));
        assert_eq!(sources.first().unwrap().to_string(), "127.0.0.2");
        assert_eq!(o.sources(Ipv4Addr::LOCALHOST.into(), 64_512).len(), 40);
        assert!(o.sources(Ipv4Addr::new(10, 0, 0, 1).into(), 28_232).is_empty());
        let given = options("--source-addresses 10.0.0.1-10.0.0.3").unwrap();
        assert_eq!(given.sources(Ipv4Addr::new(10, 0, 0, 9).into(), 28_232).len(), 3);
    }
}
