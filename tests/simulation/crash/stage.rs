//! Stories of a broker and its disk that chance seldom tells, told on purpose in a calm world. The disk is a list of what was handed
//! to it: that it has something it says only when the story wants it to.

use std::collections::VecDeque;
use std::sync::Arc;

use myriad::broker::{Broker, BrokerSetup, Input, Origins, Shared, distribute};
use myriad::clock::Timestamp;
use myriad::config::Config;
use myriad::interest::ShardId;
use myriad::storage::{Entry, Replay, Restored};

use super::store::time_len;
use crate::directed;
use crate::effects::{Notice, Written};
use crate::socket::{Place, SocketId};
use crate::wire::{self, AckKind, Connect, Filter, FromServer, Publish, Version, WillFields, next_packet};
use crate::world::World;

mod delayed;

struct Stage {
    world: World,
    shared: Arc<Shared>,
    written: Vec<Written>,
}

impl Stage {
    fn new(config: &Config, shards: u16) -> Self {
        let (mut world, shared) = directed::world(config, shards, 100);
        world.journal = Some(VecDeque::new());
        Self { world, shared, written: Vec::new() }
    }

    /// A Client Identifier whose home is a shard.
    fn name(&self, home: u16) -> String {
        let is_there = |name: &String| self.shared.placement.home_of(name) == ShardId(home);
        (0..).map(|n| format!("c{n}")).find(is_there).unwrap()
    }

    /// Everyone does all that can be done without the disk.
    fn run(&mut self) {
        let now = self.world.now;
        directed::run(&mut self.world, now);
        self.written.extend(self.world.journal.iter_mut().flat_map(|waiting| waiting.drain(..)));
    }

    /// The disk has all, again and again, until nothing more comes.
    fn sync(&mut self) {
        let mut said = 0;
        loop {
            self.run();
            if said == self.written.len() {
                return;
            }
            for written in &self.written[said..] {
                if let Written::Frame { shard, ticket, .. } = written {
                    let notices = &mut self.world.states[usize::from(*shard)].notices;
                    notices.push_back((0, Notice::Stored(*ticket)));
                }
            }
            said = self.written.len();
        }
    }

    /// Shard `at` hears something, and has a turn for that alone.
    fn tell(&mut self, at: usize, input: Input<'_>) {
        self.world.input(at, input).unwrap();
        self.world.input(at, Input::TurnEnd).unwrap();
        self.world.submit(at);
    }

    fn connect(&mut self, name: &str, expiry_s: u32, will: Option<WillFields>) -> SocketId {
        let socket = self.world.connect(0);
        self.world.sockets[socket].arrived_max = usize::MAX;
        let connect = Connect {
            version: Version::V5,
            client_id: name.to_owned(),
            clean: expiry_s == 0,
            keep_alive_s: 0,
            expiry_s: Some(expiry_s),
            receive_max: None,
            packet_max: None,
            alias_max: None,
            will,
            password: None,
        };
        self.world.write(socket, &wire::connect(&connect));
        self.run();
        socket
    }

    fn subscribe(&mut self, socket: SocketId, filter: &str) {
        let (filter, qos, retain_handling) = (filter.to_owned(), 2, 0);
        let filter = Filter { filter, qos, no_local: false, retain_as_published: false, retain_handling };
        self.world.write(socket, &wire::subscribe(Version::V5, 1, 0, &[filter]));
        self.run();
    }

    fn publish(&mut self, socket: SocketId, topic: &str, (qos, pid): (u8, u16), retain: bool, len: usize) {
        self.world.write(socket, &publish(topic, (qos, pid), retain, len));
        self.run();
    }

    fn ack(&mut self, socket: SocketId, kind: AckKind, pid: u16) {
        self.world.write(socket, &wire::ack(kind, pid));
        self.run();
    }

    /// All packets that have come.
    fn read(&mut self, socket: SocketId) -> Vec<FromServer> {
        let bytes = self.world.read(socket, true);
        let (mut packets, mut used) = (Vec::new(), 0);
        while let Some((packet, len)) = next_packet(Version::V5, &bytes[used..]).unwrap() {
            packets.push(packet);
            used += len;
        }
        packets
    }

