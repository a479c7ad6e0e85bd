//! Bytes come back: one and several shards, one and several rings, large and small.

use std::io::{Read, Write};
use std::net::Shutdown;

use shards::{Close, ConnectionId};

use crate::script::*;

pub(crate) struct Echo;

impl Script for Echo {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        io.output(id).extend_from_slice(bytes);
    }
}

fn echo(config: shards::Config, clients: usize) {
    let shards = start(config, |_| Echo);
    let address = shards.addresses()[0];
    let mut streams: Vec<_> = (0..clients).map(|_| client(address)).collect();
    for round in 0..20u32 {
        for (number, stream) in streams.iter_mut().enumerate() {
            let text = format!("client {number} round {round}");
            stream.write_all(text.as_bytes()).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let text = format!("client {number} round {round}");
            assert_eq!(read(stream, text.len()), text.as_bytes());
        }
        if round % 7 == 0 {
            // Long enough to fall asleep.
            std::thread::sleep(std::time::Duration::from_millis(80));
        }
    }
    let connections = |shards: &shards::Shards<Run<Echo>>| -> u64 {
        shards.stats().iter().map(|s| s.connections.load(std::sync::atomic::Ordering::Relaxed)).sum()
    };
    eventually("all counted", || connections(&shards) == clients as u64);
    drop(streams);
    eventually("all closed", || connections(&shards) == 0);
    stop(shards);
}

#[test]
fn echo_one_shard() {
    echo(config(1), 50);
}

#[test]
fn echo_two_shards() {
    echo(config(2), 50);
}

#[test]
fn echo_five_shards() {
    echo(config(5), 50);
}

#[test]
fn echo_several_rings() {
    let config = shards::Config { ring_slots_max: Some(600), ..config(2) };
    echo(config, 200);
}

#[test]
fn echo_large() {
    let shards = start(config(1), |_| Echo);
    let mut stream = client(shards.addresses()[0]);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(7919) >> 5) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let sent = bytes.clone();
    let thread = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    assert!(read(&mut stream, bytes.len()) == bytes);
    thread.join().unwrap();
    stop(shards);
}

#[test]
fn half_close_gets_the_answer_then_the_end() {
    let shards = start(config(1), |_| Echo);
    let mut stream = client(shards.addresses()[0]);
    stream.write_all(b"last words").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"last words");
    stop(shards);
}

struct Refuse;

impl Script for Refuse {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, _bytes: &[u8]) {
        io.output(id).extend_from_slice(b"no");
        io.close(id, Close::Flush);
        io.output(id).extend_from_slice(b"never seen");
    }
}

#[test]
fn close_after_flush_delivers_what_was_queued_even_over_unread_input() {
    let shards = start(config(1), |_| Refuse);
    for _ in 0..200 {
        let mut stream = client(shards.addresses()[0]);
        stream.write_all(&[7; 100_000]).unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is what TCP does with input that arrives later; the answer is what counts.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"no");
    }
    stop(shards);
}
