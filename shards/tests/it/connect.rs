//! Connections that the shards open: to each other and to a listener outside, from chosen addresses, refused, beyond the
//! maximum, over several rings, and at the end of the shards; and the fine wake-up that goes with them.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use shards::{Closed, ConnectionId, ShardId};

use crate::script::*;

/// What happened to a connect.
#[derive(Debug, PartialEq)]
enum Heard {
    Connected(u64),
    Failed(u64, ErrorKind),
    Received(Vec<u8>),
    Closed(Closed),
}

/// Connects where the test says, sends its key, tells the test what happens.
#[derive(Clone)]
struct Dialler {
    to: SocketAddr,
    from: Option<IpAddr>,
    heard: Sender<Heard>,
}

impl Script for Dialler {
    fn message(&mut self, io: &mut Port<'_, Self>, _from: Option<ShardId>, word: Word) {
        if let Word::Number(key) = word {
            io.connect(self.to, self.from, key);
        }
    }
    fn connected(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, key: u64) {
        io.output(id).extend_from_slice(&key.to_le_bytes());
        let _ = self.heard.send(Heard::Connected(key));
    }
    fn connect_failed(&mut self, _io: &mut Port<'_, Self>, key: u64, error: std::io::Error) {
        let _ = self.heard.send(Heard::Failed(key, error.kind()));
    }
    fn received(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, bytes: &[u8]) {
        let _ = self.heard.send(Heard::Received(bytes.to_vec()));
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, cause: Closed) {
        let _ = self.heard.send(Heard::Closed(cause));
    }
}

fn without_listeners(shards: u16, connections_max: u32) -> shards::Config {
    shards::Config { listeners: Vec::new(), connections_max, ..config(shards) }
}

fn dialler(
    config: shards::Config,
    to: SocketAddr,
    from: Option<IpAddr>,
) -> (shards::Shards<Run<Dialler>>, Receiver<Heard>) {
    let (heard, hears) = channel();
    let dialler = Dialler { to, from, heard };
    (start(config, move |_| dialler.clone()), hears)
}

fn dial(shards: &shards::Shards<Run<Dialler>>, key: u64) {
    assert!(shards.handle().send(ShardId(0), Word::Number(key)));
}

fn next(hears: &Receiver<Heard>) -> Heard {
    hears.recv_timeout(Duration::from_secs(10)).expect("something is heard within 10 s")
}

#[test]
fn a_connection_comes_from_the_chosen_address_and_carries_bytes_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let from: IpAddr = "127.0.0.9".parse().unwrap();
    let (shards, hears) = dialler(without_listeners(1, 100), listener.local_addr().unwrap(), Some(from));
    dial(&shards, 7);
    let (mut stream, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), from);
    assert_eq!(next(&hears), Heard::Connected(7));
    assert_eq!(read(&mut stream, 8), 7u64.to_le_bytes());
    stream.write_all(b"hello").unwrap();
    assert_eq!(next(&hears), Heard::Received(b"hello".to_vec()));
    drop(stream);
    assert_eq!(next(&hears), Heard::Closed(Closed::Peer));
    stop(shards);
}

#[test]
fn a_refused_connect_is_told_and_costs_no_slot() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (shards, hears) = dialler(without_listeners(1, 2), closed, None);
    for key in 0..5000 {
        dial(&shards, key);
        assert_eq!(next(&hears), Heard::Failed(key, ErrorKind::ConnectionRefused));
    }
    stop(shards);
}

#[test]
fn an_address_that_is_not_ours_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let foreign: IpAddr = "203.0.113.1".parse().unwrap();
    let (shards, hears) = dialler(without_listeners(1, 2), listener.local_addr().unwrap(), Some(foreign));
    dial(&shards, 1);
    assert_eq!(next(&hears), Heard::Failed(1, ErrorKind::AddrNotAvailable));
    stop(shards);
}

#[test]
fn beyond_the_maximum_a_connect_fails_and_works_again_when_one_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (shards, hears) = dialler(without_listeners(1, 2), listener.local_addr().unwrap(), None);
    let mut peers = Vec::new();
    for key in 0..2 {
        dial(&shards, key);
        let mut peer = listener.accept().unwrap().0;
        assert_eq!(next(&hears), Heard::Connected(key));
        read(&mut peer, 8);
        peers.push(peer);
    }
    dial(&shards, 2);
    assert_eq!(next(&hears), Heard::Failed(2, ErrorKind::StorageFull));
    peers.pop();
    assert_eq!(next(&hears), Heard::Closed(Closed::Peer));
    eventually("the place is free again", || {
        dial(&shards, 3);
        next(&hears) == Heard::Connected(3)
    });
    stop(shards);
}

