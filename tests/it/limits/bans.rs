//! Bans: of those who connect again and again, and by the operator.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use super::{limited, wait_until};
use crate::broker::temporary_dir;
use crate::numbers::wait_for;
use crate::wire::{Connect, Packet, Version};

/// User `u` with the password `secret`.
const PASSWORD_FILE: &str = "u:$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==\n";

#[test]
fn an_operator_bans_lists_and_lifts() {
    let broker = limited(2, &[]);
    let mode = std::fs::metadata(broker.dir().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut here = broker.connect(Connect::v5("c"));
    let http = broker.http();
    http.post("/api/v1/bans", &json!({ "kind": "client", "name": "c", "seconds": 600 })).json(201);
    here.ping();
    broker.expect_refused(Connect::v5("c"), 0x8A);
    broker.expect_refused(Connect::v31("c"), 5);
    let listed = http.json("/api/v1/bans");
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["cause"]),
        (&json!("c"), &json!("operator"))
    );
    here.ping();
    assert_eq!(http.delete("/api/v1/bans/client/c").status, 204);
    broker.connect(Connect::v5("c")).ping();
    http.post("/api/v1/bans", &json!({ "kind": "address", "name": "127.0.0.1" })).json(201);
    broker.expect_refused(Connect::v5("d"), 0x8A);
    assert_eq!(http.delete("/api/v1/bans/address/127.0.0.1").status, 204);
    assert_eq!(http.json("/api/v1/bans"), json!({ "items": [] }));
}

#[test]
fn who_fails_to_authenticate_too_often_is_banned_for_a_while() {
    let file = temporary_dir().join("passwords");
    std::fs::write(&file, PASSWORD_FILE).unwrap();
    for shards in [1, 4] {
        let broker = limited(
            shards,
            &[
                "auth.order=['file']",
                &format!("auth.file.path={}", file.display()),
                "limits.ban_failures=4",
                "listener.allow_anonymous=true",
            ],
        );
        let right = |id: &str| Connect::v5(id).username("u").password("secret");
        let wrong = |id: &str| Connect::v5(id).username("u").password("guess");
        broker.connect(right("good")).ping();
        for number in 0..4 {
            broker.expect_refused(wrong(&format!("guess-{number}")), 0x86);
        }
        // From this address nobody comes in any more, not even with the right password.
        broker.expect_refused(right("good"), 0x8A);
        let http = broker.http();
        let banned = http.json("/api/v1/bans");
        let banned = banned["items"].as_array().unwrap();
        let address = banned.iter().find(|ban| ban["kind"] == "address").unwrap();
        assert_eq!(address["cause"], "failures");
        let path = format!("/api/v1/bans/address/{}", address["name"].as_str().unwrap());
        assert_eq!(http.delete(&path).status, 204);
        broker.connect(right("good")).ping();
        for _ in 0..3 {
            broker.expect_refused(wrong("same"), 0x86);
        }
    }
}

#[test]
fn a_client_identifier_that_connects_again_and_again_is_banned_for_a_while() {
    for shards in [1, 4] {
        let broker = limited(shards, &["limits.ban_connects=6", "limits.ban_s=2"]);
        for _ in 0..5 {
            broker.connect(Connect::v5("flap")).disconnect();
        }
        broker.expect_refused(Connect::v5("flap"), 0x8A);
        broker.expect_refused(Connect::v311("flap"), 5);
        let mut other = broker.connect(Connect::v5("steady"));
        other.ping();
        wait_for(&broker, "metrics/bans/refused", |refused| refused == 1);
        wait_until("the end of the ban", || {
            std::thread::sleep(Duration::from_millis(100));
            let mut client = broker.open(Version::V50);
            client.send(Connect::v5("flap"));
            matches!(client.try_recv(), Some(Packet::Connack(connack)) if connack.reason == 0)
        });
        other.ping();
    }
}
