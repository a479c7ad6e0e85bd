//! Connected clients over the API.

use serde_json::json;

use super::list::{all, texts};
use super::{logged_in, served};
use crate::wire::{Connect, Property, Version, Will};

#[test]
fn admin_clients_are_listed_with_what_they_said() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let five = Connect::v5("five").keep_alive_s(60).with(Property::SessionExpiry(100));
        let mut five = broker.connect(five);
        five.subscribe("t", 1);
        let _old = broker.connect(Connect::v31("old"));
        let _three = broker.connect(Connect::v311("three").resume());
        let clients = all(&http, "/api/v1/clients");
        assert_eq!(texts(&clients, "client_id"), ["five", "old", "three"]);
        let of = |name: &str| clients.iter().find(|client| client["client_id"] == name).unwrap();
        let client = of("five");
        assert_eq!((&client["protocol"], &client["keep_alive_s"]), (&json!("5.0"), &json!(60)), "{client}");
        assert_eq!(
            (&client["session_expiry_s"], &client["subscriptions"]),
            (&json!(100), &json!(1)),
            "{client}"
        );
        assert_eq!((&client["listener"], &client["clean_start"]), (&json!(0), &json!(true)), "{client}");
        assert_eq!((&client["username"], &client["mountpoint"]), (&json!(null), &json!(null)), "{client}");
        assert!(client["address"].as_str().unwrap().starts_with("127."), "{client}");
        let since = client["connected_at"].as_str().unwrap();
        assert!(since.starts_with("20") && since.ends_with('Z') && since.len() == 24, "{client}");
        assert!(client["shard"].as_u64().unwrap() < u64::from(shards), "{client}");
        assert_eq!((&of("old")["protocol"], &of("three")["protocol"]), (&json!("3.1"), &json!("3.1.1")));
        assert_eq!((&of("three")["clean_start"], &of("old")["session_expiry_s"]), (&json!(false), &json!(0)));
        for (selection, expected) in [
            ("client_id=t*", vec!["three"]),
            ("client_id=?l?", vec!["old"]),
            ("client_id=fiv", vec![]),
            ("address=127.0.0.0/8", vec!["five", "old", "three"]),
            ("address=10.1.2.3", vec![]),
            ("listener=0&client_id=*e", vec!["five", "three"]),
            ("listener=1", vec![]),
            ("user=*", vec![]),
        ] {
            let found = all(&http, &format!("/api/v1/clients?{selection}"));
            assert_eq!(texts(&found, "client_id"), expected, "{selection}");
        }
    }
}

#[test]
fn admin_a_client_is_shown_with_all_it_has() {
    let Some(broker) = served(3, &[]) else { return };
    let http = broker.http();
    let will = Will::new("gone", "c").qos(1).retain();
    let mut client = broker.connect(Connect::v5("a/b ü").will(will));
    client.subscribe_all(&["t/#", "$share/g/u"], 2);
    let shown = http.json("/api/v1/clients/a%2Fb%20%C3%BC");
    assert_eq!((&shown["client_id"], &shown["outbound_bytes"]), (&json!("a/b ü"), &json!(0)), "{shown}");
    assert_eq!((&shown["paused"], &shown["inbound_qos2"]), (&json!(false), &json!(0)), "{shown}");
    let will = json!({ "topic": "gone", "qos": 1, "retain": true, "delay_s": 0 });
    assert_eq!(shown["will"], will, "{shown}");
    let list = shown["subscriptions_list"].as_array().unwrap();
    assert_eq!(texts(list, "filter"), ["$share/g/u", "t/#"]);
    let problem = http.get("/api/v1/clients/nobody").problem(404, "not_found");
    assert!(problem.contains("nobody"), "{problem}");
}

