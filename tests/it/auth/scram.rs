//! SCRAM-SHA-256 by enhanced authentication (MQTT 5.0 section 4.12).

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::{Files, SHARDS, not_authorized, start};
use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Auth, Connack, Connect, Packet, Property, Publish, Version};

const ITERATIONS: u32 = 4096;
const SALT: &[u8] = b"salt of a user 1";
const METHOD: &str = "SCRAM-SHA-256";

fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut salted = [0; 32];
    let iterations = NonZeroU32::new(iterations).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    salted
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// A line of the file.
fn line(user: &str, password: &str) -> String {
    let salted = salted(password, SALT, ITERATIONS);
    let stored = digest::digest(&digest::SHA256, sign(&salted, b"Client Key").as_ref());
    let server = sign(&salted, b"Server Key");
    let [salt, stored, server] = [SALT, stored.as_ref(), server.as_ref()].map(|bytes| STANDARD.encode(bytes));
    format!("{user}:SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}\n")
}

/// The client's side of an exchange.
struct Exchange {
    bare: String,
    password: String,
}

impl Exchange {
    fn new(user: &str, password: &str) -> Self {
        Self { bare: format!("n={user},r=clientnonce"), password: password.into() }
    }

    fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    /// The last message, and what the server has to answer.
    fn last(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let challenge = std::str::from_utf8(challenge).unwrap();
        let mut fields = challenge.split(',');
        let nonce = fields.next().unwrap().strip_prefix("r=").unwrap();
        assert!(nonce.starts_with("clientnonce") && nonce.len() > 30, "{challenge}");
        let salt = STANDARD.decode(fields.next().unwrap().strip_prefix("s=").unwrap()).unwrap();
        let iterations = fields.next().unwrap().strip_prefix("i=").unwrap().parse().unwrap();
        let salted = salted(&self.password, &salt, iterations);
        let client_key = sign(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{without_proof}", self.bare);
        let signature = sign(stored.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server = sign(sign(&salted, b"Server Key").as_ref(), message.as_bytes());
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        (last.into_bytes(), format!("v={}", STANDARD.encode(server)).into_bytes())
    }
}

fn auth(reason: u8, data: Vec<u8>) -> Auth {
    Auth { reason, properties: vec![Property::AuthMethod(METHOD.into()), Property::AuthData(data)] }
}

/// The Authentication Data of an AUTH or a CONNACK that names the method.
fn data_of(properties: &[Property]) -> Vec<u8> {
    assert!(properties.contains(&Property::AuthMethod(METHOD.into())), "{properties:?}");
    let data = properties.iter().find_map(|property| match property {
        Property::AuthData(data) => Some(data.clone()),
        _ => None,
    });
    data.unwrap()
}

fn recv_auth(client: &mut Client) -> (u8, Vec<u8>) {
    match client.recv() {
        Packet::Auth(auth) => (auth.reason, data_of(&auth.properties)),
        other => panic!("AUTH was to come, not {other:?}"),
    }
}

fn connect(id: &str, exchange: &Exchange) -> Connect {
    Connect::v5(id).with(Property::AuthMethod(METHOD.into())).with(Property::AuthData(exchange.first()))
}

/// Goes through an exchange up to its last message.
fn open(broker: &Broker, connect: Connect, exchange: &Exchange) -> (Client, Vec<u8>) {
    let mut client = broker.open(Version::V50);
    client.send(connect);
    let (reason, challenge) = recv_auth(&mut client);
    assert_eq!(reason, 0x18);
    let (last, expected) = exchange.last(&challenge);
    client.send(auth(0x18, last));
    (client, expected)
}

fn log_in(broker: &Broker, connect: Connect, exchange: &Exchange) -> (Client, Connack) {
    let (mut client, expected) = open(broker, connect, exchange);
    let connack = client.recv_connack();
    assert_eq!((connack.reason, data_of(&connack.properties)), (0, expected));
    (client, connack)
}

fn started(shards: u16) -> Option<(Files, Broker)> {
    let files = Files::new();
    let path = files.set("auth.scram.path", "scram", line("alice", "p1") + &line("bob", "p2"));
    let broker = start(shards, &["auth.order=scram", &path])?;
    Some((files, broker))
}

#[test]
fn mqtt5_4_12_0_2_and_5_an_exchange_ends_in_a_connack_with_the_method() {
    for shards in SHARDS {
        let Some((_files, broker)) = started(shards) else { return };
        for number in 0..8 {
            let exchange = Exchange::new("alice", "p1");
            let (mut client, _) = log_in(&broker, connect(&format!("c{number}"), &exchange), &exchange);
            client.subscribe("t", 1);
            client.publish(Publish::new("t", b"x".to_vec()).qos(1));
            client.expect_message("t", "x");
        }
        // What follows the last AUTH at once is handled too, after the hand-over.
        let exchange = Exchange::new("alice", "p1");
        for number in 0..8 {
            let (mut client, _) = open(&broker, connect(&format!("p{number}"), &exchange), &exchange);
            client.send(Packet::Pingreq);
            assert_eq!(client.recv_connack().reason, 0);
            assert_eq!(client.recv(), Packet::Pingresp);
        }
        let (_, connack) = log_in(&broker, connect("", &exchange), &exchange);
        assert!(format!("{connack:?}").contains("AssignedClientId"), "{connack:?}");
    }
}

#[test]
fn mqtt5_4_12_0_4_a_wrong_proof_is_refused_and_disturbs_nobody() {
    for shards in SHARDS {
        let Some((_files, broker)) = started(shards) else { return };
        let right = Exchange::new("alice", "p1");
        let (mut client, _) = log_in(&broker, connect("c", &right), &right);
        for (user, password) in [("alice", "p2"), ("mallory", "p1"), ("bob", "p1")] {
            let exchange = Exchange::new(user, password);
            let (mut other, _) = open(&broker, connect("c", &exchange), &exchange);
            other.expect_refusal(0x87);
        }
        client.ping();
        for data in [&b""[..], b"n,,", b"p=tls-unique,,n=alice,r=x", b"\xFF"] {
            let connect = Connect::v5("c").with(Property::AuthMethod(METHOD.into()));
            broker.expect_refused(connect.with(Property::AuthData(data.to_vec())), 0x87);
        }
        client.ping();
        // Without the method nobody is known.
        broker.expect_refused(Connect::v5("d").username("alice").password("p1"), 0x86);
        broker.expect_refused(Connect::v311("d"), not_authorized(Version::V311));
    }
}

#[test]
fn mqtt5_4_12_0_1_other_methods_are_refused() {
    let Some((_files, broker)) = started(2) else { return };
    for method in ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "", "scram-sha-256"] {
        broker.expect_refused(Connect::v5("c").with(Property::AuthMethod(method.into())), 0x8C);
    }
}

#[test]
fn mqtt5_3_1_2_30_only_auth_may_come_before_connack() {
    let Some((_files, broker)) = started(2) else { return };
    let exchange = Exchange::new("alice", "p1");
    let begin = || {
        let mut client = broker.open(Version::V50);
        client.send(connect("c", &exchange));
        let (_, challenge) = recv_auth(&mut client);
        (client, challenge)
    };
    let (mut client, _) = begin();
    client.send(Packet::Pingreq);
    client.expect_closed();
    for reason in [0x00, 0x19] {
        let (mut client, challenge) = begin();
        client.send(auth(reason, exchange.last(&challenge).0));
        client.expect_closed();
    }
    // [MQTT-4.12.0-5]: another method in the same exchange.
    let (mut client, challenge) = begin();
    let data = Property::AuthData(exchange.last(&challenge).0);
    client.send(Auth { reason: 0x18, properties: vec![Property::AuthMethod("SCRAM-SHA-1".into()), data] });
    client.expect_closed();
    let (client, _) = begin();
    client.disconnect();
}

#[test]
fn mqtt5_4_12_1_a_client_authenticates_again() {
    for shards in SHARDS {
        let Some((_files, broker)) = started(shards) else { return };
        let exchange = Exchange::new("alice", "p1");
        for number in 0..4 {
            let (mut client, _) = log_in(&broker, connect(&format!("c{number}"), &exchange), &exchange);
            for _ in 0..2 {
                client.send(auth(0x19, exchange.first()));
                let (reason, challenge) = recv_auth(&mut client);
                assert_eq!(reason, 0x18);
                // All goes on meanwhile.
                client.ping();
                let (last, expected) = exchange.last(&challenge);
                client.send(auth(0x18, last));
                assert_eq!(recv_auth(&mut client), (0, expected));
            }
            client.ping();
        }
    }
}

#[test]
fn mqtt5_4_12_1_2_who_fails_to_authenticate_again_is_disconnected() {
    for shards in SHARDS {
        let Some((_files, broker)) = started(shards) else { return };
        let exchange = Exchange::new("alice", "p1");
        let logged_in = || log_in(&broker, connect("c", &exchange), &exchange).0;
        // A wrong password; another user, though with the right one.
        for (user, password) in [("alice", "wrong"), ("bob", "p2")] {
            let mut client = logged_in();
            let other = Exchange::new(user, password);
            client.send(auth(0x19, other.first()));
            let (_, challenge) = recv_auth(&mut client);
            client.send(auth(0x18, other.last(&challenge).0));
            client.expect_disconnect(0x87);
        }
        let mut client = logged_in();
        client.send(auth(0x19, b"nonsense".to_vec()));
        client.expect_disconnect(0x87);
        // [MQTT-4.12.1-1]: the method stays.
        let mut client = logged_in();
        client.send(Auth { reason: 0x19, properties: vec![Property::AuthMethod("SCRAM-SHA-1".into())] });
        client.expect_disconnect(0x82);
        for reason in [0x00, 0x18] {
            let mut client = logged_in();
            client.send(auth(reason, exchange.first()));
            client.expect_disconnect(0x82);
        }
        let mut client = logged_in();
        client.send(auth(0x19, exchange.first()));
        recv_auth(&mut client);
        client.send(auth(0x19, exchange.first()));
        client.expect_disconnect(0x82);
    }
}

#[test]
fn who_fails_to_authenticate_again_too_often_is_banned() {
    for shards in SHARDS {
        let files = Files::new();
        let path = files.set("auth.scram.path", "scram", line("alice", "p1"));
        let Some(broker) = start(shards, &["auth.order=scram", &path, "limits.ban_failures=3"]) else {
            return;
        };
        let (right, wrong) = (Exchange::new("alice", "p1"), Exchange::new("alice", "wrong"));
        for number in 0..3 {
            let (mut client, _) = log_in(&broker, connect(&format!("c{number}"), &right), &right);
            client.send(auth(0x19, wrong.first()));
            let (_, challenge) = recv_auth(&mut client);
            client.send(auth(0x18, wrong.last(&challenge).0));
            client.expect_disconnect(0x87);
        }
        broker.expect_refused(connect("d", &right), 0x8A);
    }
}

#[test]
fn an_unknown_user_gets_the_same_challenge_each_time() {
    let Some((_files, broker)) = started(2) else { return };
    let salt = |user: &str| {
        let mut client = broker.open(Version::V50);
        client.send(connect("c", &Exchange::new(user, "")));
        let challenge = String::from_utf8(recv_auth(&mut client).1).unwrap();
        challenge.split_once(",s=").unwrap().1.to_owned()
    };
    let first = salt("mallory");
    assert_ne!(first, salt("trudy"));
    broker.signal("HUP");
    super::wait_for_output(&broker, "configuration reloaded");
    assert_eq!(first, salt("mallory"));
    assert_eq!(first.len(), salt("alice").len());
}

/// Goes through an exchange of a connected client.
fn authenticate_again(client: &mut Client, exchange: &Exchange) {
    client.send(auth(0x19, exchange.first()));
    let (last, expected) = exchange.last(&recv_auth(client).1);
    client.send(auth(0x18, last));
    assert_eq!(recv_auth(client), (0, expected));
}

#[test]
fn who_authenticates_again_has_the_rules_of_now() {
    let files = Files::new();
    let path = files.set("auth.scram.path", "scram", line("alice", "p1"));
    let rules = files.set("auth.scram.rules", "rules", "user alice\ntopic write a\n");
    let Some(broker) = start(2, &["auth.order=scram", &path, &rules, "acl.no_match=deny"]) else { return };
    let exchange = Exchange::new("alice", "p1");
    let (mut client, _) = log_in(&broker, connect("c", &exchange), &exchange);
    let may =
        |client: &mut Client, topic: &str| client.publish_reason(Publish::new(topic, "1").qos(1)) < 0x80;
    assert!(may(&mut client, "a") && !may(&mut client, "b"));
    files.write("rules", "user alice\ntopic write b\n");
    broker.signal("HUP");
    super::wait_for_output(&broker, "configuration reloaded");
    assert!(may(&mut client, "a") && !may(&mut client, "b"), "until it authenticates again");
    authenticate_again(&mut client, &exchange);
    assert!(!may(&mut client, "a") && may(&mut client, "b"));
}

#[test]
fn an_exchange_does_not_outlive_its_user() {
    let Some((files, broker)) = started(2) else { return };
    let begin = |user: &str, password: &str| {
        let exchange = Exchange::new(user, password);
        let mut client = broker.open(Version::V50);
        client.send(connect(user, &exchange));
        let last = exchange.last(&recv_auth(&mut client).1).0;
        (client, last)
    };
    let (mut alice, alices) = begin("alice", "p1");
    let (mut bob, bobs) = begin("bob", "p2");
    files.write("scram", line("alice", "p1"));
    broker.signal("HUP");
    super::wait_for_output(&broker, "configuration reloaded");
    alice.send(auth(0x18, alices));
    assert_eq!(alice.recv_connack().reason, 0);
    bob.send(auth(0x18, bobs));
    bob.expect_refusal(0x87);
}
