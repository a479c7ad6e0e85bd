//! Everything at once: echo while connections are paused, resumed and handed over at random. What comes back is
//! what was sent, byte for byte, wherever the connection has been.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use shards::{Accepted, Close, Closed, ConnectionId, ShardId};

use crate::script::*;

const LEN: usize = 1_500_000;

/// Echoes; its random source decides what else happens.
struct Fate {
    random: u64,
    here: u64,
}

/// What a timer is for, in the bits of its key that a generation does not use.
const MOVE: u64 = 1 << 63;

impl Fate {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 33) % below
    }

    fn elsewhere(&mut self, io: &Port<'_, Self>) -> ShardId {
        let step = 1 + self.random(u64::from(io.shards()) - 1) as u16;
        ShardId((io.shard().0 + step) % io.shards())
    }
}

impl Script for Fate {
    fn accepted(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, _accepted: Accepted) {
        self.here += 1;
    }
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        if io.outbound_len(id) > 500_000 {
            // The reader is slow: so are we.
            io.pause(id);
            io.set_timer(id.to_bits(), io.now_ms() + 20);
        }
        match self.random(12) {
            0 => {
                io.pause(id);
                io.set_timer(id.to_bits(), io.now_ms() + self.random(40));
            }
            1 if io.outbound_len(id) == 0 => {
                let to = self.elsewhere(io);
                io.hand_over(id, to, bytes.to_vec());
                return;
            }
            2 => io.set_timer(MOVE | id.to_bits(), io.now_ms() + self.random(10)),
            _ => {}
        }
        if self.random(2) == 0 {
            io.output_shared(id, bytes::Bytes::copy_from_slice(bytes));
        } else {
            io.output(id).extend_from_slice(bytes);
        }
    }
    fn handed_over(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, _: Accepted, bytes: Vec<u8>) {
        self.here += 1;
        io.output(id).extend_from_slice(&bytes);
        if self.random(3) == 0 {
            io.pause(id);
            io.set_timer(id.to_bits(), io.now_ms() + self.random(20));
        }
    }
    fn hand_over_failed(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: Vec<u8>) {
        io.output(id).extend_from_slice(&bytes);
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, cause: Closed) {
        assert!(matches!(cause, Closed::Peer | Closed::Reset | Closed::Local), "{cause:?}");
    }
    fn timer(&mut self, io: &mut Port<'_, Self>, key: u64) {
        let id = ConnectionId::from_bits(key & !MOVE);
        if key & MOVE == 0 {
            io.resume(id);
        } else if io.outbound_len(id) == 0 {
            let to = self.elsewhere(io);
            // Perhaps paused, perhaps with bytes on their way in.
            io.hand_over(id, to, Vec::new());
        }
    }
    fn message(&mut self, io: &mut Port<'_, Self>, _from: Option<ShardId>, _word: Word) {
        // Never sent: closes a stale identifier, which does nothing.
        io.close(ConnectionId::from_bits(0), Close::Abort);
    }
}

fn torture(config: shards::Config, clients: u64) {
    let shards = start(config, |shard| Fate { random: u64::from(shard.0) * 7 + 3, here: 0 });
    let address = shards.addresses()[0];
    let threads: Vec<_> = (0..clients)
        .map(|number| {
            std::thread::spawn(move || {
                let text = move |i: usize| (i.wrapping_mul(31) >> 3) as u8 ^ (i >> 11) as u8 ^ number as u8;
                let mut stream = client(address);
                let mut writer = stream.try_clone().unwrap();
                let sender = std::thread::spawn(move || {
                    let (mut at, mut random) = (0, number);
                    while at < LEN {
                        random = random.wrapping_mul(6364136223846793005).wrapping_add(99);
                        let len = [1, 30, 900, 20_000][(random >> 40) as usize % 4].min(LEN - at);
                        let piece: Vec<u8> = (at..at + len).map(text).collect();
                        writer.write_all(&piece).unwrap();
                        at += len;
                        if (random >> 50).is_multiple_of(16) {
                            std::thread::sleep(std::time::Duration::from_millis(random >> 58));
                        }
                    }
                });
                let (mut at, mut buffer) = (0, vec![0; 30_000]);
                while at < LEN {
                    let n =
                        stream.read(&mut buffer).unwrap_or_else(|e| panic!("client {number} at {at}: {e}"));
                    assert!(n > 0, "client {number}: end at {at}");
                    let good = buffer[..n].iter().enumerate().all(|(i, &byte)| byte == text(at + i));
                    assert!(good, "client {number}: other bytes from {at}");
                    at += n;
                }
                sender.join().unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    eventually("all closed", || {
        shards.stats().iter().all(|stats| stats.connections.load(Ordering::Relaxed) == 0)
    });
    let moved: u64 = shards.stats().iter().map(|stats| stats.handed_over.load(Ordering::Relaxed)).sum();
    println!("{moved} hand-overs");
    assert!(moved > 100, "only {moved} hand-overs");
    stop(shards);
}

#[test]
fn echo_survives_pauses_and_hand_overs() {
    torture(config(2), 12);
}

#[test]
fn echo_survives_pauses_and_hand_overs_over_many_rings() {
    torture(shards::Config { ring_slots_max: Some(300), ..config(4) }, 12);
}
