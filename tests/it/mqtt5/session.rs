//! Sessions: what outlives a connection, for how long, takeover and resume (sections 3.1.2, 3.14, 4.1, 4.4).

use std::thread;
use std::time::Duration;

use crate::wire::{Ack, AckKind, Connect, Disconnect, Packet, Property, Publish, Version};

const SHORT: Duration = Duration::from_millis(2500);

fn expiring(id: &str, seconds: u32) -> Connect {
    Connect::v5(id).resume().with(Property::SessionExpiry(seconds))
}

sharded!(mqtt5_3_1_2_4_clean_start_discards_the_session, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").with(Property::SessionExpiry(60)));
    assert!(!connack.session_present);
    client.publish(Publish::new("t", "x").qos(1));
    client.expect_nothing();
});

sharded!(mqtt5_3_1_2_5_session_is_resumed_with_its_subscriptions, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe_all(&["t", "u/+"], 1);
    client.disconnect();
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    client.publish(Publish::new("t", "1").qos(1));
    client.publish(Publish::new("u/v", "2").qos(1));
    client.expect_payloads(["1", "2"]);
});

sharded!(mqtt5_3_1_2_6_without_a_session_a_new_one_is_made, |broker| {
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("never-seen").resume());
    assert!(!connack.session_present);
    client.ping();
});

sharded!(mqtt5_3_1_2_23_session_is_kept_after_an_abort, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    client.abort();
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "while away").qos(2));
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    client.expect_payloads(["while away"]);
});

sharded!(mqtt5_section_3_1_2_11_2_without_expiry_the_session_ends_with_the_connection, |broker| {
    for connect in [Connect::v5("c").resume(), expiring("c", 0)] {
        let mut client = broker.connect(connect.clone());
        client.subscribe("t", 1);
        client.disconnect();
        let (mut client, connack) = broker.connect_with_ack(connect);
        assert!(!connack.session_present);
        client.publish(Publish::new("t", "x").qos(1));
        client.expect_nothing();
    }
});

sharded!(mqtt5_4_1_0_2_session_expires, |broker| {
    broker.connect(expiring("c", 1)).disconnect();
    broker.connect(expiring("d", 100)).disconnect();
    thread::sleep(SHORT);
    assert!(!broker.connect_with_ack(expiring("c", 1)).1.session_present);
    assert!(broker.connect_with_ack(expiring("d", 1)).1.session_present);
});

sharded!(mqtt5_4_1_0_1_session_does_not_expire_while_connected, |broker| {
    let mut client = broker.connect(expiring("c", 1));
    client.subscribe("t", 1);
    thread::sleep(SHORT);
    client.publish(Publish::new("t", "x").qos(1));
    client.expect_payloads(["x"]);
    client.disconnect();
    assert!(broker.connect_with_ack(expiring("c", 1)).1.session_present);
});

sharded!(mqtt5_section_3_1_2_11_2_expiry_of_the_last_connect_counts, |broker| {
    broker.connect(expiring("c", 1)).disconnect();
    broker.connect(expiring("c", 100)).disconnect();
    thread::sleep(SHORT);
    assert!(broker.connect_with_ack(expiring("c", 100)).1.session_present);
});

sharded!(mqtt5_section_3_14_2_2_2_disconnect_shortens_the_expiry, |broker| {
    let client = broker.connect(expiring("c", 1000));
    client.disconnect_with(Disconnect::new(0).with(Property::SessionExpiry(0)));
    assert!(!broker.connect_with_ack(expiring("c", 1000)).1.session_present);
});

sharded!(mqtt5_section_3_14_2_2_2_disconnect_lengthens_the_expiry, |broker| {
    let client = broker.connect(expiring("c", 1));
    client.disconnect_with(Disconnect::new(0).with(Property::SessionExpiry(100)));
    thread::sleep(SHORT);
    assert!(broker.connect_with_ack(expiring("c", 1)).1.session_present);
});

