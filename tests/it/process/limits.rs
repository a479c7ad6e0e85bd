//! Limits of the whole node: connections at capacity, connections that come and go, an idle broker's CPU.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Publish, Version};

/// Connects once a place is free: a place becomes free a moment after its connection has closed.
fn connect_when_free(broker: &Broker, id: &str) -> Client {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let mut client = broker.open(Version::V50);
        client.send(Connect::v5(id));
        if client.recv_connack().reason == 0 {
            return client;
        }
        assert!(Instant::now() < deadline, "no place becomes free");
        thread::sleep(Duration::from_millis(20));
    }
}

sharded!(
    mqtt5_section_3_2_2_2_at_capacity_a_client_is_refused_with_0x97,
    "limits.max_connections=5",
    |broker| {
        let mut clients: Vec<_> =
            (0..5).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
        for number in 0..3 {
            broker.expect_refused(Connect::v5(&format!("late-{number}")), 0x97);
            broker.expect_refused(Connect::v311(&format!("old-{number}")), 0x03);
        }
        clients.iter_mut().for_each(Client::ping);
        clients.pop().unwrap().disconnect();
        clients.push(connect_when_free(broker, "next"));
        clients.iter_mut().for_each(Client::ping);
    }
);

sharded!(connections_that_come_and_go_leave_nothing_behind, "sys.interval_s=1", |broker| {
    for round in 0..20 {
        let clients: Vec<_> = (0..50)
            .map(|number| {
                let mut client = broker.connect(Connect::v311(&format!("c-{}", (round * 7 + number) % 120)));
                client.subscribe(&format!("t/{number}"), 1);
                client.publish(Publish::new(&format!("t/{number}"), "x").qos(1));
                client
            })
            .collect();
        drop(clients);
    }
    let mut watcher = broker.connect(Connect::v311("watcher"));
    watcher.subscribe("$SYS/#", 0);
    let mut numbers = HashMap::new();
    let deadline = Instant::now() + TIMEOUT;
    let wanted =
        [("stats/clients/count", "1"), ("stats/sessions/count", "1"), ("stats/subscriptions/count", "1")];
    if crate::broker::peer_is_mosquitto() {
        return println!("skipped: Mosquitto's numbers have other names");
    }
    while !wanted.iter().all(|(name, value)| numbers.get(*name).is_some_and(|number| number == value)) {
        assert!(Instant::now() < deadline, "left behind: {numbers:?}");
        let publish = watcher.recv_publish();
        let name = publish.topic.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        numbers.insert(name, publish.text());
    }
});

/// Ticks of CPU time that the process has used, of which a second has 100.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

sharded!(an_idle_broker_uses_no_cpu, |broker| {
    let mut clients: Vec<_> =
        (0..300).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
    clients.iter_mut().for_each(Client::ping);
    thread::sleep(Duration::from_millis(500));
    let before = cpu_ticks(broker.pid());
    thread::sleep(Duration::from_secs(3));
    let used = cpu_ticks(broker.pid()) - before;
    assert!(used <= 3, "{used} ticks of 300");
});
