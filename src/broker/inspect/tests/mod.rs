//! A broker of one shard in a small world, to be asked questions.

mod changes;
mod modules;
mod paging;
mod publishing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::auth::{self, Credentials, ExchangeStep, Refusal, Step, Verdict};
use crate::broker::{BrokerSetup, Close, HandOver, Input, Origin, ShardMessage, Shared, Timer};
use crate::config::{Config, Durability};
use crate::interest::ShardId;
use crate::packet::{Connect, Forwarded, PacketId, ProtocolVersion, Publish, QoS, SubscriptionIds};
use crate::session::ConnectionId;

/// What the broker sends is kept, nothing else happens.
#[derive(Default)]
struct World {
    output: BTreeMap<ConnectionId, Vec<u8>>,
    closed: BTreeSet<ConnectionId>,
    stored: Option<u64>,
    /// What waits for each connection, as the broker is told.
    outbound_len: usize,
    timers: Vec<(Timer, Timestamp)>,
    /// What went to other shards.
    sent: Vec<ShardMessage>,
    has_no_credit: bool,
    reserved: u32,
}

impl Effects for World {
    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        self.output.entry(connection).or_default()
    }
    fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes) {
        self.output(connection).extend_from_slice(&bytes);
    }
    fn outbound_len(&mut self, _: ConnectionId) -> usize {
        self.outbound_len
    }
    fn want_drained(&mut self, _: ConnectionId) {}
    fn pause(&mut self, _: ConnectionId) {}
    fn resume(&mut self, _: ConnectionId) {}
    fn close(&mut self, connection: ConnectionId, _: Close) {
        self.closed.insert(connection);
    }
    fn hand_over(&mut self, _: ConnectionId, _: ShardId, _: HandOver) {}
    fn reserve(&mut self, _: ShardId) -> bool {
        self.reserved += u32::from(!self.has_no_credit);
        !self.has_no_credit
    }
    fn unreserve(&mut self, _: ShardId) {
        self.reserved -= 1;
    }
    fn send(&mut self, _: ShardId, message: ShardMessage) {
        self.sent.push(message);
    }
    fn send_control(&mut self, _: ShardId, _: ShardMessage) {}
    fn release(&mut self, _: ShardId, _: u32) {}
    fn set_timer(&mut self, timer: Timer, at: Timestamp) {
        self.timers.push((timer, at));
    }
    fn authenticate(&mut self, _: ConnectionId, _: &Credentials<'_>) -> auth::Answer {
        auth::Answer::Now(Verdict::Ignore)
    }
    fn exchange(&mut self, _: &Credentials<'_>, _: ExchangeStep<'_>) -> Step {
        Step::Refused(Refusal::bad_method("not here"))
    }
    fn store(&mut self, ticket: u64, _: Vec<u8>, _: bool) {
        self.stored = Some(ticket);
    }
    fn stop_accepting(&mut self) {}
}

/// One shard and its clients.
struct Node {
    broker: Broker,
    world: World,
    now: Timestamp,
    generation: u32,
    free: Vec<u32>,
    /// Connections by name of the client.
    connected: BTreeMap<String, ConnectionId>,
}

impl Node {
    fn new(durability: Durability) -> Self {
        Self::with(durability, |_| {})
    }

    fn with(durability: Durability, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.storage.durability = durability;
        config.limits.subscriptions_expected = 1000;
        change(&mut config);
        let config = Arc::new(config);
        let shared = Shared::new(&config, 1, 7, 0);
        Self::of(ShardId(0), config, shared)
    }

    fn of(shard: ShardId, config: Arc<Config>, shared: Arc<Shared>) -> Self {
        let broker = Broker::new(BrokerSetup { shard, config, shared });
        let mut node = Self {
            broker,
            world: World::default(),
            now: Timestamp(1000),
            generation: 0,
            free: (0..20_000).rev().collect(),
            connected: BTreeMap::new(),
        };
        node.broker.start(node.now, &mut node.world);
        node
    }

    fn handle(&mut self, input: Input<'_>) {
        self.broker.handle(self.now, input, &mut self.world);
    }

    /// The end of a turn; what the world was told to do is done.
    fn turn(&mut self) {
        self.broker.handle(self.now, Input::TurnEnd, &mut self.world);
        for closed in std::mem::take(&mut self.world.closed) {
            self.free.push(closed.index);
            self.connected.retain(|_, id| *id != closed);
        }
    }

    fn ask(&mut self, question: Question) -> Answer {
        let answer = self.broker.inspect(self.now, question, &mut self.world);
        self.turn();
        answer
    }

    fn change(&mut self, question: Question) -> Changed {
        let Answer::Changed(changed) = self.ask(question) else { panic!("a change is answered as such") };
        changed
    }

    /// All that was stored is on disk.
    fn store(&mut self) {
        if let Some(ticket) = self.world.stored.take() {
            self.handle(Input::Stored(ticket));
            self.turn();
        }
    }

    fn connect(&mut self, client_id: &str, expiry_s: u32) -> ConnectionId {
        let mut packet = Vec::new();
        let version = ProtocolVersion::V5;
        let mut connect = Connect::new(version, client_id);
        connect.session_expiry_s = Some(expiry_s);
        connect.clean_start = false;
        connect.keep_alive = 30;
        connect.encode(&mut packet);
        self.generation += 1;
        let connection = ConnectionId { index: self.free.pop().unwrap(), generation: self.generation };
        let remote = SocketAddr::from(([127, 0, 0, 1], 1000));
        let origin = Origin { listener: 0, remote, over_capacity: false };
        self.handle(Input::Accepted { connection, origin });
        self.handle(Input::Received { connection, bytes: &packet });
        self.turn();
        self.connected.insert(client_id.to_owned(), connection);
        connection
    }

    fn cut(&mut self, client_id: &str) {
        if let Some(connection) = self.connected.remove(client_id) {
            self.free.push(connection.index);
            self.handle(Input::Closed { connection });
            self.turn();
        }
    }

    fn subscribe(&mut self, client_id: &str, filter: &str) {
        let changed = self.change(Question::Subscribe(Box::new(subscribing(client_id, filter))));
        assert!(matches!(changed, Changed::Done { .. }), "{changed:?}");
    }

    fn publish(&mut self, client_id: &str, topic: &str, payload: &[u8], retain: bool) {
        self.publish_qos(client_id, topic, payload, retain, None);
    }

    fn publish_qos(
        &mut self,
        client_id: &str,
        topic: &str,
        payload: &[u8],
        retain: bool,
        packet_id: Option<PacketId>,
    ) {
        let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic,
            packet_id,
            expiry_s: None,
            topic_alias: None,
            forwarded: Forwarded::EMPTY,
            subscription_ids: SubscriptionIds::default(),
            payload,
        };
        let mut packet = Vec::new();
        publish.encode(ProtocolVersion::V5, &mut packet).unwrap();
        let connection = self.connected[client_id];
        self.handle(Input::Received { connection, bytes: &packet });
        self.turn();
    }

    fn detail(&mut self, name: &str) -> Option<Box<SessionDetail>> {
        let Answer::Session(detail) = self.ask(Question::Session(name.into())) else {
            panic!("a question about a session is answered as such")
        };
        detail
    }
}

fn subscribing(client_id: &str, filter: &str) -> Subscribing {
    let options = crate::packet::SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    Subscribing { session: client_id.into(), filter: filter.into(), options, subscription_id: 0 }
}
