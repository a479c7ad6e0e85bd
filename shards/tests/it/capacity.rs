//! The maximum of connections, idle cost, pauses, and churn.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shards::{Accepted, Close, Closed, ConnectionId, Listener, Shards};

use crate::script::*;

/// Answers `+` to those it takes and `-` to those it refuses.
struct Doorman;

impl Script for Doorman {
    fn accepted(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, accepted: Accepted) {
        let answer = if accepted.over_capacity { b'-' } else { b'+' };
        io.output(id).push(answer);
        if accepted.over_capacity {
            io.close(id, Close::Flush);
        }
    }
}

fn answer(address: SocketAddr) -> (u8, TcpStream) {
    let mut stream = client(address);
    (read(&mut stream, 1)[0], stream)
}

#[test]
fn beyond_the_maximum_clients_are_refused_and_a_place_that_is_freed_is_taken() {
    let shards = start(shards::Config { connections_max: 100, refusals: 4, ..config(3) }, |_| Doorman);
    let address = shards.addresses()[0];
    let mut inside: Vec<_> = (0..100).map(|_| answer(address)).collect();
    assert!(inside.iter().all(|(answer, _)| *answer == b'+'));
    for _ in 0..200 {
        assert_eq!(answer(address).0, b'-');
    }
    inside.pop();
    eventually("a free place", || {
        let (answer, stream) = answer(address);
        inside.push((answer, stream));
        answer == b'+'
    });
    assert_eq!(answer(address).0, b'-');
    stop(shards);
}

#[test]
fn each_listener_has_its_own_maximum() {
    let listeners = vec![Listener { connections_max: 3, ..listener() }, listener()];
    let shards = start(shards::Config { listeners, ..config(2) }, |_| Doorman);
    let inside: Vec<_> = (0..5).map(|_| answer(shards.addresses()[0])).collect();
    let answers: Vec<u8> = inside.iter().map(|(answer, _)| *answer).collect();
    assert_eq!(answers, b"+++--");
    assert_eq!(answer(shards.addresses()[1]).0, b'+');
    stop(shards);
}

fn total<S: Script>(shards: &Shards<Run<S>>, of: impl Fn(&shards::ShardStats) -> &AtomicU64) -> u64 {
    shards.stats().iter().map(|stats| of(stats).load(Ordering::Relaxed)).sum()
}

#[test]
fn idle_connections_cost_no_cpu() {
    idle(shards::Config { connections_max: 8000, ..config(2) });
}

#[test]
fn idle_connections_on_many_rings_cost_no_cpu() {
    idle(shards::Config { connections_max: 8000, ring_slots_max: Some(600), ..config(2) });
}

fn idle(config: shards::Config) {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let noted = threads.clone();
    let shards = Shards::start(config, move |_, _: &mut Port<'_, crate::echo::Echo>| {
        noted.lock().unwrap().push(std::fs::read_link("/proc/thread-self").unwrap());
        Run(crate::echo::Echo)
    })
    .unwrap();
    let address = shards.addresses()[0];
    let streams: Vec<_> = (0..6000).map(|_| client(address)).collect();
    eventually("all accepted", || total(&shards, |s| &s.connections) == 6000);
    std::thread::sleep(Duration::from_millis(500));
    let used = || threads.lock().unwrap().iter().map(|thread| cpu_us(thread)).sum::<u64>();
    let before = used();
    std::thread::sleep(Duration::from_secs(4));
    let used = used() - before;
    println!("{used} us in 4 s for two shards with 6,000 connections");
    // 0.1 % of a core for each shard; glommio's heartbeat costs several times as much without optimisation.
    let allowed = if cfg!(debug_assertions) { 24_000 } else { 8_000 };
    assert!(used < allowed, "{used} us in 4 s");
    assert!(total(&shards, |s| &s.parks) > 0);
    drop(streams);
    stop(shards);
}

/// CPU time of a thread, microseconds.
fn cpu_us(thread: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(std::path::Path::new("/proc").join(thread).join("schedstat")).unwrap();
    text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap() / 1000
}

/// Pauses each connection when it says so, reads again after a while.
struct Pauser {
    log: Arc<Mutex<Vec<String>>>,
}

impl Script for Pauser {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        self.log.lock().unwrap().push(format!("received {}", bytes.len()));
        if bytes == b"pause" {
            io.pause(id);
            io.set_timer(id.to_bits(), io.now_ms() + 400);
        }
    }
    fn timer(&mut self, io: &mut Port<'_, Self>, key: u64) {
        self.log.lock().unwrap().push("resume".into());
        io.resume(ConnectionId::from_bits(key));
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, cause: Closed) {
        self.log.lock().unwrap().push(format!("{cause:?}"));
    }
}

