//! What operators do with the journal of a running broker, over its control socket: figures, and backups to start on.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Durable, has_no_journal, settle};
use crate::broker::Broker;
use crate::wire::{Connect, Publish};

/// The lines of the answer.
fn ask(broker: &Broker, request: &Value) -> Vec<Value> {
    let mut stream = UnixStream::connect(broker.dir().join("control.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        lines.push(serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        if lines.last().is_some_and(|line| line.get("ok").is_some()) {
            break;
        }
    }
    lines
}

#[test]
fn a_backup_of_a_running_broker_is_its_state_of_that_moment() {
    if has_no_journal() {
        return;
    }
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t/#", 2);
    client.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t/1", "before").qos(1).retain());
    let to = broker.dir().join("backup");
    let request = json!({ "request": "store.backup", "to": to });
    let done = ask(&broker, &request);
    assert!(done[0]["ok"] == true && done[0]["files"].as_u64() >= Some(1), "{done:?}");
    let again = ask(&broker, &request);
    assert!(again[0]["error"].as_str().unwrap().contains("exists already"), "{again:?}");
    publisher.publish(Publish::new("t/1", "after").qos(1).retain());
    broker.broker.kill();
    std::fs::rename(broker.journal(), broker.dir().join("journal-of-before")).unwrap();
    std::fs::rename(to.join("journal"), broker.journal()).unwrap();
    let options = broker.next();
    broker.broker.restart(&options);
    let mut client = broker.resume(Connect::v5("c").persistent());
    client.expect_message("t/1", "before");
    client.expect_nothing();
    let mut other = broker.connect(Connect::v5("other"));
    other.subscribe("t/#", 1);
    other.expect_message("t/1", "before");
    other.expect_nothing();
}

#[test]
fn figures_of_the_journal_are_those_of_the_running_broker() {
    if has_no_journal() {
        return;
    }
    let Some(broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    settle(&mut client);
    let before = ask(&broker, &json!({ "request": "store.stats" }));
    assert!(before.len() == 2 && before[0]["is_down"] == false, "{before:?}");
    client.subscribe("t", 1);
    let after = ask(&broker, &json!({ "request": "store.stats" }));
    for figure in ["frames", "bytes", "syncs", "disk_bytes"] {
        assert!(after[0][figure].as_u64() > before[0][figure].as_u64(), "{figure}: {before:?} {after:?}");
    }
}
