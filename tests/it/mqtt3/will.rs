//! Wills and Keep Alive in 3.1.1 and 3.1 (sections 3.1.2.5, 3.1.2.10).

use std::thread;
use std::time::{Duration, Instant};

use super::OLD;
use crate::wire::{Connect, Will};

sharded!(mqtt3_3_1_2_8_will_is_published_when_the_connection_breaks, |broker| {
    for version in OLD {
        for qos in 0..3 {
            let mut watcher = broker.connect(Connect::new(version, "w"));
            watcher.subscribe("will/#", 2);
            broker.connect(Connect::new(version, "c").will(Will::new("will/t", "gone").qos(qos))).abort();
            let publish = watcher.expect_message("will/t", "gone");
            assert_eq!((publish.qos, publish.retain), (qos, false));
            watcher.expect_nothing();
        }
    }
});

sharded!(mqtt3_3_1_2_10_disconnect_discards_the_will, |broker| {
    for version in OLD {
        let mut watcher = broker.connect(Connect::new(version, "w"));
        watcher.subscribe("will/#", 2);
        broker.connect(Connect::new(version, "c").will(Will::new("will/t", "gone"))).disconnect();
        watcher.expect_nothing();
    }
});

sharded!(mqtt3_3_1_2_17_a_retained_will_is_kept, |broker| {
    for version in OLD {
        let topic = format!("will/{version:?}");
        let mut watcher = broker.connect(Connect::new(version, "w"));
        watcher.subscribe(&topic, 2);
        broker.connect(Connect::new(version, "c").will(Will::new(&topic, "gone").retain())).abort();
        assert!(!watcher.expect_message(&topic, "gone").retain);
        let mut late = broker.connect(Connect::new(version, "late"));
        late.subscribe(&topic, 0);
        assert!(late.expect_message(&topic, "gone").retain);
    }
});

sharded!(mqtt3_section_3_1_2_5_takeover_publishes_the_will, |broker| {
    for version in OLD {
        for persistent in [false, true] {
            let connect = || {
                let connect = Connect::new(version, "c").will(Will::new("will/t", "gone"));
                if persistent { connect.persistent() } else { connect }
            };
            let mut watcher = broker.connect(Connect::new(version, "w"));
            watcher.subscribe("will/#", 2);
            let mut old = broker.connect(connect());
            let new = broker.connect(connect());
            old.expect_closed();
            watcher.expect_message("will/t", "gone");
            watcher.expect_nothing();
            new.disconnect();
        }
    }
});

sharded!(mqtt3_section_3_1_2_5_a_protocol_error_publishes_the_will, |broker| {
    let mut watcher = broker.connect(Connect::v311("w"));
    watcher.subscribe("will/#", 2);
    let mut client = broker.connect(Connect::v311("c").will(Will::new("will/t", "gone")));
    client.send_bytes(&[0x00, 0x00]);
    client.expect_closed();
    watcher.expect_message("will/t", "gone");
});

sharded!(mqtt3_3_1_2_24_keep_alive_expires, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c").keep_alive_s(1));
        let start = Instant::now();
        client.expect_closed();
        let waited = start.elapsed().as_secs_f64();
        assert!(waited > 0.9 && waited < 4.5, "closed after {waited} s");
    }
});

sharded!(mqtt3_3_1_2_24_a_keep_alive_timeout_publishes_the_will, |broker| {
    let mut watcher = broker.connect(Connect::v311("w"));
    watcher.subscribe("will/#", 2);
    let mut client = broker.connect(Connect::v311("c").keep_alive_s(1).will(Will::new("will/t", "gone")));
    client.expect_closed();
    watcher.expect_message("will/t", "gone");
});

sharded!(mqtt3_3_1_2_23_pingreq_keeps_the_connection_alive, |broker| {
    let mut client = broker.connect(Connect::v311("c").keep_alive_s(1));
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(800));
        client.ping();
    }
});

sharded!(mqtt3_section_3_1_2_10_keep_alive_0_means_none, |broker| {
    let mut client = broker.connect(Connect::v311("c"));
    assert_eq!(client.recv_within(Duration::from_secs(4)), None);
    client.ping();
});
