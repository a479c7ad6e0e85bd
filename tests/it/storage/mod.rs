//! What outlasts the process: sessions, queues, Retained Messages, over SIGKILL, over another number of shards, over damage and
//! a disk that fails. `crash` has the long test with traffic; the others show one thing each.

mod backup;
mod backup_traffic;
mod crash;
mod damage;
mod expiry;
mod failing;
mod formats;
mod inflight;
pub mod injection;
mod modes;
mod qos2;
mod queue;
mod retained;
mod sessions;
mod slow;
mod wills;

use std::ops::Deref;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, Options, peer_is_mosquitto};
use crate::client::Client;
use crate::wire::{Connack, Connect};

/// A broker that is killed and comes back with another number of shards each time.
struct Durable {
    broker: Broker,
    options: Options,
    starts: usize,
}

impl Durable {
    /// Starts one with these settings; `None`: the peer in use has no such setting.
    fn start(settings: &[&str]) -> Option<Self> {
        let options = Options::durable(crash::SHARDS[0]).set("sys.interval_s=0");
        let options = settings.iter().fold(options, |options, setting| options.set(setting));
        Some(Self { broker: Broker::start(&options)?, options, starts: 0 })
    }

    /// How the next start is.
    fn next(&mut self) -> Options {
        self.starts += 1;
        self.options.with_shards(crash::SHARDS[self.starts % crash::SHARDS.len()])
    }

    /// SIGKILL, and a new start.
    fn crash(&mut self) {
        self.crash_for(Duration::ZERO);
    }

    /// SIGKILL, and a new start after some time.
    fn crash_for(&mut self, down: Duration) {
        self.broker.kill();
        thread::sleep(down);
        let options = self.next();
        self.broker.restart(&options);
    }

    /// SIGTERM, and a new start.
    fn stop_and_start(&mut self) {
        assert_eq!(self.broker.terminate().code(), Some(0), "{}", self.broker.output());
        let options = self.next();
        self.broker.restart(&options);
    }

    /// Connects to a session that has to be there.
    fn resume(&self, connect: Connect) -> Client {
        let (client, connack) = self.broker.connect_with_ack(connect);
        assert!(connack.session_present, "the session is gone: {connack:?}");
        client
    }

    /// Connects, and there may be no session.
    fn resume_nothing(&self, connect: Connect) -> Client {
        let (client, Connack { session_present, .. }) = self.broker.connect_with_ack(connect);
        assert!(!session_present, "there is a session");
        client
    }

    /// Where the journal is.
    fn journal(&self) -> PathBuf {
        self.broker.dir().join("journal")
    }
}

impl Deref for Durable {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

/// All that the client's session came to is on disk: a SUBACK of the same session leaves after it.
fn settle(client: &mut Client) {
    client.subscribe("settled", 0);
}

/// Whether Mosquitto takes our place, which has no journal.
fn has_no_journal() -> bool {
    if peer_is_mosquitto() {
        println!("skipped: the journal is ours");
    }
    peer_is_mosquitto()
}
