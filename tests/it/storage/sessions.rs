//! Sessions and their subscriptions.

use super::Durable;
use crate::wire::{Connect, Filter, Property, Publish, Subscribe, Version};

#[test]
fn mqtt5_4_1_0_1_subscriptions_come_back_with_their_options() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    let with_id = Subscribe::new(1, "a/#", 1).with(Property::SubscriptionId(268_435_455));
    assert_eq!(client.subscribe_with(with_id), [1]);
    client.subscribe("b/+", 2 | Filter::NO_LOCAL | Filter::RETAIN_AS_PUBLISHED);
    client.subscribe("gone", 1);
    client.unsubscribe(&["gone"]);
    client.subscribe("less", 2);
    client.subscribe("less", 0);
    for _ in 0..3 {
        broker.crash();
        let mut client = broker.resume(Connect::v5("c").persistent());
        let mut other = broker.connect(Connect::v5("p"));
        other.publish(Publish::new("a/1/2", "id").qos(2));
        let publish = client.expect_message("a/1/2", "id");
        assert_eq!((publish.qos, publish.subscription_ids()), (1, vec![268_435_455]));
        client.publish(Publish::new("b/1", "own").qos(1));
        other.publish(Publish::new("b/1", "flag").qos(2).retain());
        let publish = client.expect_message("b/1", "flag");
        assert_eq!((publish.qos, publish.retain, publish.subscription_ids()), (2, true, vec![]));
        other.publish(Publish::new("gone", "x").qos(1));
        other.publish(Publish::new("less", "0").qos(2));
        assert_eq!(client.expect_message("less", "0").qos, 0);
        client.expect_nothing();
    }
}

#[test]
fn mqtt5_4_1_0_1_sessions_of_all_versions_come_back() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    for version in Version::ALL {
        let id = format!("c-{version:?}");
        let mut client = broker.connect(Connect::new(version, &id).persistent());
        client.subscribe("t/#", 2);
        client.disconnect();
    }
    for round in 0..3 {
        broker.crash();
        broker.connect(Connect::v5("p")).publish(Publish::new("t/1", round.to_string()).qos(2));
        for version in Version::ALL {
            let connect = Connect::new(version, &format!("c-{version:?}")).persistent();
            let (mut client, connack) = broker.connect_with_ack(connect);
            // 3.1 has no such flag.
            assert!(connack.session_present || version == Version::V31, "{connack:?}");
            client.expect_message("t/1", &round.to_string());
            client.expect_nothing();
            client.disconnect();
        }
    }
}

#[test]
fn mqtt5_3_1_2_11_sessions_that_end_with_their_connection_do_not_come_back() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut clients =
        [Connect::v5("c-5").resume(), Connect::v311("c-4")].map(|connect| broker.connect(connect));
    clients.iter_mut().for_each(|client| client.subscribe("t", 1));
    broker.crash();
    broker.resume_nothing(Connect::v5("c-5").persistent()).expect_nothing();
    broker.resume_nothing(Connect::v311("c-4").persistent()).expect_nothing();
}

#[test]
fn mqtt5_3_1_2_4_a_session_begun_anew_stays_so() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    for version in [Version::V311, Version::V50] {
        let mut client = broker.connect(Connect::new(version, "c").persistent());
        client.subscribe("t", 1);
        client.disconnect();
        broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(1));
        let anew = Connect { clean: true, ..Connect::new(version, "c").persistent() };
        let (_, connack) = broker.connect_with_ack(anew);
        assert!(!connack.session_present);
        broker.crash();
        let (mut client, connack) = broker.connect_with_ack(Connect::new(version, "c").persistent());
        // In 5.0 the new one outlives its connection, in 3.1.1 it does not.
        assert_eq!(connack.session_present, version.is_v5());
        client.publish(Publish::new("t", "x").qos(1));
        client.expect_nothing();
    }
}

#[test]
fn mqtt5_3_14_a_session_expiry_changed_at_disconnect_counts_after_a_crash() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let short = Connect::v5("longer").resume().with(Property::SessionExpiry(1));
    let mut client = broker.connect(short);
    client.subscribe("t", 1);
    let longer = crate::wire::Disconnect::default().with(Property::SessionExpiry(3600));
    client.disconnect_with(longer);
    // No answer says that it is on disk; an orderly end writes it.
    broker.stop_and_start();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    broker.resume(Connect::v5("longer").persistent());
}

