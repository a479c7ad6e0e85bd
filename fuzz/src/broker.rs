//! A broker under a script of bytes: connections come, send anything in any pieces, stop reading, vanish; time
//! passes. After every step its books must be right, and whatever it sends must be packets that a server may send.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use myriad::auth::{Answer, Credentials, ExchangeStep, Refusal, Step, Verdict};
use myriad::broker::{
    Broker, BrokerSetup, Close, Effects, HandOver, Input, Origin, ShardMessage, Shared, Timer,
};
use myriad::clock::Timestamp;
use myriad::config::Config;
use myriad::interest::ShardId;
use myriad::packet::{self, Frame, PACKET_BYTES_MAX, Packet, ProtocolVersion, Side, connect};
use myriad::session::ConnectionId;

/// Connections of a script.
const CONNECTIONS: u8 = 4;

/// The world around the broker: what it sends is kept, nothing else happens.
#[derive(Default)]
struct World {
    output: BTreeMap<ConnectionId, Vec<u8>>,
    paused: BTreeSet<ConnectionId>,
    closed: BTreeSet<ConnectionId>,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// Whose output the broker waits for.
    drained_wanted: BTreeSet<ConnectionId>,
    /// Clients that do not read: their output stays.
    stuck: BTreeSet<ConnectionId>,
    /// The last frame of the journal that is not on disk yet.
    stored: Option<u64>,
    /// The disk takes its time.
    disk_is_stuck: bool,
}

impl Effects for World {
    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        self.output.entry(connection).or_default()
    }
    fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes) {
        self.output(connection).extend_from_slice(&bytes);
    }
    fn outbound_len(&mut self, connection: ConnectionId) -> usize {
        self.output.get(&connection).map_or(0, Vec::len)
    }
    fn want_drained(&mut self, connection: ConnectionId) {
        self.drained_wanted.insert(connection);
    }
    fn pause(&mut self, connection: ConnectionId) {
        self.paused.insert(connection);
    }
    fn resume(&mut self, connection: ConnectionId) {
        self.paused.remove(&connection);
    }
    fn close(&mut self, connection: ConnectionId, _: Close) {
        self.closed.insert(connection);
    }
    fn hand_over(&mut self, _: ConnectionId, _: ShardId, _: HandOver) {
        unreachable!("there is one shard");
    }
    fn reserve(&mut self, _: ShardId) -> bool {
        unreachable!("there is one shard");
    }
    fn unreserve(&mut self, _: ShardId) {}
    fn send(&mut self, _: ShardId, _: ShardMessage) {
        unreachable!("there is one shard");
    }
    fn send_control(&mut self, _: ShardId, _: ShardMessage) {
        unreachable!("there is one shard");
    }
    fn release(&mut self, _: ShardId, _: u32) {}
    fn set_timer(&mut self, timer: Timer, at: Timestamp) {
        self.timers.insert((at, timer));
    }
    fn authenticate(&mut self, _: ConnectionId, _: &Credentials<'_>) -> Answer {
        Answer::Now(Verdict::Ignore)
    }
    fn exchange(&mut self, _: &Credentials<'_>, _: ExchangeStep<'_>) -> Step {
        Step::Refused(Refusal::bad_method("not scripted"))
    }
    fn store(&mut self, ticket: u64, _: Vec<u8>, _: bool) {
        self.stored = Some(ticket);
    }
    fn stop_accepting(&mut self) {}
}

/// A script under way.
struct Script {
    broker: Broker,
    world: World,
    now: Timestamp,
    generation: u32,
    /// The journal's last generation.
    images: u32,
    open: BTreeMap<u8, (ConnectionId, ProtocolVersion)>,
}

/// Plays the script: each step is an operation, a length, and so many bytes.
pub fn check(mut data: &[u8]) {
    let mut config = Config::default();
    config.limits.packet_bytes_max = 4096;
    config.limits.outbound_bytes = 2048;
    config.session.queue_len_max = 8;
    config.session.inflight_max = 4;
    config.limits.receive_max = 4;
    let config = Arc::new(config);
    let shared = Shared::new(&config, 1, 7, 0);
    let mut script = Script {
        broker: Broker::new(BrokerSetup { shard: ShardId(0), config, shared }),
        world: World::default(),
        now: Timestamp(1),
        generation: 0,
        images: 1,
        open: BTreeMap::new(),
    };
    script.broker.start(script.now, &mut script.world);
    while let [operation, len, rest @ ..] = data {
        let len = usize::from(*len).min(rest.len());
        script.step(*operation, &rest[..len]);
        data = &rest[len..];
    }
    script.end();
}

impl Script {
    fn handle(&mut self, input: Input<'_>) {
        self.broker.handle(self.now, input, &mut self.world);
        if let Err(broken) = self.broker.check_invariants() {
            panic!("{broken}");
        }
    }

    fn step(&mut self, operation: u8, bytes: &[u8]) {
        let who = operation % CONNECTIONS;
        match operation / CONNECTIONS % 8 {
            0..=3 => self.receive(who, bytes),
            4 => self.cut(who),
            5 => self.pass(bytes),
            6 => self.stick(who),
            _ => self.read(who),
        }
        self.turn();
    }

