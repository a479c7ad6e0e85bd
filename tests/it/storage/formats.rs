//! Journals of every version of the format that was ever written, in `fixtures/`: what each comes to stands beside it
//! and never changes. What a version learnt to write without becoming another one has a journal of its own, named after it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use myriad::clock::Timestamp;
use myriad::packet::{ProtocolVersion, QoS};
use myriad::session::{Delivery, Message, Will};
use myriad::storage::marks::{Clocks, Mark};
use myriad::storage::real_disk::RealDisk;
use myriad::storage::segment::{FORMAT_VERSION, JournalEnd, segment_seq};
use myriad::storage::writer::{JournalWriter, WriterOptions};
use myriad::storage::{
    Entry, RecoverOptions, Report, Restored, RestoredSlot, StoredDelivery, StoredMessage, StoredSession,
    StoredWill, SubscriptionIds, recover,
};

/// What a journal comes to, beside its files.
const EXPECTED: &str = "expected.txt";
/// Unix time of the fixtures' last sign of life: 2027-01-15.
const NOON_MS: u64 = 1_800_000_000_000;

/// The journals, and the version of each. `v1-apart`: what the journal keeps apart from sessions, and subscriptions whose Retained
/// Messages are being sent.
const FIXTURES: [(&str, u32); 2] = [("v1", 1), ("v1-apart", 1)];

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/storage/fixtures").join(name)
}

fn mark(ms: u64) -> Mark {
    Mark {
        journal: Timestamp(ms),
        clocks: Clocks { unix_ms: NOON_MS + ms, boot_ms: 50_000 + ms, boot_id: 7 },
    }
}

/// What the journal in `dir` comes to ten seconds after its end, on a machine that was restarted.
fn read(dir: &Path) -> String {
    let disk = RealDisk::open_existing(dir).unwrap();
    let now = Clocks { unix_ms: NOON_MS + 20_000, boot_ms: 3, boot_id: 8 };
    let (restored, end, report) = recover(&disk, now, &RecoverOptions::default(), &mut |_| {}).unwrap();
    let mut out = describe(&restored, &report);
    writeln!(out, "ends in segment {} of {}, generation {}", end.last, end.base, end.generation).unwrap();
    out
}

fn describe(restored: &Restored, report: &Report) -> String {
    let mut out = String::new();
    for session in &restored.sessions {
        writeln!(
            out,
            "session {} {} v{} expiry {} user {} last {} since {} connected {} will {}",
            session.serial,
            session.client_id,
            session.version as u8,
            session.expiry_s,
            session.user,
            session.last_packet_id,
            session.disconnected_at.0,
            session.was_connected,
            session.will.as_deref().map_or("none".into(), will),
        )
        .unwrap();
        for subscription in &session.subscriptions {
            let (filter, options, id) = (&subscription.filter, subscription.options, subscription.id);
            writeln!(out, "  filter {filter} options {options} id {id}").unwrap();
        }
        writeln!(out, "  inbound {:?}", session.inbound).unwrap();
        for (packet_id, slot) in &session.inflight {
            let slot = match slot {
                RestoredSlot::Publish(sent) => delivery(sent),
                RestoredSlot::Release => "PUBREL".into(),
            };
            writeln!(out, "  inflight {packet_id} {slot}").unwrap();
        }
        session.mqueue.iter().for_each(|queued| writeln!(out, "  queued {}", delivery(queued)).unwrap());
    }
    restored.retained.iter().for_each(|kept| writeln!(out, "retained {}", message(kept)).unwrap());
    restored.wills.iter().for_each(|due| writeln!(out, "will {}", will(due)).unwrap());
    restored.delayed.iter().for_each(|due| writeln!(out, "delayed {}", will(due)).unwrap());
    for left in &restored.returned {
        let (serial, packet_id) = (left.serial, left.packet_id);
        writeln!(out, "left by {serial}, sent as {packet_id:?}: {}", delivery(&left.delivery)).unwrap();
    }
    let (serial, number) = (restored.first_serial, restored.first_number);
    writeln!(out, "now {} serial {serial} number {number} key {:x}", restored.now.0, restored.user_key)
        .unwrap();
    report.findings.iter().for_each(|finding| writeln!(out, "{finding}").unwrap());
    out
}

