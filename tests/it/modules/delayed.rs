//! `$delayed/{seconds}/{topic}`: messages that are published later.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::plain;
use crate::broker::{Broker, Options, peer_is_mosquitto, temporary_dir, wait_until};
use crate::wire::{Connect, Property, Publish, Version};

#[test]
fn delayed_messages_come_when_they_are_due_and_not_before() {
    for shards in [1, 3] {
        let Some(broker) = plain(shards) else { return };
        let mut subscriber = broker.connect(Connect::v5("s"));
        subscriber.subscribe("#", 2);
        for (number, version) in Version::ALL.into_iter().enumerate() {
            let mut publisher = broker.connect(Connect::new(version, &format!("p{number}")));
            let begun = Instant::now();
            for qos in 0..=2 {
                publisher.publish(Publish::new(&format!("$delayed/1/t/{qos}"), "later").qos(qos));
            }
            // Its connection has nothing to do with it any more.
            publisher.disconnect();
            let mut topics: Vec<_> = (0..3).map(|_| subscriber.recv_message().topic).collect();
            assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
            topics.sort();
            assert_eq!(topics, ["t/0", "t/1", "t/2"]);
        }
    }
}

#[test]
fn delayed_messages_keep_what_they_say() {
    let Some(broker) = plain(2) else { return };
    let mut client = broker.connect(Connect::v5("c"));
    let message = Publish::new("$delayed/1/state", "kept").qos(1).retain();
    // The expiry counts from the moment at which it is published.
    let message = message.with(Property::MessageExpiry(100)).with(Property::ContentType("text".into()));
    client.publish(message.with(Property::user("k", "v")));
    client.subscribe("state", 1);
    let live = client.expect_message("state", "kept");
    assert!(!live.retain, "it is published after the subscription was made");
    assert!(live.properties.contains(&Property::user("k", "v")), "{live:?}");
    assert!(live.properties.contains(&Property::ContentType("text".into())), "{live:?}");
    assert!(live.properties.iter().any(|p| matches!(p, Property::MessageExpiry(99 | 100))), "{live:?}");
    let mut late = broker.connect(Connect::v5("d"));
    late.subscribe("state", 1);
    assert!(late.expect_message("state", "kept").retain);
    // No delay at all.
    client.publish(Publish::new("$delayed/0/state", "now").qos(1));
    client.expect_message("state", "now");
}

#[test]
fn delayed_topics_that_say_no_delay_are_refused() {
    let Some(broker) = plain(1) else { return };
    let mut client = broker.connect(Connect::v5("c"));
    for topic in ["$delayed/x/t", "$delayed/5", "$delayed/5/", "$delayed/4294968/t", "$delayed/-1/t"] {
        assert_eq!(client.publish_reason(Publish::new(topic, "x").qos(1)), 0x90, "{topic}");
    }
    assert_eq!(client.publish_reason(Publish::new("$delayed/1/$SYS/x", "x").qos(1)), 0x87);
    let mut old = broker.connect(Connect::v311("old"));
    old.publish(Publish::new("$delayed/x/t", "x").qos(1));
    assert_eq!(broker.http().json("/api/v1/delayed")["items"].as_array().unwrap().len(), 0);
}

