//! Topic Filters in use over the API.

use serde_json::json;

use super::list::{all, texts};
use super::served;
use crate::wire::Connect;

#[test]
fn admin_a_filter_is_listed_once_whatever_shards_use_it() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut clients: Vec<_> = (0..30).map(|n| broker.connect(Connect::v5(&format!("c{n:02}")))).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.subscribe_all(&["all/#", "$share/g/all/#", "$share/h/jobs"], 1);
            client.subscribe(&format!("own/{n}"), 0);
        }
        let topics = all(&http, "/api/v1/topics?match=all/%23");
        assert_eq!(texts(&topics, "filter"), ["all/#"]);
        assert_eq!((&topics[0]["subscribers"], topics.len()), (&json!(60), 1), "{topics:?}");
        // Thirty clients are at home on every shard.
        let mut used: Vec<_> =
            topics[0]["shards"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        used.sort_unstable();
        assert_eq!(used, (0..u64::from(shards)).collect::<Vec<_>>());
        assert_eq!(all(&http, "/api/v1/topics").len(), 32);
        assert_eq!(all(&http, "/api/v1/topics?match=own/%2B").len(), 30);
        assert_eq!(texts(&all(&http, "/api/v1/topics?match=own/7"), "filter"), ["own/7"]);
        assert_eq!(texts(&all(&http, "/api/v1/topics?match=jobs"), "filter"), ["jobs"]);
    }
}

#[test]
fn admin_a_filter_names_its_subscribers() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut clients: Vec<_> = (0..8).map(|n| broker.connect(Connect::v5(&format!("c{n}")))).collect();
        for client in &mut clients[..4] {
            client.subscribe("a/ü/+", 1);
        }
        for client in &mut clients[2..6] {
            client.subscribe("$share/g/a/ü/+", 1);
        }
        clients[7].subscribe("$share/h/a/ü/+", 1);
        let names = |path: &str| {
            let shown = http.json(&format!("/api/v1/topics/{path}"));
            let mut names: Vec<_> = shown["subscribers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_str().unwrap().to_owned())
                .collect();
            names.sort_unstable();
            assert_eq!(shown["count"], names.len(), "{shown}");
            names
        };
        assert_eq!(names("a%2F%C3%BC%2F%2B"), ["c0", "c1", "c2", "c2", "c3", "c3", "c4", "c5", "c7"]);
        assert_eq!(names("$share%2Fg%2Fa%2F%C3%BC%2F%2B"), ["c2", "c3", "c4", "c5"]);
        assert_eq!(names("$share%2Fh%2Fa%2F%C3%BC%2F%2B"), ["c7"]);
        http.get("/api/v1/topics/$share%2Fi%2Fa%2F%C3%BC%2F%2B").problem(404, "not_found");
        let problem = http.get("/api/v1/topics/nothing").problem(404, "not_found");
        assert!(problem.contains("nothing"), "{problem}");
    }
}
