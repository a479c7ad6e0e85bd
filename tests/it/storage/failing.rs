//! A disk that fails while the broker runs: full, or a sync that comes back with an error. What was acknowledged stays, what can't be
//! kept is refused, everything else goes on, and it heals.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::injection::{Injection, SmallDisk, wait_for_end_of};
use super::{Durable, has_no_journal};
use crate::broker::{Broker, Options, unused_address, wait_until};
use crate::client::{Client, TIMEOUT};
use crate::wire::{Ack, AckKind, Connect, Packet, Publish, Version};

/// A broker on a file system of a few MiB.
fn start(disk: &SmallDisk) -> Broker {
    let options = Options::durable(2).set("storage.segment_bytes=65536").set("session.queue_len_max=100000");
    let address = unused_address();
    let mut command = disk.command(&options, address).unwrap();
    Broker::spawn(&mut command, address, 2, crate::broker::temporary_dir())
}

/// Client "c" leaves a session behind that wants what is published here.
fn leave_session(broker: &Broker) {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
}

/// What came of a durable QoS 1 PUBLISH: `None`: the connection was closed, or nothing came at all.
fn try_publish(broker: &Broker, number: u32) -> Option<u8> {
    let mut client = broker.connect(Connect::v5("p"));
    let text = format!("{number:06}{}", "-".repeat(1_000));
    client.send(Publish::new("t", text).qos(1).id(1));
    match client.recv_within_or_closed(Duration::from_secs(3)) {
        Some(Packet::Ack(Ack { kind: AckKind::Puback, reasons, .. })) => Some(reasons[0]),
        Some(Packet::Disconnect(disconnect)) => {
            assert_eq!(disconnect.reason, 0x97, "{disconnect:?}");
            None
        }
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

/// Publishes until it is refused; adds the numbers that were acknowledged.
fn publish_until_refused(broker: &Broker, next: &mut u32, acknowledged: &mut Vec<u32>) {
    let deadline = Instant::now() + TIMEOUT * 2;
    loop {
        assert!(Instant::now() < deadline, "never refused");
        match try_publish(broker, *next) {
            Some(0) => acknowledged.push(*next),
            Some(0x97) => break,
            Some(other) => panic!("{other:#04x}"),
            None => {}
        }
        *next += 1;
    }
    *next += 1;
}

/// Publishes until it is taken.
fn publish_until_taken(broker: &Broker, next: &mut u32, acknowledged: &mut Vec<u32>) {
    let deadline = Instant::now() + TIMEOUT * 2;
    while try_publish(broker, *next) != Some(0) {
        assert!(Instant::now() < deadline, "it never heals:\n{}", broker.output());
        thread::sleep(Duration::from_millis(50));
        *next += 1;
    }
    acknowledged.push(*next);
    *next += 1;
}

/// Takes all that waits for "c": each acknowledged number, in order, none that was not sent, and none twice.
fn expect_all(client: &mut Client, acknowledged: &[u32], refused: &[u32]) {
    let mut got = Vec::new();
    while got.last() != acknowledged.last() {
        got.push(client.recv_message().text()[..6].parse::<u32>().unwrap());
    }
    client.expect_nothing();
    assert!(got.is_sorted(), "{got:?}");
    let lost: Vec<_> = acknowledged.iter().filter(|number| !got.contains(number)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let wrong: Vec<_> = refused.iter().filter(|number| got.contains(number)).collect();
    assert!(wrong.is_empty(), "refused and delivered: {wrong:?}");
}

/// What needs no disk goes on.
fn expect_life(broker: &Broker) {
    for version in [Version::V311, Version::V50] {
        let mut client = broker.connect(Connect::new(version, "clean"));
        client.subscribe("own/#", 2);
        for qos in [0, 1, 2] {
            client.publish(Publish::new("own/t", "x").qos(qos));
            client.expect_message("own/t", "x");
        }
    }
}

#[test]
fn mqtt5_section_3_4_2_1_a_full_disk_refuses_what_is_durable_and_heals() {
    if has_no_journal() {
        return;
    }
    let Some(disk) = SmallDisk::mount(4_096) else { return };
    let mut broker = start(&disk);
    leave_session(&broker);
    let (mut next, mut acknowledged, mut refused) = (0, vec![], vec![]);
    for round in 0..2 {
        (0..20).for_each(|_| publish_until_taken(&broker, &mut next, &mut acknowledged));
        disk.fill();
        publish_until_refused(&broker, &mut next, &mut acknowledged);
        refused.push(next - 1);
        expect_life(&broker);
        // 5.0 is told at each QoS; 3.1.1 has no such answer and is sent away.
        let mut publisher = broker.connect(Connect::v5("p"));
        assert_eq!(publisher.publish_reason(Publish::new("t", "000000").qos(2)), 0x97);
        assert_eq!(publisher.publish_reason(Publish::new("kept", "x").qos(1).retain()), 0x97);
        publisher.publish(Publish::new("t", "000000"));
        publisher.ping();
        let mut old = broker.connect(Connect::v311("old"));
        old.send(Publish::new("t", "000000").qos(1).id(1));
        old.expect_closed();
        broker.expect_refused(Connect::v5(&format!("new-{round}")).persistent(), 0x97);
        // So is a clean start that would end a session which is on disk: after a crash it would be there again.
        broker.expect_refused(Connect::v5("c"), 0x97);
        disk.free();
        publish_until_taken(&broker, &mut next, &mut acknowledged);
        broker.connect(Connect::v5(&format!("new-{round}")).persistent()).subscribe("x", 1);
    }
    let output = broker.output();
    assert!(output.contains("space") || output.contains("full"), "the log does not say why:\n{output}");
    // And all of it is on disk.
    broker.kill();
    wait_for_end_of(broker.pid());
    let options = Options::durable(5);
    broker.relaunch_as(&mut disk.command(&options, broker.address).unwrap(), 5);
    wait_until("it is ready again", || broker.output().contains("myriad ready"));
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    // QoS 0 was not refused: it waits, but not on disk.
    expect_all(&mut client, &acknowledged, &refused);
}

#[test]
fn a_start_on_a_full_disk_fails_or_serves_and_loses_nothing() {
    if has_no_journal() {
        return;
    }
    let Some(disk) = SmallDisk::mount(4_096) else { return };
    let mut broker = start(&disk);
    leave_session(&broker);
    let (mut next, mut acknowledged) = (0, vec![]);
    (0..50).for_each(|_| publish_until_taken(&broker, &mut next, &mut acknowledged));
    broker.kill();
    wait_for_end_of(broker.pid());
    disk.fill();
    let options = Options::durable(2).set("storage.segment_bytes=65536");
    broker.relaunch_as(&mut disk.command(&options, broker.address).unwrap(), 2);
    let mut is_ready = false;
    wait_until("it starts or says why not", || {
        is_ready = broker.output().contains("myriad ready");
        is_ready || broker.has_ended()
    });
    if is_ready {
        assert_ne!(try_publish(&broker, 999_999), Some(0), "acknowledged on a full disk");
        broker.kill();
    } else {
        let output = broker.output();
        assert!(output.contains("space"), "{output}");
    }
    disk.free();
    broker.relaunch_as(&mut disk.command(&options, broker.address).unwrap(), 2);
    wait_until("it is ready again", || broker.output().contains("myriad ready"));
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    expect_all(&mut client, &acknowledged, &[]);
}

#[test]
fn a_read_only_directory_is_refused_in_one_line() {
    if has_no_journal() {
        return;
    }
    let Some(disk) = SmallDisk::mount(4_096) else { return };
    let mut broker = start(&disk);
    broker.connect(Connect::v5("c").persistent()).disconnect();
    broker.kill();
    wait_for_end_of(broker.pid());
    disk.make_read_only();
    broker.relaunch_as(&mut disk.command(&Options::durable(2), broker.address).unwrap(), 2);
    let status = broker.wait();
    broker.forgive();
    let output = broker.output();
    assert_eq!(status.code(), Some(1), "{output}");
    let line = output.lines().last().unwrap();
    assert!(line.contains("journal") && line.to_lowercase().contains("read-only"), "{output}");
}

#[test]
fn a_failed_sync_is_not_trusted_and_heals() {
    if has_no_journal() {
        return;
    }
    let mut broker = Durable::start(&[]).unwrap();
    leave_session(&broker);
    let (mut next, mut acknowledged) = (0, vec![]);
    for _ in 0..3 {
        (0..5).for_each(|_| publish_until_taken(&broker, &mut next, &mut acknowledged));
        let Some(injection) = Injection::new(broker.pid(), "fdatasync:error=EIO:when=1") else { return };
        assert_ne!(try_publish(&broker, next), Some(0), "acknowledged, and the sync failed");
        next += 1;
        expect_life(&broker);
        publish_until_taken(&broker, &mut next, &mut acknowledged);
        expect_no_trust(&injection.calls());
    }
    let output = broker.output();
    assert!(output.contains("Input/output error") || output.contains("os error 5"), "{output}");
    broker.crash();
    let mut client = broker.resume(Connect::v5("c").persistent());
    expect_all(&mut client, &acknowledged, &[]);
}

/// After its first failure no file is synced again, unless it is a new one of the same name.
fn expect_no_trust(calls: &[String]) {
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    let mut failures = 0;
    for call in calls {
        if call.contains("O_EXCL")
            && let Some(name) = call.split('"').nth(1)
        {
            failed.remove(name);
        }
        let Some(file) = call.split('<').nth(1).and_then(|rest| rest.split('>').next()) else { continue };
        if call.contains("fdatasync(") {
            assert!(!failed.contains(file), "synced again after it failed: {call}\n{}", calls.join("\n"));
            if call.contains("= -1") {
                failures += 1;
                failed.insert(file);
            }
        }
    }
    assert!(failures > 0, "no sync failed: {calls:?}");
}

#[test]
fn syncs_that_keep_failing_refuse_what_is_durable_and_nothing_else() {
    if has_no_journal() {
        return;
    }
    let mut broker = Durable::start(&[]).unwrap();
    leave_session(&broker);
    let (mut next, mut acknowledged) = (0, vec![]);
    publish_until_taken(&broker, &mut next, &mut acknowledged);
    let Some(injection) = Injection::new(broker.pid(), "fdatasync,fsync:error=EIO") else { return };
    publish_until_refused(&broker, &mut next, &mut acknowledged);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert_ne!(try_publish(&broker, next), Some(0), "acknowledged, and no sync succeeds");
        next += 1;
        expect_life(&broker);
    }
    assert_eq!(acknowledged, [0]);
    expect_no_trust(&injection.calls());
    drop(injection);
    publish_until_taken(&broker, &mut next, &mut acknowledged);
    broker.crash();
    let mut client = broker.resume(Connect::v5("c").persistent());
    expect_all(&mut client, &acknowledged, &[]);
}
