//! The mailbox phase of a turn: takes batches, handles messages within a budget, and lets nothing pass a
//! hand-over whose descriptor has not come yet.

use super::{MESSAGES_PER_TURN, Shard};
use crate::application::{Application, ShardId};
use crate::io::Io;
use crate::mailbox::Letter;

impl<A: Application> Shard<A> {
    /// Handles mail; `true` if some is left for the next turn.
    pub(super) fn take_mail(&mut self) -> bool {
        self.open_letters();
        let mut budget = MESSAGES_PER_TURN;
        let shards = self.core.post.inlets.len();
        // A different first each turn, so that the budget is shared fairly.
        let first = self.core.net.counts.turns as usize % shards;
        for from in (first..shards).chain(0..first) {
            if self.core.post.inlets[from].active {
                self.handle_inlet(from, &mut budget);
            }
        }
        self.handle_outside(&mut budget);
        let waits = |inlet: &crate::mailbox::Inlet<_, _>| inlet.active && inlet.waiting.is_none();
        self.core.outside_more || self.core.post.inlets.iter().any(waits)
    }

    /// Looks which senders have posted and takes their batches.
    fn open_letters(&mut self) {
        let words = self.core.post.door().bell.words();
        for word in 0..words {
            let mut bits = self.core.post.door().bell.take(word);
            while bits != 0 {
                let bit = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                self.posted(bit);
            }
        }
        // Batches that stayed in a full inlet are not announced again.
        for from in 0..self.core.post.inlets.len() {
            if self.core.post.inlets[from].active {
                self.posted(from);
            }
        }
    }

    fn posted(&mut self, bit: usize) {
        let outside = self.core.post.outside_bit();
        if bit < outside {
            let inlet = &mut self.core.post.inlets[bit];
            inlet.active = true;
            for urgent in inlet.take() {
                self.core.urgent(bit as u16, urgent);
            }
        } else if bit == outside {
            self.core.outside_more = true;
        } else {
            self.core.credit_back = true;
        }
    }

    fn handle_inlet(&mut self, from: usize, budget: &mut u32) {
        let sender = Some(ShardId(from as u16));
        if !self.marry(from) {
            return;
        }
        while *budget > 0 {
            let inlet = &mut self.core.post.inlets[from];
            if !inlet.open() {
                inlet.active = false;
                return;
            }
            *budget -= 1;
            self.core.net.counts.messages += 1;
            let message = match inlet.letters.pop_front() {
                Some(Letter::Message(message)) => message,
                Some(Letter::HandOver(parcel)) => {
                    inlet.waiting = Some(parcel);
                    if !self.marry(from) {
                        return;
                    }
                    continue;
                }
                None => continue,
            };
            self.application.message(&mut Io { core: &mut self.core }, sender, message);
        }
    }

    fn handle_outside(&mut self, budget: &mut u32) {
        while self.core.outside_more && *budget > 0 {
            *budget -= 1;
            match self.core.post.outside.try_recv() {
                Ok(message) => {
                    self.core.net.counts.messages += 1;
                    self.application.message(&mut Io { core: &mut self.core }, None, message);
                }
                Err(_) => self.core.outside_more = false,
            }
        }
    }
}
