//! limits.memory_max: under a flood the broker lets go of what it may, pauses who publishes, refuses who comes, stays
//! within its memory, and is as before when the flood is over.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::limited;
use crate::broker::Broker;
use crate::wire::{Connect, Packet, Publish, Version};

const MAX_MB: u64 = 200;

fn resident_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

/// Publishes until it is told to end, on a socket of its own: what the broker does not read stays in it.
fn flood(broker: &Broker, number: usize, is_over: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (address, is_over) = (broker.address, Arc::clone(is_over));
    let encode = |packet: Packet| packet.encode(Version::V50);
    thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.write_all(&encode(Connect::v5(&format!("flood-{number}")).into())).unwrap();
        let dropped = encode(Publish::new("flood", vec![b'x'; 60_000]).into());
        let mut id = 0;
        while !is_over.load(Ordering::Relaxed) {
            id = id % 50 + 1;
            let kept = encode(Publish::new("kept", vec![b'y'; 60_000]).qos(1).id(id).into());
            if !send(&mut stream, &dropped, &is_over) || !send(&mut stream, &kept, &is_over) {
                return;
            }
            stream.set_nonblocking(true).unwrap();
            let mut acknowledgements = [0; 65536];
            while stream.read(&mut acknowledgements).is_ok_and(|count| count > 0) {}
            stream.set_nonblocking(false).unwrap();
        }
    })
}

/// False: the broker has closed, or the flood is over.
fn send(stream: &mut TcpStream, mut bytes: &[u8], is_over: &AtomicBool) -> bool {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if is_over.load(Ordering::Relaxed) {
                    return false;
                }
            }
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

#[test]
fn a_flood_does_not_exceed_the_memory_and_leaves_no_trace() {
    for shards in [1, 2] {
        let broker = limited(
            shards,
            &[
                &format!("limits.memory_max={}", MAX_MB << 20),
                "limits.outbound_bytes=100000000",
                "session.queue_len_max=1000000",
                "limits.receive_max=65535",
                "limits.subscriptions_expected=1000",
            ],
        );
        // Those who do not read, and those who are away.
        let mut slow: Vec<_> = (0..4)
            .map(|number| {
                let mut client = broker.connect(Connect::v5(&format!("slow-{number}")));
                client.subscribe("flood", 0);
                client
            })
            .collect();
        for number in 0..3 {
            let mut client = broker.connect(Connect::v5(&format!("away-{number}")).persistent());
            client.subscribe("kept", 1);
            client.abort();
        }
        let mut idle = broker.connect(Connect::v5("idle"));
        let is_over = Arc::new(AtomicBool::new(false));
        let floods: Vec<_> = (0..4).map(|number| flood(&broker, number, &is_over)).collect();
        let (mut peak, mut refused) = (0, false);
        // Until publishers were paused, and two seconds more of the same.
        let mut end = Instant::now() + Duration::from_secs(60);
        let mut is_paused = false;
        while Instant::now() < end {
            if !is_paused && broker.output().contains("publishers are paused") {
                is_paused = true;
                end = Instant::now() + Duration::from_secs(2);
            }
            peak = peak.max(resident_mb(broker.pid()));
            idle.ping();
            let mut late = broker.open(Version::V50);
            late.send(Connect::v5("late"));
            refused |= matches!(late.try_recv(), Some(Packet::Connack(connack)) if connack.reason == 0x97);
            thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
        floods.into_iter().for_each(|flood| flood.join().unwrap());
        let log = broker.output();
        assert!(is_paused, "{peak} MB of {MAX_MB}: no flood at all\n{log}");
        assert!(peak < MAX_MB + MAX_MB / 4, "{peak} MB of {MAX_MB}\n{log}");
        println!("{shards} shards: peak {peak} MB, refused {refused}");
        slow.clear();
        // All is as before: somebody new comes in, publishes, and is heard.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < deadline, "no recovery\n{}", broker.output());
            let mut client = broker.open(Version::V50);
            client.send(Connect::v5("after"));
            let is_in = matches!(client.try_recv(), Some(Packet::Connack(connack)) if connack.reason == 0);
            if is_in {
                client.subscribe("after", 1);
                client.send(Publish::new("after", "x").qos(1).id(7));
                if client.recv_within(Duration::from_secs(2)).is_some() {
                    break;
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
        idle.ping();
    }
}
