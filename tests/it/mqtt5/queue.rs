//! The mqueue of a session: bound, drop-oldest, QoS 0 of offline sessions, slow readers (section 4.1; FAQ of emqttd).

use std::time::Duration;

use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Ack, AckKind, Connect, Property, Publish};

/// A persistent session with these subscriptions and no connection.
fn offline(broker: &Broker, id: &str, filters: &[&str], qos: u8) {
    let mut client = broker.connect(Connect::v5(id).persistent());
    client.subscribe_all(filters, qos);
    client.disconnect();
}

fn resume(broker: &Broker, id: &str) -> Client {
    let (client, connack) = broker.connect_with_ack(Connect::v5(id).persistent());
    assert!(connack.session_present);
    client
}

sharded!(
    mqtt5_section_4_1_a_full_queue_drops_the_oldest_of_all_topics,
    "session.queue_len_max=100",
    |broker| {
        offline(broker, "c", &["topic1", "topic2"], 1);
        let mut publisher = broker.connect(Connect::v5("p"));
        for number in 0..70 {
            publisher.publish(Publish::new("topic1", format!("1-{number}")).qos(1));
        }
        for number in 0..80 {
            publisher.publish(Publish::new("topic2", format!("2-{number}")).qos(1));
        }
        let mut client = resume(broker, "c");
        client.expect_payloads((50..70).map(|number: u32| format!("1-{number}")));
        client.expect_payloads((0..80).map(|number: u32| format!("2-{number}")));
        client.expect_nothing();
    }
);

sharded!(
    mqtt5_section_4_1_a_full_queue_of_a_connected_client_drops_the_oldest,
    "session.queue_len_max=10",
    |broker| {
        let mut client = broker.connect(Connect::v5("c").with(Property::ReceiveMax(1)));
        client.subscribe("t", 1);
        let mut publisher = broker.connect(Connect::v5("p"));
        publisher.publish(Publish::new("t", "held").qos(1));
        let held = client.recv_publish();
        for number in 0..30 {
            publisher.publish(Publish::new("t", number.to_string()).qos(1));
        }
        client.send(Ack::new(AckKind::Puback, held.id));
        client.expect_payloads((20..30).map(|number: u32| number.to_string()));
        client.expect_nothing();
    }
);

