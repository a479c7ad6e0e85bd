//! Damage to the files while nobody runs, and directories that can't be used: what is still good is kept, what is lost is named,
//! and a start is refused only where going on would lose more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Durable, has_no_journal};
use crate::broker::{binary, unused_address};
use crate::wire::{Connect, Publish};

/// The journal's files, oldest first.
fn segments(journal: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|is| is == "myj")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no segments in {}", journal.display());
    paths
}

/// A broker that was killed with `count` messages of a kilobyte for "c", each in a sync of its own.
fn killed(settings: &[&str], count: u32) -> Option<Durable> {
    if has_no_journal() {
        return None;
    }
    let mut broker = Durable::start(settings)?;
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..count).for_each(|number| publisher.publish(Publish::new("t", text(number)).qos(1)));
    broker.broker.kill();
    Some(broker)
}

fn text(number: u32) -> String {
    format!("{number:04}{}", "-".repeat(1_000))
}

/// What waits for "c", after another start.
fn found(broker: &mut Durable, settings: &[&str]) -> Vec<u32> {
    let options = settings.iter().fold(broker.next(), |options, setting| options.set(setting));
    broker.broker.restart(&options);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "9999").qos(1));
    let mut client = broker.resume(Connect::v5("c").persistent());
    let mut numbers = Vec::new();
    while numbers.last() != Some(&9_999) {
        numbers.push(client.recv_message().text()[..4].parse().unwrap());
    }
    numbers.pop();
    client.expect_nothing();
    numbers
}

#[test]
fn a_torn_tail_costs_what_was_torn_and_is_counted() {
    let Some(mut broker) = killed(&[], 20) else { return };
    let newest = segments(&broker.journal()).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() - 10]).unwrap();
    assert_eq!(found(&mut broker, &[]), (0..19).collect::<Vec<_>>());
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(broker.output().contains(name), "{name} is not named:\n{}", broker.output());
    // And it is behind us.
    assert_eq!(found_again(&mut broker), Vec::<u32>::new());
}

/// The same once more, after a crash.
fn found_again(broker: &mut Durable) -> Vec<u32> {
    broker.broker.kill();
    found(broker, &[])
}