    fn receive(&mut self, who: u8, bytes: &[u8]) {
        let (connection, _) = match self.open.get(&who) {
            Some(open) => *open,
            None => self.accept(who, bytes),
        };
        if !bytes.is_empty() && !self.world.paused.contains(&connection) {
            self.handle(Input::Received { connection, bytes });
        }
    }

    fn accept(&mut self, who: u8, bytes: &[u8]) -> (ConnectionId, ProtocolVersion) {
        self.generation += 1;
        let connection = ConnectionId { index: u32::from(who), generation: self.generation };
        let remote = std::net::SocketAddr::from(([127, 0, 0, 1], 1000 + u16::from(who)));
        let origin =
            Origin { listener: 0, remote, over_capacity: who == CONNECTIONS - 1 && bytes.len() == 77 };
        let version = connect::version(bytes).unwrap_or(ProtocolVersion::V5);
        self.open.insert(who, (connection, version));
        self.handle(Input::Accepted { connection, origin });
        (connection, version)
    }

    fn cut(&mut self, who: u8) {
        if let Some((connection, _)) = self.open.remove(&who) {
            self.world.output.remove(&connection);
            self.handle(Input::Closed { connection });
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        match bytes.first() {
            Some(0xf5) => self.world.disk_is_stuck = !self.world.disk_is_stuck,
            Some(0xf6) => {
                self.images += 1;
                self.handle(Input::Generation(self.images));
            }
            Some(0xf7) => self.handle(Input::StorageDown),
            _ => {}
        }
        let ms = bytes
            .iter()
            .fold(0_u64, |sum, byte| sum.saturating_mul(16).saturating_add(u64::from(*byte)))
            .min(1 << 40);
        self.now = self.now.plus_ms(ms);
        for _ in 0..64 {
            let Some((at, timer)) = self.world.timers.first().copied().filter(|(at, _)| *at <= self.now)
            else {
                return;
            };
            self.world.timers.remove(&(at, timer));
            self.handle(Input::Timer(timer));
        }
    }

    fn stick(&mut self, who: u8) {
        if let Some((connection, _)) = self.open.get(&who) {
            self.world.stuck.insert(*connection);
        }
    }

    fn read(&mut self, who: u8) {
        if let Some((connection, _)) = self.open.get(&who).copied()
            && self.world.stuck.remove(&connection)
        {
            self.take_output(connection);
            self.handle(Input::Drained { connection });
        }
    }

    /// The end of a turn, and further ones while there is work.
    fn turn(&mut self) {
        for _ in 0..64 {
            self.handle(Input::TurnEnd);
            for (connection, _) in self.open.clone().into_values() {
                if !self.world.stuck.contains(&connection) {
                    self.take_output(connection);
                }
            }
            for connection in std::mem::take(&mut self.world.closed) {
                self.open.retain(|_, open| open.0 != connection);
                self.world.output.remove(&connection);
                self.world.paused.remove(&connection);
            }
            let wanted = std::mem::take(&mut self.world.drained_wanted);
            let (stay, left): (BTreeSet<_>, BTreeSet<_>) =
                wanted.into_iter().partition(|connection| self.world.stuck.contains(connection));
            self.world.drained_wanted = stay;
            for connection in &left {
                self.handle(Input::Drained { connection: *connection });
            }
            let stored = if self.world.disk_is_stuck { None } else { self.world.stored.take() };
            if let Some(ticket) = stored {
                self.handle(Input::Stored(ticket));
            }
            if left.is_empty() && stored.is_none() && !self.broker.has_work() {
                return;
            }
        }
        assert!(!self.broker.has_work(), "work without end");
    }

    /// What a client got must be packets of a server.
    fn take_output(&mut self, connection: ConnectionId) {
        let Some(output) = self.world.output.remove(&connection) else { return };
        let mut bytes = output.as_slice();
        while !bytes.is_empty() {
            let Ok(Frame::Complete { header_len, body_len }) = packet::frame(bytes, PACKET_BYTES_MAX) else {
                panic!("no whole packet: {bytes:x?}");
            };
            let (one, rest) = bytes.split_at(header_len + body_len);
            let reads = |version| packet::decode(version, one, Side::FromServer);
            let is_known = [ProtocolVersion::V5, ProtocolVersion::V311].into_iter().any(|v| reads(v).is_ok());
            assert!(
                is_known,
                "not a server's packet: {one:x?}: {:?}",
                reads(ProtocolVersion::V5).map(|p: Packet<'_>| p.packet_type())
            );
            bytes = rest;
        }
    }

    /// All leave, time passes: nothing of them stays but what is persistent for ever.
    fn end(mut self) {
        self.world.disk_is_stuck = false;
        for who in 0..CONNECTIONS {
            self.cut(who);
        }
        self.turn();
        assert_eq!(self.broker.connections_len(), 0);
    }
}
