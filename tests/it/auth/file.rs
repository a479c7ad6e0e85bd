//! The password file: argon2id, and what mosquitto_passwd writes.

use std::process::Command;

use super::{Files, SHARDS, bad_credentials, cheap_line, fails_to_start, login, not_authorized, start};
use crate::wire::{Connect, Publish, Version, Will};

#[test]
fn users_of_the_file_come_in_and_nobody_else() {
    for shards in SHARDS {
        let files = Files::new();
        let users = format!("# users\n{}{}", cheap_line("alice", "p1"), cheap_line("bob", "p2"));
        let path = files.set("auth.file.path", "users", users);
        let Some(broker) = start(shards, &["auth.order=file", &path]) else { return };
        for version in Version::ALL {
            for number in 0..8 {
                let id = format!("c{number}");
                let mut client = broker.connect(login(version, &id, "alice", "p1"));
                client.ping();
                broker.connect(login(version, &id, "bob", "p2")).ping();
                let bad = bad_credentials(version);
                broker.expect_refused(login(version, &id, "alice", "p2"), bad);
                broker.expect_refused(login(version, &id, "Alice", "p1"), bad);
                broker.expect_refused(login(version, &id, "mallory", "p1"), bad);
                broker.expect_refused(login(version, &id, "alice", ""), bad);
                broker.expect_refused(Connect::new(version, &id).username("alice"), bad);
                broker.expect_refused(Connect::new(version, &id), not_authorized(version));
            }
        }
        let text = broker.output();
        assert!(!text.contains("p1") && !text.contains("argon2"), "{text}");
    }
}

/// Also after its credentials are remembered, and where the wrong ones come first.
#[test]
fn what_is_remembered_is_the_whole_of_the_credentials() {
    for shards in SHARDS {
        let files = Files::new();
        let path = files.set("auth.file.path", "users", cheap_line("ab", "cd"));
        let Some(broker) = start(shards, &["auth.order=file", &path]) else { return };
        for round in 0..3 {
            let id = format!("c{round}");
            broker.expect_refused(login(Version::V50, &id, "a", "bcd"), 0x86);
            broker.expect_refused(login(Version::V50, &id, "ab", "c"), 0x86);
            broker.expect_refused(login(Version::V50, &id, "abc", "d"), 0x86);
            broker.connect(login(Version::V50, &id, "ab", "cd")).ping();
        }
    }
}

#[test]
fn a_file_of_mosquitto_passwd_works_as_it_is() {
    let files = Files::new();
    let path = files.path("users");
    for (user, flags) in [("old", ["-H", "sha512"]), ("new", ["-H", "sha512-pbkdf2"])] {
        let mut command = Command::new("mosquitto_passwd");
        command.args(flags);
        if !path.exists() {
            command.arg("-c");
        }
        match command.arg("-b").arg(&path).args([user, "s3cret"]).status() {
            Ok(status) => assert!(status.success()),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "mosquitto_passwd: {error}");
                println!("skipped: mosquitto_passwd: {error}");
                return;
            }
        }
    }
    let setting = format!("auth.file.path={}", path.display());
    let Some(broker) = start(2, &["auth.order=file", &setting]) else { return };
    for version in Version::ALL {
        for user in ["old", "new"] {
            broker.connect(login(version, "c", user, "s3cret")).ping();
            broker.expect_refused(login(version, "c", user, "S3cret"), bad_credentials(version));
        }
    }
}

#[test]
fn anonymous_clients_need_a_listener_that_says_so() {
    let files = Files::new();
    let path = files.set("auth.file.path", "users", cheap_line("alice", "p1"));
    let settings = ["auth.order=file", &path, "listener.allow_anonymous=true"];
    let Some(broker) = start(2, &settings) else { return };
    for version in Version::ALL {
        broker.connect(Connect::new(version, "c")).ping();
        broker.connect(login(version, "c", "alice", "p1")).ping();
        // Credentials that nobody knows are not the same as none.
        broker.expect_refused(login(version, "c", "mallory", "p1"), bad_credentials(version));
    }
}

