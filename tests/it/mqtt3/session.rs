//! Sessions of 3.1.1 and 3.1: Clean Session, takeover, resume, redelivery (sections 3.1.2.4, 3.14, 4.4).

use std::thread;
use std::time::Duration;

use super::OLD;
use crate::client::Client;
use crate::wire::{Ack, AckKind, Connect, Disconnect, Packet, Publish};

sharded!(mqtt3_3_1_2_4_session_is_resumed_with_its_subscriptions, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.subscribe("t", 1);
        client.disconnect();
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.publish(Publish::new("t", "x").qos(1));
        client.expect_payloads(["x"]);
        client.unsubscribe(&["t"]);
    }
});

sharded!(mqtt3_3_1_2_5_messages_are_kept_for_an_absent_client, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.subscribe("t", 2);
        client.abort();
        let mut publisher = broker.connect(Connect::new(version, "p"));
        publisher.publish(Publish::new("t", "1").qos(1));
        publisher.publish(Publish::new("t", "2").qos(2));
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.expect_payloads(["1", "2"]);
        client.expect_nothing();
    }
});

sharded!(mqtt3_3_1_2_6_clean_session_discards_the_session_before_and_after, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.subscribe("before", 1);
        client.disconnect();
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("after", 1);
        client.disconnect();
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.publish(Publish::new("before", "x").qos(1));
        client.publish(Publish::new("after", "x").qos(1));
        client.expect_nothing();
    }
});

sharded!(mqtt3_3_1_2_7_retained_messages_are_not_part_of_the_session, |broker| {
    let mut client = broker.connect(Connect::v311("c"));
    client.publish(Publish::new("t", "x").qos(1).retain());
    client.disconnect();
    let mut client = broker.connect(Connect::v311("c"));
    client.subscribe("t", 0);
    client.expect_payloads(["x"]);
});

sharded!(mqtt3_3_1_4_2_takeover_closes_the_old_connection, |broker| {
    for version in OLD {
        let mut old = broker.connect(Connect::new(version, "c"));
        let mut new = broker.connect(Connect::new(version, "c"));
        old.expect_closed();
        new.ping();
    }
});

sharded!(mqtt3_3_1_4_2_takeover_keeps_the_session_and_what_is_under_way, |broker| {
    let mut old = broker.connect(Connect::v311("c").persistent());
    old.subscribe("t", 2);
    broker.connect(Connect::v311("p")).publish(Publish::new("t", "x").qos(2));
    let publish = old.recv_publish();
    let (mut new, connack) = broker.connect_with_ack(Connect::v311("c").persistent());
    assert!(connack.session_present);
    old.expect_closed();
    assert_eq!(new.recv_message(), Publish { dup: true, ..publish });
    new.expect_nothing();
});

sharded!(mqtt3_3_1_4_2_takeovers_of_many_clients_on_all_shards, |broker| {
    let connect = |number: u32| broker.connect(Connect::v311(&format!("many-{number}")).persistent());
    let mut old: Vec<_> = (0..30).map(connect).collect();
    let mut new: Vec<_> = (0..30).map(connect).collect();
    old.iter_mut().for_each(Client::expect_closed);
    new.iter_mut().for_each(Client::ping);
});

sharded!(mqtt3_4_4_0_1_unacknowledged_publishes_come_again_with_dup, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.subscribe("t", 2);
        let mut publisher = broker.connect(Connect::new(version, "p"));
        for number in 0..6 {
            publisher.publish(Publish::new("t", number.to_string()).qos(1 + number % 2));
        }
        let first: Vec<_> = (0..6).map(|_| client.recv_publish()).collect();
        client.abort();
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        for publish in first {
            assert_eq!(client.recv_message(), Publish { dup: true, ..publish });
        }
        client.expect_nothing();
    }
});

sharded!(mqtt3_4_4_0_1_pubrel_comes_again, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.subscribe("t", 2);
        broker.connect(Connect::new(version, "p")).publish(Publish::new("t", "x").qos(2));
        let publish = client.recv_publish();
        client.send(Ack::new(AckKind::Pubrec, publish.id));
        client.expect_ack(AckKind::Pubrel, publish.id, 0);
        client.abort();
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        assert_eq!(client.recv(), Ack::new(AckKind::Pubrel, publish.id).into());
        client.send(Ack::new(AckKind::Pubcomp, publish.id));
        client.expect_nothing();
    }
});

sharded!(mqtt3_4_3_3_qos2_received_is_remembered_across_a_reconnect, |broker| {
    for version in OLD {
        let mut watcher = broker.connect(Connect::new(version, "w"));
        watcher.subscribe("t", 2);
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.send(Publish::new("t", "once").qos(2).id(5));
        client.expect_ack(AckKind::Pubrec, 5, 0);
        client.abort();
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.send(Publish::new("t", "once").qos(2).id(5).dup());
        client.expect_ack(AckKind::Pubrec, 5, 0);
        client.send(Ack::new(AckKind::Pubrel, 5));
        client.expect_ack(AckKind::Pubcomp, 5, 0);
        watcher.expect_payloads(["once"]);
        watcher.expect_nothing();
        client.disconnect();
    }
});

sharded!(mqtt3_section_3_1_2_4_persistent_sessions_expire_as_configured, "session.expiry_s=1", |broker| {
    broker.connect(Connect::v311("c").persistent()).disconnect();
    thread::sleep(Duration::from_millis(2500));
    assert!(!broker.connect_with_ack(Connect::v311("c").persistent()).1.session_present);
});

sharded!(
    mqtt3_section_3_1_2_4_queued_qos1_and_qos2_obey_drop_oldest,
    "session.queue_len_max=100",
    |broker| {
        let mut client = broker.connect(Connect::v311("c").persistent());
        client.subscribe_all(&["topic1", "topic2"], 1);
        client.disconnect();
        let mut publisher = broker.connect(Connect::v311("p"));
        for number in 0..70 {
            publisher.publish(Publish::new("topic1", format!("1-{number}")).qos(1));
        }
        for number in 0..80 {
            publisher.publish(Publish::new("topic2", format!("2-{number}")).qos(1));
        }
        let mut client = broker.connect(Connect::v311("c").persistent());
        client.expect_payloads((50..70).map(|number: u32| format!("1-{number}")));
        client.expect_payloads((0..80).map(|number: u32| format!("2-{number}")));
        client.expect_nothing();
    }
);

sharded!(mqtt3_3_14_4_1_disconnect_is_followed_by_a_close, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.send(Disconnect::default());
        client.expect_closed();
    }
});

sharded!(mqtt3_3_12_4_1_pingreq_gets_pingresp, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.send(Packet::Pingreq);
        assert_eq!(client.recv(), Packet::Pingresp);
    }
});
