//! The file itself: read at the start, on SIGHUP and by `myriad check`; what is wrong with it is said with its place.

use std::process::Command;
use std::time::Duration;

use super::guarded;
use crate::broker::{NO_HTTP, wait_until};
use crate::broker::{binary, temporary_dir};
use crate::wire::{Connect, Publish, Version};

const ALLOW: &str = "{allow, all}.";

#[test]
fn sighup_reads_the_rules_again_and_a_broken_file_keeps_the_old_ones() {
    for shards in [1, 4] {
        let guarded = guarded(shards, ALLOW, &[]);
        let broker = &guarded.broker;
        let mut client = broker.connect(Connect::v5("c"));
        client.subscribe("t", 1);
        assert_eq!(client.publish_reason(Publish::new("t", "1").qos(1)), 0);
        client.expect_message("t", "1");
        let mut other = broker.connect(Connect::v5("other"));

        std::fs::write(
            &guarded.file,
            "{deny, all, publish, [\"t\"]}. {deny, all, subscribe, [\"t\"]}. {allow, all}.",
        )
        .unwrap();
        broker.signal("HUP");
        wait_until("the new rules", || client.publish_reason(Publish::new("t", "2").qos(1)) == 0x87);
        while let Some(packet) = client.recv_within(Duration::from_millis(50)) {
            drop(packet); // of the PUBLISHes before the reload
        }
        assert_eq!(client.subscribe_reason("t", 1), 0x87);
        assert_eq!(other.publish_reason(Publish::new("t/u", "3").qos(1)), 0x10);

        std::fs::write(&guarded.file, "{allow, all}.\n{allow, al}.").unwrap();
        broker.signal("HUP");
        wait_until("the error in the log", || broker.output().contains("acl.conf:2:1: found a tuple of 2"));
        assert_eq!(client.publish_reason(Publish::new("t", "4").qos(1)), 0x87);
    }
}

#[test]
fn a_subscription_that_is_no_longer_allowed_stays_until_it_ends() {
    let guarded = guarded(1, ALLOW, &[]);
    let mut client = guarded.broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    std::fs::write(&guarded.file, "{deny, all, subscribe, [\"t\"]}. {allow, all}.").unwrap();
    guarded.broker.signal("HUP");
    let mut probe = guarded.broker.connect(Connect::v5("probe"));
    wait_until("the new rules", || probe.subscribe_reason("t", 1) == 0x87);
    assert_eq!(probe.publish_reason(Publish::new("t", "still").qos(1)), 0);
    client.expect_message("t", "still");
}

#[test]
fn a_broken_file_at_the_start_is_named_with_line_and_column_and_ends_it_with_1() {
    let dir = temporary_dir();
    let file = dir.join("acl.conf");
    std::fs::write(&file, "{allow, all}.\n  {deny, all, publish, [\"a\"}.\n").unwrap();
    for command in [&["check"][..], &["--listen", "mqtt://127.0.0.1:0"]] {
        let setting = format!("acl.file={}", file.display());
        let output = Command::new(binary())
            .args(command)
            .args(["--set", &setting, "--set", NO_HTTP])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let problem = String::from_utf8(output.stderr).unwrap();
        let expected = format!("{}:2:28: found `}}`, expected `,` or `]`", file.display());
        assert!(problem.contains(&expected), "{problem}");
        assert_eq!(problem.lines().count(), 1, "{problem}");
    }
    let output =
        Command::new(binary()).args(["check", "--set", "acl.file=/nowhere/acl.conf"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("acl.file /nowhere/acl.conf"));
}

#[test]
fn without_a_file_no_match_holds_for_all() {
    use crate::broker::{Broker, Options};
    let broker = Broker::start(&Options::shards(2).set("acl.no_match=deny")).unwrap();
    for version in Version::ALL {
        let mut client = broker.connect(Connect::new(version, "c"));
        let denied = if version == Version::V50 { 0x87 } else { 0x80 };
        assert_eq!(client.subscribe_reason("t", 0), denied);
    }
}