#[test]
fn many_connects_at_once_over_several_rings() {
    let echo = start(config(2), |_| crate::echo::Echo);
    let several = shards::Config { ring_slots_max: Some(300), ..without_listeners(1, 1000) };
    let (shards, hears) = dialler(several, echo.addresses()[0], Some("127.0.0.8".parse().unwrap()));
    for key in 0..1000 {
        dial(&shards, key);
    }
    let (mut connected, mut echoed) = (0, Vec::new());
    while echoed.len() < 1000 {
        match next(&hears) {
            Heard::Connected(_) => connected += 1,
            Heard::Received(bytes) => echoed.push(u64::from_le_bytes(bytes.try_into().unwrap())),
            other => panic!("{other:?}"),
        }
    }
    echoed.sort_unstable();
    assert_eq!(connected, 1000);
    assert!(echoed.into_iter().eq(0..1000));
    // The diallers go first: their listener's side must see every end.
    stop(shards);
    let open = || -> u64 {
        echo.stats().iter().map(|s| s.connections.load(std::sync::atomic::Ordering::Relaxed)).sum()
    };
    eventually("all closed", || open() == 0);
    stop(echo);
}

/// A listener with a backlog of one that nobody empties: what connects later stays without an answer.
fn full_listener() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn shards_end_while_a_connect_is_under_way() {
    let (_listener, address) = full_listener();
    let (shards, hears) = dialler(without_listeners(1, 100), address, None);
    for key in 0..50 {
        dial(&shards, key);
    }
    assert_eq!(next(&hears), Heard::Connected(0));
    let begin = Instant::now();
    stop(shards);
    assert!(begin.elapsed() < Duration::from_secs(5), "ended after {:?}", begin.elapsed());
}

/// Wakes itself every half millisecond, a hundred times.
struct Metronome {
    times: Sender<u64>,
    left: u32,
    due_us: u64,
}

impl Script for Metronome {
    fn turn_end(&mut self, io: &mut Port<'_, Self>) -> bool {
        let now_us = io.now_us();
        if self.left > 0 && now_us >= self.due_us {
            self.left -= 1;
            self.due_us = now_us + 500;
            let _ = self.times.send(now_us);
        }
        if self.left > 0 {
            io.wake_at_us(self.due_us);
        }
        false
    }
}

#[test]
fn a_shard_wakes_at_the_moment_it_asked_for() {
    let (times, woken) = channel();
    let shards =
        start(without_listeners(1, 10), move |_| Metronome { times: times.clone(), left: 101, due_us: 0 });
    let times: Vec<u64> = (0..101).map(|_| woken.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
    let mut gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    assert!(gaps[0] >= 500, "woken early: {gaps:?}");
    // The wheel alone would give 32 ms. A busy machine delays some.
    assert!(gaps[50] < 16_000, "woken late: {gaps:?}");
    stop(shards);
}

#[test]
fn a_shard_connects_to_itself() {
    // Both ends on the same shard: it accepts from itself.
    struct Both {
        heard: Sender<(bool, u16)>,
    }
    impl Script for Both {
        fn accepted(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, accepted: shards::Accepted) {
            let _ = self.heard.send((false, accepted.listener));
        }
        fn message(&mut self, io: &mut Port<'_, Self>, _from: Option<ShardId>, word: Word) {
            if let Word::Text(to) = word {
                io.connect(to.parse().unwrap(), None, 0);
            }
        }
        fn connected(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, _key: u64) {
            let _ = self.heard.send((true, 0));
        }
    }
    let (heard, hears) = channel();
    let shards = start(config(1), move |_| Both { heard: heard.clone() });
    shards.handle().send(ShardId(0), Word::Text(shards.addresses()[0].to_string()));
    let mut both: Vec<_> = (0..2).map(|_| hears.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
    both.sort_unstable();
    assert_eq!(both, [(false, 0), (true, 0)]);
    stop(shards);
}

/// Connects again whenever a connect fails.
#[derive(Clone)]
struct Stubborn(SocketAddr);

impl Script for Stubborn {
    fn message(&mut self, io: &mut Port<'_, Self>, _from: Option<ShardId>, _word: Word) {
        io.connect(self.0, None, 0);
    }
    fn connect_failed(&mut self, io: &mut Port<'_, Self>, _key: u64, _error: std::io::Error) {
        io.connect(self.0, None, 0);
    }
}

#[test]
fn who_connects_again_and_again_does_not_keep_a_shard_from_ending() {
    let (_listener, address) = full_listener();
    let patient = shards::Config { flush_timeout_ms: 60_000, ..without_listeners(1, 100) };
    let shards = start(patient, move |_| Stubborn(address));
    for _ in 0..50 {
        shards.handle().send(ShardId(0), Word::Number(0));
    }
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    stop(shards);
    assert!(begin.elapsed() < Duration::from_secs(30), "ended after {:?}", begin.elapsed());
}