    /// The frames from number `from` on, as entries, each with its place.
    fn entries(&self, from: usize) -> Vec<(usize, Entry<'_>)> {
        let mut found = Vec::new();
        for (at, written) in self.written.iter().enumerate().skip(from) {
            let Written::Frame { frame, .. } = written else { continue };
            let mut rest = &frame[time_len(frame)..];
            while !rest.is_empty() {
                found.push((at, Entry::decode(&mut rest).unwrap()));
            }
        }
        found
    }

    /// What a reader makes of all frames up to the one at `last`.
    fn read_up_to(&self, last: usize) -> Restored {
        let (now, mut replay) = (Timestamp(self.world.now), Replay::default());
        for (_, entry) in self.entries(0).iter().take_while(|(at, _)| *at <= last) {
            replay.apply(now, entry);
        }
        let (restored, _) = replay.finish(now, now);
        Restored { now, ..restored }
    }

    /// The node crashes, and others begin with what was read.
    fn restart(&mut self, config: &Config, shards: u16, restored: Restored) {
        let Restored { first_serial, first_number, user_key, now, .. } = restored;
        let origins = Origins { first_serial, first_number, user_key, now };
        self.shared = Shared::after(config, shards, 9, 0, origins);
        let parts = distribute(restored, &self.shared.placement, shards);
        let config = Arc::new(config.clone());
        let node = |shard| {
            let (config, shared) = (Arc::clone(&config), Arc::clone(&self.shared));
            Broker::new(BrokerSetup { shard: ShardId(shard), config, shared })
        };
        let nodes = (0..shards).map(node).collect();
        self.world.crash();
        self.world.restart(nodes, 100, parts).unwrap();
        self.written.clear();
    }

    fn imaged(&self, from: usize, of: u16) -> Option<usize> {
        let is_it = |written: &Written| matches!(written, Written::Imaged { shard, .. } if *shard == of);
        self.written.iter().skip(from).position(is_it).map(|at| at + from)
    }
}

fn publish(topic: &str, (qos, pid): (u8, u16), retain: bool, len: usize) -> Vec<u8> {
    let publish = Publish {
        dup: false,
        qos,
        retain,
        topic: topic.to_owned(),
        pid,
        payload: vec![b'x'; len],
        alias: None,
        subscription_ids: Vec::new(),
        expiry_s: None,
    };
    wire::publish(Version::V5, &publish)
}

fn will() -> WillFields {
    WillFields {
        topic: "will/c".into(),
        payload: b"m".to_vec(),
        qos: 1,
        retain: false,
        delay_s: 0,
        expiry_s: None,
    }
}

fn is_ack(packets: &[FromServer], kind: AckKind, pid: u16) -> bool {
    matches!(packets, [FromServer::Ack { kind: k, pid: p, .. }] if (*k, *p) == (kind, pid))
}

/// A message's commit is on disk and on its way to its receiver's shard when the disk fails: what that shard writes anew must
/// not wait for a `Commit` that only the old files have.
#[test]
fn a_commit_under_way_when_the_disk_fails_is_in_what_is_written_anew() {
    let mut stage = Stage::new(&Config::default(), 2);
    let (publisher, subscriber) = (stage.name(0), stage.name(1));
    let subscriber = stage.connect(&subscriber, u32::MAX, None);
    stage.sync();
    stage.subscribe(subscriber, "t");
    let publisher = stage.connect(&publisher, u32::MAX, None);
    stage.sync();
    stage.publish(publisher, "t", (2, 1), false, 3);
    let is_commit = |(_, entry): (usize, Entry<'_>)| match entry {
        Entry::Commit { number, .. } => Some(number),
        _ => None,
    };
    let number = stage.entries(0).into_iter().find_map(is_commit).unwrap();
    stage.tell(0, Input::Stored(u64::MAX / 2));
    (0..2).for_each(|at| stage.tell(at, Input::StorageDown));
    let from = stage.written.len();
    (0..2).for_each(|at| stage.tell(at, Input::Generation(2)));
    (0..9).for_each(|_| stage.world.input(1, Input::TurnEnd).unwrap());
    stage.run();
    let imaged = stage.imaged(from, 1).unwrap();
    let of_it = |entry: &Entry<'_>| match entry {
        Entry::Commit { number: n, .. } | Entry::Confirm { number: n } => *n == number,
        _ => false,
    };
    let entries = stage.entries(from);
    let confirmed = entries.iter().find(|(_, entry)| of_it(entry)).map(|(at, _)| *at);
    assert!(confirmed.is_some_and(|at| at < imaged), "{confirmed:?} {imaged}: {entries:?}");
}

