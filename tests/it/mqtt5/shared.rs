//! Shared Subscriptions (section 4.8.2).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::wire::{Ack, AckKind, Connect, Disconnect, Packet, Property, Publish, Subscribe};

/// Members of one Shared Subscription, on whatever shards their names put them.
fn members(broker: &Broker, count: usize, filter: &str, qos: u8) -> Vec<Client> {
    (0..count)
        .map(|number| {
            let mut client = broker.connect(Connect::v5(&format!("member-{number}")));
            client.subscribe(filter, qos);
            client
        })
        .collect()
}

/// What each member gets of `count` messages and whatever comes beyond them, acknowledged.
fn collect(members: &mut [Client], count: usize) -> Vec<Vec<String>> {
    let mut parts = vec![Vec::new(); members.len()];
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let complete = parts.iter().map(Vec::len).sum::<usize>() >= count;
        let mut quiet = true;
        for (member, part) in members.iter_mut().zip(&mut parts) {
            while let Some(packet) = member.recv_within(Duration::from_millis(if complete { 50 } else { 5 }))
            {
                let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
                part.push(publish.text());
                quiet = false;
                if publish.qos == 1 {
                    member.send(Ack::new(AckKind::Puback, publish.id));
                }
            }
        }
        if complete && quiet || Instant::now() > deadline {
            return parts;
        }
    }
}

fn expect_all_once(parts: &[Vec<String>], count: usize) {
    let mut all: Vec<usize> = parts.iter().flatten().map(|payload| payload.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>(), "{parts:?}");
}

sharded!(mqtt5_4_8_2_each_message_goes_to_one_member, |broker| {
    for qos in 0..2 {
        let mut members = members(broker, 4, "$share/group/t/#", qos);
        let mut publisher = broker.connect(Connect::v5("p"));
        for number in 0..80 {
            publisher.publish(Publish::new(&format!("t/{number}"), number.to_string()).qos(qos));
        }
        let parts = collect(&mut members, 80);
        expect_all_once(&parts, 80);
        assert!(parts.iter().all(|part| part.len() >= 5), "each member gets its share: {parts:?}");
    }
});

sharded!(
    mqtt5_section_4_8_2_round_robin_gives_each_member_its_turn,
    "mqtt.shared_strategy=round_robin",
    |broker| {
        let mut members = members(broker, 4, "$share/group/t", 0);
        let mut publisher = broker.connect(Connect::v5("p"));
        for number in 0..40 {
            publisher.publish(Publish::new("t", number.to_string()).qos(1));
        }
        let parts = collect(&mut members, 40);
        expect_all_once(&parts, 40);
        assert!(parts.iter().all(|part| part.len() == 10), "{parts:?}");
    }
);

sharded!(mqtt5_section_4_8_2_sticky_stays_until_the_member_leaves, "mqtt.shared_strategy=sticky", |broker| {
    let mut members = members(broker, 3, "$share/group/t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..30 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1));
    }
    let parts = collect(&mut members, 30);
    expect_all_once(&parts, 30);
    let chosen = parts.iter().position(|part| !part.is_empty()).unwrap();
    assert_eq!(parts[chosen].len(), 30, "{parts:?}");
    members.remove(chosen).disconnect();
    publisher.publish(Publish::new("t", "0").qos(1));
    expect_all_once(&collect(&mut members, 1), 1);
});

sharded!(
    mqtt5_section_4_8_2_hash_topic_keeps_a_topic_with_its_member,
    "mqtt.shared_strategy=hash_topic",
    |broker| {
        let mut members = members(broker, 4, "$share/group/t/+", 0);
        let mut publisher = broker.connect(Connect::v5("p"));
        for number in 0..60 {
            publisher.publish(Publish::new(&format!("t/{}", number % 20), number.to_string()).qos(1));
        }
        let parts = collect(&mut members, 60);
        expect_all_once(&parts, 60);
        let mut owner = HashMap::new();
        for (member, part) in parts.iter().enumerate() {
            for payload in part {
                let topic = payload.parse::<usize>().unwrap() % 20;
                assert_eq!(*owner.entry(topic).or_insert(member), member, "{parts:?}");
            }
        }
    }
);

sharded!(mqtt5_section_4_8_2_groups_and_plain_subscriptions_each_get_the_message, |broker| {
    let mut clients: Vec<_> = ["$share/one/t", "$share/two/t", "$share/two/+", "t"]
        .iter()
        .enumerate()
        .map(|(number, filter)| {
            let mut client = broker.connect(Connect::v5(&format!("c-{number}")));
            client.subscribe(filter, 1);
            client
        })
        .collect();
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(1));
    for client in &mut clients {
        client.expect_message("t", "x");
        client.expect_nothing();
    }
});

sharded!(mqtt5_section_4_8_2_one_client_in_a_group_and_alone_gets_both, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe_with(Subscribe::new(1, "t", 1).with(Property::SubscriptionId(1)));
    client.subscribe_with(Subscribe::new(2, "$share/g/t", 1).with(Property::SubscriptionId(2)));
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(1));
    let mut ids = Vec::new();
    while ids.len() < 2 {
        ids.extend(client.recv_message().subscription_ids());
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
});

sharded!(mqtt5_4_8_2_1_share_name_must_have_a_character, |broker| {
    expect_refused(broker, "$share//t");
});

sharded!(mqtt5_4_8_2_2_share_name_must_be_plain_and_a_filter_must_follow, |broker| {
    for filter in ["$share/g+/t", "$share/#/t", "$share/+/t", "$share/g", "$share/g/", "$share/"] {
        expect_refused(broker, filter);
    }
});

