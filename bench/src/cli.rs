//! The command line: one subcommand a scenario, the same options for all, checked before anything connects.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use myriad::topic::{TopicLimits, check_name};
use serde::Serialize;

use crate::addresses::SourceAddresses;
use crate::carrier::{Carriers, Wanted};
use crate::million;
use crate::sync;
use crate::topology::{Scenario, Topology};
use crate::wire::{PAYLOAD_HEADER_LEN, ProtocolVersion};

/// Load generator and measurements for MQTT brokers
#[derive(Debug, Parser)]
#[command(name = "myriad-bench", version, about, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Without --rate a load is a closed loop: each publisher has at most --window messages undelivered, and the figures \
show the capacity. With --rate it is an open loop, and latency counts from the scheduled moment of each message.

Exit status: 0 measured; 1 failed, or messages of QoS 1 or 2 were lost; 2 bad arguments.";

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub(crate) enum Command {
    #[command(flatten)]
    Load(LoadCommand),
    /// A million connections: fill, hold, measure, cut, take over, end; with a broker of its own or against any
    Million(Box<million::Options>),
    /// Connect and disconnect at a fixed rate: memory, connections and descriptors must return to what they were
    Churn(Box<million::Churn>),
    /// Persistent sessions that are offline: bytes each, and what a publish that matches none costs
    Sessions(Box<million::Sessions>),
    /// Retained messages: bytes each, and a wildcard subscription to all of them
    Retained(Box<million::Retained>),
    /// The disk: how long an append with an fdatasync takes, which bounds what a durable broker can do
    Sync(sync::Options),
}

#[cfg(test)]
impl Command {
    /// The scenario and its options, of a command line that names one.
    pub(crate) fn parts(self) -> (Scenario, Options) {
        match self {
            Self::Load(load) => load.parts(),
            other => panic!("{other:?}"),
        }
    }
}

/// The scenarios of the epoll load generator.
#[derive(Debug, Subcommand)]
pub(crate) enum LoadCommand {
    /// Connect clients and hold them: connections a second, CPU and memory of the broker a connection
    Connect(Options),
    /// Publish only: nobody of this program subscribes
    Pub(Options),
    /// Subscribe only: receive what others publish
    Sub(Options),
    /// Pairs: each client publishes to a topic of its own, which has one subscriber
    P2p(Options),
    /// Few publishers, many subscribers of the same topics
    Fanout(Options),
    /// Many publishers, few subscribers with wildcard filters
    Fanin(Options),
    /// Shared subscriptions: each message goes to one subscriber of its group
    Shared(Options),
}

impl LoadCommand {
    /// The scenario and its options.
    pub(crate) fn parts(self) -> (Scenario, Options) {
        match self {
            Self::Connect(options) => (Scenario::Connect, options),
            Self::Pub(options) => (Scenario::Pub, options),
            Self::Sub(options) => (Scenario::Sub, options),
            Self::P2p(options) => (Scenario::P2p, options),
            Self::Fanout(options) => (Scenario::Fanout, options),
            Self::Fanin(options) => (Scenario::Fanin, options),
            Self::Shared(options) => (Scenario::Shared, options),
        }
    }
}