/// The shard that wants the first of two messages is slow: the second one is not committed before it.
#[test]
fn mqtt_4_6_0_6_messages_of_one_session_are_committed_in_their_order() {
    let mut stage = Stage::new(&Config::default(), 3);
    for (home, topic) in [(1, "second"), (2, "first")] {
        let name = stage.name(home);
        let subscriber = stage.connect(&name, u32::MAX, None);
        stage.sync();
        stage.subscribe(subscriber, topic);
    }
    let name = stage.name(0);
    let publisher = stage.connect(&name, 0, None);
    stage.sync();
    let from = stage.written.len();
    for (pid, topic) in [(1, "first"), (2, "second")] {
        stage.world.write(publisher, &publish(topic, (1, pid), false, 3));
        for at in [0, 1, 0] {
            directed::work(&mut stage.world, at);
        }
    }
    let written = |stage: &Stage, is_it: fn(&Entry<'_>) -> Option<u64>| -> Vec<u64> {
        stage.entries(from).iter().filter_map(|(_, entry)| is_it(entry)).collect()
    };
    let commit = |entry: &Entry<'_>| match entry {
        Entry::Commit { number, .. } => Some(*number),
        _ => None,
    };
    let delivered = |entry: &Entry<'_>| match entry {
        Entry::Deliver(delivery) => Some(delivery.number),
        _ => None,
    };
    stage.written.extend(stage.world.journal.iter_mut().flat_map(|waiting| waiting.drain(..)));
    let second = written(&stage, delivered);
    assert_eq!((second.len(), written(&stage, commit)), (1, vec![]));
    stage.run();
    let first = written(&stage, delivered)[1];
    assert_eq!(written(&stage, commit), [first, second[0]]);
    stage.sync();
    assert_eq!(stage.read(publisher).len(), 3);
}

/// Its client was never told that it is connected [MQTT-3.1.2-8].
#[test]
fn mqtt_3_1_2_8_a_connection_whose_disk_fails_before_its_connack_leaves_no_will() {
    let mut stage = Stage::new(&Config::default(), 1);
    let watcher = stage.connect("watcher", 0, None);
    stage.subscribe(watcher, "will/#");
    stage.read(watcher);
    let client = stage.connect("c", u32::MAX, Some(will()));
    assert!(stage.read(client).is_empty(), "answered before the disk has it");
    stage.tell(0, Input::StorageDown);
    stage.run();
    let answer = stage.read(client);
    assert!(matches!(&answer[..], [FromServer::Connack(connack)] if connack.code == 0x97), "{answer:?}");
    assert_eq!(stage.read(watcher), []);
}

/// 5.0 section 3.14.2.2.2: the session ends with its connection after all; its Will is due, and kept until it is committed.
#[test]
fn mqtt_3_1_2_8_the_will_of_a_session_that_its_disconnect_ends_is_kept_until_everyone_has_it() {
    let mut stage = Stage::new(&Config::default(), 1);
    let watcher = stage.connect("watcher", u32::MAX, None);
    stage.sync();
    stage.subscribe(watcher, "will/#");
    let client = stage.connect("c", u32::MAX, Some(will()));
    stage.sync();
    let from = stage.written.len();
    stage.world.write(client, &wire::disconnect(Version::V5, 0x04, Some(0)));
    stage.run();
    let entries = stage.entries(from);
    let ends = entries.iter().filter_map(|(at, entry)| match entry {
        Entry::End { keeps_will, .. } => Some((*at, *keeps_will)),
        _ => None,
    });
    // That the session is over and that its Will is due is one frame.
    assert_eq!(ends.collect::<Vec<_>>(), [(from, true), (from, false)], "{entries:?}");
    stage.sync();
    let got = stage.read(watcher);
    assert!(
        got.iter().any(|packet| matches!(packet, FromServer::Publish(p) if p.topic == "will/c")),
        "{got:?}"
    );
}

