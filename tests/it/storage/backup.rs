//! What operators do with the journal of a running broker, over its control socket: figures, and backups to start on.

use serde_json::json;

use super::{Durable, has_no_journal, settle};
use crate::wire::{Connect, Publish};

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
    let http = broker.http();
    let done = http.post("/api/v1/store/backup", &json!({ "to": to })).json(200);
    assert!(done["files"].as_u64() >= Some(1) && done["bytes"].as_u64() > Some(0), "{done}");
    let again = http.post("/api/v1/store/backup", &json!({ "to": to })).problem(409, "conflict");
    assert!(again.contains("exists already"), "{again}");
    http.post("/api/v1/store/backup", &json!({ "to": "here" })).problem(400, "bad_request");
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
    let before = broker.http().json("/api/v1/store");
    assert!(before["is_down"] == false, "{before}");
    client.subscribe("t", 1);
    let after = broker.http().json("/api/v1/store");
    for figure in ["frames", "bytes", "syncs", "disk_bytes"] {
        assert!(after[figure].as_u64() > before[figure].as_u64(), "{figure}: {before} {after}");
    }
}
