//! Ends: of the shards, and of the process when one fails.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use shards::{Accepted, Closed, ConnectionId, ShardId};

use crate::script::*;

/// Writes a lot to everyone and logs every end.
struct Last {
    ends: Sender<Closed>,
}

impl Script for Last {
    fn accepted(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, _accepted: Accepted) {
        io.output(id).extend_from_slice(&[b'x'; 6_000_000]);
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, cause: Closed) {
        let _ = self.ends.send(cause);
    }
}

#[test]
fn exit_flushes_what_is_queued_and_closes_every_connection_once() {
    let (ends, told) = channel();
    let config = shards::Config { flush_timeout_ms: 8000, ring_slots_max: Some(700), ..config(2) };
    let shards = start(config, move |_| Last { ends: ends.clone() });
    let address = shards.addresses()[0];
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = client(address);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(400));
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                bytes.len()
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    stop(shards);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 6_000_000);
    }
    let ends: Vec<Closed> = told.try_iter().collect();
    assert_eq!(ends, vec![Closed::Local; 8]);
}

#[test]
fn exit_does_not_wait_for_ever_for_a_reader_that_stands_still() {
    let (ends, told) = channel();
    let config = shards::Config { flush_timeout_ms: 500, ..config(1) };
    let shards = start(config, move |_| Last { ends: ends.clone() });
    let _stream = client(shards.addresses()[0]);
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    stop(shards);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Closed::FlushTimeout]);
}

struct Fragile;

impl Script for Fragile {
    fn message(&mut self, _io: &mut Port<'_, Self>, _from: Option<ShardId>, _word: Word) {
        panic!("on purpose");
    }
}

/// Not a test of its own: the child of the next one.
#[test]
#[ignore = "run by a_panic_on_a_shard_ends_the_process"]
fn child_that_panics() {
    let shards = start(config(2), |_| Fragile);
    shards.handle().send(ShardId(1), Word::Number(0));
    std::thread::sleep(Duration::from_secs(20));
    drop(shards);
}

#[test]
fn a_panic_on_a_shard_ends_the_process() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "ending::child_that_panics", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(70));
    let told = String::from_utf8_lossy(&child.stderr);
    assert!(told.contains("shard 1 failed: panic on its thread; the process ends"), "{told}");
}

/// Two clients speak in one turn; the first one's callback pauses the second's connection, or gives it away,
/// when its bytes have been received and not yet delivered.
struct Meddler {
    hand_over: bool,
    known: Vec<ConnectionId>,
    done: bool,
    log: Sender<String>,
}

impl Script for Meddler {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.log.send(format!("{} received {text}", io.shard().0)).unwrap();
        if text == "hello" {
            self.known.push(id);
        } else if text == "go" && !self.done && io.shard() == ShardId(0) {
            self.done = true;
            let other = *self.known.iter().find(|&&known| known != id).unwrap();
            if self.hand_over {
                io.hand_over(other, ShardId(1), b"moved".to_vec());
            } else {
                io.pause(other);
                io.set_timer(other.to_bits(), io.now_ms() + 200);
            }
        }
    }
    fn handed_over(&mut self, io: &mut Port<'_, Self>, _id: ConnectionId, _: Accepted, word: Vec<u8>) {
        self.log.send(format!("{} {}", io.shard().0, String::from_utf8(word).unwrap())).unwrap();
    }
    fn timer(&mut self, io: &mut Port<'_, Self>, key: u64) {
        self.log.send("resume".into()).unwrap();
        io.resume(ConnectionId::from_bits(key));
    }
    fn message(&mut self, _io: &mut Port<'_, Self>, _from: Option<ShardId>, _word: Word) {
        // Both clients speak meanwhile.
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn meddle(hand_over: bool) -> Vec<String> {
    let (log, told) = channel();
    let shards = shards::Shards::start(config(2), move |shard, io: &mut Port<'_, Meddler>| {
        if shard == ShardId(1) {
            io.stop_accepting();
        }
        Run(Meddler { hand_over, known: Vec::new(), done: false, log: log.clone() })
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut clients: Vec<_> = (0..2).map(|_| client(shards.addresses()[0])).collect();
    let next = || told.recv_timeout(Duration::from_secs(10)).unwrap();
    for stream in &mut clients {
        stream.write_all(b"hello").unwrap();
        assert_eq!(next(), "0 received hello");
    }
    shards.handle().send(ShardId(0), Word::Number(0));
    std::thread::sleep(Duration::from_millis(100));
    for stream in &mut clients {
        stream.write_all(b"go").unwrap();
    }
    let lines = (0..3).map(|_| next()).collect();
    for stream in &mut clients {
        stream.write_all(b"on").unwrap();
        assert!(next().ends_with("received on"));
    }
    stop(shards);
    lines
}

#[test]
fn bytes_received_before_a_pause_by_another_wait_for_the_resume() {
    assert_eq!(meddle(false), ["0 received go", "resume", "0 received go"]);
}

#[test]
fn bytes_received_before_a_hand_over_by_another_follow_it() {
    assert_eq!(meddle(true), ["0 received go", "1 moved", "1 received go"]);
}
