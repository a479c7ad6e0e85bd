//! `myriadctl store` on journals that no broker uses, and against a socket that answers as a broker does.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

mod fake;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake::{Fake, text};
use myriad::clock::Timestamp;
use myriad::packet::ProtocolVersion;
use myriad::storage::marks::Mark;
use myriad::storage::real_disk::RealDisk;
use myriad::storage::segment::{JournalEnd, segment_name};
use myriad::storage::writer::{JournalWriter, WriterOptions};
use myriad::storage::{Entry, StoredSession};

/// A data folder with a journal of three sessions, a frame each.
fn data_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("myriadctl-store-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let disk = RealDisk::open(&dir.join("journal")).unwrap();
    let options = WriterOptions {
        shards: 1,
        segment_bytes: 1 << 20,
        interval_ms: None,
        checkpoint_bytes_min: WriterOptions::CHECKPOINT_BYTES_MIN,
    };
    let mark = Mark { journal: Timestamp(5), ..Mark::default() };
    let (mut writer, _) = JournalWriter::open(disk, JournalEnd::fresh(1, 2), options, mark).unwrap();
    for serial in 1..=3 {
        let mut body = vec![5];
        Entry::Session(StoredSession {
            serial,
            is_new: true,
            client_id: &format!("client {serial}"),
            version: ProtocolVersion::V5,
            expiry_s: u32::MAX,
            user: 0,
            last_packet_id: 0,
            disconnected_at: None,
            will: None,
        })
        .encode(&mut body);
        writer.append(0, serial, body);
        writer.commit(mark);
    }
    writer.close(mark);
    dir
}

fn store(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_myriadctl")).arg("store").args(arguments).args(paths).output().unwrap()
}

/// Turns a bit of the first segment over.
fn damage(dir: &Path, offset: usize) {
    let path = dir.join("journal").join(segment_name(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[offset] ^= 4;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_sound_journal_is_told_in_one_line_and_nothing_is_made_in_its_folder() {
    let dir = data_dir("sound");
    let journal = dir.join("journal");
    let before = std::fs::read_dir(&journal).unwrap().count();
    for folder in [&dir, &journal] {
        let output = store(&["check"], &[folder]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let line = text(&output.stdout);
        assert!(
            line.starts_with("sound: 3 sessions, 0 subscriptions, ") && line.lines().count() == 1,
            "{line}"
        );
    }
    let json = text(&store(&["check", "--json"], &[&dir]).stdout);
    assert!(json.contains(r#""is_damaged":false"#) && json.contains(r#""sessions":3"#), "{json}");
    assert_eq!(std::fs::read_dir(&journal).unwrap().count(), before);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn damage_is_a_line_each_and_exit_status_1() {
    let dir = data_dir("damaged");
    damage(&dir, 128 + 40);
    let output = store(&["check"], &[&dir]);
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    assert!(lines.starts_with(&format!("damaged: {}: ", segment_name(1))), "{lines}");
    assert!(lines.contains(": frame 1 is lost\n") && lines.contains("\ndamaged: 2 sessions, "), "{lines}");
    // What can't be read at all.
    damage(&dir, 20);
    let output = store(&["check"], &[&dir]);
    assert_eq!(output.status.code(), Some(1));
    let line = text(&output.stderr);
    assert!(line.contains("the header is damaged") && line.lines().count() == 1, "{line}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_folder_without_a_journal_or_with_a_broker_is_named() {
    let dir = data_dir("used");
    let lock = RealDisk::open(&dir.join("journal")).unwrap();
    let output = store(&["check"], &[&dir]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("another broker has this journal"), "{}", text(&output.stderr));
    drop(lock);
    let empty = dir.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let output = store(&["check"], &[&empty]);
    assert!(text(&output.stderr).contains("empty: there is no journal"), "{}", text(&output.stderr));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn figures_and_backups_come_from_the_files_when_no_broker_runs() {
    let dir = data_dir("offline");
    let output = store(&["stats", "--data-dir"], &[&dir]);
    let lines = text(&output.stdout);
    assert!(
        lines.contains("no broker is running") && lines.contains("holds             3 sessions"),
        "{lines}"
    );
    let to = dir.join("copy");
    let output = store(&["backup", "--data-dir"], &[&dir, &to]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("sound: 3 sessions"), "{}", text(&output.stdout));
    assert_eq!(store(&["check"], &[&to]).status.code(), Some(0));
    let again = store(&["backup", "--data-dir"], &[&dir, &to]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists already"), "{}", text(&again.stderr));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_running_broker_is_asked_for_figures_and_backups() {
    let figures = r#"{"disk_bytes":1048576,"segments":2,"base":4,"newest":5,"frames":30,"syncs":10,"sync_us":20000,
                      "sync_us_max":9000,"is_down":false}"#;
    let fake = Fake::start_in(
        data_dir("online"),
        &[
            ("GET /api/v1/store", 200, figures),
            ("POST /api/v1/store/backup", 200, r#"{"files":2,"bytes":2048}"#),
        ],
    );
    let run = fake.ctl(&["store", "stats"]);
    assert!(run.out.contains("1.0 MiB in 2 files, from segment 4 to 5"), "{run:?}");
    assert!(run.out.contains("10, 3.0 frames and 2.00 ms each, the slowest 9.0 ms"), "{run:?}");
    let run = fake.ctl(&["store", "backup", "/nowhere/copy"]);
    assert_eq!(run.out, "/nowhere/copy: 2.0 KiB in 2 files\n", "{run:?}");
    let asked = fake.seen();
    assert_eq!(asked, ["GET /api/v1/store", r#"POST /api/v1/store/backup {"to":"/nowhere/copy"}"#]);
}

#[test]
fn a_broker_that_stores_nothing_says_so() {
    let refused = r#"{"error":"this broker stores nothing","code":"unavailable"}"#;
    let fake = Fake::start(&[("GET /api/v1/store", 503, refused)]);
    let run = fake.ctl(&["store", "stats"]);
    assert_eq!((run.status, run.err.as_str()), (Some(1), "myriadctl: this broker stores nothing\n"));
}
