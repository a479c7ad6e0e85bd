//! Certificates of clients.

use super::peer::{V12, V13};
use super::*;
use crate::client::Client;
use crate::wire::Connect;

/// A broker that asks clients for certificates of its own authority.
fn start(shards: u16, more: &str) -> Secured {
    Options::shards(shards).key("tls.ca = \"ca.pem\"").key(more).start()
}

/// The client goes through its part of the handshake in 1.3 before it learns that it is refused.
fn problem(peer: &Peer<'_>, address: SocketAddr) -> String {
    use std::io::Read;
    match peer.shake(address) {
        Err(problem) => problem,
        Ok(mut stream) => match stream.read(&mut [0; 1]) {
            Ok(count) => panic!("not refused: {count} bytes came"),
            Err(error) => error.to_string(),
        },
    }
}

#[test]
fn a_required_certificate_is_required() {
    for shards in SHARDS {
        let secured = start(shards, "tls.require_client_cert = true");
        let leaf = secured.authority.client("car-7");
        let stranger = Authority::new("root").client("car-7");
        for versions in [V12, V13] {
            let peer = secured.peer().versions(versions);
            peer.clone().shows(&leaf).connect(secured.mqtts, Connect::v5("car-7")).disconnect();
            let problem_without = problem(&peer, secured.mqtts);
            assert!(problem_without.contains("ertificate"), "{problem_without}");
            let problem_stranger = problem(&peer.clone().shows(&stranger), secured.mqtts);
            assert!(problem_stranger.contains("alert"), "{problem_stranger}");
        }
        secured.expect_metric("metrics/tls/client_certificates/refused", 4);
        secured.expect_metric("metrics/tls/handshakes/failed", 4);
        secured.expect_metric("metrics/tls/handshakes", 2);
    }
}

#[test]
fn an_optional_certificate_is_checked_where_it_is_shown() {
    let secured = start(2, "tls.require_client_cert = false");
    let leaf = secured.authority.client("car-7");
    let stranger = Authority::new("other").client("car-7");
    secured.peer().connect(secured.mqtts, Connect::v5("without")).disconnect();
    secured.peer().shows(&leaf).connect(secured.mqtts, Connect::v5("with")).disconnect();
    assert!(problem(&secured.peer().shows(&stranger), secured.mqtts).contains("alert"));
}

#[test]
fn a_revoked_certificate_is_refused_once_the_list_is_read_also_with_an_old_ticket() {
    let options = Options::shards(2);
    options.write("ca.crl", &options.authority.revoke(&[]));
    let secured = options
        .key("tls.ca = \"ca.pem\"")
        .key("tls.crl = \"ca.crl\"")
        .key("tls.require_client_cert = true")
        .start();
    let leaf = secured.authority.client("car-7");
    let other = secured.authority.client("car-8");
    let peer = secured.peer().shows(&leaf);
    let config = peer.config();
    let connect = || {
        let mut client = Client::over(peer.open_with(&config, secured.mqtts), Connect::v5("").version);
        client.send(Connect::v5("car-7"));
        client
    };
    let mut connected = connect();
    assert_eq!(connected.recv_connack().reason, 0);
    connected.ping();
    secured.write("ca.crl", &secured.authority.revoke(&[&leaf]));
    secured.broker.signal("HUP");
    wait_until("the list is read", || secured.broker.output().contains("certificates reloaded"));
    connected.ping();
    // A resumed session shows no certificate: the ticket itself has to be worthless now. A shard may learn of the list a
    // moment after it was read.
    let refused = || {
        let mut stream = peer.open_with(&config, secured.mqtts);
        stream.sock.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        super::peer::shake(&mut stream).err().or_else(|| {
            use std::io::Read;
            stream.read(&mut [0; 1]).err().map(|error| error.to_string())
        })
    };
    wait_until("the certificate is refused", || {
        refused().is_some_and(|problem| problem.contains("CertificateRevoked"))
    });
    secured.peer().shows(&other).connect(secured.mqtts, Connect::v5("car-8")).disconnect();
}

/// A broker that takes who a client is from its certificate.
fn start_with_identities(shards: u16, keys: &str) -> Secured {
    let options = Options::shards(shards).more("[auth]\norder = [\"certificate\"]");
    options.key("tls.ca = \"ca.pem\"").key(keys).start()
}

#[test]
fn the_client_identifier_comes_from_the_certificate() {
    for shards in SHARDS {
        let secured = start_with_identities(shards, "tls.client_id_from = \"cn\"");
        for number in 0..6 {
            let name = format!("car-{number}");
            let leaf = secured.authority.client(&name);
            let peer = secured.peer().shows(&leaf);
            let (client, connack) = peer.connect_with_ack(secured.mqtts, Connect::v5(""));
            assert_eq!(connack.assigned_client_id().as_deref(), Some(name.as_str()));
            client.disconnect();
            peer.connect(secured.mqtts, Connect::v5(&name)).disconnect();
            let mut other = Client::over(peer.open(secured.mqtts), Connect::v5("").version);
            other.send(Connect::v5("car-99"));
            assert!(other.recv_connack().reason >= 0x80, "the certificate is of another client");
        }
    }
}

/// Only the node itself is called so, whoever the authority calls so: a durable session and what waits for another broker are there.
#[test]
fn no_certificate_gives_the_name_of_a_bridge() {
    for shards in SHARDS {
        let secured = start_with_identities(shards, "tls.client_id_from = \"cn\"");
        let leaf = secured.authority.client("$bridge:up");
        let peer = secured.peer().shows(&leaf);
        for name in ["", "$bridge:up"] {
            let mut client = Client::over(peer.open(secured.mqtts), Connect::v5("").version);
            client.send(Connect::v5(name));
            client.expect_refusal(0x85);
        }
    }
}

#[test]
fn a_user_name_from_the_certificate_is_enough_to_come_in_and_without_one_nobody_does() {
    for (from, subject) in [("cn", "car-7"), ("dn", "car-7"), ("san", "")] {
        let secured = start_with_identities(4, &format!("tls.username_from = \"{from}\""));
        let leaf = secured.authority.client("car-7");
        let mut client =
            Client::over(secured.peer().shows(&leaf).open(secured.mqtts), Connect::v5("").version);
        client.send(Connect::v5("any"));
        // The certificate has no alternative name.
        assert_eq!(client.recv_connack().reason < 0x80, !subject.is_empty(), "{from}");
        let mut without = Client::over(secured.peer().open(secured.mqtts), Connect::v5("").version);
        without.send(Connect::v5("without"));
        assert!(without.recv_connack().reason >= 0x80);
    }
}

#[test]
fn a_certificate_of_an_authority_below_is_believed_with_its_chain() {
    let secured = start(2, "tls.require_client_cert = true");
    let below = secured.authority.intermediate("below");
    let leaf = below.client("deep");
    let whole = Leaf { cert: format!("{}{}", leaf.cert, below.pem), ..leaf.clone() };
    secured.peer().shows(&whole).connect(secured.mqtts, Connect::v5("deep")).disconnect();
    assert!(problem(&secured.peer().shows(&leaf), secured.mqtts).contains("alert"));
}
