//! Two stories that chance seldom tells, told on purpose in a calm world: without a model, each with its own question.

use std::sync::Arc;

use myriad::broker::{Broker, BrokerSetup, Origins, Shared};
use myriad::config::Config;
use myriad::interest::ShardId;

use crate::effects::{Delays, Order};
use crate::random::Random;
use crate::socket::SocketId;
use crate::trace::Trace;
use crate::wire::{self, AckKind, Connect, Filter, FromServer, Publish, Version, next_packet};
use crate::world::{Weather, World};

const CALM: Weather = Weather {
    delays: Delays { mail_max: 0, credit_max: 0, timer_max: 0, wire_max: 0, disk_max: 0 },
    hand_over_fails: 0,
    inputs_max: 8,
};

pub fn world(config: &Config, shards: u16, credits: u32) -> (World, Arc<Shared>) {
    world_after(config, shards, credits, Origins::default())
}

/// One that goes on where a journal has ended.
pub fn world_after(config: &Config, shards: u16, credits: u32, origins: Origins) -> (World, Arc<Shared>) {
    let shared = Shared::after(config, shards, 7, 0, origins);
    let config = Arc::new(config.clone());
    let setup = |shard| BrokerSetup {
        shard: ShardId(shard),
        config: Arc::clone(&config),
        shared: Arc::clone(&shared),
    };
    let nodes = (0..shards).map(|shard| Broker::new(setup(shard))).collect();
    let mut world = World::new(nodes, credits, CALM, Random::new(1), Trace::default());
    world.now = origins.now.0;
    world.start().unwrap();
    (world, shared)
}

/// Shard `at` does all that it can.
pub fn work(world: &mut World, at: usize) {
    while world.is_runnable(at) {
        world.turn(at).unwrap();
    }
}

/// Everyone does all that can be done until `until`.
pub fn run(world: &mut World, until: u64) {
    loop {
        for at in 0..world.nodes.len() {
            work(world, at);
        }
        if (0..world.nodes.len()).any(|at| world.is_runnable(at)) {
            continue;
        }
        match world.next_at().filter(|&at| at <= until) {
            Some(at) => world.now = at,
            None => break,
        }
        world.collect_credits();
    }
    world.now = until;
}

pub fn connect(world: &mut World, client_id: &str) -> SocketId {
    let socket = world.connect(0);
    world.sockets[socket].arrived_max = usize::MAX;
    let connect = Connect {
        version: Version::V311,
        client_id: client_id.to_owned(),
        clean: true,
        keep_alive_s: 0,
        expiry_s: None,
        receive_max: None,
        packet_max: None,
        alias_max: None,
        will: None,
        password: None,
    };
    world.write(socket, &wire::connect(&connect));
    socket
}

pub fn subscribe(world: &mut World, socket: SocketId, filter: &str) {
    let filter = Filter {
        filter: filter.to_owned(),
        qos: 1,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    };
    world.write(socket, &wire::subscribe(Version::V311, 1, 0, &[filter]));
}

/// All packets that have come.
pub fn read(world: &mut World, socket: SocketId) -> Vec<FromServer> {
    let bytes = world.read(socket, true);
    let mut packets = Vec::new();
    let mut used = 0;
    while let Some((packet, len)) = next_packet(Version::V311, &bytes[used..]).unwrap() {
        packets.push(packet);
        used += len;
    }
    packets
}

/// Credit comes back once, for all: more publishers wait for it than are tried in one turn, and nothing else will
/// happen that could wake the rest.
#[test]
fn more_stalled_publishers_than_one_turn_tries_all_go_on() {
    const PUBLISHERS: usize = 600;
    const CREDITS: u32 = 300;
    let (mut world, shared) = world(&Config::default(), 2, CREDITS);
    let at_home = |home: u16| {
        let names = (0..).map(|n| format!("c{n}"));
        let shared = Arc::clone(&shared);
        names.filter(move |name| shared.placement.home_of(name) == ShardId(home))
    };
    let subscriber = connect(&mut world, &at_home(1).next().unwrap());
    subscribe(&mut world, subscriber, "t");
    let publishers: Vec<SocketId> =
        at_home(0).take(PUBLISHERS).map(|name| connect(&mut world, &name)).collect();
    run(&mut world, 1_000);
    for &socket in &publishers {
        read(&mut world, socket);
        let publish = Publish {
            dup: false,
            qos: 1,
            retain: false,
            topic: "t".into(),
            pid: 1,
            payload: b"x".to_vec(),
            alias: None,
            subscription_ids: Vec::new(),
            expiry_s: None,
        };
        world.write(socket, &wire::publish(Version::V311, &publish));
    }
    work(&mut world, 0);
    let stalled = publishers.iter().filter(|&&socket| world.sockets[socket].paused).count();
    assert_eq!(stalled, PUBLISHERS - CREDITS as usize);
    run(&mut world, 2_000);
    let puback = |packet: &FromServer| matches!(packet, FromServer::Ack { kind: AckKind::Puback, .. });
    let without = publishers.iter().filter(|&&socket| !read(&mut world, socket).iter().any(puback)).count();
    assert_eq!(without, 0, "publishers without PUBACK");
}

/// `sys.interval_s` from 0 to 1, off and on again within an interval, and off: once a second, and only while it is on.
#[test]
fn a_reload_begins_and_ends_the_sys_tree() {
    let mut config = Config::default();
    config.sys.interval_s = 0;
    let (mut world, _) = world(&config, 1, 1);
    let watcher = connect(&mut world, "watcher");
    subscribe(&mut world, watcher, "$SYS/brokers/+/datetime");
    let mut count = |seconds: u64, interval_s: Option<u32>| {
        if let Some(interval_s) = interval_s {
            config.sys.interval_s = interval_s;
            let order = Order::Reload(0, Arc::new(config.clone()));
            let now = world.now;
            world.states[0].orders.push_back((now, order));
        }
        let until = world.now + seconds * 1000;
        run(&mut world, until);
        let tree = |packet: &&FromServer| matches!(packet, FromServer::Publish(_));
        read(&mut world, watcher).iter().filter(tree).count()
    };
    assert_eq!(count(10, None), 0);
    assert_eq!(count(10, Some(1)), 10);
    assert_eq!(count(5, Some(10)), 0);
    assert_eq!((count(1, Some(0)), count(9, Some(10)), count(21, None)), (0, 0, 3));
    assert_eq!(count(30, Some(0)), 0);
}
