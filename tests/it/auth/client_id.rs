//! emqttd's file of Client Identifiers.

use super::{Files, SHARDS, bad_credentials, cheap_line, login, not_authorized, start};
use crate::wire::{Connect, Version};

#[test]
fn listed_clients_come_in_from_where_they_may() {
    for shards in SHARDS {
        let files = Files::new();
        let list = "free\nhere 127.0.0.0/8\nelsewhere 10.0.0.0/8\n";
        let path = files.set("auth.client_id.path", "ids", list);
        let Some(broker) = start(shards, &["auth.order=client_id", &path]) else { return };
        for version in Version::ALL {
            broker.connect(Connect::new(version, "free")).ping();
            broker.connect(Connect::new(version, "here")).ping();
            broker.expect_refused(Connect::new(version, "elsewhere"), not_authorized(version));
            broker.expect_refused(Connect::new(version, "other"), not_authorized(version));
            broker.expect_refused(login(version, "other", "u", "p"), bad_credentials(version));
        }
    }
}

#[test]
fn where_a_password_is_required_too_the_list_is_a_condition_for_all_methods() {
    for shards in SHARDS {
        let files = Files::new();
        let ids = files.set("auth.client_id.path", "ids", "free\nelsewhere 10.0.0.0/8\n");
        let users = files.set("auth.file.path", "users", cheap_line("alice", "p1"));
        let required = "auth.client_id.password_required=true";
        // In whatever order they are named.
        let Some(broker) = start(shards, &["auth.order=[\"file\", \"client_id\"]", &ids, &users, required])
        else {
            return;
        };
        for version in Version::ALL {
            broker.connect(login(version, "free", "alice", "p1")).ping();
            broker.expect_refused(login(version, "free", "alice", "p2"), bad_credentials(version));
            broker.expect_refused(Connect::new(version, "free"), not_authorized(version));
            broker.expect_refused(login(version, "other", "alice", "p1"), not_authorized(version));
            broker.expect_refused(login(version, "elsewhere", "alice", "p1"), not_authorized(version));
        }
    }
}