/// Options of all scenarios.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Options {
    /// Broker: a name or an address
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Broker's port
    #[arg(long, default_value_t = 1883)]
    pub(crate) port: u16,
    /// TLS below MQTT
    #[arg(long)]
    pub(crate) tls: bool,
    /// Certificates of authorities to trust, PEM [default: any certificate is taken]
    #[arg(long, value_name = "FILE", requires = "tls")]
    #[serde(skip)]
    pub(crate) ca: Option<PathBuf>,
    /// WebSocket below MQTT; with --tls above that
    #[arg(long)]
    pub(crate) websocket: bool,
    /// Path of the WebSocket
    #[arg(long, default_value = "/mqtt", requires = "websocket")]
    pub(crate) path: String,
    /// MQTT: 3 (3.1), 4 (3.1.1) or 5 (5.0)
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=5))]
    pub(crate) version: u8,
    /// Quality of Service of publishers and subscriptions
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Payload, bytes; at least 16, which carry the send time
    #[arg(long, default_value_t = 64)]
    pub(crate) payload: usize,
    /// Messages a second over all publishers, an open loop; 0: closed loop
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Clients: connections; pairs in p2p, subscribers in fanout and shared, publishers in fanin
    #[arg(long, default_value_t = 10)]
    pub(crate) clients: usize,
    /// Topics that the clients share [default: 1; one a client in p2p and pub]
    #[arg(long)]
    pub(crate) topics: Option<usize>,
    /// Publishers of fanout and shared [default: one a topic]
    #[arg(long)]
    pub(crate) publishers: Option<usize>,
    /// Subscribers of fanin [default: one a topic]
    #[arg(long)]
    pub(crate) subscribers: Option<usize>,
    /// Seconds to measure; in connect to hold the connections
    #[arg(long, default_value_t = 5.0)]
    pub(crate) duration: f64,
    /// Seconds of load before measuring
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
    /// Seconds without progress after which what is missing at the end counts as lost
    #[arg(long, default_value_t = 2.0)]
    pub(crate) drain: f64,
    /// Seconds of silence before memory is read
    #[arg(long, default_value_t = 0.5)]
    pub(crate) settle: f64,
    /// Closed loop: most undelivered messages of a publisher
    #[arg(long, default_value_t = 100)]
    pub(crate) window: u32,
    /// QoS 1 and 2: most unacknowledged messages of a publisher; Receive Maximum lowers it
    #[arg(long, default_value_t = 20)]
    pub(crate) inflight: u16,
    /// Addresses to connect from, used in turn: 127.0.0.2-127.0.0.40,10.0.0.7
    #[arg(long)]
    pub(crate) source_addresses: Option<SourceAddresses>,
    /// Connections a second; 0: as fast as the broker answers
    #[arg(long, default_value_t = 0.0)]
    pub(crate) connect_rate: f64,
    /// Most handshakes (and SUBSCRIBEs) outstanding
    #[arg(long, default_value_t = 256)]
    pub(crate) handshakes: usize,
    /// Subscriptions of each client in connect
    #[arg(long, default_value_t = 0)]
    pub(crate) subscriptions: u16,
    /// Keep Alive, seconds; 0: none
    #[arg(long, default_value_t = 300)]
    pub(crate) keep_alive: u16,
    /// User Properties in each PUBLISH (5.0)
    #[arg(long, default_value_t = 0)]
    pub(crate) user_properties: usize,
    /// User Name of all clients; %c: of each its Client Identifier
    #[arg(long)]
    #[serde(skip)]
    pub(crate) username: Option<String>,
    /// Password of all clients
    #[arg(long, requires = "username")]
    #[serde(skip)]
    pub(crate) password: Option<String>,
    /// Start of all Client Identifiers [default: one of this process]
    #[arg(long)]
    pub(crate) client_prefix: Option<String>,
    /// Start of all Topic Names [default: one of this process; bench in pub and sub]
    #[arg(long)]
    pub(crate) topic_prefix: Option<String>,
    /// Process id of the broker, for its CPU time and memory
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Threads of this program
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Write the results as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE|-")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    /// A name for this run in the results
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// No progress bar
    #[arg(long)]
    #[serde(skip)]
    pub(crate) quiet: bool,
}

/// A checked run.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) options: Options,
    pub(crate) topology: Topology,
    pub(crate) version: ProtocolVersion,
    pub(crate) to: SocketAddr,
    pub(crate) carriers: Carriers,
    pub(crate) client_prefix: String,
    pub(crate) threads: usize,
}

impl Settings {
    /// Checks options against each other and resolves the broker's name.
    pub(crate) fn new(scenario: Scenario, options: Options) -> anyhow::Result<Self> {
        check(&options)?;
        let process = std::process::id();
        let topic_prefix = options.topic_prefix.clone().unwrap_or_else(|| match scenario {
            Scenario::Pub | Scenario::Sub => "bench".into(),
            _ => format!("bench/{process}"),
        });
        check_name(&topic_prefix, &TopicLimits::default())
            .with_context(|| format!("--topic-prefix '{topic_prefix}'"))?;
        let topology = Topology::new(scenario, &options, topic_prefix)?;
        let version = match options.version {
            3 => ProtocolVersion::V31,
            4 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        };
        let client_prefix = options.client_prefix.clone().unwrap_or_else(|| format!("mb{process}-"));
        if version == ProtocolVersion::V31 && client_prefix.len() + 9 > 23 {
            bail!(
                "--client-prefix '{client_prefix}': MQTT 3.1 has 23 characters for a whole Client Identifier"
            );
        }
        let to = resolve(&options)?;
        let threads = options.threads.min(topology.clients()).max(1);
        let carriers = Carriers::new(&Wanted {
            host: &options.host,
            tls: options.tls,
            ca: options.ca.as_ref(),
            websocket: options.websocket,
            path: &options.path,
        })?;
        Ok(Self { options, topology, version, to, carriers, client_prefix, threads })
    }
}

