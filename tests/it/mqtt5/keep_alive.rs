//! Keep Alive (section 3.1.2.10) and PINGREQ.

use std::thread;
use std::time::{Duration, Instant};

use crate::wire::{Connect, Packet, Publish};

/// The broker may look at its clocks once a second and be late on a busy machine, but never early.
fn in_time(start: Instant, keep_alive_s: f64) {
    let waited = start.elapsed().as_secs_f64();
    assert!(
        waited > keep_alive_s * 1.5 - 0.6 && waited < keep_alive_s * 1.5 + 3.0,
        "closed after {waited} s"
    );
}

sharded!(mqtt5_3_1_2_22_keep_alive_expires, |broker| {
    let mut client = broker.connect(Connect::v5("c").keep_alive_s(2));
    let start = Instant::now();
    client.expect_disconnect(0x8D);
    in_time(start, 2.0);
});

sharded!(mqtt5_3_1_2_22_keep_alive_does_not_expire_before_its_time, |broker| {
    let mut client = broker.connect(Connect::v5("c").keep_alive_s(2));
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(1900));
        client.ping();
    }
});

sharded!(mqtt5_section_3_1_2_10_any_packet_counts_for_keep_alive, |broker| {
    let mut client = broker.connect(Connect::v5("c").keep_alive_s(1));
    for _ in 0..6 {
        thread::sleep(Duration::from_millis(700));
        client.send(Publish::new("t", "x"));
    }
    client.ping();
});

sharded!(mqtt5_section_3_1_2_10_what_the_client_receives_does_not_count, |broker| {
    let mut client = broker.connect(Connect::v5("c").keep_alive_s(1));
    client.subscribe("t", 0);
    let start = Instant::now();
    let mut publisher = broker.connect(Connect::v5("p"));
    let reason = loop {
        publisher.send(Publish::new("t", "x"));
        match client.recv() {
            Packet::Publish(_) => thread::sleep(Duration::from_millis(100)),
            Packet::Disconnect(disconnect) => break disconnect.reason,
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(8), "still open");
    };
    assert_eq!(reason, 0x8D);
});

sharded!(mqtt5_section_3_1_2_10_keep_alive_0_means_none, |broker| {
    let mut client = broker.connect(Connect::v5("c").keep_alive_s(0));
    assert_eq!(client.recv_within(Duration::from_secs(4)), None);
    client.ping();
});

sharded!(mqtt5_3_2_2_21_server_keep_alive_is_the_one_that_counts, "limits.keep_alive_s_max=1", |broker| {
    for asked in [60, 0] {
        let mut client = broker.connect(Connect::v5("c").keep_alive_s(asked));
        let start = Instant::now();
        client.expect_disconnect(0x8D);
        in_time(start, 1.0);
    }
});

sharded!(mqtt5_section_3_1_2_10_keep_alive_is_that_of_the_last_connect, |broker| {
    broker.connect(Connect::v5("c").persistent().keep_alive_s(1)).disconnect();
    let mut client = broker.connect(Connect::v5("c").persistent().keep_alive_s(60));
    assert_eq!(client.recv_within(Duration::from_secs(4)), None);
    client.ping();
});

sharded!(mqtt5_3_12_4_1_pingreq_gets_pingresp, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    for _ in 0..10 {
        client.send(Packet::Pingreq);
    }
    for _ in 0..10 {
        assert_eq!(client.recv(), Packet::Pingresp);
    }
    client.expect_nothing();
});
