//! A listener that is stopped and started again.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use super::{SHARDS, printed, start, wait_until};
use crate::client::Client;
use crate::wire::Connect;

/// How many sockets listen at an IPv4 address.
pub fn sockets_that_listen(address: SocketAddr) -> usize {
    let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not IPv4") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let lines = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_one = |line: &&str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        words.get(1) == Some(&local.as_str()) && words.get(3) == Some(&"0A")
    };
    lines.lines().filter(is_one).count()
}

#[test]
fn a_stopped_listener_keeps_the_port_that_the_kernel_chose() {
    for shards in SHARDS {
        // Not 127.0.0.1, where other programs listen.
        let broker = start(shards, "[[listener]]\nurl = \"mqtt://127.90.0.1:0\"\n");
        let port = printed(&broker, "mqtt://127.90.0.1:");
        let address = SocketAddr::new(Ipv4Addr::new(127, 90, 0, 1).into(), port);
        let operator = broker.http();
        for _ in 0..3 {
            operator.ask("POST", "/api/v1/listeners/0/stop", &[], b"").json(200);
            wait_until("nobody listens", || sockets_that_listen(address) == 0);
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            operator.ask("POST", "/api/v1/listeners/0/start", &[], b"").json(200);
            wait_until("each shard listens", || sockets_that_listen(address) == usize::from(shards));
        }
        let mut client = Client::open(address, Connect::v5("c").version);
        client.send(Connect::v5("c"));
        assert_eq!(client.recv_connack().reason, 0);
    }
}