fn delivery(delivery: &Delivery) -> String {
    let share =
        delivery.share.as_ref().map_or("none".into(), |share| format!("{}/{}", share.name, share.filter));
    let (qos, retain, ids) = (delivery.qos as u8, delivery.retain, &delivery.subscription_ids);
    format!("qos {qos} retain {retain} ids {ids:?} share {share} of {}", message(&delivery.message))
}

fn message(message: &Message) -> String {
    let head = message.head();
    let (number, publisher, qos, retain) = (head.number, head.publisher.0, head.qos as u8, head.retain);
    let expires_at = head.expires_at.map(|at| at.0);
    let payload = String::from_utf8_lossy(message.payload());
    let (topic, forwarded) = (message.topic(), message.forwarded());
    format!(
        "{number} by {publisher} qos {qos} retain {retain} until {expires_at:?} {topic} {forwarded:?} {payload:?}"
    )
}

fn will(will: &Will) -> String {
    format!("[{}, after {} s, for {:?} s]", message(&will.message), will.delay_s, will.expiry_s)
}

#[test]
fn every_version_that_was_ever_written_is_read_as_on_its_first_day() {
    let mut versions: Vec<u32> = FIXTURES.iter().map(|(_, version)| *version).collect();
    versions.dedup();
    assert!(versions.into_iter().eq(1..=FORMAT_VERSION), "a version has no fixture");
    for (name, _) in FIXTURES {
        let dir = fixtures(name);
        let expected = std::fs::read_to_string(dir.join(EXPECTED)).unwrap();
        let files = std::fs::read_dir(&dir).unwrap().count();
        let found = read(&dir);
        assert!(found == expected, "{name}\n--- read\n{found}--- expected\n{expected}");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), files, "reading makes nothing");
    }
}

#[test]
#[ignore = "writes a fixture that is not there yet; one that is never changes"]
fn write_the_fixtures_that_are_missing() {
    for (name, history) in [("v1", history()), ("v1-apart", apart())] {
        if !fixtures(name).exists() {
            write_fixture(&fixtures(name), history);
        }
    }
}

fn write_fixture(dir: &Path, history: Vec<Vec<Entry<'static>>>) {
    let disk = RealDisk::open(dir).unwrap();
    let options =
        WriterOptions { shards: 2, segment_bytes: 700, interval_ms: None, checkpoint_bytes_min: 900 };
    let end = JournalEnd::fresh(0x1122_3344_5566_7788, 0x99aa_bbcc);
    let (mut writer, _) = JournalWriter::open(disk, end, options, mark(0)).unwrap();
    let mut ms = 0;
    for (ticket, frame) in (1..).zip(history) {
        ms += 100;
        let mut body = varint(ms);
        frame.iter().for_each(|entry| entry.encode(&mut body));
        writer.append((ticket % 2) as u16, ticket, body);
        assert_eq!(writer.commit(mark(ms)).durable.len(), 1);
        // A checkpoint begins, and is not completed: images of some sessions lie over the state before.
        while !writer.maintain(mark(ms)).is_empty() {}
    }
    writer.close(mark(10_000));
    drop(writer);
    std::fs::remove_file(dir.join("LOCK")).unwrap();
    let newest =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let newest = newest.filter(|name| segment_seq(name).is_some()).max().unwrap();
    let mut bytes = std::fs::read(dir.join(&newest)).unwrap();
    bytes.extend_from_slice(b"MYFR a write that a crash interrupted");
    std::fs::write(dir.join(&newest), bytes).unwrap();
    std::fs::write(dir.join(EXPECTED), read(dir)).unwrap();
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

const LAST_WORD: StoredWill<'static> = StoredWill {
    qos: QoS::AtLeastOnce,
    retain: true,
    delay_s: 30,
    expiry_s: Some(600),
    topic: "wills/käse",
    forwarded: &[],
    payload: b"gone",
};

