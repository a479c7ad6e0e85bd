//! Where the log goes: a file that rotates, JSON, systemd's journal.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::observed;
use crate::broker::{Broker, Options, binary, temporary_dir, unused_address, wait_until};
use crate::client::TIMEOUT;
use crate::wire::Connect;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn log_into_files_that_rotate() {
    let dir = temporary_dir();
    let path = dir.join("myriad.log");
    let file = format!("log.file={}", path.display());
    let settings = ["log.target=file", &file, "log.rotate_bytes=4096", "log.keep=2", "log.audit=true"];
    let Some(mut broker) = observed(2, &settings) else { return };
    let older = |number: u8| dir.join(format!("myriad.log.{number}"));
    wait_until("a third file has begun", || {
        (0..10).for_each(|number| broker.connect(Connect::v5(&format!("rotating-{number}"))).disconnect());
        older(2).exists()
    });
    for path in [path.clone(), older(1), older(2)] {
        assert!(text(&path).len() <= 4096, "{path:?}");
    }
    assert!(text(&older(1)).contains("rotating-"), "{}", text(&older(1)));
    assert!(!broker.output().contains("event=\"connected\""), "{}", broker.output());
    assert!(broker.terminate().success());
    assert!(!older(3).exists());
    let last = text(&path) + &text(&older(1));
    assert!(last.contains("all shards have ended"), "the last line is written too: {last}");
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn log_as_json_is_an_object_a_line() {
    let Some(broker) = observed(1, &["log.format=json", "log.audit=true"]) else { return };
    broker.connect(Connect::v5("a\"b")).disconnect();
    wait_until("the line is there", || broker.output().contains("\"event\":\"disconnected\""));
    let output = broker.output();
    let objects: Vec<Value> = output
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = objects.iter().find(|line| line["event"] == "connected").unwrap();
    assert_eq!((&line["target"], &line["client_id"]), (&"audit".into(), &"a\"b".into()), "{line}");
    assert!(line["timestamp"].is_string() && line["level"] == "INFO", "{line}");
}

#[test]
fn log_that_can_not_be_written_stops_the_start() {
    let Some(mut broker) = observed(1, &[]) else { return };
    assert!(broker.terminate().success());
    let options = |settings: &[&str]| settings.iter().fold(Options::shards(1), |options, s| options.set(s));
    let nowhere = options(&["log.target=file", "log.file=/nowhere/at/all/x.log"]);
    broker.expect_no_restart(&nowhere, &["log.file", "/nowhere/at/all/x.log", "able to write"]);
    if !Path::new("/run/systemd/journal/socket").exists() {
        broker.expect_no_restart(&options(&["log.target=journald"]), &["log.target", "journald", "stderr"]);
    }
}

#[test]
fn log_into_the_journal_has_fields() {
    if crate::broker::peer_is_mosquitto() {
        return;
    }
    let (address, dir) = (unused_address(), temporary_dir());
    let journal = UnixDatagram::bind(dir.join("socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    // A mount namespace of its own, in which the journal's socket is ours.
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                  mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
    let unshare = |program: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(&dir).args(program);
        command
    };
    let can = unshare(&["true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        println!("skipped: no mount namespaces here");
        return;
    }
    let mut command = unshare(&[binary().to_str().unwrap()]);
    command.arg("--listen").arg(format!("mqtt://{address}")).args(["--shards", "1", "--data-dir"]).arg(&dir);
    for setting in ["storage.durability=memory", "admin.listen=", "log.target=journald", "log.audit=true"] {
        command.args(["--set", setting]);
    }
    let broker = Broker::spawn(&mut command, address, 1, dir);
    broker.connect(Connect::v5("journaled")).disconnect();
    let deadline = Instant::now() + TIMEOUT;
    let mut datagrams = String::new();
    let mut bytes = vec![0; 65_536];
    while !datagrams.contains("journaled") {
        assert!(Instant::now() < deadline, "{datagrams}");
        if let Ok(len) = journal.recv(&mut bytes) {
            datagrams.push_str(&String::from_utf8_lossy(&bytes[..len]));
        }
    }
    for field in ["SYSLOG_IDENTIFIER", "myriad", "PRIORITY", "TARGET", "audit", "F_CLIENT_ID"] {
        assert!(datagrams.contains(field), "{field}: {datagrams:?}");
    }
}
