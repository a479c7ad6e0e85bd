//! Lists in pages: every item once, and nothing but an error of the one who asks for a cursor that is none.

use std::collections::BTreeSet;

use serde_json::Value;

use super::http::Http;
use super::served;
use crate::wire::{Connect, Publish};

/// All pages of a list, `limit` items each.
pub fn pages(http: &Http, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    let join = if path.contains('?') { '&' } else { '?' };
    for _ in 0..10_000 {
        let page = http.json(&format!("{path}{join}limit={limit}{cursor}"));
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit, "{page}");
        items.extend(found.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
    panic!("{path} does not end");
}

/// All of a list.
pub fn all(http: &Http, path: &str) -> Vec<Value> {
    pages(http, path, 1000)
}

/// One field of each, in order.
pub fn texts(items: &[Value], field: &str) -> Vec<String> {
    let mut texts: Vec<_> = items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect();
    texts.sort_unstable();
    texts
}

#[test]
fn admin_every_item_is_on_one_page() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut clients = Vec::new();
        let mut names = BTreeSet::new();
        for n in 0..150 {
            let name = format!("c{n:03}");
            let mut client = broker.connect(Connect::v5(&name).persistent());
            client.subscribe_all(&[&format!("t/{n}"), "all/#", &format!("$share/g/s/{}", n % 10)], 1);
            client.publish(Publish::new(&format!("r/{n}"), "x").qos(1).retain());
            clients.push(client);
            names.insert(name);
        }
        for client in clients.drain(100..) {
            client.disconnect();
        }
        for limit in [1, 7, 100, 1000] {
            let sessions = pages(&http, "/api/v1/sessions", limit);
            assert_eq!(texts(&sessions, "client_id"), Vec::from_iter(names.clone()));
            let connected = pages(&http, "/api/v1/clients", limit);
            assert_eq!(texts(&connected, "client_id"), Vec::from_iter(names.iter().take(100).cloned()));
            let subscriptions = pages(&http, "/api/v1/subscriptions", limit);
            let of = |item: &Value| format!("{} {}", item["client_id"], item["filter"]);
            let different: BTreeSet<_> = subscriptions.iter().map(of).collect();
            assert_eq!((subscriptions.len(), different.len()), (450, 450));
            let topics = texts(&pages(&http, "/api/v1/topics", limit), "filter");
            let different: BTreeSet<_> = topics.iter().collect();
            assert_eq!((topics.len(), different.len()), (161, 161));
            let retained = texts(&pages(&http, "/api/v1/retained?match=r/%23", limit), "topic");
            let different: BTreeSet<_> = retained.iter().collect();
            assert_eq!((retained.len(), different.len()), (150, 150));
        }
    }
}

#[test]
fn admin_what_is_no_page_is_told_so() {
    let Some(broker) = served(3, &[]) else { return };
    let http = broker.http();
    let _clients: Vec<_> = (0..20).map(|n| broker.connect(Connect::v5(&format!("c{n}")))).collect();
    let next = http.json("/api/v1/sessions?limit=1")["next"].as_str().unwrap().to_owned();
    let lists = ["clients", "sessions", "subscriptions", "topics", "retained"];
    for list in lists {
        let path = format!("/api/v1/{list}");
        for wrong in ["limit=0", "limit=1001", "limit=-1", "limit=x", "cursor=", "cursor=x", "cursor=AQD_AA"]
        {
            let problem = http.get(&format!("{path}?{wrong}")).problem(400, "bad_request");
            assert!(problem.contains(wrong.split('=').next().unwrap()), "{problem}");
        }
        if list != "sessions" {
            http.get(&format!("{path}?cursor={next}")).problem(400, "bad_request");
        }
    }
    let long = "x".repeat(129);
    for wrong in [
        "clients?address=nowhere",
        "clients?address=127.0.0.1/33",
        "clients?listener=first",
        "sessions?connected=maybe",
        "sessions?kind=eternal",
        "topics?match=a/%23/b",
        "topics?match=",
        "retained?match=a%2B",
        "retained?match=$share/g/t",
        "retained/message",
        &format!("subscriptions?client_id={long}"),
    ] {
        http.get(&format!("/api/v1/{wrong}")).problem(400, "bad_request");
    }
}
