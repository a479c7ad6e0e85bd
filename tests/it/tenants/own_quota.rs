//! Quotas of one user's own, by the rules of the users or by a token.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::quota::connect_when_free;
use super::{RULES, as_user, connect, tenants_by};
use crate::broker::{Broker, Options, temporary_dir, wait_until};
use crate::wire::{AckKind, Connect, Publish, Version};

const QUOTAS: &str = "user a\nquota connections 2\nquota subscriptions 1\nquota retained 1\n\
                      user b\nquota connections 0\nquota sessions 3\n";

fn kept(broker: &Broker, user: &str) -> usize {
    let mut late = connect_when_free(broker, &as_user(user, Connect::v5("late")));
    late.subscribe("#", 0);
    let mut kept = 0;
    while late.recv_within(Duration::from_millis(300)).is_some() {
        kept += 1;
    }
    late.disconnect();
    kept
}

#[test]
fn rules_say_otherwise_than_the_configuration_for_one_user() {
    for shards in [1, 4] {
        for common in [&["quota.connections_max=1", "quota.retained_max=3"][..], &[]] {
            let broker = tenants_by(shards, QUOTAS, common);
            let mut first = connect(&broker, "a", "a1");
            first.subscribe("t", 0);
            assert_eq!(first.subscribe_reason("u", 0), 0x97);
            let second = connect_when_free(&broker, &as_user("a", Connect::v5("a2")));
            broker.expect_refused(as_user("a", Connect::v5("a3")), 0x97);
            for topic in ["1", "2"] {
                first.publish(Publish::new(topic, "x").qos(1).retain());
            }
            second.disconnect();
            wait_until("a's retained message alone is kept", || kept(&broker, "root") == 1);
            // Any number of connections, but no more than three sessions.
            let _b: Vec<_> = (0..3).map(|number| connect(&broker, "b", &format!("b{number}"))).collect();
            broker.expect_refused(as_user("b", Connect::v5("b3")), 0x97);
            // Of whom nothing is said the configuration decides.
            let _root = connect_when_free(&broker, &as_user("root", Connect::v5("r1")));
            if common.is_empty() {
                connect(&broker, "root", "r2").ping();
            } else {
                broker.expect_refused(as_user("root", Connect::v5("r2")), 0x97);
            }
        }
    }
}

#[test]
fn a_users_own_message_rate_holds_for_all_its_clients() {
    for (rules, is_slow) in
        [("user a\nquota publish_rate 50\n", true), ("user a\nquota publish_rate 0\n", false)]
    {
        let common: &[&str] = if is_slow { &[] } else { &["quota.publish_rate=1"] };
        let settings = [common, &["limits.receive_max=1000"]].concat();
        let broker = tenants_by(2, rules, &settings);
        let mut clients: Vec<_> =
            (0..3).map(|number| connect(&broker, "a", &format!("c-{number}"))).collect();
        let start = Instant::now();
        for id in 1..=40 {
            clients.iter_mut().for_each(|client| client.send(Publish::new("t", "x").qos(1).id(id)));
        }
        for client in &mut clients {
            (1..=40).for_each(|id| drop(client.expect_ack(AckKind::Puback, id, 0x10)));
        }
        let took = start.elapsed();
        assert_eq!(took >= Duration::from_secs(1), is_slow, "120 messages, {rules:?}: {took:?}");
    }
}

#[test]
fn a_reload_changes_a_users_own_quota_for_its_next_connection() {
    let dir = temporary_dir();
    let rules = dir.join("rules");
    std::fs::write(&rules, "user a\nquota connections 1\nquota subscriptions 1\n").unwrap();
    let broker = tenants_by(2, RULES, &[&format!("auth.file.rules={}", rules.display())]);
    let mut first = broker.connect(as_user("a", Connect::v5("a1").persistent()));
    first.subscribe("t", 0);
    broker.expect_refused(as_user("a", Connect::v5("a2")), 0x97);
    std::fs::write(&rules, "user a\n").unwrap();
    broker.signal("HUP");
    wait_until("the reload", || broker.output().contains("configuration reloaded"));
    let _second = connect_when_free(&broker, &as_user("a", Connect::v5("a2")));
    // What is there goes by the newest credentials too.
    first.subscribe("u", 0);
    first.ping();
    let _third = connect(&broker, "a", "a3");
}

/// A token that is good for an hour.
fn token(secret: &[u8], claims: &str) -> String {
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let text = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&format!(r#"{{"exp":{exp},{claims}}}"#)));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

#[test]
fn a_token_brings_the_quota_of_its_user() {
    const SECRET: &[u8] = b"a secret that is long enough";
    let file = temporary_dir().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let options = Options::shards(4)
        .set("auth.order=['jwt']")
        .set(&format!("auth.jwt.secret_file={}", file.display()))
        .set("auth.jwt.quota_claim=quota")
        .set("quota.connections_max=1");
    let broker = Broker::start(&options).unwrap();
    let login = |id: &str, claims: &str| {
        Connect::new(Version::V50, id).username("any").password(&token(SECRET, claims))
    };
    let generous = r#""sub":"alice","quota":{"connections":3}"#;
    let _clients: Vec<_> = (0..3).map(|n| broker.connect(login(&format!("c{n}"), generous))).collect();
    broker.expect_refused(login("c3", generous), 0x97);
    let _bob = broker.connect(login("d0", r#""sub":"bob""#));
    broker.expect_refused(login("d1", r#""sub":"bob""#), 0x97);
    broker.expect_refused(login("e0", r#""sub":"eve","quota":{"messages":3}"#), 0x87);
}
