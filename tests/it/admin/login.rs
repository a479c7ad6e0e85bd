//! Who may: the first password, tokens, operators, guesses, pages of other origins; and that secrets stay secret.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::http::Http;
use super::{first_password, logged_in, served};
use crate::broker::{Options, wait_until};

#[test]
fn admin_first_start_makes_an_operator_and_tells_the_password_once() {
    let Some(mut broker) = served(1, &[]) else { return };
    let password = first_password(&broker);
    let file = broker.dir().join("admin.users");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("admin:$argon2id$") && !text.contains(&password), "{text}");
    assert!(broker.terminate().success());
    broker.restart(&Options::shards(1).set("admin.listen=127.0.0.1:0"));
    assert!(!broker.output().contains("admin password"), "{}", broker.output());
    let login = json!({ "username": "admin", "password": password });
    let login = broker.http_over_tcp().post("/api/v1/login", &login).json(200);
    assert_eq!(login["expires_s"], 43_200);
    assert!(login["token"].as_str().unwrap().len() >= 43, "{login}");
}

#[test]
fn admin_everything_but_health_wants_to_know_who_asks() {
    let Some(broker) = served(1, &[]) else { return };
    let nobody = broker.http_over_tcp();
    let api = nobody.json("/api/v1/openapi.json");
    let mut guarded = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_open =
                operation["security"].as_array().is_some_and(|all| all.iter().any(|one| one == &json!({})));
            if is_open {
                continue;
            }
            let path = path.replace(['{', '}'], "");
            let reply = nobody.ask(&method.to_uppercase(), &path, &[], b"");
            reply.problem(401, "unauthorized");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"myriad\""), "{method} {path}");
            guarded += 1;
        }
    }
    assert!(guarded > 15, "only {guarded}");
    let http = logged_in(&broker);
    assert_eq!(http.get("/api/v1/node").status, 200);
    assert_eq!(http.post("/api/v1/logout", &json!({})).status, 204);
    http.get("/api/v1/node").problem(401, "unauthorized");
    nobody.with_token("").get("/api/v1/node").problem(401, "unauthorized");
    nobody.with_token(&"x".repeat(43)).get("/api/v1/node").problem(401, "unauthorized");
}

#[test]
fn admin_basic_authentication_is_for_scripts() {
    let Some(broker) = served(1, &[]) else { return };
    let mut http = broker.http_over_tcp();
    let basic = |text: &str| Some(format!("Basic {}", STANDARD.encode(text)));
    let password = first_password(&broker);
    http.authorization = basic(&format!("admin:{password}"));
    for _ in 0..3 {
        assert_eq!(http.get("/api/v1/node").status, 200);
    }
    for wrong in ["admin:", "admin", "nobody:x", ":", ""] {
        http.authorization = basic(wrong);
        http.get("/api/v1/node").problem(401, "unauthorized");
    }
    http.authorization = Some("Digest x".into());
    http.get("/api/v1/node").problem(401, "unauthorized");
}

#[test]
fn admin_operators_come_and_go_and_the_last_one_stays() {
    let Some(broker) = served(1, &[]) else { return };
    let http = logged_in(&broker);
    let eve = json!({ "username": "eve", "password": "first secret" });
    assert_eq!(http.post("/api/v1/users", &eve).json(201), json!({ "username": "eve" }));
    assert_eq!(
        http.json("/api/v1/users"),
        json!({ "items": [{ "username": "admin" }, { "username": "eve" }] })
    );
    let token = http.post("/api/v1/login", &eve).json(200)["token"].as_str().unwrap().to_owned();
    let as_eve = http.with_token(&token);
    assert_eq!(as_eve.get("/api/v1/users").status, 200);
    // A new password ends the tokens of the old one.
    http.post("/api/v1/users", &json!({ "username": "eve", "password": "second secret" })).json(200);
    as_eve.get("/api/v1/users").problem(401, "unauthorized");
    http.post("/api/v1/login", &eve).problem(401, "unauthorized");
    assert_eq!(http.delete("/api/v1/users/eve").status, 204);
    http.delete("/api/v1/users/eve").problem(404, "not_found");
    let last = http.delete("/api/v1/users/admin").problem(409, "conflict");
    assert!(last.contains("only operator"), "{last}");
    for unfit in [json!({ "username": "a:b", "password": "x" }), json!({ "username": "a", "password": "" })] {
        http.post("/api/v1/users", &unfit).problem(400, "bad_request");
    }
    assert!(!broker.output().contains("secret"), "{}", broker.output());
}

