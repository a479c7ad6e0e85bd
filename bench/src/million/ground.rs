//! What comes before anything is measured: the network namespace, signals, the machine check, the broker.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::bail;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::broker::Broker;
use super::check::{self, Wish};
use super::load::{Plan, Subscriptions};
use super::machine::Facts;
use super::results::{CheckRow, Verdict};
use super::target::Target;
use super::{netns, size};

/// Start of Client Identifiers and topics: `million-000000000123`, `million/c/123`.
const PREFIX: &str = "million";
/// Subscribers of one group topic.
pub(crate) const GROUP_LEN: u32 = 1000;
/// Handshakes outstanding on one load shard.
const HANDSHAKES: u32 = 512;

/// The ground that a run stands on.
pub(crate) struct Ground {
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) facts: Facts,
    pub(crate) wish: Wish,
    pub(crate) checks: Vec<CheckRow>,
    /// Load shards.
    pub(crate) shards: u16,
    /// Clients to connect: those that fit of those that were wanted.
    pub(crate) clients: u32,
    peer: Option<SocketAddr>,
    sources: Vec<IpAddr>,
}

impl Ground {
    /// Looks at the machine for `wanted` connections at a time, and ports for `closed` more that were closed lately;
    /// prints what was found, only what falls short unless `table`.
    ///
    /// # Errors
    /// What makes it impossible.
    pub(crate) fn prepare(target: &Target, wanted: u32, closed: u32, table: bool) -> anyhow::Result<Self> {
        let peer = target.peer()?;
        if target.netns {
            netns::enter(wanted.into())?;
        }
        let interrupt = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The second one ends the program at once.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupt))?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt))?;
        }
        let facts = Facts::here(target.pid);
        let host = peer.map_or(IpAddr::from(Ipv4Addr::LOCALHOST), |to| to.ip());
        let sources = target.sources(wanted.saturating_add(closed), host, facts.ports_len());
        let shards = target.load_shards.unwrap_or_else(|| u16::try_from(facts.cores).unwrap_or(u16::MAX));
        let handshakes = target.handshakes.map_or(HANDSHAKES, |all| all.div_ceil(u32::from(shards)));
        let wish = Wish {
            connections: wanted.into(),
            sources: sources.len() as u64,
            own_broker: peer.is_none(),
            both_ends_here: peer.is_none() || target.pid.is_some() || host.is_loopback(),
            handshakes: u64::from(handshakes) * u64::from(shards),
            network_namespace: target.netns,
        };
        let checks = check::rows(&facts, &wish);
        let falls_short = checks.iter().any(|row| row.verdict != Verdict::Ok);
        if table || falls_short {
            println!("{}", check::table(&checks, wish.connections));
        }
        let clients = clients_that_fit(&checks, wanted)?;
        Ok(Self { interrupt, facts, wish, checks, shards, clients, peer, sources })
    }

    /// The broker: the running one, or one started with `sets`.
    ///
    /// # Errors
    /// It does not start, or is not there.
    pub(crate) fn broker(&self, target: &Target, sets: &[String]) -> anyhow::Result<Broker> {
        let broker = match self.peer {
            Some(address) => Broker::running(address, target.pid)?,
            None => Broker::start(target, sets)?,
        };
        if let Some(log) = &broker.log {
            let version = broker.version.as_deref().unwrap_or("");
            println!("broker   {version} at {}, log {}", broker.address, log.display());
        }
        Ok(broker)
    }

    /// A plan for clients of that broker, as `million` has them.
    pub(crate) fn plan(&self, target: &Target, broker: &Broker) -> Plan {
        Plan {
            to: broker.address,
            sources: self.sources.clone(),
            version: target.protocol(),
            prefix: PREFIX.into(),
            keep_alive_s: 300,
            password: target.password.clone(),
            clean: true,
            subscriptions: Subscriptions::OwnAndGroup,
            clients_max: self.clients,
            group_len: GROUP_LEN,
            handshakes: (self.wish.handshakes / u64::from(self.shards).max(1)) as usize,
            payload_len: 64,
        }
    }
}

/// How many clients to connect: what is wanted, or what fits.
fn clients_that_fit(checks: &[CheckRow], wanted: u32) -> anyhow::Result<u32> {
    if let Some(row) = checks.iter().find(|row| row.verdict == Verdict::Fatal) {
        bail!("{}: {}", row.name, row.mend.as_deref().unwrap_or("not there"));
    }
    let fits = check::fits(checks).unwrap_or(u64::MAX);
    if fits == 0 {
        bail!("not one connection fits; the rows above that fall short say why");
    }
    let clients = u64::from(wanted).min(fits) as u32;
    if clients < wanted {
        println!("going on with the {} connections that fit", size::grouped(clients.into()));
    }
    Ok(clients)
}

/// Connections that there are at most: some clients have two for a moment.
pub(crate) fn room(clients: u32) -> u32 {
    clients + clients / 50 + 1024
}

/// What a broker must be told for `clients` clients, a few of which connect twice.
pub(crate) fn sets(clients: u32) -> Vec<String> {
    let room = room(clients);
    // Their own topics and the groups'.
    let filters = (clients + clients / GROUP_LEN + 1).max(131_072);
    vec![
        format!("limits.max_connections={room}"),
        format!("listener.max_connections={room}"),
        format!("limits.subscriptions_expected={filters}"),
        "storage.durability=memory".into(),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(verdict: Verdict, fits: Option<u64>) -> CheckRow {
        let text = String::new;
        CheckRow { name: "x".into(), has: text(), needs: text(), verdict, fits, mend: Some("mend".into()) }
    }

    #[test]
    fn a_broker_is_told_of_its_clients() {
        let sets = sets(1_000_000);
        assert_eq!(sets.first().unwrap(), "limits.max_connections=1021024");
        assert!(sets.contains(&"limits.subscriptions_expected=1001001".to_owned()));
    }

    #[test]
    fn no_more_than_fits_is_connected() {
        let short = [row(Verdict::Ok, None), row(Verdict::FallsShort, Some(300))];
        assert_eq!(clients_that_fit(&short, 1_000).unwrap(), 300);
        assert_eq!(clients_that_fit(&short, 200).unwrap(), 200);
        assert!(clients_that_fit(&[row(Verdict::FallsShort, Some(0))], 200).is_err());
        let error = clients_that_fit(&[row(Verdict::Fatal, None)], 200).unwrap_err();
        assert_eq!(error.to_string(), "x: mend");
    }
}
