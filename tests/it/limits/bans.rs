//! Bans: of those who connect again and again, and by the operator.

use std::time::Duration;

use super::{limited, wait_until};
use crate::numbers::wait_for;
use crate::wire::{Connect, Packet, Version};

#[test]
fn a_client_identifier_that_connects_again_and_again_is_banned_for_a_while() {
    for shards in [1, 4] {
        let broker = limited(shards, &["limits.ban_connects=6", "limits.ban_s=2"]);
        for _ in 0..5 {
            broker.connect(Connect::v5("flap")).disconnect();
        }
        broker.expect_refused(Connect::v5("flap"), 0x8A);
        broker.expect_refused(Connect::v311("flap"), 5);
        let mut other = broker.connect(Connect::v5("steady"));
        other.ping();
        wait_for(&broker, "metrics/bans/refused", |refused| refused == 1);
        wait_until("the end of the ban", || {
            std::thread::sleep(Duration::from_millis(100));
            let mut client = broker.open(Version::V50);
            client.send(Connect::v5("flap"));
            matches!(client.try_recv(), Some(Packet::Connack(connack)) if connack.reason == 0)
        });
        other.ping();
    }
}
