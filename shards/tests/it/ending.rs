//! Ends: of the shards, and of the process when one fails.

use std::io::Read;
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
