//! Bans over the API: what the broker makes of them is in `limits`.

use serde_json::json;

use super::served;

#[test]
fn admin_bans_are_made_listed_and_lifted() {
    let Some(broker) = served(1, &[]) else { return };
    let http = broker.http();
    assert_eq!(http.json("/api/v1/bans"), json!({ "items": [] }));
    let made =
        http.post("/api/v1/bans", &json!({ "kind": "client", "name": "a/b ü", "seconds": 60 })).json(201);
    let expected = json!({ "kind": "client", "name": "a/b ü", "cause": "operator", "seconds_left": 60 });
    assert_eq!(made, expected);
    http.post("/api/v1/bans", &json!({ "kind": "address", "name": "10.0.0.1" })).json(201);
    let listed = http.json("/api/v1/bans");
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert!(listed["items"].as_array().unwrap().iter().any(|ban| ban["seconds_left"].is_null()), "{listed}");
    assert_eq!(http.delete("/api/v1/bans/client/a%2Fb%20%C3%BC").status, 204);
    http.delete("/api/v1/bans/client/a%2Fb%20%C3%BC").problem(404, "not_found");
}

#[test]
fn admin_what_is_no_ban_is_told_so() {
    let Some(broker) = served(1, &[]) else { return };
    let http = broker.http();
    for body in [
        json!({}),
        json!([]),
        json!({ "kind": "host", "name": "x" }),
        json!({ "kind": "address", "name": "x" }),
        json!({ "kind": "user", "name": "x", "seconds": -1 }),
        json!({ "kind": "user", "name": "x", "seconds": "1" }),
    ] {
        http.post("/api/v1/bans", &body).problem(400, "bad_request");
    }
    http.ask("POST", "/api/v1/bans", &[], b"{}").problem(415, "bad_request");
    let json_type = [("Content-Type", "application/json")];
    http.ask("POST", "/api/v1/bans", &json_type, b"{").problem(400, "bad_request");
    let large = vec![b' '; 2 * 1024 * 1024];
    http.ask("POST", "/api/v1/bans", &json_type, &large).problem(413, "too_large");
    assert_eq!(http.json("/api/v1/bans"), json!({ "items": [] }));
}
