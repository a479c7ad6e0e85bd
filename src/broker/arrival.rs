//! Who is turned away before anything is known of the session: by a listener's connect_rate, by the connections that
//! its address has, for want of memory, by a ban. And how bans come about.

use std::net::{IpAddr, SocketAddr};

use super::Broker;
use super::disconnect::End;
use super::effects::{Close, Effects, Origin};
use crate::clock::Timestamp;
use crate::connection::Connection;
use crate::limits::{Ban, BanCause, Counted, Level, Passage, Subject, network_of};
use crate::packet::ReasonCode;
use crate::session::ConnectionId;

/// Client Identifiers whose connections are counted at a time, a shard.
pub(super) const FLAPPING_MAX: usize = 65_536;

/// What becomes of a connection that was accepted.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It may send its CONNECT; its place among those of its address, where they are counted.
    In(Option<Counted<IpAddr>>),
    /// It is refused after its CONNECT; until then it has a place too, where its address has its maximum.
    Refused(ReasonCode, Option<Counted<IpAddr>>),
    /// It is closed at once.
    Shut,
}

impl Arrival {
    /// What the connection has to know of it.
    pub(super) fn mark(self, connection: &mut Connection) {
        let counted = match self {
            Self::In(counted) => counted,
            Self::Refused(reason, counted) => {
                connection.refusal = Some(reason);
                counted
            }
            Self::Shut => None,
        };
        if let Some(counted) = counted {
            connection.allowance.get_or_insert_default().counted = Some(counted);
        }
    }
}

impl Broker {
    /// Judges by what is known before any byte.
    pub(super) fn judge_arrival(&self, now: Timestamp, origin: &Origin) -> Arrival {
        let (config, metrics) = (self.config(), self.metrics());
        let listener = usize::from(origin.listener);
        // With a PROXY header the address is the load balancer's: the client's is counted when its header has come.
        let has_header = config.listeners.get(listener).is_some_and(|listener| listener.proxy_protocol);
        let address = (!has_header).then(|| origin.remote.ip());
        let refused = |reason| match address {
            Some(address) => self.told(reason, address),
            None => Arrival::Refused(reason, None),
        };
        if origin.over_capacity {
            return refused(ReasonCode::QuotaExceeded);
        }
        let per_s = config.listeners.get(listener).map_or(0, |listener| listener.connect_rate);
        if per_s > 0
            && let Some(gate) = self.shared.gates.get(listener)
        {
            match gate.pass(now, per_s) {
                Passage::Open => {}
                Passage::Refused => {
                    metrics.connect_rate_refused.inc();
                    return refused(ReasonCode::ConnectionRateExceeded);
                }
                Passage::Shut => {
                    metrics.connect_rate_refused.inc();
                    return Arrival::Shut;
                }
            }
        }
        if self.shared.pressure.level() >= Level::Refuse {
            metrics.memory_refused.inc();
            return refused(ReasonCode::QuotaExceeded);
        }
        address.map_or(Arrival::In(None), |address| self.judge_address(address))
    }

    /// Whether one more may come from `address`.
    fn judge_address(&self, address: IpAddr) -> Arrival {
        let max = self.config().limits.connections_per_address_max;
        if max == 0 {
            return Arrival::In(None);
        }
        let network = network_of(address);
        if let Some(counted) = self.shared.addresses.enter(network, max) {
            return Arrival::In(Some(counted));
        }
        let arrival = self.told(ReasonCode::QuotaExceeded, address);
        if matches!(arrival, Arrival::Refused(..)) {
            self.metrics().address_refused.inc();
        }
        arrival
    }

    /// Refuses a connection from `address`, for whatever reason. As many of an address as may come in are told why not; they
    /// may take their time for their CONNECT, so more would be sockets without a bound, or all that the node has for this.
    fn told(&self, reason: ReasonCode, address: IpAddr) -> Arrival {
        let max = self.config().limits.connections_per_address_max;
        if max == 0 {
            return Arrival::Refused(reason, None);
        }
        match self.shared.refused_addresses.enter(network_of(address), max) {
            Some(counted) => Arrival::Refused(reason, Some(counted)),
            None => {
                self.metrics().address_refused.inc();
                Arrival::Shut
            }
        }
    }