fn check(o: &Options) -> anyhow::Result<()> {
    if o.payload < PAYLOAD_HEADER_LEN {
        bail!("--payload {}: at least {PAYLOAD_HEADER_LEN}, which carry the send time", o.payload);
    }
    for (name, value) in [
        ("rate", o.rate),
        ("duration", o.duration),
        ("warmup", o.warmup),
        ("drain", o.drain),
        ("settle", o.settle),
        ("connect-rate", o.connect_rate),
    ] {
        if !(0.0..1e9).contains(&value) {
            bail!("--{name} {value}: must be at least 0 and below a billion");
        }
    }
    for (name, value) in [
        ("clients", o.clients),
        ("topics", o.topics.unwrap_or(1)),
        ("publishers", o.publishers.unwrap_or(1)),
        ("subscribers", o.subscribers.unwrap_or(1)),
        ("window", o.window as usize),
        ("inflight", usize::from(o.inflight)),
        ("handshakes", o.handshakes),
        ("threads", o.threads),
    ] {
        if value == 0 {
            bail!("--{name} 0: at least 1");
        }
    }
    if o.user_properties > 0 && o.version != 5 {
        bail!("--user-properties: only MQTT 5.0 has them, add --version 5");
    }
    Ok(())
}

fn resolve(o: &Options) -> anyhow::Result<SocketAddr> {
    let source = o.source_addresses.as_ref().and_then(|s| s.nth(0));
    let all = (o.host.as_str(), o.port)
        .to_socket_addrs()
        .with_context(|| format!("--host {}: no such host", o.host))?
        .collect::<Vec<_>>();
    let fits = |a: &&SocketAddr| source.is_none_or(|s| s.is_ipv4() == a.is_ipv4());
    match all.iter().find(fits) {
        Some(to) => Ok(*to),
        None => bail!("--host {}: no address of the family of --source-addresses", o.host),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(line: &str) -> anyhow::Result<Settings> {
        let cli = Cli::try_parse_from(line.split(' '))?;
        let (scenario, options) = cli.command.parts();
        Settings::new(scenario, options)
    }

    #[test]
    fn defaults_are_a_closed_loop_of_3_1_1_on_loopback() {
        let s = settings("myriad-bench p2p").unwrap();
        assert_eq!(s.to, "127.0.0.1:1883".parse().unwrap());
        assert_eq!((s.version, s.options.qos, s.options.rate), (ProtocolVersion::V311, 0, 0.0));
        assert_eq!((s.topology.publishers, s.topology.subscribers), (10, 10));
    }

    #[test]
    fn every_scenario_takes_the_options_of_the_contract() {
        for scenario in ["connect", "pub", "sub", "p2p", "fanout", "fanin", "shared"] {
            let line = format!(
                "myriad-bench {scenario} --host localhost --port 2000 --version 5 --qos 2 --payload 100 --rate 50.5 \
                 --clients 20 --topics 2 --duration 3 --warmup 0 --window 7 --source-addresses 127.0.0.2-127.0.0.40 \
                 --connect-rate 100 --keep-alive 60 --json - --pid 1 --client-prefix x --threads 2"
            );
            let s = settings(&line).unwrap();
            assert!(s.to.is_ipv4());
            assert_eq!(s.version, ProtocolVersion::V5);
            assert_eq!(s.threads, 2);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, part) in [
            ("p2p --payload 15", "--payload 15"),
            ("p2p --clients 0", "--clients 0"),
            ("p2p --qos 3", "--qos"),
            ("p2p --version 6", "--version"),
            ("p2p --duration=-1", "--duration"),
            ("p2p --rate NaN", "--rate"),
            ("p2p --user-properties 1", "--version 5"),
            ("p2p --topic-prefix a/+", "--topic-prefix"),
            ("fanout --topics 20 --clients 10", "--topics"),
            ("p2p --version 3 --client-prefix aaaaaaaaaaaaaaaaaaaa", "--client-prefix"),
            ("p2p --source-addresses ::1", "--source-addresses"),
            ("p2p --source-addresses 127.0.0.1-x", "no IPv4"),
            ("p2p --host no.such.host.invalid", "no.such.host.invalid"),
            ("p2p --password x", "--username"),
            ("p2p --ca a.pem", "--tls"),
            ("p2p --tls --ca no/such.pem", "no/such.pem"),
            ("p2p --path /x", "--websocket"),
        ] {
            let error = format!("{:#}", settings(&format!("myriad-bench {line}")).unwrap_err());
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
