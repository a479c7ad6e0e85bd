//! limits.memory_max: under a flood the broker lets go of what it may, pauses who publishes, refuses who comes, stays
//! within its memory, and is as before when the flood is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::limited;
use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Connect, Packet, Publish, Version};

const MAX_MB: u64 = 200;

fn resident_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

/// Publishes until it is told to end; what the broker does not read stays in the socket.
fn flood(broker: &Broker, number: usize, is_over: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (address, is_over) = (broker.address, Arc::clone(is_over));
    thread::spawn(move || {
        let mut client = Client::open(address, Version::V50);
        client.send(Connect::v5(&format!("flood-{number}")));
        client.recv_connack();
        let packet = Packet::from(Publish::new("flood", vec![b'x'; 60_000])).encode(Version::V50);
        let acked =
            |id| Packet::from(Publish::new("kept", vec![b'y'; 60_000]).qos(1).id(id)).encode(Version::V50);
        let mut id = 0;
        while !is_over.load(Ordering::Relaxed) {
            if !client.try_send_bytes(&packet, Duration::from_millis(200)) {
                return;
            }
            id = id % 50 + 1;
            if !client.try_send_bytes(&acked(id), Duration::from_millis(200)) {
                return;
            }
            client.skip_received();
        }
    })
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
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(6) {
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
        assert!(peak > MAX_MB / 2, "{peak} MB: no flood at all\n{log}");
        assert!(peak < MAX_MB + MAX_MB / 4, "{peak} MB of {MAX_MB}\n{log}");
        assert!(log.contains("publishers are paused"), "{log}");
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