    /// A load balancer has told who the client is: it counts among those of its own address.
    pub(super) fn peer_learned<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        remote: SocketAddr,
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        connection.remote = remote.into();
        if let Some(allowance) = &mut connection.allowance {
            allowance.counted = None;
        }
        let arrival = match connection.refusal {
            Some(reason) => self.told(reason, remote.ip()),
            None => self.judge_address(remote.ip()),
        };
        if let Arrival::Shut = arrival {
            fx.close(id, Close::Abort);
            return self.end_connection(now, id, End::Lost, fx);
        }
        if let Some(connection) = self.clients.connections.get_mut(id) {
            arrival.mark(connection);
        }
    }

    /// Whether a client that connects is banned, by what is known of it so far; counts it if so.
    pub(super) fn is_banned(&self, now: Timestamp, id: ConnectionId, client_id: &str) -> bool {
        let address = self.clients.connections.get(id).map(address_of);
        let client_id = Some(client_id).filter(|id| !id.is_empty());
        let cause = self.shared.bans.find(now, address, client_id, None);
        if cause.is_some() {
            self.metrics().bans_refused.inc();
        }
        cause.is_some()
    }

    /// Whether a client is banned by what is known of it at home: as the user that it is, by the name of its session
    /// within a mountpoint, or because it connects too often.
    pub(super) fn is_banned_now(&mut self, now: Timestamp, id: ConnectionId, session_name: &str) -> bool {
        let identity = self.clients.connections.get(id).and_then(|connection| connection.identity.as_deref());
        let username = identity.and_then(|identity| identity.username.as_deref());
        if self.shared.bans.find(now, None, Some(session_name), username).is_some() {
            self.metrics().bans_refused.inc();
            return true;
        }
        self.is_flapping(now, session_name)
    }

    /// A client failed to authenticate: after `limits.ban_failures` its address, or the Client Identifier that it
    /// tried, is banned.
    pub(super) fn authentication_failed(&mut self, now: Timestamp, id: ConnectionId, client_id: &str) {
        let max = self.config().limits.ban_failures;
        if max == 0 {
            return;
        }
        let window_ms = u64::from(self.config().limits.ban_window_s) * 1000;
        let address = self.clients.connections.get(id).map(|connection| network_of(address_of(connection)));
        let client = Some(client_id).filter(|id| !id.is_empty()).map(|id| Subject::ClientId(id.into()));
        for subject in address.map(Subject::Address).into_iter().chain(client) {
            if self.shared.bans.failed(now, &subject, max, window_ms) {
                self.ban(now, subject, BanCause::Failures);
            }
        }
    }

    /// Counts a CONNECT of `client_id`; true: that makes so many within the window that it is banned from now on. A
    /// Client Identifier has one home shard, so the count is the shard's own.
    fn is_flapping(&mut self, now: Timestamp, client_id: &str) -> bool {
        let max = self.config().limits.ban_connects;
        if max == 0 {
            return false;
        }
        let window_ms = u64::from(self.config().limits.ban_window_s) * 1000;
        let key = self.clients.topic_hash(client_id);
        let is_over = self.flapping.count(now, key, max, window_ms).unwrap_or_else(|| {
            // So many different ones: none of them is the one that connects again and again.
            self.flapping.clear();
            self.flapping.count(now, key, max, window_ms).unwrap_or(false)
        });
        if is_over {
            self.ban(now, Subject::ClientId(client_id.into()), BanCause::Flapping);
        }
        is_over
    }

    fn ban(&mut self, now: Timestamp, subject: Subject, cause: BanCause) {
        let until = Some(now.plus_s(u64::from(self.config().limits.ban_s)));
        let name = subject.to_string();
        match self.shared.bans.add(now, Ban { subject, until, cause }) {
            Ok(()) => {
                self.metrics().bans_made.inc();
                self.audit_banned(now, &name, cause.name());
            }
            Err(error) => tracing::debug!(name, %error, "not banned"),
        }
    }
}

/// Where a client connects from.
pub(super) fn address_of(connection: &Connection) -> IpAddr {
    SocketAddr::from(connection.remote).ip()
}
