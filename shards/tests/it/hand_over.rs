//! Connections that move to another shard: nothing is lost, doubled or reordered on the way.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use shards::{Accepted, Close, Closed, ConnectionId, ShardId, Shards};

use crate::script::*;

/// Echoes with the number of its shard in front of each line. A line `>n` moves the connection to shard n,
/// the rest of the bytes received so far go along.
struct Mover {
    shard: ShardId,
    partial: HashMap<ConnectionId, Vec<u8>>,
}

impl Mover {
    fn lines(&mut self, io: &mut Port<'_, Self>, id: ConnectionId) {
        loop {
            let Some(partial) = self.partial.get_mut(&id) else { return };
            let Some(end) = partial.iter().position(|&b| b == b'\n') else { return };
            let line: Vec<u8> = partial.drain(..=end).collect();
            if line[0] == b'>' {
                let to = ShardId(std::str::from_utf8(&line[1..end]).unwrap().parse().unwrap());
                let rest = self.partial.remove(&id).unwrap();
                assert_eq!(io.outbound_len(id), 0);
                io.hand_over(id, to, rest);
                return;
            } else if line[0] == b'!' {
                io.close(id, Close::Flush);
            } else {
                let output = io.output(id);
                output.extend_from_slice(format!("{}:", self.shard.0).as_bytes());
                output.extend_from_slice(&line);
            }
        }
    }
}

impl Script for Mover {
    fn accepted(&mut self, _io: &mut Port<'_, Self>, id: ConnectionId, accepted: Accepted) {
        assert!(accepted.remote.ip().is_loopback() && accepted.remote.port() != 0);
        assert!(self.partial.insert(id, Vec::new()).is_none());
    }
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        self.partial.get_mut(&id).expect("known").extend_from_slice(bytes);
        self.lines(io, id);
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, id: ConnectionId, _cause: Closed) {
        assert!(self.partial.remove(&id).is_some(), "closed twice, or after it was handed over");
    }
    fn handed_over(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, accepted: Accepted, rest: Vec<u8>) {
        assert!(accepted.remote.port() != 0);
        assert!(self.partial.insert(id, rest).is_none());
        self.lines(io, id);
    }
    fn hand_over_failed(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, rest: Vec<u8>) {
        if rest.first() != Some(&b'>') {
            io.output(id).extend_from_slice(b"stayed\n");
        }
        self.partial.insert(id, rest);
        self.lines(io, id);
    }
}

fn movers(config: shards::Config) -> shards::Shards<Run<Mover>> {
    start(config, |shard| Mover { shard, partial: HashMap::new() })
}

fn idle(shards: &shards::Shards<Run<Mover>>) -> bool {
    shards.stats().iter().all(|s| s.connections.load(Ordering::Relaxed) == 0)
}

/// Sends one request after the other and checks who answers.
fn wander(config: shards::Config, clients: u16, rounds: u16) {
    let count = config.shards;
    let shards = movers(config);
    let mut streams: Vec<_> = (0..clients).map(|_| client(shards.addresses()[0])).collect();
    for round in 0..rounds {
        for (number, stream) in streams.iter_mut().enumerate() {
            let to = (number as u16 + round) % count;
            // In one piece, or with the tail sent while the connection is on its way.
            let (now, later) = (format!(">{to}\nfirst {round}\n"), format!("second {round}\n"));
            stream.write_all(now.as_bytes()).unwrap();
            stream.write_all(later.as_bytes()).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let to = (number as u16 + round) % count;
            let mut expected = format!("{to}:first {round}\n{to}:second {round}\n");
            let mut answer = read(stream, expected.len().min(7));
            if answer == b"stayed\n" {
                // It was there already.
                answer.clear();
            } else {
                expected = expected.split_off(7);
            }
            assert_eq!(String::from_utf8(read(stream, expected.len())).unwrap(), expected);
        }
    }
    drop(streams);
    eventually("all closed", || idle(&shards));
    stop(shards);
}

#[test]
fn to_and_fro_between_two_shards() {
    wander(config(2), 20, 50);
}

#[test]
fn around_five_shards_with_several_rings() {
    let config = shards::Config { ring_slots_max: Some(400), ..config(5) };
    wander(config, 40, 30);
}

