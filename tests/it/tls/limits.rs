//! Rates and mountpoints over TLS and secure WebSocket: they speak of MQTT, whatever carries it.

use std::io::Write;

use super::*;
use crate::client::Client;
use crate::transport::ws::{REQUEST, WebSocket};
use crate::wire::{AckKind, Connect, Publish};

/// A client over each of the two.
fn clients(secured: &Secured, name: &str) -> [Client; 2] {
    let mut wss = WebSocket::over(secured.peer().open(secured.wss));
    wss.stream.write_all(REQUEST.as_bytes()).unwrap();
    let version = Connect::v5("").version;
    let mut clients = [Client::over(secured.peer().open(secured.mqtts), version), Client::over(wss, version)];
    for (client, carrier) in clients.iter_mut().zip(["tls", "wss"]) {
        client.send(Connect::v5(&format!("{name}-{carrier}")));
        assert_eq!(client.recv_connack().reason, 0, "{carrier}");
    }
    clients
}

/// How long it takes until so many messages of `bytes` are acknowledged.
fn publish(client: &mut Client, count: u16, bytes: usize) -> Duration {
    let start = Instant::now();
    for id in 1..=count {
        client.send(Publish::new("t", vec![b'x'; bytes]).qos(1).id(id));
    }
    (1..=count).for_each(|id| drop(client.expect_ack(AckKind::Puback, id, 0x10)));
    start.elapsed()
}

#[test]
fn past_its_rates_a_client_over_tls_and_websocket_is_paused_and_loses_nothing() {
    for shards in SHARDS {
        let rates = "[limits]\nreceive_max = 1000\npublish_rate = 100\npublish_burst = 20";
        let secured = Options::shards(shards).more(rates).start();
        for mut client in clients(&secured, "messages") {
            let took = publish(&mut client, 120, 10);
            assert!((900..5000).contains(&took.as_millis()), "120 messages at 100/s: {took:?}");
            client.ping();
        }
        let rates = "[limits]\nreceive_max = 1000\nbytes_rate = 50000\nbytes_burst = 10000";
        let secured = Options::shards(shards).more(rates).start();
        for mut client in clients(&secured, "bytes") {
            let took = publish(&mut client, 30, 2_000);
            assert!((500..5000).contains(&took.as_millis()), "60 kB at 50 kB/s: {took:?}");
            client.ping();
        }
    }
}

#[test]
fn a_mountpoint_holds_over_tls_and_websocket() {
    for shards in SHARDS {
        let secured = Options::shards(shards).key("mountpoint = \"tenants/%c/\"").start();
        let mut operator = secured.broker.connect(Connect::v5("operator"));
        operator.subscribe("tenants/#", 1);
        for round in 0..4 {
            let name = format!("c{round}");
            let mut clients = clients(&secured, &name);
            clients.iter_mut().for_each(|client| client.subscribe("#", 1));
            for (client, carrier) in clients.iter_mut().zip(["tls", "wss"]) {
                client.publish(Publish::new("t", carrier).qos(1));
                client.expect_message("t", carrier);
                operator.expect_message(&format!("tenants/{name}-{carrier}/t"), carrier);
                operator.publish(Publish::new(&format!("tenants/{name}-{carrier}/u"), "down").qos(1));
                operator.expect_message(&format!("tenants/{name}-{carrier}/u"), "down");
                client.expect_message("u", "down");
            }
            clients.iter_mut().for_each(Client::expect_nothing);
        }
    }
}