#[test]
fn delayed_messages_ask_the_acl_about_the_topic_proper() {
    if peer_is_mosquitto() {
        return;
    }
    let dir = temporary_dir();
    let acl = dir.join("acl.conf");
    std::fs::write(&acl, "{deny, all, publish, [\"secret/#\"]}.\n{allow, all}.\n").unwrap();
    let broker = Broker::start(&Options::shards(1).set(&format!("acl.file={}", acl.display()))).unwrap();
    let mut client = broker.connect(Connect::v5("c"));
    assert_eq!(client.publish_reason(Publish::new("$delayed/1/secret/x", "x").qos(1)), 0x87);
    assert_eq!(client.publish_reason(Publish::new("$delayed/100/open", "x").qos(1)), 0);
    drop(broker);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn delayed_messages_are_bounded_and_listed() {
    if peer_is_mosquitto() {
        return;
    }
    let options = Options::shards(3).set("delayed.count_max=5").set("delayed.delay_s_max=1000");
    let broker = Broker::start(&options).unwrap();
    // On several shards.
    let mut clients: Vec<_> = (0..5).map(|n| broker.connect(Connect::v5(&format!("c{n}")))).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let topic = format!("$delayed/{}/t/{number}", 900 - number);
        assert_eq!(client.publish_reason(Publish::new(&topic, "12345").qos(1)), 0);
    }
    assert_eq!(clients[0].publish_reason(Publish::new("$delayed/9/t", "x").qos(1)), 0x97);
    assert_eq!(clients[0].publish_reason(Publish::new("$delayed/1001/t", "x").qos(1)), 0x90);
    let http = broker.http();
    let mut topics = Vec::new();
    let mut path = "/api/v1/delayed?limit=2".to_owned();
    for _ in 0..5 {
        let page = http.json(&path);
        for item in page["items"].as_array().unwrap() {
            assert_eq!((&item["qos"], &item["payload_bytes"]), (&1.into(), &5.into()));
            assert!(item["due_at"].as_str().unwrap().ends_with('Z'), "{item}");
            topics.push(item["topic"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/delayed?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(topics, ["t/4", "t/3", "t/2", "t/1", "t/0"], "the next one first");
    http.get("/api/v1/delayed?cursor=x").problem(400, "bad_request");
}

#[test]
fn delayed_messages_of_a_long_page_are_in_order_over_all_shards() {
    if peer_is_mosquitto() {
        return;
    }
    // On one shard most of them: it tells of them a part at a time.
    const COUNTS: [usize; 4] = [700, 40, 300, 5];
    let broker = Broker::start(&Options::shards(3)).unwrap();
    let mut sent = Vec::new();
    for (client, count) in COUNTS.into_iter().enumerate() {
        let mut publisher = broker.connect(Connect::v5(&format!("c{client}")));
        for number in 0..count {
            let delay_s = 1000 + (number * 7919 + client) % 5000;
            let topic = format!("t/{delay_s}/{client}/{number}");
            publisher.send(Publish::new(&format!("$delayed/{delay_s}/{topic}"), "x"));
            sent.push(topic);
        }
        publisher.ping();
    }
    let mut listed: Vec<(String, String)> = Vec::new();
    let mut path = "/api/v1/delayed?limit=1000".to_owned();
    loop {
        let page = broker.http().json(&path);
        let items = page["items"].as_array().unwrap();
        let text = |item: &serde_json::Value, name: &str| item[name].as_str().unwrap().to_owned();
        listed.extend(items.iter().map(|item| (text(item, "due_at"), text(item, "topic"))));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(items.len(), 1000, "a page is full while there is more");
        path = format!("/api/v1/delayed?limit=1000&cursor={next}");
    }
    assert!(listed.is_sorted_by_key(|(due, _)| due), "the next one first");
    let mut topics: Vec<_> = listed.into_iter().map(|(_, topic)| topic).collect();
    topics.sort();
    sent.sort();
    assert!(topics == sent, "{} of {} are listed", topics.len(), sent.len());
}

#[test]
fn delayed_messages_that_were_acknowledged_survive_a_crash() {
    if peer_is_mosquitto() {
        return;
    }
    let options = Options::durable(2);
    let mut broker = Broker::start(&options).unwrap();
    let mut publisher = broker.connect(Connect::v5("p").persistent());
    let mut subscriber = broker.connect(Connect::v5("s").persistent());
    subscriber.subscribe("t/#", 2);
    for (qos, delay_s) in [(1, 3), (2, 3), (1, 600)] {
        publisher.publish(Publish::new(&format!("$delayed/{delay_s}/t/{qos}"), "later").qos(qos));
    }
    broker.kill();
    // Other homes for everything.
    let options = options.with_shards(3);
    broker.restart(&options);
    let listed = || broker.http().json("/api/v1/delayed")["items"].as_array().unwrap().len();
    assert!(listed() >= 1);
    let mut subscriber = broker.connect(Connect::v5("s").persistent());
    let mut topics: Vec<_> = (0..2).map(|_| subscriber.recv_message().topic).collect();
    topics.sort();
    assert_eq!(topics, ["t/1", "t/2"]);
    wait_until("one is left", || listed() == 1);
    subscriber.expect_nothing();
    // Once more: what was published is not published again.
    broker.kill();
    broker.restart(&options);
    let mut subscriber = broker.connect(Connect::v5("s").persistent());
    assert_eq!(broker.http().json("/api/v1/delayed")["items"].as_array().unwrap().len(), 1);
    subscriber.expect_nothing();
}

#[test]
fn delayed_messages_that_are_due_at_once_all_come_and_give_their_room_back() {
    if peer_is_mosquitto() {
        return;
    }
    // More than are published in one turn.
    const COUNT: usize = 600;
    for shards in [1, 3] {
        let broker =
            Broker::start(&Options::shards(shards).set(&format!("delayed.count_max={COUNT}"))).unwrap();
        let mut subscribers: Vec<_> = (0..3).map(|n| broker.connect(Connect::v5(&format!("s{n}")))).collect();
        for subscriber in &mut subscribers {
            subscriber.subscribe("t/#", 1);
        }
        let mut publisher = broker.connect(Connect::v311("p"));
        for qos in [1, 0] {
            for number in 0..COUNT {
                publisher.publish(Publish::new("$delayed/2/t/x", number.to_string()).qos(qos));
            }
            publisher.ping();
            for subscriber in &mut subscribers {
                let numbers: BTreeSet<_> = (0..COUNT).map(|_| subscriber.recv_message().text()).collect();
                assert_eq!(numbers.len(), COUNT);
            }
            let waits = || !broker.http().json("/api/v1/delayed")["items"].as_array().unwrap().is_empty();
            wait_until("none waits any more", || !waits());
        }
        for subscriber in &mut subscribers {
            subscriber.expect_nothing();
        }
    }
}
