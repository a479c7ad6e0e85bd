//! The configuration over the API: shown without secrets, reloaded as by SIGHUP, checked without effect.

use serde_json::json;

use super::served;
use crate::broker::{Broker, Options, command, peer_is_mosquitto, temporary_dir, unused_address};

#[test]
fn admin_configuration_is_shown_without_secrets() {
    let Some(broker) = served(
        1,
        &["session.queue_len_max=77", "auth.http.auth_req.url=http://u:s3cret@127.0.0.1:1/?key=s3cret"],
    ) else {
        return;
    };
    let reply = broker.http().get("/api/v1/config");
    assert!(!reply.text().contains("s3cret"), "{}", reply.text());
    let config = reply.json(200);
    assert!(config["file"].is_null());
    assert_eq!(config["items"]["session.queue_len_max"], 77);
    assert_eq!(config["items"]["listener[0].url"], format!("mqtt://{}", broker.address));
    assert!(config["items"]["auth.http.auth_req.url"].as_str().unwrap().contains("***"));
    assert!(config["toml"].as_str().unwrap().contains("queue_len_max = 77"));
}

#[test]
fn admin_configuration_is_reloaded_as_by_sighup() {
    if peer_is_mosquitto() {
        return;
    }
    let dir = temporary_dir();
    let file = dir.join("myriad.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("[session]\nqueue_len_max = 10\n");
    let address = unused_address();
    let mut command = command(&Options::shards(1), address, &dir).unwrap();
    command.arg("--config").arg(&file);
    let broker = Broker::spawn(&mut command, address, 1, dir.clone());
    let http = broker.http();
    let reload = || http.ask("POST", "/api/v1/config/reload", &[], b"");
    assert_eq!(reload().json(200), json!({ "changed": [], "needs_restart": [] }));
    write("[session]\nqueue_len_max = 20\n[node]\nname = 'other'\n");
    assert_eq!(
        reload().json(200),
        json!({ "changed": ["session.queue_len_max"], "needs_restart": ["node.name"] })
    );
    let config = http.json("/api/v1/config");
    assert_eq!(config["items"]["session.queue_len_max"], 20);
    assert_eq!(config["file"], file.to_str().unwrap());
    write("[session]\nqueue_len_max = 'many'\n");
    let said = reload().problem(400, "bad_request");
    assert!(said.contains("myriad.toml:2") && said.contains("old configuration stays"), "{said}");
    assert_eq!(http.json("/api/v1/config")["items"]["session.queue_len_max"], 20);
}

#[test]
fn admin_configuration_is_checked_without_effect() {
    let Some(broker) = served(1, &[]) else { return };
    let http = broker.http();
    let check = |text: &str| http.post("/api/v1/config/check", &json!({ "toml": text })).json(200);
    assert_eq!(check(""), json!({ "ok": true, "error": null, "warnings": [] }));
    let wrong = check("[session]\nqueue_len = 5\n");
    assert_eq!(wrong["ok"], false);
    let error = wrong["error"].as_str().unwrap();
    assert!(error.contains(":2") && error.contains("session.queue_len_max"), "{error}");
    let hardly_meant = check("[auth]\norder = ['file']\ntimeout_s = 300\nfile.path = 'x'\n");
    assert_eq!(hardly_meant["warnings"].as_array().unwrap().len(), 1, "{hardly_meant}");
}
