//! Slow readers: what does not fit into the socket waits and arrives whole, in order, byte for byte.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use shards::{Close, Closed, ConnectionId};

use crate::script::*;

const LEN: usize = 8_000_000;

/// What connection `seed` is sent.
fn text(seed: u8) -> &'static [u8] {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let byte = |i: u32| i.wrapping_mul(2_654_435_761).rotate_left(9) as u8 ^ (i >> 16) as u8;
        (0..LEN as u32 + 256).map(byte).collect()
    });
    &text[usize::from(seed)..][..LEN]
}

/// Sends `LEN` bytes in pieces of all sizes, own and shared ones mixed, keeping at most 300 kB waiting.
struct Source {
    flows: Vec<Flow>,
    drained: Arc<AtomicU64>,
}

struct Flow {
    id: ConnectionId,
    seed: u8,
    at: usize,
    random: u32,
}

impl Flow {
    fn pump(&mut self, io: &mut Port<'_, Source>) {
        while self.at < LEN && io.outbound_len(self.id) < 300_000 {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = [1, 20, 700, 5_000, 70_000][(self.random >> 29) as usize % 5].min(LEN - self.at);
            let before = io.outbound_len(self.id);
            let bytes = &text(self.seed)[self.at..self.at + len];
            if self.random & 0x1000 == 0 {
                io.output(self.id).extend_from_slice(bytes);
            } else {
                io.output_shared(self.id, Bytes::from_static(bytes));
            }
            assert_eq!(io.outbound_len(self.id), before + len);
            self.at += len;
        }
        assert_eq!(io.want_drained(self.id), io.outbound_len(self.id) > 0);
    }
}

impl Script for Source {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        let mut flow = Flow { id, seed: bytes[0], at: 0, random: u32::from(bytes[0]) };
        flow.pump(io);
        self.flows.push(flow);
    }
    fn drained(&mut self, io: &mut Port<'_, Self>, id: ConnectionId) {
        assert_eq!(io.outbound_len(id), 0);
        self.drained.fetch_add(1, Ordering::Relaxed);
        for flow in &mut self.flows {
            if flow.id == id {
                flow.pump(io);
            }
        }
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, id: ConnectionId, _cause: Closed) {
        self.flows.retain(|flow| flow.id != id);
    }
}

#[test]
fn random_stalls_lose_nothing() {
    let drained = Arc::new(AtomicU64::new(0));
    let count = drained.clone();
    let config = shards::Config { ring_slots_max: Some(800), ..config(2) };
    let shards = start(config, move |_| Source { flows: Vec::new(), drained: count.clone() });
    let address = shards.addresses()[0];
    let readers: Vec<_> = (1..=6u8)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut stream = client(address);
                socket2::SockRef::from(&stream).set_recv_buffer_size(20_000).unwrap();
                stream.write_all(&[seed]).unwrap();
                std::thread::sleep(Duration::from_millis(300));
                let (mut at, mut random, mut buffer) = (0, u32::from(seed), vec![0; 50_000]);
                while at < LEN {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if random >> 28 == 0 {
                        std::thread::sleep(Duration::from_millis(u64::from(random >> 20 & 63)));
                    }
                    let len = 1 + (random >> 8) as usize % buffer.len();
                    let n = stream.read(&mut buffer[..len]).unwrap();
                    assert!(n > 0, "closed at {at}");
                    assert!(buffer[..n] == text(seed)[at..at + n], "connection {seed}, from byte {at}");
                    at += n;
                }
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    let short: u64 = shards.stats().iter().map(|s| s.short_sends.load(Ordering::Relaxed)).sum();
    println!("{short} short sends, drained {}", drained.load(Ordering::Relaxed));
    assert!(short > 10, "only {short} short sends: this test has tested nothing");
    assert!(drained.load(Ordering::Relaxed) > 5);
    stop(shards);
}

/// Sends a lot, then closes.
struct Farewell {
    causes: std::sync::mpsc::Sender<Closed>,
    how: Close,
}

impl Script for Farewell {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, _bytes: &[u8]) {
        io.output_shared(id, Bytes::from_static(text(0)));
        io.close(id, self.how);
    }
    fn closed(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, cause: Closed) {
        let _ = self.causes.send(cause);
    }
}

fn farewell(
    how: Close,
    flush_timeout_ms: u64,
) -> (shards::Shards<Run<Farewell>>, std::sync::mpsc::Receiver<Closed>) {
    let (causes, told) = std::sync::mpsc::channel();
    let config = shards::Config { flush_timeout_ms, ..config(1) };
    (start(config, move |_| Farewell { causes: causes.clone(), how }), told)
}

#[test]
fn close_with_flush_waits_for_a_slow_reader() {
    let (shards, told) = farewell(Close::Flush, 8000);
    let mut stream = client(shards.addresses()[0]);
    stream.write_all(b"go").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), LEN);
    assert!(bytes == text(0));
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), Closed::Local);
    stop(shards);
}

#[test]
fn close_with_flush_gives_up_on_a_reader_that_stands_still() {
    let (shards, told) = farewell(Close::Flush, 1000);
    let mut stream = client(shards.addresses()[0]);
    stream.write_all(b"go").unwrap();
    let begin = std::time::Instant::now();
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), Closed::FlushTimeout);
    assert!(begin.elapsed() > Duration::from_millis(900));
    eventually("freed", || shards.stats()[0].connections.load(Ordering::Relaxed) == 0);
    stop(shards);
}

#[test]
fn a_peer_that_resets_while_output_is_blocked_is_noticed() {
    let (shards, told) = farewell(Close::Flush, 8000);
    let mut stream = client(shards.addresses()[0]);
    stream.write_all(b"go").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    // Unread input makes this a reset.
    drop(stream);
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), Closed::Reset);
    let (shards2, told) = farewell(Close::Abort, 1000);
    let mut stream = client(shards2.addresses()[0]);
    stream.write_all(b"go").unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), Closed::Local);
    stop(shards);
    stop(shards2);
}
