//! IPv6, alone and together with IPv4.

use super::{printed, start};
use crate::client::Client;
use crate::wire::{Connect, Version};

fn expect_connects(address: &str) {
    let mut client = Client::open(address.parse().unwrap(), Version::V50);
    client.send(Connect::v5("c"));
    assert_eq!(client.recv_connack().reason, 0, "{address}");
}

#[test]
fn an_unspecified_ipv6_address_takes_both() {
    let broker = start(2, "[[listener]]\nurl = \"mqtt://[::]:0\"\nallow_anonymous = true");
    let port = printed(&broker, "mqtt://[::]:");
    expect_connects(&format!("[::1]:{port}"));
    expect_connects(&format!("127.0.0.1:{port}"));
}

#[test]
fn a_listener_of_its_own_takes_ipv4_from_it() {
    // Found by the kernel, then used by both listeners.
    let first = start(1, "[[listener]]\nurl = \"mqtt://[::]:0\"\nallow_anonymous = true");
    let port = printed(&first, "mqtt://[::]:");
    drop(first);
    let both = format!(
        "[[listener]]\nurl = \"mqtt://[::]:{port}\"\nallow_anonymous = true\nmax_connections = 1\n\
         [[listener]]\nurl = \"mqtt://0.0.0.0:{port}\"\nallow_anonymous = true\nmax_connections = 2"
    );
    let _broker = start(2, &both);
    let mut clients: Vec<_> = ["[::1]", "127.0.0.1", "127.0.0.1"]
        .iter()
        .enumerate()
        .map(|(number, host)| {
            let mut client = Client::open(format!("{host}:{port}").parse().unwrap(), Version::V50);
            client.send(Connect::v5(&format!("c-{number}")));
            assert_eq!(client.recv_connack().reason, 0);
            client
        })
        .collect();
    // Each listener counts its own.
    let mut over = Client::open(format!("127.0.0.1:{port}").parse().unwrap(), Version::V50);
    over.send(Connect::v5("over"));
    over.expect_refusal(0x97);
    clients.iter_mut().for_each(Client::ping);
}
