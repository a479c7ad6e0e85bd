//! Bans: of those who connect again and again, and by the operator.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{limited, wait_until};
use crate::broker::{Broker, temporary_dir};
use crate::numbers::wait_for;
use crate::wire::{Connect, Packet, Version};

/// User `u` with the password `secret`.
const PASSWORD_FILE: &str = "u:$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==\n";

/// What the control socket answers to one request: its lines.
fn ask(broker: &Broker, request: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(broker.dir().join("control.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        lines.push(line.unwrap());
        if lines.last().is_some_and(|line| line.contains("\"ok\"")) {
            break;
        }
    }
    lines
}

#[test]
fn an_operator_bans_lists_and_lifts() {
    let broker = limited(2, &[]);
    let mode = std::fs::metadata(broker.dir().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut here = broker.connect(Connect::v5("c"));
    let add = r#"{"request":"bans.add","kind":"client","name":"c","seconds":600}"#;
    assert_eq!(ask(&broker, add), [r#"{"ok":true}"#]);
    here.ping();
    broker.expect_refused(Connect::v5("c"), 0x8A);
    broker.expect_refused(Connect::v31("c"), 5);
    let listed = ask(&broker, r#"{"request":"bans.list"}"#);
    assert!(listed[0].contains(r#""name":"c""#) && listed[0].contains(r#""cause":"operator""#), "{listed:?}");
    assert_eq!(listed.len(), 2);
    here.ping();
    let lift = r#"{"request":"bans.lift","kind":"client","name":"c"}"#;
    assert_eq!(ask(&broker, lift), [r#"{"ok":true,"was_banned":true}"#]);
    broker.connect(Connect::v5("c")).ping();
    ask(&broker, r#"{"request":"bans.add","kind":"address","name":"127.0.0.1"}"#);
    broker.expect_refused(Connect::v5("d"), 0x8A);
    let lift = r#"{"request":"bans.lift","kind":"address","name":"127.0.0.1"}"#;
    assert_eq!(ask(&broker, lift), [r#"{"ok":true,"was_banned":true}"#]);
    assert_eq!(ask(&broker, r#"{"request":"bans.list"}"#), [r#"{"ok":true}"#]);
    assert!(ask(&broker, "nonsense")[0].contains(r#""ok":false"#));
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
        let banned = ask(&broker, r#"{"request":"bans.list"}"#);
        assert!(banned[0].contains(r#""cause":"failures""#), "{banned:?}");
        let lift = r#"{"request":"bans.lift","kind":"address","name":"127.0.0.1"}"#;
        let local = broker.address.ip();
        let lift = lift.replace("127.0.0.1", &client_address(&banned).unwrap_or_else(|| local.to_string()));
        assert_eq!(ask(&broker, &lift), [r#"{"ok":true,"was_banned":true}"#]);
        broker.connect(right("good")).ping();
        for _ in 0..3 {
            broker.expect_refused(wrong("same"), 0x86);
        }
    }
}

/// The address in a list of bans.
fn client_address(lines: &[String]) -> Option<String> {
    let line = lines.iter().find(|line| line.contains(r#""kind":"address""#))?;
    let (_, rest) = line.split_once(r#""name":""#)?;
    Some(rest.split('"').next()?.to_owned())
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
