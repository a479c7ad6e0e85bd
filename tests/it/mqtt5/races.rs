//! What has to hold while others subscribe, unsubscribe, publish and retain on other shards at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::wire::{AckKind, Connect, Packet, Property, Publish, Subscribe, Unsubscribe};

/// Something that runs in a thread until it is dropped.
struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn run(mut step: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                step();
            }
        });
        Self { stop, thread: Some(thread) }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Clients that subscribe to and unsubscribe from `filter` all the time.
fn subscribe_and_unsubscribe(broker: &Broker, count: usize, filter: &'static str) -> Vec<Background> {
    (0..count)
        .map(|number| {
            let mut client = broker.connect(Connect::v5(&format!("restless-{number}")));
            Background::run(move || {
                client.send(Subscribe::new(1, filter, 0));
                client.send(Unsubscribe::new(2, &[filter]));
                let unsuback =
                    |packet: &Packet| matches!(packet, Packet::Ack(ack) if ack.kind == AckKind::Unsuback);
                while !unsuback(&client.recv()) {}
            })
        })
        .collect()
}

sharded!(mqtt5_section_3_8_4_a_publish_after_suback_is_seen_while_others_come_and_go, |broker| {
    for filter in ["race/t", "race/+"] {
        let others = subscribe_and_unsubscribe(broker, 4, filter);
        let mut publishers: Vec<_> =
            (0..4).map(|number| broker.connect(Connect::v5(&format!("p-{number}")))).collect();
        let mut subscribers: Vec<_> =
            (0..4).map(|number| broker.connect(Connect::v5(&format!("s-{number}")))).collect();
        for round in 0..100 {
            let subscriber = &mut subscribers[round % 4];
            subscriber.subscribe(filter, 1);
            publishers[round / 4 % 4].publish(Publish::new("race/t", round.to_string()).qos(1));
            subscriber.expect_message("race/t", &round.to_string());
            subscriber.unsubscribe(&[filter]);
        }
        others.into_iter().for_each(Background::end);
    }
});

sharded!(mqtt5_4_8_2_a_shared_message_is_never_lost_while_members_come_and_go, |broker| {
    let others = subscribe_and_unsubscribe(broker, 2, "$share/other/race/t");
    let mut steady = broker.connect(Connect::v5("steady"));
    steady.subscribe("$share/g/race/t", 1);
    let mut plain = broker.connect(Connect::v5("plain"));
    plain.subscribe("race/t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for round in 0..200 {
        publisher.publish(Publish::new("race/t", round.to_string()).qos(1));
        steady.expect_message("race/t", &round.to_string());
        plain.expect_message("race/t", &round.to_string());
    }
    others.into_iter().for_each(Background::end);
});

sharded!(mqtt5_3_3_1_5_retained_and_live_never_go_back_while_a_publisher_writes, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("now", "0").qos(1).retain());
    let mut number = 0_u64;
    let mut pace = broker.connect(Connect::v5("pace"));
    let writer = Background::run(move || {
        for _ in 0..20 {
            number += 1;
            publisher.publish(Publish::new("now", number.to_string()).qos((number % 2) as u8).retain());
        }
        pace.ping();
    });
    for round in 0..40 {
        let mut client = broker.connect(Connect::v5(&format!("c-{round}")));
        client.subscribe(if round % 2 == 0 { "now" } else { "+" }, 0);
        let value = |publish: &Publish| publish.text().parse::<u64>().unwrap();
        let mut last = value(&client.recv_publish());
        for _ in 0..30 {
            let next = value(&client.recv_publish());
            assert!(next >= last, "{next} after {last}, round {round}");
            last = next;
        }
    }
    writer.end();
});

