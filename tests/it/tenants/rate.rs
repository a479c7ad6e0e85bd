//! The message rate of a user, over all its clients.

use std::time::{Duration, Instant};

use super::{as_user, connect, tenants};
use crate::broker::Broker;
use crate::client::Client;
use crate::numbers::wait_for;
use crate::wire::{AckKind, Connect, Packet, Publish};

#[test]
fn the_message_rate_is_that_of_all_clients_of_a_user() {
    let broker = tenants(4, &["quota.publish_rate=50", "limits.receive_max=1000"]);
    let mut clients: Vec<_> = (0..4).map(|number| connect(&broker, "a", &format!("c-{number}"))).collect();
    let start = Instant::now();
    for id in 1..=40 {
        for client in &mut clients {
            client.send(Publish::new("t", "x").qos(1).id(id));
        }
    }
    for client in &mut clients {
        for id in 1..=40 {
            client.expect_ack(AckKind::Puback, id, 0x10);
        }
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2), "110 messages beyond the burst at 50/s took {took:?}");
}

/// Of messages that all clients of `broker` send at once, by client how many were acknowledged at each moment when one more
/// of them was.
fn acknowledged(clients: &mut [Client], each: u16) -> Vec<Vec<u16>> {
    for id in 1..=each {
        for client in &mut *clients {
            client.send(Publish::new("t", "x").qos(1).id(id));
        }
    }
    let mut counts = vec![0; clients.len()];
    let mut moments = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while counts.iter().any(|count| *count < each) {
        assert!(Instant::now() < deadline, "{counts:?}");
        for (client, count) in clients.iter_mut().zip(&mut counts) {
            while *count < each
                && let Some(Packet::Ack(_)) = client.recv_within(Duration::from_millis(1))
            {
                *count += 1;
            }
        }
        moments.push(counts.clone());
    }
    moments
}

#[test]
fn clients_that_wait_for_their_users_rate_take_turns_and_do_not_wake_for_nothing() {
    for shards in [1, 4] {
        let broker = tenants(shards, &["quota.publish_rate=100", "limits.receive_max=1000"]);
        let mut clients: Vec<_> =
            (0..50).map(|number| connect(&broker, "a", &format!("c-{number}"))).collect();
        // The burst is used up first.
        for id in 1..=100 {
            clients[0].send(Publish::new("t", "x").qos(1).id(id));
        }
        (1..=100).for_each(|id| drop(clients[0].expect_ack(AckKind::Puback, id, 0x10)));
        let start = Instant::now();
        let moments = acknowledged(&mut clients, 6);
        let took = start.elapsed();
        // 300 messages at 100/s, together.
        assert!((2800..6000).contains(&took.as_millis()), "{took:?}");
        for counts in moments {
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 2, "not evenly: {counts:?}");
        }
        // Each message is waited for once, and looked at again perhaps where others got in between.
        clients.into_iter().for_each(Client::disconnect);
        wait_for(&broker, "stats/clients/count", |clients| clients <= 1);
        let waits = wait_for(&broker, "metrics/quota/publish_rate/waits", |_| true);
        assert!((250..=330).contains(&waits), "{waits} waits for 300 messages");
    }
}

/// Many that wait by a slow rate.
fn waiting(broker: &Broker, clients: usize) -> Vec<Client> {
    let mut waiting: Vec<_> =
        (0..clients).map(|number| connect(broker, "a", &format!("w-{number}"))).collect();
    for client in &mut waiting {
        client.send(Publish::new("t", "x").qos(1).id(1));
    }
    waiting
}

#[test]
fn a_turn_of_a_client_that_is_gone_is_given_to_the_others() {
    let broker = tenants(1, &["quota.publish_rate=1", "limits.receive_max=1000"]);
    let gone = waiting(&broker, 40);
    wait_for(&broker, "metrics/quota/publish_rate/waits", |waits| waits >= 38);
    // Another connection of each, which says nothing, takes its session over.
    let _silent: Vec<_> =
        (0..gone.len()).map(|number| connect(&broker, "a", &format!("w-{number}"))).collect();
    drop(gone);
    let start = Instant::now();
    let mut late = broker.connect(as_user("a", Connect::v5("late")));
    late.publish(Publish::new("t", "x").qos(1));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?} behind 38 that are gone");
}
