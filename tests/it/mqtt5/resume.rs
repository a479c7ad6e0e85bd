//! Resuming a session under limits that changed, and many CONNECTs of one Client Identifier at once (sections 3.1.2.11, 4.4).

use std::time::Duration;

use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Ack, AckKind, Connect, Disconnect, Packet, Property, Publish, Subscribe, Version};

/// A session "c" with `count` messages of QoS 1 sent and not acknowledged, and then cut.
fn with_inflight(broker: &Broker, count: u32) -> Vec<u16> {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..count).for_each(|number| publisher.publish(Publish::new("t", number.to_string()).qos(1)));
    let ids = (0..count).map(|_| client.recv_publish().id).collect();
    client.abort();
    ids
}

sharded!(mqtt5_3_3_4_9_redelivery_obeys_a_smaller_receive_maximum, |broker| {
    let ids = with_inflight(broker, 10);
    let mut client = broker.connect(Connect::v5("c").persistent().with(Property::ReceiveMax(2)));
    let mut held = vec![client.recv_publish(), client.recv_publish()];
    client.expect_nothing();
    for (number, id) in ids.into_iter().enumerate().skip(2) {
        let publish = held.remove(0);
        client.send(Ack::new(AckKind::Puback, publish.id));
        held.push(client.recv_publish());
        let last = held.last().unwrap();
        assert_eq!((last.id, last.text(), last.dup), (id, number.to_string(), true));
    }
    held.iter().for_each(|publish| client.send(Ack::new(AckKind::Puback, publish.id)));
    client.publish(Publish::new("t", "new").qos(1).id(99));
    client.expect_payloads(["new"]);
});

sharded!(mqtt5_3_1_2_24_redelivery_obeys_a_smaller_maximum_packet_size, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "x".repeat(500)).qos(1));
    publisher.publish(Publish::new("t", "small 1").qos(1));
    (0..2).for_each(|_| drop(client.recv_publish()));
    client.abort();
    publisher.publish(Publish::new("t", "y".repeat(500)).qos(2));
    publisher.publish(Publish::new("t", "small 2").qos(2));
    let small =
        Connect::v5("c").persistent().with(Property::MaximumPacketSize(100)).with(Property::ReceiveMax(1));
    let mut client = broker.connect(small);
    client.expect_payloads(["small 1", "small 2"]);
    client.expect_nothing();
});

sharded!(mqtt5_4_4_0_1_redelivery_again_and_again_loses_nothing, |broker| {
    let ids = with_inflight(broker, 5);
    for round in 0..4 {
        let mut client = broker.connect(Connect::v5("c").persistent());
        for (number, id) in ids.iter().enumerate() {
            let publish = client.recv_publish();
            assert_eq!((publish.id, publish.text()), (*id, number.to_string()), "round {round}");
        }
        client.abort();
    }
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.expect_payloads((0..5).map(|number: u32| number.to_string()));
    client.expect_nothing();
});

sharded!(mqtt5_section_3_1_2_11_2_a_session_of_5_0_goes_on_in_3_1_1, |broker| {
    with_inflight(broker, 3);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "3").qos(2).with(Property::user("a", "b")));
    let (mut client, connack) = broker.connect_with_ack(Connect::v311("c").persistent());
    assert!(connack.session_present);
    client.expect_payloads(["0", "1", "2", "3"]);
    client.expect_nothing();
});