fn paused(end: impl FnOnce(TcpStream), expected: &[&str]) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let written = log.clone();
    let shards = start(config(1), move |_| Pauser { log: written.clone() });
    let mut stream = client(shards.addresses()[0]);
    stream.write_all(b"pause").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    end(stream);
    std::thread::sleep(Duration::from_millis(150));
    let early: Vec<String> = log.lock().unwrap().clone();
    assert!(!early.contains(&"resume".to_string()) && !early.contains(&"received 3".to_string()));
    eventually("the end", || log.lock().unwrap().len() >= expected.len());
    assert_eq!(*log.lock().unwrap(), expected);
    stop(shards);
}

#[test]
fn paused_bytes_before_an_end_arrive_after_resume() {
    let end = |mut stream: TcpStream| stream.write_all(b"abc").unwrap();
    paused(end, &["received 5", "resume", "received 3", "Peer"]);
}

#[test]
fn a_paused_peer_that_closes_is_noticed_after_resume() {
    paused(drop, &["received 5", "resume", "Peer"]);
}

#[test]
fn a_paused_peer_that_resets_is_noticed_at_once() {
    let end = |mut stream: TcpStream| {
        stream.write_all(b"abc").unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    paused(end, &["received 5", "Reset", "resume"]);
}

/// Does as the client says, and counts.
struct Churn {
    accepted: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
}

impl Script for Churn {
    fn accepted(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, _accepted: Accepted) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        match bytes[0] {
            b'e' => io.output(id).push(b'e'),
            b'f' => {
                io.output(id).push(b'f');
                io.close(id, Close::Flush);
            }
            b'b' => {
                // More than the socket takes, then gone while blocked.
                io.output(id).extend_from_slice(&[0; 8_000_000]);
                io.set_timer(id.to_bits(), io.now_ms() + 20);
            }
            b'm' => {
                let to = shards::ShardId((io.shard().0 + 1) % io.shards());
                io.hand_over(id, to, Vec::new());
            }
            _ => io.close(id, Close::Abort),
        }
    }
    fn timer(&mut self, io: &mut Port<'_, Self>, key: u64) {
        io.close(ConnectionId::from_bits(key), Close::Abort);
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, _cause: Closed) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// One connection's life, of seven kinds.
fn live(address: SocketAddr, kind: u64) {
    let mut stream = client(address);
    let mut bytes = Vec::new();
    let reset = |stream: &TcpStream| socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    match kind {
        0 => {
            stream.write_all(b"e").unwrap();
            assert_eq!(read(&mut stream, 1), b"e");
        }
        1 => reset(&stream),
        2 => {
            stream.write_all(b"e").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"e");
        }
        3 => {
            stream.write_all(b"f").unwrap();
            stream.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"f");
        }
        4 => {
            stream.write_all(b"a").unwrap();
            let _ = stream.read_to_end(&mut bytes);
        }
        5 => {
            stream.write_all(b"m").unwrap();
            if bytes.is_empty() && address.port().is_multiple_of(2) {
                reset(&stream);
            }
        }
        _ => {
            stream.write_all(b"e").unwrap();
            reset(&stream);
        }
    }
}

/// `count` connections from `threads` clients; afterwards nothing is left.
fn churn(config: shards::Config, count: u64, threads: u64) {
    let (accepted, closed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (accepted.clone(), closed.clone());
    let shards = start(config, move |_| Churn { accepted: counts.0.clone(), closed: counts.1.clone() });
    let address = shards.addresses()[0];
    let begin = Instant::now();
    let clients: Vec<_> = (0..threads)
        .map(|thread| {
            std::thread::spawn(move || (0..count / threads).for_each(|n| live(address, (n + thread) % 7)))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    // A few that are blocked when they end.
    for round in 0..40 {
        let mut stream = client(address);
        stream.write_all(b"b").unwrap();
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    let end = Instant::now() + Duration::from_secs(10);
    while total(&shards, |s| &s.connections) > 0
        || accepted.load(Ordering::Relaxed) > closed.load(Ordering::Relaxed)
    {
        let left = (accepted.load(Ordering::Relaxed), closed.load(Ordering::Relaxed));
        assert!(Instant::now() < end, "(accepted, closed) {left:?}, {:?}", shards.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("{} connections in {:?}", accepted.load(Ordering::Relaxed), begin.elapsed());
    // Every slot is usable again: echo over more connections than ever lived at once.
    let mut streams: Vec<_> = (0..500).map(|_| client(address)).collect();
    for stream in &mut streams {
        stream.write_all(b"e").unwrap();
        assert_eq!(read(stream, 1), b"e");
    }
    stop(shards);
}

#[test]
fn churn_over_several_small_rings() {
    churn(shards::Config { connections_max: 600, ring_slots_max: Some(250), ..config(2) }, 20_000, 16);
}

#[test]
fn churn_of_200_000_connections_leaves_nothing_behind() {
    churn(config(2), 200_000, 32);
}
