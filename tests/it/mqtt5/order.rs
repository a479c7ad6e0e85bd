//! Order of messages and fan-out, across shards (section 4.6).

use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Ack, AckKind, Connect, Packet, Publish, Version};

fn subscribers(broker: &Broker, count: usize, filter: &str, qos: u8) -> Vec<Client> {
    (0..count)
        .map(|number| {
            let mut client = broker.connect(Connect::v5(&format!("subscriber-{number}")));
            client.subscribe(filter, qos);
            client
        })
        .collect()
}

/// Sends all at once, as a client does that keeps many under way: up to 20 unacknowledged.
fn publish_pipelined(publisher: &mut Client, topic: &str, qos: u8, count: u32) {
    let numbers: Vec<u32> = (0..count).collect();
    for part in numbers.chunks(20) {
        let mut bytes = Vec::new();
        for (index, number) in part.iter().enumerate() {
            let publish = Publish::new(topic, number.to_string()).qos(qos).id(index as u16 + 1);
            bytes.extend(Packet::from(publish).encode(Version::V50));
        }
        publisher.send_bytes(&bytes);
        let ids = 1..=part.len() as u16;
        match qos {
            0 => {}
            1 => ids.for_each(|id| drop(publisher.recv_ack(AckKind::Puback, id))),
            _ => {
                ids.clone().for_each(|id| drop(publisher.recv_ack(AckKind::Pubrec, id)));
                ids.clone().for_each(|id| publisher.send(Ack::new(AckKind::Pubrel, id)));
                ids.for_each(|id| drop(publisher.recv_ack(AckKind::Pubcomp, id)));
            }
        }
    }
}

fn expect_in_order(broker: &Broker, qos: u8) {
    let mut subscribers = subscribers(broker, 8, "ordered/#", qos);
    let mut publisher = broker.connect(Connect::v5("p"));
    publish_pipelined(&mut publisher, "ordered/topic", qos, 400);
    for subscriber in &mut subscribers {
        subscriber.expect_payloads((0..400).map(|number: u32| number.to_string()));
    }
    subscribers.iter_mut().for_each(Client::expect_nothing);
}

sharded!(mqtt5_4_6_0_5_messages_of_qos0_keep_their_order, |broker| {
    expect_in_order(broker, 0);
});

sharded!(mqtt5_4_6_0_5_messages_of_qos1_keep_their_order, |broker| {
    expect_in_order(broker, 1);
});

sharded!(mqtt5_4_6_0_5_messages_of_qos2_keep_their_order, |broker| {
    expect_in_order(broker, 2);
});

sharded!(mqtt5_section_4_6_retained_and_plain_messages_of_a_topic_keep_their_order, |broker| {
    let mut subscribers = subscribers(broker, 6, "t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..100_u32 {
        let publish = Publish::new("t", number.to_string()).qos(1);
        publisher.publish(if number % 3 == 0 { publish.retain() } else { publish });
    }
    for subscriber in &mut subscribers {
        subscriber.expect_payloads((0..100).map(|number: u32| number.to_string()));
    }
});

sharded!(mqtt5_4_6_0_5_each_of_many_publishers_keeps_its_order, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("many/+", 1);
    let mut publishers: Vec<_> =
        (0..10).map(|number| broker.connect(Connect::v5(&format!("p-{number}")))).collect();
    for number in 0..40_u16 {
        for (index, publisher) in publishers.iter_mut().enumerate() {
            let publish = Publish::new(&format!("many/{index}"), number.to_string());
            publisher.send(publish.qos(1).id(number + 1));
        }
    }
    let mut next = [0; 10];
    for _ in 0..400 {
        let publish = subscriber.recv_message();
        let index: usize = publish.topic["many/".len()..].parse().unwrap();
        assert_eq!(publish.text(), next[index].to_string(), "{}", publish.topic);
        next[index] += 1;
    }
    for publisher in &mut publishers {
        (1..=40).for_each(|id| drop(publisher.expect_ack(AckKind::Puback, id, 0)));
    }
});

sharded!(mqtt5_3_3_5_1_fan_out_reaches_every_subscriber_once, |broker| {
    for qos in 0..3 {
        let mut subscribers = subscribers(broker, 60, "fan/out", qos);
        let mut publisher = broker.connect(Connect::v5("p"));
        for number in 0..5 {
            publisher.publish(Publish::new("fan/out", number.to_string()).qos(qos));
        }
        for subscriber in &mut subscribers {
            subscriber.expect_payloads((0..5).map(|number: u32| number.to_string()));
        }
        subscribers.iter_mut().for_each(Client::ping);
    }
});

sharded!(mqtt5_section_4_6_fan_in_from_many_publishers_is_complete, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("in/#", 2);
    for number in 0..40_u32 {
        let mut publisher = broker.connect(Connect::v5(&format!("p-{number}")));
        publisher.publish(Publish::new(&format!("in/{number}"), number.to_string()).qos((number % 3) as u8));
        publisher.disconnect();
    }
    let mut got: Vec<u32> = (0..40).map(|_| subscriber.recv_message().text().parse().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..40).collect::<Vec<_>>());
});

sharded!(mqtt5_4_3_3_qos2_both_ways_between_all_shards_is_exactly_once, |broker| {
    let mut clients: Vec<_> = (0..10)
        .map(|number| {
            let mut client = broker.connect(Connect::v5(&format!("c-{number}")));
            client.subscribe(&format!("to/{number}"), 2);
            client
        })
        .collect();
    for round in 0..10 {
        for from in 0..10 {
            let to = (from + round) % 10;
            clients[from].publish(Publish::new(&format!("to/{to}"), format!("{from}-{round}")).qos(2));
            clients[to].expect_payloads([format!("{from}-{round}")]);
        }
    }
    clients.iter_mut().for_each(Client::expect_nothing);
});