sharded!(mqtt5_section_3_14_2_2_2_expiry_from_zero_to_more_is_a_protocol_error, |broker| {
    for connect in [Connect::v5("c"), Connect::v5("d").with(Property::SessionExpiry(0))] {
        let mut client = broker.connect(connect);
        client.send(Disconnect::new(0).with(Property::SessionExpiry(10)));
        client.expect_disconnect(0x82);
    }
});

sharded!(mqtt5_3_1_4_3_takeover_disconnects_the_old_connection_with_0x8e, |broker| {
    let mut old = broker.connect(Connect::v5("c").persistent());
    old.subscribe("t", 1);
    let (mut new, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    old.expect_disconnect(0x8E);
    new.publish(Publish::new("t", "x").qos(1));
    new.expect_payloads(["x"]);
});

sharded!(mqtt5_3_1_4_3_takeover_works_for_many_clients_on_all_shards, |broker| {
    let id = |number: u32| format!("many-{number}");
    let mut old: Vec<_> =
        (0..30).map(|number| broker.connect(Connect::v5(&id(number)).persistent())).collect();
    for round in 0..3 {
        let new: Vec<_> = (0..30)
            .map(|number| {
                let (client, connack) = broker.connect_with_ack(Connect::v5(&id(number)).persistent());
                assert!(connack.session_present, "round {round}, client {number}");
                client
            })
            .collect();
        old.iter_mut().for_each(|client| client.expect_disconnect(0x8E));
        old = new;
    }
    old.iter_mut().for_each(crate::client::Client::ping);
});

sharded!(mqtt5_3_1_4_3_takeover_of_a_clean_session_starts_afresh, |broker| {
    let mut old = broker.connect(Connect::v5("c"));
    old.subscribe("t", 1);
    let (mut new, connack) = broker.connect_with_ack(Connect::v5("c"));
    assert!(!connack.session_present);
    old.expect_disconnect(0x8E);
    new.publish(Publish::new("t", "x").qos(1));
    new.expect_nothing();
});

sharded!(mqtt5_3_1_4_3_takeover_between_versions, |broker| {
    let mut old = broker.connect(Connect::v311("c").persistent());
    old.subscribe("t", 1);
    let (new, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    old.expect_closed();
    let (mut third, connack) = broker.connect_with_ack(Connect::v311("c").persistent());
    assert!(connack.session_present);
    drop(new);
    third.publish(Publish::new("t", "x").qos(1));
    third.expect_payloads(["x"]);
});

sharded!(mqtt5_4_4_0_1_unacknowledged_publishes_come_again_in_order_with_dup, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe_all(&["one", "two"], 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..10 {
        let topic = if number % 2 == 0 { "one" } else { "two" };
        publisher.publish(Publish::new(topic, number.to_string()).qos(1 + number % 2));
    }
    let first: Vec<_> = (0..10).map(|_| client.recv_publish()).collect();
    assert!(first.iter().all(|publish| !publish.dup));
    client.abort();
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    for publish in first {
        let again = client.recv_message();
        assert_eq!(again, Publish { dup: true, ..publish });
    }
    client.expect_nothing();
});

sharded!(mqtt5_4_4_0_1_nothing_is_sent_again_while_connected, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "1").qos(1));
    publisher.publish(Publish::new("t", "2").qos(2));
    assert_eq!(client.recv_publish().text(), "1");
    assert_eq!(client.recv_publish().text(), "2");
    assert_eq!(client.recv_within(Duration::from_secs(2)), None);
});

sharded!(mqtt5_4_4_0_1_pubrel_comes_again, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(2));
    let publish = client.recv_publish();
    client.send(Ack::new(AckKind::Pubrec, publish.id));
    client.expect_ack(AckKind::Pubrel, publish.id, 0);
    client.abort();
    let mut client = broker.connect(Connect::v5("c").persistent());
    assert_eq!(client.recv(), Ack::new(AckKind::Pubrel, publish.id).into());
    client.send(Ack::new(AckKind::Pubcomp, publish.id));
    client.expect_nothing();
    client.abort();
    broker.connect(Connect::v5("c").persistent()).expect_nothing();
});

