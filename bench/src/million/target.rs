//! Against which broker and from where: the options that all subcommands over package `shards` share.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::addresses::SourceAddresses;
use crate::wire::ProtocolVersion;

/// The part of a range of ports that one source address has room for: a reconnecting client finds a free one, whatever
/// waits in TIME_WAIT.
const PORTS_PART: f64 = 0.8;
/// The part that is used where the default chooses. Linux looks through all ports of one parity before it tries the
/// other: beyond half of a range each connect costs a walk through thousands of taken ports, a millisecond.
const PORTS_PART_CHEAP: f64 = 0.4;

/// The broker, and the threads and addresses of the load.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
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
    /// MQTT: 3 (3.1), 4 (3.1.1) or 5 (5.0)
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=5))]
    pub(crate) version: u8,
    /// Clients log in: the Client Identifier (`million-` and 12 digits) is the User Name too, this the password
    #[arg(long)]
    pub(crate) password: Option<String>,
    /// Addresses to connect from, used in turn [default for 127.0.0.0/8: 127.0.0.2 and up, as many as needed]
    #[arg(long)]
    pub(crate) source_addresses: Option<SourceAddresses>,
    /// Handshakes outstanding at most, over all load shards [default: 512 a shard]
    #[arg(long, value_name = "N")]
    pub(crate) handshakes: Option<u32>,
    /// No live view
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Target {
    /// The protocol version.
    pub(crate) fn protocol(&self) -> ProtocolVersion {
        match self.version {
            3 => ProtocolVersion::V31,
            4 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        }
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
    pub(crate) fn sources(&self, connections: u32, to: IpAddr, ports: u64) -> Vec<IpAddr> {
        match (&self.source_addresses, to) {
            (Some(given), _) => given.all().to_vec(),
            (None, IpAddr::V4(v4)) if v4.is_loopback() => {
                let per = ((ports as f64 * PORTS_PART_CHEAP) as u64).max(1);
                let count = u64::from(connections).div_ceil(per).clamp(1, 1 << 20) as u32;
                let first = u32::from(Ipv4Addr::new(127, 0, 0, 2));
                (first..first + count).map(|a| IpAddr::V4(Ipv4Addr::from(a))).collect()
            }
            (None, _) => Vec::new(),
        }
    }

    /// Checks what can be wrong.
    ///
    /// # Errors
    /// What has to change.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.load_shards == Some(0) || self.handshakes == Some(0) {
            bail!("--load-shards and --handshakes: at least 1");
        }
        Ok(())
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

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        target: Target,
    }

    fn target(line: &str) -> Target {
        Line::try_parse_from(format!("bench {line}").split_whitespace()).unwrap().target
    }

    #[test]
    fn loopback_gets_as_many_source_addresses_as_it_needs() {
        let t = target("");
        let sources = t.sources(1_000_000, Ipv4Addr::LOCALHOST.into(), 28_232);
        assert_eq!(sources.len(), 1_000_000_usize.div_ceil(11_292));
        assert_eq!(sources.first().unwrap().to_string(), "127.0.0.2");
        assert_eq!(t.sources(1_000_000, Ipv4Addr::LOCALHOST.into(), 64_512).len(), 39);
        let elsewhere = Ipv4Addr::new(10, 0, 0, 1).into();
        assert!(t.sources(1_000_000, elsewhere, 28_232).is_empty());
        let given = target("--source-addresses 10.0.0.1-10.0.0.3");
        assert_eq!(given.sources(1_000_000, elsewhere, 28_232).len(), 3);
    }

    #[test]
    fn a_running_broker_is_found_by_name() {
        assert!(target("").peer().unwrap().is_none());
        let to = target("--host localhost --port 2000 --source-addresses 127.0.0.9").peer().unwrap().unwrap();
        assert_eq!(to.to_string(), "127.0.0.1:2000");
        let error = target("--host no.such.host.invalid").peer().unwrap_err();
        assert!(format!("{error:#}").contains("no.such.host.invalid"));
    }
}