#[test]
fn what_can_not_be_read_is_told_with_its_line_and_nothing_starts() {
    let files = Files::new();
    let url = "mqtt://127.0.0.1:1";
    let broken = files.set("auth.file.path", "users", "# x\nalice:secret\n");
    let text = fails_to_start(&["auth.order=file", &broken], url);
    assert!(text.contains("users line 2: expected a hash") && !text.contains("secret"), "{text}");
    let text = fails_to_start(&["auth.order=file", "auth.file.path=/nonexistent/users"], url);
    assert!(text.contains("/nonexistent/users: can't be read"), "{text}");
    assert!(fails_to_start(&["auth.order=file"], url).contains("auth.file.path"));
    assert!(fails_to_start(&["auth.order=fiel"], url).contains("the nearest known one is \"file\""));
    let text = fails_to_start(&[], "mqtt://0.0.0.0:1");
    assert!(text.contains("auth.order"), "{text}");
}

/// What waits in a session, and what comes by its subscriptions, is its user's.
#[test]
fn a_session_goes_on_with_its_own_user_only() {
    for shards in SHARDS {
        let files = Files::new();
        let users = cheap_line("alice", "p1") + &cheap_line("bob", "p2");
        let path = files.set("auth.file.path", "users", users);
        let settings = ["auth.order=file", &path, "listener.allow_anonymous=true"];
        let Some(broker) = start(shards, &settings) else { return };
        let mut other = broker.connect(login(Version::V50, "other", "bob", "p2"));
        other.subscribe("will", 1);
        for version in Version::ALL {
            // CONNACK of 3.1 does not tell.
            let tells = version != Version::V31;
            for number in 0..4 {
                let id = format!("c{number}");
                let alice = || login(version, &id, "alice", "p1").persistent();
                let strangers =
                    [login(version, &id, "bob", "p2").persistent(), Connect::new(version, &id).persistent()];
                for stranger in strangers {
                    let (mut client, _) = broker.connect_with_ack(alice());
                    client.subscribe("secret", 1);
                    client.disconnect();
                    other.publish(Publish::new("secret", "waits").qos(1));
                    // Its own user finds all that was there.
                    let (mut client, connack) = broker.connect_with_ack(alice());
                    assert_eq!(connack.session_present, tells, "{version:?}");
                    client.expect_message("secret", "waits");
                    client.disconnect();
                    other.publish(Publish::new("secret", "waits").qos(1));
                    let (mut client, connack) = broker.connect_with_ack(stranger.clone());
                    assert!(!connack.session_present, "{version:?}");
                    other.publish(Publish::new("secret", "again").qos(1));
                    client.expect_nothing();
                    // Its own session goes on with the stranger.
                    client.subscribe("open", 1);
                    client.disconnect();
                    let (client, connack) = broker.connect_with_ack(stranger.clone());
                    assert_eq!(connack.session_present, tells, "{version:?}");
                    client.disconnect();
                    // From a connection that lives: it ends, with its Will.
                    let (mut first, connack) =
                        broker.connect_with_ack(alice().will(Will::new("will", "alice").qos(1)));
                    assert!(!connack.session_present, "{version:?}");
                    first.subscribe("secret", 1);
                    let (mut client, connack) = broker.connect_with_ack(stranger);
                    assert!(!connack.session_present, "{version:?}");
                    if version.is_v5() {
                        first.expect_disconnect(0x8E)
                    } else {
                        first.expect_closed()
                    }
                    other.expect_message("will", "alice");
                    other.publish(Publish::new("secret", "again").qos(1));
                    client.expect_nothing();
                    client.disconnect();
                }
            }
        }
    }
}

/// As in Mosquitto's file.
#[test]
fn what_the_rules_deny_a_user_is_denied_wherever_it_stands() {
    let files = Files::new();
    let path = files.set("auth.file.path", "users", cheap_line("alice", "p1"));
    let rules = "user alice\ntopic readwrite #\ntopic deny secret/#\n";
    let rules = files.set("auth.file.rules", "rules", rules);
    let Some(broker) = start(1, &["auth.order=file", &path, &rules]) else { return };
    let mut alice = broker.connect(login(Version::V50, "c", "alice", "p1"));
    for filter in ["#", "+/x", "secret/x", "secret/#"] {
        assert_eq!(alice.subscribe_reason(filter, 0), 0x87, "{filter}");
    }
    assert_eq!(alice.subscribe_reason("open/#", 0), 0);
    assert_eq!(alice.publish_reason(Publish::new("secret/x", "1").qos(1)), 0x87);
    assert!(alice.publish_reason(Publish::new("open/x", "1").qos(1)) < 0x80);
}