#[test]
fn bytes_of_a_write_that_never_ended_cost_nothing() {
    let Some(mut broker) = killed(&[], 20) else { return };
    let newest = segments(&broker.journal()).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    bytes.extend(b"MYFR\0\0\x01\0garbage of a page that was half written");
    fs::write(&newest, &bytes).unwrap();
    assert_eq!(found(&mut broker, &[]), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_flipped_bit_costs_its_frame_and_is_named() {
    let Some(mut broker) = killed(&[], 60) else { return };
    let newest = segments(&broker.journal()).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let at = find(&bytes, b"0030-----").unwrap();
    bytes[at + 500] ^= 4;
    fs::write(&newest, &bytes).unwrap();
    let numbers = found(&mut broker, &[]);
    let expected: Vec<u32> = (0..60).filter(|number| *number != 30).collect();
    assert_eq!(numbers, expected);
    let name = newest.file_name().unwrap().to_str().unwrap();
    let output = broker.output();
    let line = output.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{output}"));
    assert!(line.contains("WARN") || line.contains("ERROR"), "{line}");
    // The damaged file is kept for whoever wants to look.
    let is_kept = fs::read_dir(broker.journal())
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_str().unwrap().starts_with(name));
    assert!(is_kept, "{name} is gone");
    assert_eq!(found_again(&mut broker), Vec::<u32>::new());
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[test]
fn a_missing_file_refuses_until_it_is_back_or_the_loss_accepted() {
    let Some(mut broker) = killed(&["storage.segment_bytes=65536"], 300) else { return };
    let files = segments(&broker.journal());
    assert!(files.len() >= 4, "{files:?}");
    let missing = &files[files.len() - 2];
    let name = missing.file_name().unwrap().to_str().unwrap().to_owned();
    let away = broker.dir().join("away");
    fs::rename(missing, &away).unwrap();
    let options = broker.next();
    let line = broker.broker.expect_no_restart(&options, &[&name, "accept_damage"]);
    assert!(line.len() < 400, "{line}");
    // Nothing was changed by the refusal.
    assert!(fs::read_dir(broker.journal()).unwrap().count() >= files.len() - 1);
    fs::rename(&away, missing).unwrap();
    assert_eq!(found(&mut broker, &[]), (0..300).collect::<Vec<_>>());
}

#[test]
fn a_loss_that_is_accepted_keeps_what_is_left() {
    let Some(mut broker) = killed(&["storage.segment_bytes=65536"], 300) else { return };
    let files = segments(&broker.journal());
    fs::remove_file(&files[files.len() - 2]).unwrap();
    let options = broker.next();
    broker.broker.expect_no_restart(&options, &["accept_damage"]);
    let numbers = found(&mut broker, &["storage.accept_damage=true"]);
    assert!(numbers.len() >= 150 && numbers.len() < 300, "{} of 300", numbers.len());
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(numbers.contains(&0), "what was before the gap");
    assert!(numbers.contains(&299), "what was behind the gap");
    // Accepted once is enough.
    assert_eq!(found_again(&mut broker), Vec::<u32>::new());
}

/// The checksum of zip and Ethernet, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[test]
fn a_newer_format_is_refused() {
    let Some(mut broker) = killed(&[], 5) else { return };
    let newest = segments(&broker.journal()).pop().unwrap();
    let before = fs::read(&newest).unwrap();
    // docs/STORAGE.md: the version is at 8, the checksum of the header is its last 4 bytes of 128.
    let mut bytes = before.clone();
    assert_eq!(bytes[124..128], crc32(&bytes[..124]).to_le_bytes());
    bytes[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let sum = crc32(&bytes[..124]);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    fs::write(&newest, &bytes).unwrap();
    let options = broker.next();
    broker.broker.expect_no_restart(&options, &["99", "version"]);
    assert_eq!(fs::read(&newest).unwrap(), bytes, "a refusal changes nothing");
    fs::write(&newest, &before).unwrap();
    assert_eq!(found(&mut broker, &[]), (0..5).collect::<Vec<_>>());
}

#[test]
fn a_header_that_is_damaged_does_not_lose_the_rest() {
    let Some(mut broker) = killed(&[], 5) else { return };
    let newest = segments(&broker.journal()).pop().unwrap();
    let before = fs::read(&newest).unwrap();
    let mut bytes = before.clone();
    bytes[40] ^= 1;
    fs::write(&newest, &bytes).unwrap();
    let options = broker.next();
    let name = newest.file_name().unwrap().to_str().unwrap();
    broker.broker.expect_no_restart(&options, &[name, "accept_damage"]);
    fs::write(&newest, &before).unwrap();
    assert_eq!(found(&mut broker, &[]), (0..5).collect::<Vec<_>>());
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    if has_no_journal() {
        return;
    }
    let broker = Durable::start(&[]).unwrap();
    let mut command = Command::new(binary());
    command.args(["--shards", "1", "--listen", &format!("mqtt://{}", unused_address())]);
    command.arg("--data-dir").arg(broker.dir()).args([
        "--set",
        "storage.durability=sync",
        "--set",
        "admin.listen=",
    ]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = said.lines().last().unwrap();
    assert!(line.contains(&broker.pid().to_string()), "who holds it is not named: {said}");
    assert!(line.contains(broker.dir().to_str().unwrap()), "the directory is not named: {said}");
    // The first one goes on.
    broker.connect(Connect::v5("c").persistent()).subscribe("t", 1);
}

#[test]
fn a_directory_that_is_a_file_is_refused() {
    if has_no_journal() {
        return;
    }
    let mut broker = Durable::start(&[]).unwrap();
    broker.broker.kill();
    fs::remove_dir_all(broker.journal()).unwrap();
    fs::write(broker.journal(), "").unwrap();
    let options = broker.next();
    let journal = broker.journal();
    broker.broker.expect_no_restart(&options, &[journal.to_str().unwrap()]);
}

#[test]
fn crashes_while_starting_lose_nothing() {
    let Some(mut broker) = killed(&["storage.segment_bytes=65536"], 300) else { return };
    for pause_ms in [1, 3, 6, 10, 15, 25, 40, 60, 90, 130] {
        let options = broker.next();
        broker.broker.relaunch(&options);
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        broker.broker.kill();
    }
    assert_eq!(found(&mut broker, &[]), (0..300).collect::<Vec<_>>());
}