#[test]
fn the_peer_closes_while_its_connection_moves() {
    let shards = movers(config(2));
    for round in 0..500 {
        let mut stream = client(shards.addresses()[0]);
        let to = round % 2;
        stream.write_all(format!(">{to}\n>{}\nbye\n", 1 - to).as_bytes()).unwrap();
        if round % 3 == 0 {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with(&format!("{}:bye\n", 1 - to)), "{round}: {answer:?}");
        }
    }
    eventually("all closed", || idle(&shards));
    stop(shards);
}

#[test]
fn a_full_target_leaves_the_connection_where_it_is() {
    // Shard 1 accepts nothing itself; everything moves there until it is full.
    let config = shards::Config { connections_max: 2700, ..config(2) };
    let shards = Shards::start(config, |shard, io: &mut Port<'_, Mover>| {
        if shard == ShardId(1) {
            io.stop_accepting();
        }
        Run(Mover { shard, partial: HashMap::new() })
    })
    .unwrap();
    let mut streams = Vec::new();
    let (mut moved, mut stayed) = (0, 0);
    while stayed < 50 {
        // Those that were to be accepted by shard 1 while it closed its listener are reset.
        let mut stream = client(shards.addresses()[0]);
        let mut answer = [0; 8];
        if stream.write_all(b">1\nhello\n").is_err() || stream.read_exact(&mut answer).is_err() {
            assert!(streams.len() < 10, "lost a connection after {moved} moves");
            continue;
        }
        match &answer {
            b"1:hello\n" => moved += 1,
            b"stayed\n0" => {
                assert_eq!(read(&mut stream, 7), b":hello\n");
                stayed += 1;
            }
            other => panic!("{other:?}"),
        }
        streams.push(stream);
    }
    assert!(moved > 2000, "moved {moved}");
    drop(streams);
    eventually("all closed", || idle(&shards));
    stop(shards);
}

#[test]
fn a_target_that_has_ended_leaves_the_connection_where_it_is() {
    let shards = Shards::start(config(2), |shard, io: &mut Port<'_, Mover>| {
        if shard == ShardId(1) {
            io.stop_accepting();
        }
        Run(Mover { shard, partial: HashMap::new() })
    })
    .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut streams: Vec<_> = (0..20).map(|_| client(shards.addresses()[0])).collect();
    let mut moved = client(shards.addresses()[0]);
    moved.write_all(b">1\nhello\n").unwrap();
    assert_eq!(read(&mut moved, 8), b"1:hello\n");
    shards.handle().send(ShardId(1), Word::Exit);
    // Some go while it ends: they end with it, or stay.
    for stream in &mut streams {
        stream.write_all(b">1\nhello\n").unwrap();
        let mut answer = String::new();
        let mut byte = [0];
        while !answer.ends_with("hello\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            answer.push(char::from(byte[0]));
        }
        assert!(["", "1:hello\n", "stayed\n0:hello\n"].contains(&&answer[..]), "{answer:?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    eventually("ended", || !shards.handle().send(ShardId(1), Word::Number(0)));
    let mut stream = client(shards.addresses()[0]);
    stream.write_all(b">1\nhello\n").unwrap();
    assert_eq!(read(&mut stream, 15), b"stayed\n0:hello\n");
    assert_eq!(moved.read(&mut [0; 8]).unwrap(), 0);
    stop(shards);
}

#[test]
fn descriptors_for_quiet_rings_are_noticed_at_once() {
    // Rings so small that most connections move into one that has no other traffic than such arrivals.
    let config = shards::Config { connections_max: 1200, ring_slots_max: Some(64), ..config(2) };
    let shards = movers(config);
    let address = shards.addresses()[0];
    let begin = std::time::Instant::now();
    let mut clients = Vec::new();
    for number in 0..500 {
        let mut stream = client(address);
        stream.write_all(format!(">1\n>0\n>1\nhello {number}\n").as_bytes()).unwrap();
        let expected = format!("1:hello {number}\n");
        assert_eq!(read(&mut stream, expected.len()), expected.as_bytes());
        clients.push(stream);
    }
    // One that is noticed only by the look around of an idle shard takes half a second.
    assert!(begin.elapsed().as_secs() < 20, "{:?} for 500 connections", begin.elapsed());
    drop(clients);
    eventually("all closed", || idle(&shards));
    stop(shards);
}