#[test]
fn admin_the_file_of_operators_is_read_again_when_it_changes() {
    let Some(broker) = served(1, &[]) else { return };
    let http = logged_in(&broker);
    let file = broker.dir().join("admin.users");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("admin:", "root:")).unwrap();
    http.get("/api/v1/node").problem(401, "unauthorized");
    let login = json!({ "username": "root", "password": first_password(&broker) });
    http.post("/api/v1/login", &login).json(200);
    std::fs::write(&file, "root:xyzzy\n").unwrap();
    let said = http.post("/api/v1/login", &login).problem(503, "unavailable");
    assert!(said.contains("line 1") && !said.contains("xyzzy"), "{said}");
}

#[test]
fn admin_who_guesses_has_to_wait_and_tokens_go_on() {
    let Some(broker) = served(1, &[]) else { return };
    let http = logged_in(&broker);
    let wrong = json!({ "username": "admin", "password": "guess" });
    for _ in 0..5 {
        let said = http.post("/api/v1/login", &wrong).problem(401, "unauthorized");
        assert_eq!(said, "wrong user or password");
    }
    http.post("/api/v1/login", &wrong).problem(429, "unavailable");
    // One whose password was never right from here is not looked at either, whatever it is.
    http.post("/api/v1/login", &json!({ "username": "x", "password": "y" })).problem(429, "unavailable");
    assert_eq!(http.get("/api/v1/node").status, 200);
}

#[test]
fn admin_pages_of_other_origins_do_nothing_with_what_a_browser_sends_by_itself() {
    let Some(broker) = served(1, &[]) else { return };
    let basic = STANDARD.encode(format!("admin:{}", first_password(&broker)));
    let mut with_password = broker.http_over_tcp();
    with_password.authorization = Some(format!("Basic {basic}"));
    let body = br#"{"kind":"client","name":"c"}"#;
    let ask = |http: &Http, method: &str, origin: &str| {
        let headers = [("Content-Type", "application/json"), ("Origin", origin)];
        http.ask(method, "/api/v1/bans", &headers, if method == "POST" { body } else { b"" })
    };
    for http in [&with_password, &broker.http()] {
        for origin in ["http://evil.example", "null", "http://localhost.evil.example", "http://localhost:1"] {
            ask(http, "POST", origin).problem(403, "forbidden");
            ask(http, "GET", origin).problem(403, "forbidden");
        }
        assert_eq!(http.json("/api/v1/bans")["items"], json!([]));
        ask(http, "POST", "http://localhost").json(201);
        assert_eq!(http.delete("/api/v1/bans/client/c").status, 204);
    }
}

#[test]
fn admin_a_token_is_good_behind_a_proxy_that_changes_host() {
    let Some(broker) = served(1, &[]) else { return };
    let http = logged_in(&broker);
    // The browser speaks with https://broker.example, and nginx by default tells `Host: localhost`.
    let headers = [("Content-Type", "application/json"), ("Origin", "https://broker.example")];
    http.ask("POST", "/api/v1/bans", &headers, br#"{"kind":"client","name":"c"}"#).json(201);
}

#[test]
fn admin_what_operators_change_is_in_the_audit_log() {
    let Some(broker) = served(1, &["log.audit=true"]) else { return };
    let http = logged_in(&broker);
    http.post("/api/v1/bans", &json!({ "kind": "client", "name": "c" })).json(201);
    http.get("/api/v1/bans");
    broker.http().delete("/api/v1/bans/client/c");
    wait_until("both lines", || {
        let output = broker.output();
        let admin: Vec<_> = output.lines().filter(|line| line.contains(r#"event="admin""#)).collect();
        admin.len() == 2
            && admin[0].contains(r#"operator="admin""#)
            && admin[0].contains(r#"path="/api/v1/bans""#)
            && admin[0].contains("status=201")
            && admin[1].contains("control socket")
            && admin[1].contains("status=204")
    });
    let output = broker.output();
    assert!(output.contains(r#"event="admin_login""#), "{output}");
    let password = first_password(&broker);
    assert_eq!(output.matches(&password).count(), 1, "told once, at the start");
}
