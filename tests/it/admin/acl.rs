//! The ACL over the API: what the rules say, and reading them again.

use serde_json::json;

use super::served;
use crate::broker::temporary_dir;
use crate::wire::{Connect, Publish};

#[test]
fn admin_acl_is_asked_and_read_again() {
    let file = temporary_dir().join("acl.conf");
    std::fs::write(&file, "{deny, {user, \"eve\"}, publish, [\"t/#\"]}.\n{allow, all}.\n").unwrap();
    let Some(broker) = served(2, &[&format!("acl.file={}", file.display()), "acl.no_match=deny"]) else {
        return;
    };
    let http = broker.http();
    let check = |user: &str, access: &str, topic: &str| {
        let wanted = json!({ "client_id": "c", "username": user, "access": access, "topic": topic });
        http.post("/api/v1/acl/check", &wanted).json(200)
    };
    let denied = check("eve", "publish", "t/1");
    assert_eq!(denied["allowed"], false);
    assert!(denied["rule"].as_str().unwrap().contains("rule 1"), "{denied}");
    let allowed = check("eve", "subscribe", "t/1");
    assert_eq!(allowed["allowed"], true);
    assert!(allowed["rule"].as_str().unwrap().contains("acl.file"), "{allowed}");
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t/#", 0);
    std::fs::write(&file, "{allow, {client, \"d\"}, pubsub, [\"t/#\"]}.\n").unwrap();
    assert_eq!(http.ask("POST", "/api/v1/acl/reload", &[], b"").json(200), json!({ "rules": 2 }));
    assert_eq!(check("eve", "subscribe", "t/1"), json!({ "allowed": false, "rule": null }));
    assert_eq!(client.publish_reason(Publish::new("t/1", "x").qos(1)), 0x87);
    std::fs::write(&file, "{allow, all\n").unwrap();
    let said = http.ask("POST", "/api/v1/acl/reload", &[], b"").problem(400, "bad_request");
    assert!(said.contains("acl.conf") && said.contains("old rules stay"), "{said}");
    assert_eq!(check("eve", "subscribe", "t/1")["allowed"], false);
    let odd = json!({ "client_id": "c", "access": "publish", "topic": "t", "address": "here" });
    http.post("/api/v1/acl/check", &odd).problem(400, "bad_request");
    let odd = json!({ "client_id": "c", "access": "read", "topic": "t" });
    http.post("/api/v1/acl/check", &odd).problem(400, "bad_request");
}