#[test]
fn admin_who_is_kicked_is_told_why_and_its_will_is_published() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut observer = broker.connect(Connect::v5("observer"));
        observer.subscribe("gone/+", 1);
        for (n, version) in Version::ALL.into_iter().enumerate() {
            let name = format!("c{n}");
            let will = Will::new(&format!("gone/{n}"), "so it is").qos(1);
            let mut client = broker.connect(Connect::new(version, &name).persistent().will(will));
            let path = format!("/api/v1/clients/{name}");
            assert_eq!(http.delete(&path).status, 204);
            client.expect_disconnect(0x98);
            observer.expect_message(&format!("gone/{n}"), "so it is");
            http.delete(&path).problem(404, "not_found");
            http.get(&path).problem(404, "not_found");
            assert_eq!(http.json(&format!("/api/v1/sessions/{name}"))["connected"], false);
            // It may come back.
            let (_client, connack) = broker.connect_with_ack(Connect::new(version, &name).resume());
            assert!(connack.session_present || version == Version::V31);
        }
    }
}

#[test]
fn admin_clients_of_a_tenant_are_named_with_their_mountpoint() {
    let Some(broker) = served(3, &["listener.mountpoint=tenants/%c/"]) else { return };
    let http = broker.http();
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t/#", 0);
    let clients = all(&http, "/api/v1/clients");
    assert_eq!((&clients[0]["client_id"], &clients[0]["mountpoint"]), (&json!("c"), &json!("tenants/c/")));
    http.get("/api/v1/clients/c").problem(404, "not_found");
    let path = "/api/v1/clients/c?mountpoint=tenants/c/";
    let shown = http.json(path);
    assert_eq!(shown["subscriptions_list"][0]["filter"], "t/#", "{shown}");
    let topics = all(&http, "/api/v1/topics");
    assert_eq!(texts(&topics, "filter"), ["tenants/c/t/#"]);
    let found = all(&http, "/api/v1/subscriptions?topic=tenants/c/t/%23");
    assert_eq!(texts(&found, "filter"), ["t/#"]);
    let subscriptions = "/api/v1/clients/c/subscriptions?mountpoint=tenants/c/";
    http.post(subscriptions, &json!({ "filter": "u" })).json(201);
    assert_eq!(all(&http, "/api/v1/topics").len(), 2);
    assert_eq!(http.delete(&format!("{subscriptions}&filter=u")).status, 204);
    assert_eq!(http.delete(path).status, 204);
    client.expect_disconnect(0x98);
}

#[test]
fn admin_clients_whose_names_are_dots_have_a_way_through_a_path() {
    let Some(broker) = served(2, &[]) else { return };
    let http = logged_in(&broker);
    for (client_id, named) in [
        (".", "~."),
        ("..", "~.."),
        ("~..", "~~.."),
        ("~~.", "~~~."),
        ("...", "..."),
        ("~", "~"),
        ("..", "%7E%2e."),
    ] {
        let mut client = broker.connect(Connect::v5(client_id).persistent());
        let path = format!("/api/v1/clients/{named}");
        assert_eq!(http.json(&path)["client_id"], client_id);
        http.post(&format!("{path}/subscriptions"), &json!({ "filter": "a/b", "qos": 1 })).json(201);
        let session = http.json(&format!("/api/v1/sessions/{named}"));
        assert_eq!((&session["client_id"], &session["subscriptions"]), (&client_id.into(), &1.into()));
        assert_eq!(http.delete(&format!("{path}/subscriptions?filter=a/b")).status, 204);
        http.post("/api/v1/bans", &json!({ "kind": "client", "name": client_id })).json(201);
        assert_eq!(http.delete(&format!("/api/v1/bans/client/{named}")).status, 204);
        assert_eq!(http.delete(&path).status, 204, "{client_id} is disconnected");
        client.expect_disconnect(0x98);
        assert_eq!(http.delete(&format!("/api/v1/sessions/{named}")).status, 204);
        http.get(&format!("/api/v1/sessions/{named}")).problem(404, "not_found");
    }
}