#[test]
fn mqtt5_4_8_2_shared_subscriptions_come_back() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    for name in ["a", "b"] {
        let mut client = broker.connect(Connect::v5(name).persistent());
        let subscribe = Subscribe::new(1, "$share/g/t/#", 2).with(Property::SubscriptionId(7));
        assert_eq!(client.subscribe_with(subscribe), [2]);
        assert_eq!(client.subscribe_reason("$share/h/t/#", 1), 1);
        client.unsubscribe(&["$share/h/t/#"]);
    }
    for _ in 0..3 {
        broker.crash();
        let mut members = ["a", "b"].map(|name| broker.resume(Connect::v5(name).persistent()));
        let mut publisher = broker.connect(Connect::v5("p"));
        (0..20).for_each(|n: u32| publisher.publish(Publish::new("t/1", n.to_string()).qos(2)));
        members.iter_mut().for_each(crate::client::Client::ping);
        let mut numbers = Vec::new();
        for member in &mut members {
            while let Some(crate::wire::Packet::Publish(publish)) =
                member.recv_within(std::time::Duration::from_millis(200))
            {
                assert_eq!(publish.subscription_ids(), [7]);
                member.acknowledge(&publish);
                numbers.push(publish.text().parse::<u32>().unwrap());
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }
}

/// Sessions `c-0` and so on, each with a subscription of its own and one of a common topic; many at once, so that they share syncs.
fn make_sessions(broker: &Durable, count: u32) {
    let ids: Vec<u32> = (0..count).collect();
    for ids in ids.chunks(200) {
        let mut clients: Vec<_> = ids
            .iter()
            .map(|id| {
                let mut client = broker.open(Version::V50);
                client.send(Connect::v5(&format!("c-{id}")).persistent());
                client.send(Subscribe::new(1, &format!("own/{id}"), 1).and("common", 1));
                client
            })
            .collect();
        for client in &mut clients {
            assert_eq!(client.recv_connack().reason, 0);
            assert_eq!(client.recv_ack(crate::wire::AckKind::Suback, 1).reasons, [1, 1]);
        }
    }
}

#[test]
fn mqtt5_3_1_2_25_thousands_of_sessions_come_back() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    make_sessions(&broker, 3_000);
    broker.crash();
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in (0..3_000).step_by(50) {
        publisher.publish(Publish::new(&format!("own/{number}"), number.to_string()).qos(1));
    }
    broker.crash();
    for number in (0..3_000).step_by(50) {
        let mut client = broker.resume(Connect::v5(&format!("c-{number}")).persistent());
        client.expect_message(&format!("own/{number}"), &number.to_string());
    }
    (0..3_000).step_by(77).for_each(|n| drop(broker.resume(Connect::v5(&format!("c-{n}")).persistent())));
}

#[test]
fn the_first_client_after_a_start_finds_everything_there() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    make_sessions(&broker, 1_000);
    for round in 0..3 {
        broker.broker.kill();
        let options = broker.next();
        broker.broker.relaunch(&options);
        let deadline = std::time::Instant::now() + crate::client::TIMEOUT;
        let mut client = loop {
            if let Ok(stream) = std::net::TcpStream::connect(broker.address) {
                break crate::client::Client::over(stream, Version::V50);
            }
            assert!(std::time::Instant::now() < deadline, "nobody listens:\n{}", broker.output());
        };
        client.send(Connect::v5("p"));
        client.send(Publish::new("common", round.to_string()).qos(1).id(1));
        assert_eq!(client.recv_connack().reason, 0);
        client.expect_ack(crate::wire::AckKind::Puback, 1, 0);
        crate::broker::wait_until("it is ready", || broker.output().contains("myriad ready"));
    }
    for number in (0..1_000).step_by(9) {
        let mut client = broker.resume(Connect::v5(&format!("c-{number}")).persistent());
        client.expect_payloads(["0", "1", "2"]);
    }
}
