//! A delayed message over a crash: it is in the journal together with what shows that its publisher has been heard, whatever else
//! that publisher waits for.

use myriad::config::Config;
use myriad::storage::Restored;

use super::{Stage, publish};
use crate::directed;
use crate::wire::FromServer;

/// The Packet Identifier of the delayed message.
const DELAYED: u16 = 2;

/// A message for a durable session of a slow shard, with QoS 1, and behind it one that is delayed, with QoS 2; the slow shard has
/// not answered yet. The number of the first frame that is written of them.
fn two_messages() -> (Stage, usize) {
    let mut stage = Stage::new(&Config::default(), 2);
    let (publisher, slow) = (stage.name(0), stage.name(1));
    let slow = stage.connect(&slow, u32::MAX, None);
    stage.sync();
    stage.subscribe(slow, "slow");
    stage.subscribe(slow, "late");
    let publisher = stage.connect(&publisher, u32::MAX, None);
    stage.sync();
    let from = stage.written.len();
    stage.world.write(publisher, &publish("slow", (1, 1), false, 3));
    stage.world.write(publisher, &publish("$delayed/5/late", (2, DELAYED), false, 3));
    // The first one is with the slow shard, which does nothing yet.
    directed::work(&mut stage.world, 0);
    directed::work(&mut stage.world, 0);
    stage.written.extend(stage.world.journal.iter_mut().flat_map(|waiting| waiting.drain(..)));
    (stage, from)
}

/// Everyone goes on until nothing more comes.
fn rest(stage: &mut Stage) {
    for _ in 0..10 {
        stage.world.now += 10;
        stage.run();
    }
}

fn is_delayed(restored: &Restored) -> bool {
    !restored.delayed.is_empty()
}

/// Whether the reader knows that the publisher has been heard.
fn is_heard(restored: &Restored) -> bool {
    restored.sessions.iter().any(|session| session.inbound.contains(&DELAYED))
}

fn late(packets: &[FromServer]) -> usize {
    let is_it =
        |packet: &&FromServer| matches!(packet, FromServer::Publish(publish) if publish.topic == "late");
    packets.iter().filter(is_it).count()
}

/// The publisher's client comes back, repeats what was not acknowledged, and the time comes: how often the delayed message does.
fn comes_after(stage: &mut Stage, config: &Config, restored: Restored) -> usize {
    let (publisher, slow) = (stage.name(0), stage.name(1));
    stage.restart(config, 3, restored);
    stage.sync();
    let slow = stage.connect(&slow, u32::MAX, None);
    let publisher = stage.connect(&publisher, u32::MAX, None);
    stage.sync();
    stage.publish(publisher, "slow", (1, 1), false, 3);
    stage.publish(publisher, "$delayed/5/late", (2, DELAYED), false, 3);
    stage.sync();
    for _ in 0..10 {
        stage.world.now += 1_000;
        stage.sync();
    }
    late(&stage.read(slow))
}

/// The QoS 2 identifier is behind the older message's `Commit` in the journal; so has the delayed message to be.
#[test]
fn mqtt_4_3_3_a_delayed_message_is_published_once_wherever_the_crash_is() {
    let config = Config::default();
    let (mut stage, from) = two_messages();
    rest(&mut stage);
    let last = stage.written.len();
    assert!(is_delayed(&stage.read_up_to(last)), "the delayed message was never written");
    let mut befores = 0;
    for at in from.saturating_sub(1)..last {
        let (mut stage, _) = two_messages();
        rest(&mut stage);
        let restored = stage.read_up_to(at);
        assert_eq!(is_delayed(&restored), is_heard(&restored), "a crash behind frame {at} of {last}");
        befores += usize::from(!is_delayed(&restored));
        assert_eq!(comes_after(&mut stage, &config, restored), 1, "a crash behind frame {at} of {last}");
    }
    assert!(befores > 0, "no crash was before it");
}