fn expect_refused(broker: &Broker, filter: &str) {
    let mut client = broker.connect(Connect::v5("refused"));
    client.send(Subscribe::new(1, filter, 0));
    match client.recv() {
        Packet::Ack(ack) => assert_eq!(ack.reasons, [0x8F], "{filter:?}"),
        Packet::Disconnect(Disconnect { reason: 0x8F | 0x81, .. }) => {}
        other => panic!("{filter:?}: {other:?}"),
    }
}

sharded!(mqtt5_4_8_2_3_delivery_has_the_lower_of_both_qos, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("$share/g/t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for sent in 0..3 {
        publisher.publish(Publish::new("t", "x").qos(sent));
        assert_eq!(client.recv_message().qos, sent.min(1));
    }
});

sharded!(mqtt5_section_4_8_2_no_retained_messages_for_a_new_shared_subscription, |broker| {
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "old").qos(1).retain());
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("$share/g/t", 1);
    client.expect_nothing();
});

sharded!(mqtt5_section_4_8_2_retained_publishes_are_shared_as_others, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("$share/g/t", 1);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "new").qos(1).retain());
    let publish = client.recv_message();
    assert_eq!((publish.text(), publish.retain), ("new".into(), false));
});

sharded!(mqtt5_section_4_8_2_a_member_that_leaves_gets_no_more, |broker| {
    let mut members = members(broker, 3, "$share/g/t", 1);
    assert_eq!(members[0].unsubscribe(&["$share/g/t"]), [0]);
    assert_eq!(members[0].unsubscribe(&["$share/g/t"]), [0x11]);
    members.remove(1).disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..20 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1));
    }
    let parts = collect(&mut members, 20);
    expect_all_once(&parts, 20);
    assert_eq!(parts[0], Vec::<String>::new());
});

sharded!(mqtt5_section_4_8_2_connected_members_go_before_offline_ones, |broker| {
    let mut away = broker.connect(Connect::v5("away").persistent());
    away.subscribe("$share/g/t", 1);
    away.disconnect();
    let mut here = broker.connect(Connect::v5("here"));
    here.subscribe("$share/g/t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..10 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1));
    }
    here.expect_payloads((0..10).map(|number: u32| number.to_string()));
    broker.connect(Connect::v5("away").persistent()).expect_nothing();
});

sharded!(mqtt5_section_4_8_2_an_offline_member_alone_keeps_the_messages, |broker| {
    let mut away = broker.connect(Connect::v5("away").persistent());
    away.subscribe("$share/g/t", 1);
    away.disconnect();
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "kept").qos(1));
    broker.connect(Connect::v5("away").persistent()).expect_payloads(["kept"]);
});

sharded!(mqtt5_4_8_2_4_a_qos2_delivery_stays_with_its_member, |broker| {
    let mut first = broker.connect(Connect::v5("first").persistent());
    first.subscribe("$share/g/t", 2);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(2));
    let begun = first.recv_publish();
    first.abort();
    let mut second = broker.connect(Connect::v5("second"));
    second.subscribe("$share/g/t", 2);
    second.expect_nothing();
    let mut first = broker.connect(Connect::v5("first").persistent());
    let again = first.recv_message();
    assert_eq!((again.id, again.dup, again.text()), (begun.id, true, "x".into()));
    second.expect_nothing();
});

sharded!(mqtt5_4_8_2_5_a_qos2_delivery_ends_with_its_members_session, |broker| {
    let mut first = broker.connect(Connect::v5("first"));
    first.subscribe("$share/g/t", 2);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(2));
    assert_eq!(first.recv_publish().text(), "x");
    let mut second = broker.connect(Connect::v5("second"));
    second.subscribe("$share/g/t", 2);
    first.abort();
    second.expect_nothing();
});

sharded!(mqtt5_section_4_8_2_a_qos1_delivery_goes_to_another_when_the_session_ends, |broker| {
    let mut first = broker.connect(Connect::v5("first"));
    first.subscribe("$share/g/t", 1);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(1));
    assert_eq!(first.recv_publish().text(), "x");
    let mut second = broker.connect(Connect::v5("second"));
    second.subscribe("$share/g/t", 1);
    first.abort();
    second.expect_payloads(["x"]);
});

sharded!(mqtt5_4_8_2_6_a_negative_acknowledgement_discards, |broker| {
    let mut members = members(broker, 2, "$share/g/t", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "1").qos(1));
    publisher.publish(Publish::new("t", "2").qos(2));
    let mut refused = 0;
    let deadline = Instant::now() + TIMEOUT;
    while refused < 2 && Instant::now() < deadline {
        for member in &mut members {
            while let Some(packet) = member.recv_within(Duration::from_millis(20)) {
                let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
                let kind = if publish.qos == 1 { AckKind::Puback } else { AckKind::Pubrec };
                member.send(Ack::new(kind, publish.id).reason(0x80));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 2);
    members.iter_mut().for_each(Client::expect_nothing);
});

sharded!(mqtt5_section_4_8_2_clients_of_all_versions_share, |broker| {
    let mut old = broker.connect(Connect::v311("old"));
    old.subscribe("$share/g/t", 0);
    let mut new = broker.connect(Connect::v5("new"));
    new.subscribe("$share/g/t", 0);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..20 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1));
    }
    let parts = collect(&mut [old, new], 20);
    expect_all_once(&parts, 20);
    assert!(parts.iter().all(|part| !part.is_empty()), "{parts:?}");
});

sharded!(mqtt5_section_4_8_2_messages_of_a_publisher_stay_in_order_for_each_member, |broker| {
    let mut members = members(broker, 3, "$share/g/t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..150 {
        publisher.publish(Publish::new("t", format!("{number:03}")).qos(1));
    }
    for part in collect(&mut members, 150) {
        assert!(part.is_sorted(), "{part:?}");
    }
});