fn session(serial: u64, client_id: &'static str) -> StoredSession<'static> {
    StoredSession {
        serial,
        is_new: true,
        client_id,
        version: ProtocolVersion::V5,
        expiry_s: u32::MAX,
        user: 77,
        last_packet_id: 0,
        disconnected_at: None,
        will: None,
    }
}

fn published(number: u64, topic: &'static str, payload: &'static str) -> StoredMessage<'static> {
    StoredMessage {
        number,
        qos: QoS::ExactlyOnce,
        retain: false,
        publisher: 2,
        expires_at: None,
        topic,
        // Content Type: text/plain
        forwarded: b"\x03\x00\x0atext/plain",
        payload: payload.as_bytes(),
    }
}

fn deliver(serial: u64, number: u64) -> StoredDelivery<'static> {
    StoredDelivery {
        serial,
        number,
        qos: QoS::ExactlyOnce,
        retain: false,
        is_conditional: true,
        packet_id: None,
        subscription_ids: SubscriptionIds::Numbers(&[]),
        share: None,
    }
}

/// Frames with every kind of entry.
fn history() -> Vec<Vec<Entry<'static>>> {
    let share = Some(("group", "jobs/+"));
    let commit = |number, packet_id| Entry::Commit { number, publisher: 2, packet_id, is_will: false };
    let subscribe = |serial, filter, options, id| Entry::Subscribe { serial, filter, options, id };
    let gone = StoredSession { will: Some(LAST_WORD), ..session(4, "ended with a Will") };
    let old = StoredSession {
        version: ProtocolVersion::V311,
        expiry_s: 3600,
        disconnected_at: Some(Timestamp(900)),
        ..session(3, "of version 3.1.1")
    };
    let expired =
        StoredSession { expiry_s: 5, disconnected_at: Some(Timestamp(1000)), ..session(5, "expired") };
    vec![
        vec![
            Entry::Session(session(1, "subscriber")),
            subscribe(1, "jobs/#", 0b1_0010, 9),
            subscribe(1, "a/+/c", 0b0_0101, 0),
            subscribe(1, "gone", 1, 0),
            Entry::Unsubscribe { serial: 1, filter: "gone" },
            subscribe(1, "$share/group/jobs/+", 2, 0),
        ],
        vec![Entry::Session(StoredSession { will: Some(LAST_WORD), ..session(2, "publisher") })],
        vec![
            Entry::Session(old),
            subscribe(3, "jobs/#", 1, 0),
            Entry::Session(gone),
            Entry::Session(expired),
        ],
        vec![
            Entry::Message(published(10, "jobs/1", "inflight")),
            Entry::Deliver(StoredDelivery { packet_id: Some(65_535), ..deliver(1, 10) }),
            Entry::Deliver(StoredDelivery { qos: QoS::AtLeastOnce, ..deliver(3, 10) }),
            commit(10, 300),
        ],
        vec![
            // The deliveries of another shard may come before their message.
            Entry::Deliver(StoredDelivery { share, ..deliver(1, 11) }),
            Entry::Message(published(11, "jobs/2", "from the queue")),
            Entry::Deliver(StoredDelivery {
                subscription_ids: SubscriptionIds::Numbers(&[9, 268_435_455]),
                ..deliver(1, 12)
            }),
            Entry::Message(StoredMessage {
                expires_at: Some(Timestamp(100_000)),
                ..published(12, "jobs/3", "waits")
            }),
        ],
        vec![commit(11, 301), commit(12, 302), Entry::Sent { serial: 1, number: 11, packet_id: 1 }],
        vec![
            Entry::Message(published(13, "jobs/4", "received")),
            Entry::Deliver(StoredDelivery { packet_id: Some(2), ..deliver(1, 13) }),
            commit(13, 0),
            Entry::Received { serial: 1, packet_id: 2 },
            Entry::InboundDone { serial: 2, packet_id: 301 },
            Entry::Inbound { serial: 2, packet_id: 400 },
        ],
        vec![
            Entry::Message(published(14, "jobs/5", "acknowledged")),
            Entry::Deliver(StoredDelivery { packet_id: Some(3), ..deliver(1, 14) }),
            commit(14, 0),
            Entry::Done { serial: 1, packet_id: 3 },
            Entry::Message(published(15, "jobs/6", "never committed")),
            Entry::Deliver(deliver(3, 15)),
            Entry::Message(published(16, "jobs/7", "dropped from the queue")),
            Entry::Deliver(deliver(3, 16)),
            commit(16, 0),
            Entry::Gone { serial: 3, number: 16 },
        ],
        vec![
            Entry::Message(StoredMessage { retain: true, publisher: 0, ..published(17, "state/1", "kept") }),
            Entry::Retain { number: 17 },
            Entry::Message(StoredMessage { retain: true, ..published(18, "state/2", "no more") }),
            Entry::Retain { number: 18 },
            Entry::Unretain { topic: "state/2" },
        ],
        vec![Entry::End { serial: 4, keeps_will: true }],
        vec![
            Entry::Reset { serial: 3 },
            Entry::Session(old),
            subscribe(3, "jobs/#", 1, 0),
            Entry::Message(published(10, "jobs/1", "inflight")),
            Entry::Deliver(StoredDelivery { qos: QoS::AtLeastOnce, ..deliver(3, 10) }),
            Entry::Confirm { number: 10 },
        ],
    ]
}

