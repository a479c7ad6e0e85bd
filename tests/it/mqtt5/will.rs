//! Will Messages (sections 3.1.2.5, 3.1.3.2, 3.14.4).

use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Connect, Disconnect, Property, Publish, Version, Will, first_byte};

fn watcher(broker: &Broker) -> Client {
    let mut client = broker.connect(Connect::v5("watcher"));
    client.subscribe("will/#", 2);
    client
}

fn willing(id: &str) -> Connect {
    Connect::v5(id).will(Will::new("will/t", "gone").qos(1))
}

fn delayed(id: &str, seconds: u32) -> Connect {
    let will = Will::new("will/t", "gone").qos(1).with(Property::WillDelay(seconds));
    Connect::v5(id).resume().with(Property::SessionExpiry(100)).will(will)
}

sharded!(mqtt5_3_1_2_8_will_is_published_when_the_connection_breaks, |broker| {
    let mut watcher = watcher(broker);
    for qos in 0..3 {
        let will = Will::new("will/a", "gone").qos(qos);
        broker.connect(Connect::v5(&format!("c-{qos}")).will(will)).abort();
        let publish = watcher.expect_message("will/a", "gone");
        assert_eq!((publish.qos, publish.retain, publish.dup), (qos, false, false));
    }
});

sharded!(mqtt5_4_7_2_1_nobody_leaves_a_will_in_the_brokers_name, |broker| {
    let mut stranger = broker.open(Version::V50);
    stranger.send(Connect::v5("c").will(Will::new("$SYS/brokers/myriad@localhost/version", "9.9").retain()));
    assert_eq!(stranger.recv_connack().reason, 0x87);
    stranger.expect_closed();
});

sharded!(mqtt5_3_1_2_8_will_is_published_once, |broker| {
    let mut watcher = watcher(broker);
    broker.connect(willing("c")).abort();
    watcher.expect_message("will/t", "gone");
    watcher.expect_nothing();
});

sharded!(mqtt5_3_14_4_3_disconnect_with_0x00_discards_the_will, |broker| {
    let mut watcher = watcher(broker);
    broker.connect(willing("c")).disconnect();
    watcher.expect_nothing();
});

sharded!(mqtt5_section_3_14_2_1_disconnect_with_0x04_publishes_the_will, |broker| {
    let mut watcher = watcher(broker);
    for reason in [0x04, 0x80, 0x81, 0x83] {
        broker.connect(willing("c")).disconnect_with(Disconnect::new(reason));
        watcher.expect_message("will/t", "gone");
    }
});

sharded!(mqtt5_section_3_1_2_5_a_protocol_error_publishes_the_will, |broker| {
    let mut watcher = watcher(broker);
    let mut client = broker.connect(willing("c"));
    client.send_bytes(&[first_byte::PUBLISH | 0x06, 0]);
    client.expect_disconnect_one_of(&[0x81, 0x82]);
    watcher.expect_message("will/t", "gone");
});

sharded!(mqtt5_section_3_1_2_5_a_keep_alive_timeout_publishes_the_will, |broker| {
    let mut watcher = watcher(broker);
    let mut client = broker.connect(willing("c").keep_alive_s(1));
    client.expect_disconnect(0x8D);
    watcher.expect_message("will/t", "gone");
});

sharded!(mqtt5_section_3_1_4_takeover_publishes_the_will, |broker| {
    let mut watcher = watcher(broker);
    let mut old = broker.connect(willing("c"));
    let _new = broker.connect(willing("c"));
    old.expect_disconnect(0x8E);
    watcher.expect_message("will/t", "gone");
    watcher.expect_nothing();
});

sharded!(mqtt5_section_3_1_4_takeover_of_a_continuing_session_publishes_the_will_without_delay, |broker| {
    let mut watcher = watcher(broker);
    let connect = || willing("c").persistent();
    let mut old = broker.connect(connect());
    let _new = broker.connect(connect());
    old.expect_disconnect(0x8E);
    watcher.expect_message("will/t", "gone");
    watcher.expect_nothing();
});

sharded!(mqtt5_3_1_3_9_takeover_within_the_will_delay_publishes_no_will, |broker| {
    let mut watcher = watcher(broker);
    let mut old = broker.connect(delayed("c", 1));
    let _new = broker.connect(delayed("c", 1));
    old.expect_disconnect(0x8E);
    thread::sleep(Duration::from_millis(2200));
    watcher.expect_nothing();
});

sharded!(mqtt5_section_3_1_3_2_2_takeover_with_clean_start_ends_the_session_and_fires_the_will, |broker| {
    let mut watcher = watcher(broker);
    let mut old = broker.connect(delayed("c", 100));
    let _new = broker.connect(Connect::v5("c"));
    old.expect_disconnect(0x8E);
    watcher.expect_message("will/t", "gone");
});

sharded!(mqtt5_section_3_1_3_2_2_will_waits_for_the_will_delay, |broker| {
    let mut watcher = watcher(broker);
    let client = broker.connect(delayed("c", 2));
    let start = Instant::now();
    client.abort();
    watcher.expect_message("will/t", "gone");
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(1500) && waited < Duration::from_secs(5), "{waited:?}");
});