sharded!(mqtt5_3_1_4_3_connects_of_one_client_at_once_leave_one, |broker| {
    for round in 0..3 {
        let mut clients: Vec<_> = (0..20).map(|_| broker.open(Version::V50)).collect();
        clients.iter_mut().for_each(|client| client.send(Connect::v5("same").persistent()));
        clients.iter_mut().for_each(|client| assert_eq!(client.recv_connack().reason, 0));
        let mut alive = Vec::new();
        for mut client in clients {
            client.send_bytes_or_closed(&[0xC0, 0]);
            match client.recv() {
                Packet::Disconnect(Disconnect { reason: 0x8E, .. }) => client.expect_closed(),
                Packet::Pingresp => alive.push(client),
                other => panic!("{other:?}"),
            }
        }
        // One that answered may have been taken over right after.
        std::thread::sleep(Duration::from_millis(100));
        alive.retain_mut(|client| client.recv_disconnect_or_nothing().is_none());
        assert_eq!(alive.len(), 1, "round {round}");
        alive[0].ping();
    }
});

sharded!(mqtt5_section_3_1_4_a_session_does_not_leak_between_clients, |broker| {
    for number in 0..20 {
        let mut client = broker.connect(Connect::v5(&format!("c-{number}")).persistent());
        client.subscribe(&format!("own/{number}"), 1);
        client.disconnect();
    }
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..20).for_each(|n: u32| publisher.publish(Publish::new(&format!("own/{n}"), n.to_string()).qos(1)));
    for number in 0..20 {
        let mut client = broker.connect(Connect::v5(&format!("c-{number}")).persistent());
        client.expect_message(&format!("own/{number}"), &number.to_string());
        client.expect_nothing();
    }
});

sharded!(mqtt5_section_3_14_publishes_before_disconnect_and_close_all_count, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t/#", 0);
    for number in 0..10 {
        let mut publisher = broker.connect(Connect::v5(&format!("p-{number}")));
        let mut bytes = Vec::new();
        for message in 0..300_u32 {
            let publish = Publish::new(&format!("t/{number}"), message.to_string());
            bytes.extend(Packet::from(publish).encode(Version::V50));
        }
        if number % 2 == 0 {
            bytes.extend(Packet::from(Disconnect::default()).encode(Version::V50));
        }
        publisher.send_bytes(&bytes);
        drop(publisher);
        subscriber.expect_payloads((0..300).map(|message: u32| message.to_string()));
    }
});

sharded!(mqtt5_3_1_4_5_megabytes_behind_connect_are_all_read, "session.queue_len_max=5000", |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t", 1);
    for number in 0..4 {
        let mut bytes = Packet::from(Connect::v311(&format!("p-{number}"))).encode(Version::V311);
        for id in 1..=2000_u16 {
            let mut payload = format!("{id}").into_bytes();
            payload.resize(1000, b' ');
            bytes.extend(Packet::from(Publish::new("t", payload).qos(1).id(id)).encode(Version::V311));
        }
        let mut publisher = Client::open(broker.address, Version::V311);
        publisher.send_bytes(&bytes);
        assert_eq!(publisher.recv_connack().reason, 0);
        (1..=2000).for_each(|id| drop(publisher.expect_ack(AckKind::Puback, id, 0)));
        for id in 1..=2000 {
            assert_eq!(subscriber.recv_message().text().trim_end(), id.to_string());
        }
    }
});

sharded!(mqtt5_section_4_8_2_an_expired_member_leaves_its_group, |broker| {
    let connect = Connect::v5("away").resume().with(Property::SessionExpiry(1));
    let mut away = broker.connect(connect);
    away.subscribe_with(Subscribe::new(1, "$share/g/t", 1));
    away.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "queued").qos(1));
    let mut here = broker.connect(Connect::v5("here"));
    here.subscribe("$share/g/t", 1);
    // A QoS 1 message whose member's session ended goes to another member.
    here.expect_payloads(["queued"]);
    for number in 0..10 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1));
    }
    here.expect_payloads((0..10).map(|number: u32| number.to_string()));
});

sharded!(mqtt5_4_7_2_1_shared_wildcards_do_not_match_dollar_topics, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe_all(&["$share/g/#", "$share/h/+/a"], 0);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("$own/a", "hidden"));
    publisher.publish(Publish::new("end", "shown"));
    client.expect_message("end", "shown");
    client.expect_nothing();
});
