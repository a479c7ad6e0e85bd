//! SIGHUP reads the files of authentication again; one that is broken leaves the old one in effect.

use super::{Files, SHARDS, cheap_line, login, start, wait_for_output};
use crate::wire::Version;

#[test]
fn a_reload_reads_the_files_again_and_drops_nobody() {
    for shards in SHARDS {
        let files = Files::new();
        let path = files.set("auth.file.path", "users", cheap_line("alice", "p1") + &cheap_line("bob", "p1"));
        let Some(broker) = start(shards, &["auth.order=file", &path]) else { return };
        let mut alice = broker.connect(login(Version::V50, "a", "alice", "p1"));
        let mut bob = broker.connect(login(Version::V311, "b", "bob", "p1"));
        files.write("users", cheap_line("alice", "p2"));
        broker.signal("HUP");
        wait_for_output(&broker, "configuration reloaded");
        alice.ping();
        bob.ping();
        broker.expect_refused(login(Version::V50, "a", "alice", "p1"), 0x86);
        broker.expect_refused(login(Version::V50, "b", "bob", "p1"), 0x86);
        alice.ping();
        let mut again = broker.connect(login(Version::V50, "a", "alice", "p2"));
        alice.expect_disconnect(0x8E);
        // What is broken changes nothing.
        files.write("users", cheap_line("alice", "p3") + "bob:hunter2\n");
        broker.signal("HUP");
        wait_for_output(&broker, "users line 2: expected a hash");
        broker.expect_refused(login(Version::V50, "a", "alice", "p3"), 0x86);
        again.ping();
        broker.connect(login(Version::V50, "c", "alice", "p2")).ping();
        assert!(!broker.output().contains("hunter2"));
    }
}
