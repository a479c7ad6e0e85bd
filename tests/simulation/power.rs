//! What a loss of power does to the world: all brokers are gone at once, every connection is reset; other brokers begin.

use myriad::broker::{Broker, Input, RestoredShard};

use std::collections::VecDeque;
use std::sync::Arc;

use crate::effects::ShardState;
use crate::link::Link;
use crate::socket::{Ended, Place};
use crate::trace::Check;
use crate::world::World;

impl World {
    /// Everything but the clients stops. What a client has not read may have arrived, in part or not at all.
    pub fn crash(&mut self) {
        let stamp = self.stamp();
        self.trace.note(|| "CRASH".to_owned());
        for id in std::mem::take(&mut self.live) {
            let socket = &mut self.sockets[id];
            let len = socket.arrived.len();
            let kept = if self.random.percent(50) { len } else { self.random.within(0, len as u64) as usize };
            socket.arrived.truncate(kept);
            socket.waiting.clear();
            socket.up.clear();
            socket.output_lost = true;
            socket.broker_finished = true;
            socket.drained_owed = false;
            socket.place = Place::Gone;
            let ended = Ended { at: self.now, stamp, by_broker: true, all_fed: false, config: socket.config };
            socket.ended.get_or_insert(ended);
        }
        (self.nodes, self.states, self.links) = (Vec::new(), Vec::new(), Vec::new());
        self.journal = self.journal.take().map(|_| VecDeque::new());
    }

    /// Other brokers begin with what was restored, each with its own part.
    pub fn restart(&mut self, nodes: Vec<Broker>, credits: u32, parts: Vec<RestoredShard>) -> Check {
        let shards = nodes.len();
        self.trace.note(|| format!("{shards} shards start"));
        self.nodes = nodes;
        self.states = (0..shards).map(|_| ShardState { accepting: true, ..ShardState::default() }).collect();
        self.links = (0..shards).map(|_| (0..shards).map(|_| Link::new(credits)).collect()).collect();
        for (at, part) in parts.into_iter().enumerate() {
            let policy = Arc::clone(&self.policy);
            self.input(at, Input::Policy(policy))?;
            self.perform(at, |node, now, port| {
                node.start(now, port);
                node.restore(now, part, port);
            })?;
        }
        Ok(())
    }
}