/// One without a Client Identifier, or with that of messages which wait for their time: what is kept apart from sessions.
fn nobody(serial: u64, client_id: &'static str) -> StoredSession<'static> {
    StoredSession { expiry_s: 0, user: 0, disconnected_at: Some(Timestamp(0)), ..session(serial, client_id) }
}

/// A message that waits for its time, a second of the journal's.
fn delayed(serial: u64, payload: &'static [u8], due_s: u32) -> Vec<Entry<'static>> {
    let will = Some(StoredWill { delay_s: due_s, topic: "late", payload, ..LAST_WORD });
    vec![
        Entry::Session(StoredSession { will, ..nobody(serial, "\0delayed") }),
        Entry::End { serial, keeps_will: true },
    ]
}

/// Frames with what has no session that outlasts its connection: messages that wait for their time, what sessions left to other
/// members of a Shared Subscription, a Will on its way out.
fn apart() -> Vec<Vec<Entry<'static>>> {
    let share = Some(("group", "jobs/+"));
    let commit = |number| Entry::Commit { number, publisher: 2, packet_id: 0, is_will: false };
    let subscribe = |serial, filter, options| Entry::Subscribe { serial, filter, options, id: 0 };
    let give = |serial, number, packet_id, is_conditional| {
        let qos = QoS::AtLeastOnce;
        Entry::Deliver(StoredDelivery { qos, packet_id, share, is_conditional, ..deliver(serial, number) })
    };
    vec![
        vec![
            Entry::Session(session(1, "member")),
            subscribe(1, "$share/group/jobs/+", 1),
            Entry::Session(session(2, "publisher")),
            // 32: its Retained Messages are still being sent.
            subscribe(2, "state/#", 0b10_0001),
            subscribe(2, "given/#", 0b10_0001),
        ],
        delayed(3, b"in time", 40),
        delayed(4, b"published", 20),
        delayed(5, b"over due", 5),
        vec![Entry::Commit { number: 0, publisher: 4, packet_id: 0, is_will: true }],
        vec![
            Entry::Message(published(10, "jobs/1", "left")),
            give(1, 10, Some(9), true),
            commit(10),
            Entry::Message(published(11, "jobs/2", "given on")),
            give(1, 11, None, true),
            commit(11),
        ],
        // All were sent: the subscription is written again without the mark.
        vec![subscribe(2, "given/#", 0b1)],
        // The member's session ends: what it had stays.
        vec![
            Entry::Session(nobody(6, "")),
            give(6, 10, None, false),
            Entry::Session(nobody(7, "")),
            give(7, 11, None, false),
            Entry::End { serial: 1, keeps_will: false },
        ],
        vec![
            Entry::Session(session(8, "another member")),
            Entry::Message(published(12, "jobs/2", "given on")),
            give(8, 12, None, true),
        ],
        vec![commit(12), Entry::End { serial: 7, keeps_will: false }],
        // One whose session expires while the node is down.
        vec![
            Entry::Session(StoredSession {
                expiry_s: 1,
                disconnected_at: Some(Timestamp(900)),
                ..session(10, "expires")
            }),
            Entry::Message(published(13, "jobs/3", "sent once")),
            give(10, 13, Some(9), true),
            commit(13),
        ],
        vec![
            Entry::Session(StoredSession { will: Some(LAST_WORD), ..nobody(9, "") }),
            Entry::End { serial: 9, keeps_will: true },
        ],
    ]
}
