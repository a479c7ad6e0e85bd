//! Listeners: what they have, and that a stopped one lets nobody in.

use std::io::ErrorKind;
use std::net::TcpStream;

use socket2::{Domain, Socket, Type};

use super::served;
use crate::broker::wait_until;
use crate::transport::stopped::sockets_that_listen;
use crate::wire::Connect;

#[test]
fn admin_listeners_are_listed_stopped_and_started() {
    let more = "listener.max_connections=77";
    let Some(broker) = served(3, &[more]) else { return };
    let http = broker.http();
    let mut here = broker.connect(Connect::v5("here"));
    let listed = http.json("/api/v1/listeners");
    let listener = &listed["items"][0];
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listener["bound"], format!("mqtt://{}", broker.address));
    assert_eq!((&listener["index"], &listener["state"]), (&0.into(), &"running".into()));
    assert_eq!((&listener["connections"], &listener["max_connections"]), (&1.into(), &77.into()));
    assert_eq!((&listener["tls"], &listener["proxy_protocol"]), (&false.into(), &false.into()));
    let stopped = http.ask("POST", "/api/v1/listeners/0/stop", &[], b"").json(200);
    assert_eq!(stopped["state"], "stopped");
    // Each shard closes its socket in its next turn.
    wait_until(
        "nobody listens",
        || matches!(TcpStream::connect(broker.address), Err(error) if error.kind() == ErrorKind::ConnectionRefused),
    );
    here.ping();
    for _ in 0..20 {
        assert_eq!(TcpStream::connect(broker.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    http.ask("POST", "/api/v1/listeners/0/stop", &[], b"").json(200);
    // The address stays the broker's: of the sort that nearly every server makes.
    let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    assert_eq!(other.bind(&broker.address.into()).unwrap_err().kind(), ErrorKind::AddrInUse);
    let started = http.ask("POST", "/api/v1/listeners/0/start", &[], b"").json(200);
    assert_eq!(started["state"], "running");
    wait_until("each shard listens", || sockets_that_listen(broker.address) == 3);
    for number in 0..12 {
        broker.connect(Connect::v5(&format!("next{number}"))).ping();
    }
    http.ask("POST", "/api/v1/listeners/1/stop", &[], b"").problem(404, "not_found");
    http.ask("POST", "/api/v1/listeners/x/stop", &[], b"").problem(400, "bad_request");
    here.disconnect();
    wait_until("it is counted out", || http.json("/api/v1/listeners")["items"][0]["connections"] == 0);
}