sharded!(mqtt5_3_1_3_9_reconnect_within_the_will_delay_cancels_the_will, |broker| {
    let mut watcher = watcher(broker);
    broker.connect(delayed("c", 2)).abort();
    let mut client = broker.connect(Connect::v5("c").persistent());
    thread::sleep(Duration::from_millis(3200));
    watcher.expect_nothing();
    client.ping();
    client.abort();
    watcher.expect_nothing();
});

sharded!(mqtt5_3_1_2_8_the_end_of_the_session_fires_a_delayed_will, |broker| {
    let mut watcher = watcher(broker);
    let will = Will::new("will/t", "gone").with(Property::WillDelay(100));
    broker.connect(Connect::v5("c").with(Property::SessionExpiry(1)).will(will.clone())).abort();
    watcher.expect_message("will/t", "gone");
    broker.connect(Connect::v5("d").will(will)).abort();
    watcher.expect_message("will/t", "gone");
});

sharded!(mqtt5_section_3_1_3_2_2_disconnect_with_0x04_waits_for_the_will_delay, |broker| {
    let mut watcher = watcher(broker);
    broker.connect(delayed("c", 1)).disconnect_with(Disconnect::new(4));
    watcher.expect_message("will/t", "gone");
});

sharded!(mqtt5_3_1_2_7_the_will_of_the_new_connection_replaces_the_old, |broker| {
    let mut watcher = watcher(broker);
    broker.connect(delayed("c", 1)).abort();
    let will = Will::new("will/new", "again");
    broker.connect(Connect::v5("c").persistent().will(will)).abort();
    watcher.expect_message("will/new", "again");
    thread::sleep(Duration::from_millis(1500));
    watcher.expect_nothing();
});

sharded!(mqtt5_3_1_2_15_a_retained_will_is_kept, |broker| {
    broker.connect(Connect::v5("c").will(Will::new("will/t", "gone").qos(1).retain())).abort();
    thread::sleep(Duration::from_millis(100));
    let mut client = broker.connect(Connect::v5("late"));
    client.subscribe("will/t", 1);
    let publish = client.expect_message("will/t", "gone");
    assert!(publish.retain);
});

sharded!(mqtt5_3_1_2_14_a_will_without_retain_is_not_kept, |broker| {
    let mut watcher = watcher(broker);
    broker.connect(willing("c")).abort();
    watcher.expect_message("will/t", "gone");
    let mut client = broker.connect(Connect::v5("late"));
    client.subscribe("will/t", 1);
    client.expect_nothing();
});

sharded!(mqtt5_3_1_3_10_will_properties_are_forwarded, |broker| {
    let mut watcher = watcher(broker);
    let properties = vec![
        Property::PayloadFormat(1),
        Property::ContentType("text/plain".into()),
        Property::ResponseTopic("answer".into()),
        Property::CorrelationData(vec![1, 2, 3]),
        Property::user("z", "1"),
        Property::user("a", "2"),
        Property::user("z", "3"),
    ];
    let will = properties.iter().cloned().fold(Will::new("will/t", "gone").qos(1), Will::with);
    broker.connect(Connect::v5("c").will(will.with(Property::MessageExpiry(60)))).abort();
    let mut got = watcher.expect_message("will/t", "gone");
    assert!(matches!(got.message_expiry(), Some(59..=60)), "{got:?}");
    got.properties.retain(|property| !matches!(property, Property::MessageExpiry(_)));
    got.properties.sort_by_key(Property::id);
    assert_eq!(got.properties, properties);
});

sharded!(mqtt5_section_3_1_3_2_3_will_payload_that_is_not_utf8_is_0x99, |broker| {
    let mut watcher = watcher(broker);
    let mut will = Will::new("will/t", "").with(Property::PayloadFormat(1));
    will.payload = vec![0xFF, 0xFE];
    let mut client = broker.open(crate::wire::Version::V50);
    client.send(Connect::v5("c").will(will));
    client.expect_refusal_or_closed(0x99);
    watcher.expect_nothing();
});

sharded!(mqtt5_section_3_1_2_5_wills_of_many_clients_on_all_shards, |broker| {
    let mut watcher = watcher(broker);
    let clients: Vec<_> = (0..40)
        .map(|number| {
            let will = Will::new("will/many", &number.to_string()).qos(2);
            broker.connect(Connect::v5(&format!("many-{number}")).will(will))
        })
        .collect();
    drop(clients);
    let mut got: Vec<u32> = (0..40).map(|_| watcher.recv_message().text().parse().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..40).collect::<Vec<_>>());
});

sharded!(mqtt5_section_3_1_3_3_an_empty_will_payload_is_published, |broker| {
    let mut watcher = watcher(broker);
    broker.connect(Connect::v5("c").will(Will::new("will/t", ""))).abort();
    watcher.expect_message("will/t", "");
});

sharded!(mqtt5_section_3_1_2_5_no_local_and_own_subscription_of_a_persistent_session, |broker| {
    let mut client = broker.connect(willing("c").persistent());
    client.subscribe("will/t", 1);
    client.abort();
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.expect_message("will/t", "gone");
    client.publish(Publish::new("will/t", "back").qos(1));
    client.expect_message("will/t", "back");
});
