//! `$queue/F` is a Shared Subscription without a name, `$local/F` is F: in every version.

use std::time::Duration;

use super::plain;
use crate::client::Client;
use crate::wire::{Connect, Packet, Publish, Subscribe, Version};

/// How many messages a client has.
fn count(client: &mut Client) -> usize {
    client.ping();
    std::iter::from_fn(|| client.recv_within(Duration::from_millis(100)))
        .filter(|packet| matches!(packet, Packet::Publish(_)))
        .count()
}

#[test]
fn queue_gives_each_message_to_one_of_its_subscribers() {
    for shards in [1, 3] {
        let Some(broker) = plain(shards) else { return };
        let mut members: Vec<_> = Version::ALL
            .iter()
            .enumerate()
            .map(|(number, version)| {
                let mut client = broker.connect(Connect::new(*version, &format!("c{number}")));
                client.subscribe("$queue/jobs/#", 0);
                client
            })
            .collect();
        let mut publisher = broker.connect(Connect::v311("p"));
        for number in 0..30 {
            publisher.publish(Publish::new(&format!("jobs/{number}"), "x").qos(1));
        }
        let counts: Vec<usize> = members.iter_mut().map(count).collect();
        assert_eq!(counts.iter().sum::<usize>(), 30, "{counts:?}");
        assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
        members[0].unsubscribe(&["$queue/jobs/#"]);
        for _ in 0..4 {
            publisher.publish(Publish::new("jobs/x", "x").qos(1));
        }
        assert_eq!(members.iter_mut().map(count).collect::<Vec<_>>()[0], 0);
    }
}

#[test]
fn queue_is_the_group_of_that_name_and_breaks_no_rule_of_shared_subscriptions() {
    let Some(broker) = plain(2) else { return };
    let mut one = broker.connect(Connect::v5("one"));
    let mut other = broker.connect(Connect::v5("other"));
    one.subscribe("$queue/t", 0);
    other.subscribe("$share/$queue/t", 0);
    let mut publisher = broker.connect(Connect::v5("p"));
    for _ in 0..10 {
        publisher.publish(Publish::new("t", "x").qos(1));
    }
    assert_eq!((count(&mut one), count(&mut other)), (5, 5));
    assert_eq!(one.subscribe_reason("$queue/", 0), 0x8F);
    // No Local [MQTT-3.8.3-4].
    one.send(Subscribe::new(9, "$queue/u", 0x04));
    one.expect_disconnect(0x82);
}

#[test]
fn local_subscribes_to_the_filter_behind_it() {
    let Some(broker) = plain(2) else { return };
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("$local/t/+", 1);
    client.publish(Publish::new("t/1", "x").qos(1));
    client.expect_message("t/1", "x");
    assert_eq!(client.unsubscribe(&["t/+"]), [0]);
    client.publish(Publish::new("t/1", "x").qos(1));
    client.expect_nothing();
}