/// It deletes the one that was retained, and a PUBACK says that this outlasts a crash.
#[test]
fn a_retained_message_that_is_too_large_waits_for_the_disk() {
    let mut config = Config::default();
    config.retained.payload_bytes_max = 10;
    let mut stage = Stage::new(&config, 1);
    let client = stage.connect("p", 0, None);
    stage.publish(client, "r", (1, 1), true, 5);
    stage.sync();
    stage.read(client);
    let from = stage.written.len();
    stage.publish(client, "r", (1, 2), true, 11);
    assert_eq!(stage.read(client), []);
    let is_unretain = |(_, entry): &(usize, Entry<'_>)| *entry == Entry::Unretain { topic: "r" };
    assert!(stage.entries(from).iter().any(is_unretain));
    stage.sync();
    assert!(is_ack(&stage.read(client), AckKind::Puback, 2));
}

/// What a session that is kept has to write waits while the disk is slower than the load.
#[test]
fn subscribe_pubrec_and_pubrel_wait_while_the_backlog_is_full() {
    for what in ["SUBSCRIBE", "PUBREC", "PUBREL"] {
        let mut config = Config::default();
        config.storage.backlog_bytes = 300;
        let mut stage = Stage::new(&config, 1);
        let client = stage.connect("c", u32::MAX, None);
        stage.sync();
        stage.subscribe(client, "t");
        stage.sync();
        let publisher = stage.connect("p", 0, None);
        stage.publish(publisher, "t", (2, 1), false, 3);
        stage.publish(client, "nobody", (2, 7), false, 3);
        stage.sync();
        let pid = stage.read(client).iter().find_map(|packet| match packet {
            FromServer::Publish(publish) => Some(publish.pid),
            _ => None,
        });
        stage.publish(publisher, "t", (1, 2), false, 500);
        let from = stage.written.len();
        match what {
            "SUBSCRIBE" => stage.subscribe(client, "x"),
            "PUBREC" => stage.ack(client, AckKind::Pubrec, pid.unwrap()),
            _ => stage.ack(client, AckKind::Pubrel, 7),
        }
        assert_eq!(stage.entries(from), [], "{what} is written");
        assert_eq!(stage.shared.metrics[0].storage_waits.load(), 1, "{what}");
        // The disk has what it was given; then it comes to this.
        stage.tell(0, Input::Stored(u64::MAX / 2));
        stage.read(client);
        stage.sync();
        let answers = stage.read(client);
        let is_answered = answers.iter().any(|packet| match packet {
            FromServer::Suback { .. } => what == "SUBSCRIBE",
            FromServer::Ack { kind, .. } => {
                (*kind, what) == (AckKind::Pubrel, "PUBREC") || (*kind, what) == (AckKind::Pubcomp, "PUBREL")
            }
            _ => false,
        });
        assert!(is_answered, "{what}: {answers:?}");
    }
}

/// No turn writes more than a little of a long queue; its session's image is one frame all the same.
#[test]
fn a_long_queue_is_imaged_over_several_turns() {
    const MESSAGES: usize = 300;
    let mut stage = Stage::new(&Config::default(), 1);
    let client = stage.connect("c", u32::MAX, None);
    stage.sync();
    stage.subscribe(client, "t");
    stage.sync();
    stage.world.write(client, &wire::disconnect(Version::V5, 0, None));
    let publisher = stage.connect("p", 0, None);
    for number in 1..=MESSAGES {
        stage.publish(publisher, "t", (1, number as u16), false, 1_000);
        stage.sync();
    }
    let from = stage.written.len();
    stage.tell(0, Input::Generation(2));
    stage.run();
    let imaged = stage.imaged(from, 0).unwrap();
    let sizes: Vec<usize> = stage.written[from..imaged]
        .iter()
        .filter_map(|written| match written {
            Written::Frame { frame, .. } => Some(frame.len()),
            _ => None,
        })
        .collect();
    assert!(sizes.len() >= 4 && sizes.iter().all(|len| *len < 80_000), "{sizes:?}");
    let entries = stage.entries(from);
    let is_message = |entry: &Entry<'_>| matches!(entry, Entry::Message(_));
    assert_eq!(entries.iter().filter(|(_, entry)| is_message(entry)).count(), MESSAGES);
    let image: Vec<usize> =
        entries.iter().filter(|(_, entry)| !is_message(entry)).map(|(at, _)| *at).collect();
    assert!(image.len() >= MESSAGES && image.iter().all(|at| *at == image[0]), "{image:?}");
}

/// A turn that writes more than a frame may have becomes several, and what waits for it waits for the last.
#[test]
fn what_a_turn_writes_is_cut_into_frames_of_16_mib() {
    const MESSAGES: u16 = 40;
    const LEN: usize = 900_000;
    let mut stage = Stage::new(&Config::default(), 1);
    let client = stage.connect("c", u32::MAX, None);
    stage.sync();
    stage.subscribe(client, "t");
    stage.sync();
    stage.world.write(client, &wire::disconnect(Version::V5, 0, None));
    let publisher = stage.connect("p", 0, None);
    stage.run();
    stage.read(publisher);
    let from = stage.written.len();
    let bytes: Vec<u8> = (1..=MESSAGES).flat_map(|pid| publish("t", (1, pid), false, LEN)).collect();
    let Place::At(_, connection) = stage.world.sockets[publisher].place else { panic!("it is gone") };
    stage.tell(0, Input::Received { connection, bytes: &bytes });
    stage.run();
    let frames = stage.written[from..].iter().filter_map(|written| match written {
        Written::Frame { ticket, frame, .. } => Some((*ticket, frame.len())),
        _ => None,
    });
    let frames: Vec<(u64, usize)> = frames.collect();
    assert!(frames.len() >= 3 && frames.iter().all(|(_, len)| *len < 18 << 20), "{frames:?}");
    let delivered =
        stage.entries(from).iter().filter(|(_, entry)| matches!(entry, Entry::Deliver(_))).count();
    assert_eq!(delivered, usize::from(MESSAGES));
    let last = frames.last().unwrap().0;
    stage.tell(0, Input::Stored(last - 1));
    stage.run();
    assert_eq!(stage.read(publisher).len(), 0, "acknowledged before the last of it is on disk");
    stage.tell(0, Input::Stored(last));
    stage.run();
    assert_eq!(stage.read(publisher).len(), usize::from(MESSAGES));
}

/// A member of a Shared Subscription leaves a message unacknowledged, and the node crashes before another member has
/// it. How many that one gets, if the reader gives the brokers what sessions have left, or forgets it.
fn given_back_over_a_crash(forgets: bool) -> usize {
    let config = Config::default();
    let mut stage = Stage::new(&config, 2);
    let (leaver, other) = (stage.name(0), stage.name(1));
    let member = stage.connect(&leaver, u32::MAX, None);
    stage.sync();
    stage.subscribe(member, "$share/g/t");
    let publisher = stage.connect("publisher", 0, None);
    stage.sync();
    stage.publish(publisher, "t", (1, 1), false, 3);
    stage.sync();
    let next = stage.connect(&other, u32::MAX, None);
    stage.sync();
    stage.subscribe(next, "$share/g/t");
    stage.sync();
    let from = stage.written.len();
    stage.world.write(member, &wire::disconnect(Version::V5, 0, Some(0)));
    stage.run();
    let is_end = |(at, entry): &(usize, Entry<'_>)| matches!(entry, Entry::End { .. }).then_some(*at);
    let end = stage.entries(from).iter().find_map(is_end).unwrap();
    let mut restored = stage.read_up_to(end);
    assert_eq!(restored.sessions.len(), 1);
    if forgets {
        restored.returned.clear();
    }
    stage.restart(&config, 3, restored);
    // Others may not be there yet: it takes a moment.
    stage.world.now += 2_000;
    stage.sync();
    let next = stage.connect(&other, u32::MAX, None);
    stage.sync();
    let is_it = |packet: &FromServer| matches!(packet, FromServer::Publish(publish) if publish.topic == "t");
    stage.read(next).iter().filter(|packet| is_it(packet)).count()
}

#[test]
fn section_4_8_2_what_an_ended_session_leaves_comes_to_another_member_over_a_crash() {
    assert_eq!(given_back_over_a_crash(false), 1);
    // The story notices a reader that forgets it.
    assert_eq!(given_back_over_a_crash(true), 0);
}