sharded!(mqtt5_4_4_0_2_negative_pubrec_ends_the_delivery, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "1").qos(1));
    publisher.publish(Publish::new("t", "2").qos(2));
    let (one, two) = (client.recv_publish(), client.recv_publish());
    client.send(Ack::new(AckKind::Puback, one.id).reason(0x80));
    client.send(Ack::new(AckKind::Pubrec, two.id).reason(0x97));
    client.expect_nothing();
    client.abort();
    broker.connect(Connect::v5("c").persistent()).expect_nothing();
});

sharded!(mqtt5_2_2_1_4_packet_ids_in_use_are_not_given_again, "limits.receive_max=50", |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent().with(Property::ReceiveMax(20)));
    client.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..10).for_each(|number: u32| publisher.publish(Publish::new("t", number.to_string()).qos(1)));
    let held: Vec<_> = (0..10).map(|_| client.recv_publish().id).collect();
    for number in 10..60 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1));
        let publish = client.recv_message();
        assert!(!held.contains(&publish.id), "{} of {held:?}", publish.id);
    }
    client.abort();
    let mut client = broker.connect(Connect::v5("c").persistent().with(Property::ReceiveMax(20)));
    let again: Vec<_> = (0..10).map(|_| client.recv_publish().id).collect();
    assert_eq!(again, held);
    publisher.publish(Publish::new("t", "new").qos(1));
    let publish = client.recv_message();
    assert!(!held.contains(&publish.id) && publish.text() == "new", "{publish:?}");
});

sharded!(mqtt5_4_3_3_qos2_received_but_not_released_is_remembered_across_a_reconnect, |broker| {
    let mut watcher = broker.connect(Connect::v5("w"));
    watcher.subscribe("t", 2);
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.send(Publish::new("t", "once").qos(2).id(77));
    client.expect_ack(AckKind::Pubrec, 77, 0);
    client.abort();
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.send(Publish::new("t", "once").qos(2).id(77).dup());
    client.recv_ack(AckKind::Pubrec, 77);
    client.send(Ack::new(AckKind::Pubrel, 77));
    client.expect_ack(AckKind::Pubcomp, 77, 0);
    watcher.expect_payloads(["once"]);
    watcher.expect_nothing();
});

sharded!(mqtt5_section_4_1_unreceived_messages_come_after_the_unacknowledged, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "1").qos(1));
    assert_eq!(client.recv_publish().text(), "1");
    client.abort();
    publisher.publish(Publish::new("t", "2").qos(1));
    publisher.publish(Publish::new("t", "3").qos(1));
    let mut client = broker.connect(Connect::v5("c").persistent());
    let first = client.recv_message();
    assert!(first.dup && first.text() == "1", "{first:?}");
    for payload in ["2", "3"] {
        let publish = client.recv_message();
        assert!(!publish.dup && publish.text() == payload, "{publish:?}");
    }
});

sharded!(mqtt5_3_14_4_3_disconnect_is_followed_by_a_close, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Disconnect::default());
    client.expect_closed();
});

sharded!(mqtt5_section_3_14_nothing_after_disconnect_is_processed, |broker| {
    let mut watcher = broker.connect(Connect::v5("w"));
    watcher.subscribe("t", 0);
    let mut client = broker.connect(Connect::v5("c"));
    let mut bytes = Packet::from(Disconnect::default()).encode(Version::V50);
    bytes.extend(Packet::from(Publish::new("t", "late")).encode(Version::V50));
    client.send_bytes(&bytes);
    client.expect_closed();
    watcher.expect_nothing();
});
