//! The HTTP API and what is served beside it, over the control socket and over TCP.

mod acl;
mod bans;
mod clients;
mod configuration;
mod health;
pub mod http;
mod limits;
mod list;
mod listeners;
mod login;
mod metrics;
mod node;
mod publish;
mod relay;
mod retained;
mod schema;
mod sessions;
mod subscriptions;
mod topics;

use serde_json::json;

use crate::broker::{Broker, Options, peer_is_mosquitto};
use http::Http;

/// A broker with a port for HTTP. `None`: the peer in use has no HTTP.
fn served(shards: u16, settings: &[&str]) -> Option<Broker> {
    if peer_is_mosquitto() {
        println!("skipped: Mosquitto has no HTTP");
        return None;
    }
    let options = Options::shards(shards).set("admin.listen=127.0.0.1:0");
    Broker::start(&settings.iter().fold(options, |options, setting| options.set(setting)))
}

/// The password that the first start told.
fn first_password(broker: &Broker) -> String {
    let output = broker.output();
    let line = output.lines().find_map(|line| line.strip_prefix("admin password: "));
    line.and_then(|line| line.split(' ').next())
        .unwrap_or_else(|| panic!("no password:\n{output}"))
        .to_owned()
}

/// Requests over the port, with a token.
fn logged_in(broker: &Broker) -> Http {
    let http = broker.http_over_tcp();
    let login = json!({ "username": "admin", "password": first_password(broker) });
    let login = http.post("/api/v1/login", &login).json(200);
    http.with_token(login["token"].as_str().unwrap())
}