sharded!(mqtt5_section_4_1_qos2_in_a_full_queue_drops_the_oldest_too, "session.queue_len_max=10", |broker| {
    offline(broker, "c", &["t"], 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..25 {
        publisher.publish(Publish::new("t", number.to_string()).qos(2));
    }
    let mut client = resume(broker, "c");
    client.expect_payloads((15..25).map(|number: u32| number.to_string()));
});

sharded!(mqtt5_section_4_1_qos0_is_kept_for_offline_sessions, "session.queue_qos0=true", |broker| {
    offline(broker, "c", &["t"], 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..6 {
        publisher.publish(Publish::new("t", number.to_string()).qos(number % 2));
    }
    publisher.ping();
    resume(broker, "c").expect_payloads((0..6).map(|number: u32| number.to_string()));
});

sharded!(mqtt5_section_4_1_qos0_is_not_kept_when_told_so, "session.queue_qos0=false", |broker| {
    offline(broker, "c", &["t"], 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..6 {
        publisher.publish(Publish::new("t", number.to_string()).qos(number % 2));
    }
    publisher.ping();
    let mut client = resume(broker, "c");
    client.expect_payloads(["1", "3", "5"]);
    client.expect_nothing();
});

sharded!(mqtt5_3_1_2_23_many_offline_sessions_each_keep_their_messages, |broker| {
    for number in 0..20 {
        offline(broker, &format!("c-{number}"), &["all/#"], 2);
    }
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..30 {
        publisher.publish(Publish::new("all/t", number.to_string()).qos(1 + (number % 2) as u8));
    }
    for number in 0..20 {
        let mut client = resume(broker, &format!("c-{number}"));
        client.expect_payloads((0..30).map(|number: u32| number.to_string()));
        client.expect_nothing();
    }
});

sharded!(mqtt5_section_4_1_an_expired_session_drops_its_queue_and_subscriptions, |broker| {
    let connect = || Connect::v5("c").resume().with(Property::SessionExpiry(1));
    let mut client = broker.connect(connect());
    client.subscribe("t", 1);
    client.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "x").qos(1));
    std::thread::sleep(Duration::from_millis(2500));
    publisher.publish(Publish::new("t", "y").qos(1));
    let (mut client, connack) = broker.connect_with_ack(connect());
    assert!(!connack.session_present);
    publisher.publish(Publish::new("t", "z").qos(1));
    client.expect_nothing();
});

/// Publishes while `slow` does not read, until far more is under way than the sockets and the broker hold for it.
fn flood(publisher: &mut Client, qos: u8, count: u32) {
    for number in 0..count {
        let mut payload = format!("{number:06}").into_bytes();
        payload.resize(20_000, b'.');
        publisher.publish(Publish::new("flood", payload).qos(qos));
    }
    publisher.ping();
}

fn number_of(publish: &Publish) -> u32 {
    assert_eq!(publish.payload.len(), 20_000);
    std::str::from_utf8(&publish.payload[..6]).unwrap().parse().unwrap()
}

sharded!(mqtt5_section_4_9_qos0_for_a_slow_subscriber_is_dropped_and_the_rest_is_exact, |broker| {
    let mut slow = broker.connect(Connect::v5("slow"));
    slow.subscribe("flood", 0);
    slow.subscribe("end", 1);
    let mut quick = broker.connect(Connect::v5("quick"));
    quick.subscribe("tick", 0);
    let mut publisher = broker.connect(Connect::v5("p"));
    flood(&mut publisher, 0, 1500);
    publisher.publish(Publish::new("tick", "x"));
    quick.expect_message("tick", "x");
    publisher.publish(Publish::new("end", "still here").qos(1));
    let mut last = None;
    let mut count = 0;
    loop {
        let publish = slow.recv_message();
        if publish.topic == "end" {
            break;
        }
        let number = number_of(&publish);
        assert!(last < Some(number), "{number} after {last:?}");
        last = Some(number);
        count += 1;
    }
    assert!((10..1500).contains(&count), "{count} arrived");
});

sharded!(mqtt5_section_4_9_qos1_for_a_slow_subscriber_waits_and_comes_in_order, |broker| {
    let mut slow = broker.connect(Connect::v5("slow"));
    slow.subscribe("flood", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    flood(&mut publisher, 1, 800);
    for number in 0..800 {
        let publish = slow.recv_message();
        assert_eq!(number_of(&publish), number);
    }
    slow.expect_nothing();
});

sharded!(
    mqtt5_section_4_9_a_stalled_reader_gets_every_byte_right,
    "limits.outbound_bytes=67108864",
    |broker| {
        let mut slow = broker.connect(Connect::v5("slow"));
        slow.subscribe("flood", 0);
        let mut publisher = broker.connect(Connect::v5("p"));
        let mut next = 0;
        for round in 0..5 {
            for number in 0..200_u32 {
                let size = 1 + (number * 7919 + round * 31) % 30_000;
                let payload: Vec<u8> = (0..size).map(|index| ((index + number) % 256) as u8).collect();
                publisher.publish(Publish::new("flood", payload));
            }
            publisher.ping();
            for _ in 0..200_u32 {
                let number = next % 200;
                let publish = slow.recv_publish();
                let exact = |(index, &byte): (usize, &u8)| byte == ((index as u32 + number) % 256) as u8;
                assert!(publish.payload.iter().enumerate().all(exact), "message {next}");
                next += 1;
            }
        }
    }
);

sharded!(mqtt5_4_6_0_5_a_new_qos0_message_does_not_overtake_queued_ones, |broker| {
    offline(broker, "c", &["t"], 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "1-first").qos(1));
    for number in 0..5 {
        publisher.publish(Publish::new("t", format!("0-{number}")));
        publisher.publish(Publish::new("t", format!("1-{number}")).qos(1));
    }
    publisher.ping();
    let mut client = broker.connect(Connect::v5("c").persistent().with(Property::ReceiveMax(1)));
    let first = client.recv_publish();
    assert_eq!(first.text(), "1-first");
    publisher.publish(Publish::new("t", "0-5"));
    publisher.publish(Publish::new("t", "1-5").qos(1));
    client.send(Ack::new(AckKind::Puback, first.id));
    let got: Vec<_> = (0..12).map(|_| client.recv_message().text()).collect();
    for qos in ["0", "1"] {
        let of_qos: Vec<_> = got.iter().filter(|text| text.starts_with(qos)).collect();
        assert!(of_qos.is_sorted() && of_qos.len() == 6, "{got:?}");
    }
});