sharded!(mqtt5_section_4_6_order_holds_while_the_interest_in_a_topic_changes, |broker| {
    let others = subscribe_and_unsubscribe(broker, 4, "ordered");
    let mut subscribers: Vec<_> = (0..4)
        .map(|number| {
            let mut client = broker.connect(Connect::v5(&format!("s-{number}")));
            client.subscribe("ordered", 2);
            client
        })
        .collect();
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..300_u32 {
        publisher.publish(Publish::new("ordered", number.to_string()).qos((number % 3) as u8));
    }
    for (index, subscriber) in subscribers.iter_mut().enumerate() {
        // Of one QoS in order; a QoS 0 message may be dropped, never moved, and no other is missing.
        let mut next = [1, 2];
        while next != [301, 302] {
            let wait = subscriber.recv_within(TIMEOUT);
            let Some(Packet::Publish(publish)) = wait else {
                panic!("subscriber {index} waits for one of {next:?}, not for {wait:?}")
            };
            subscriber.acknowledge(&publish);
            let number: usize = publish.text().parse().unwrap();
            if let Some(next) = (number % 3).checked_sub(1).map(|qos| &mut next[qos]) {
                assert_eq!(number, *next, "subscriber {index}");
                *next += 3;
            }
        }
    }
    others.into_iter().for_each(Background::end);
});

sharded!(mqtt5_section_3_12_a_quiet_connection_is_heard_while_others_are_busy, |broker| {
    let others = subscribe_and_unsubscribe(broker, 4, "busy");
    let mut quiet: Vec<_> =
        (0..4).map(|number| broker.connect(Connect::v5(&format!("quiet-{number}")))).collect();
    quiet.iter_mut().for_each(|client| client.subscribe("burst", 0));
    let mut publisher = broker.connect(Connect::v5("p"));
    for round in 0..15 {
        (0..40).for_each(|number: u32| publisher.publish(Publish::new("burst", number.to_string()).qos(1)));
        // Long enough for a shard without traffic to go to sleep.
        thread::sleep(Duration::from_millis(30 + round * 37 % 200));
        for client in &mut quiet {
            client.ping();
            client.expect_payloads((0..40).map(|number: u32| number.to_string()));
        }
    }
    others.into_iter().for_each(Background::end);
});

sharded!(
    mqtt5_4_7_3_3_topics_of_the_greatest_depth_and_length,
    "limits.topic_len_max=65535",
    "limits.topic_levels_max=65535",
    |broker| {
        let mut client = broker.connect(Connect::v5("c"));
        let slashes = "/".repeat(65_534);
        let deep = "a/".repeat(32_767);
        let long = "x".repeat(65_535);
        let pluses = "+/".repeat(32_767);
        for filter in ["#", "+/#", &pluses, &deep, &long, &slashes] {
            let reason = client.subscribe_reason(filter, 0);
            assert_eq!(reason, 0, "a filter of {} bytes", filter.len());
        }
        for topic in [&slashes, &deep, &long] {
            client.publish(Publish::new(topic, "deep").retain());
            let publish = client.recv_publish();
            assert_eq!((publish.topic.len(), publish.text()), (topic.len(), "deep".into()));
        }
        let mut late = broker.connect(Connect::v5("late"));
        late.subscribe(&pluses, 0);
        assert_eq!(late.recv_publish().topic, deep);
        client.unsubscribe(&["#", &pluses, &deep]);
        client.ping();
    }
);

sharded!(mqtt5_section_2_2_2_properties_of_hundreds_of_kilobytes_are_forwarded, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    let name = |number: u32| format!("{number:03}");
    let publish = (0..100).fold(Publish::new("t", "x").qos(1), |publish, number| {
        publish.with(Property::user(&name(number), &"v".repeat(5000)))
    });
    client.publish(publish.clone());
    assert!(client.recv_message().properties == publish.properties);
});

sharded!(mqtt5_3_3_4_4_hundreds_of_overlapping_subscriptions_with_identifiers, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    // Every filter of eight levels, each "a" or "+", matches.
    for bits in 0..256_u16 {
        let levels: Vec<_> = (0..8).map(|bit| if bits >> bit & 1 == 0 { "a" } else { "+" }).collect();
        let subscribe = Subscribe::new(bits + 1, &levels.join("/"), 1);
        client.subscribe_with(subscribe.with(Property::SubscriptionId(u32::from(bits) + 1)));
    }
    client.publish(Publish::new("a/a/a/a/a/a/a/a", "x").qos(1).id(1000));
    let mut ids = Vec::new();
    while ids.len() < 256 {
        ids.extend(client.recv_message().subscription_ids());
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=256).collect::<Vec<_>>());
    Client::expect_nothing(&mut client);
});
