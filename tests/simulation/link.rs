//! The mailbox from one shard to another: first in first out, late at random, few credits.
//! Also the account of the credits: none is spent twice, none is lost.

use std::collections::VecDeque;

use myriad::broker::{HandOver, ShardMessage};

use crate::socket::SocketId;

/// What travels between two shards.
pub enum Mail {
    Message(ShardMessage),
    HandOver { socket: SocketId, hand_over: HandOver },
}

/// From one shard to another.
pub struct Link {
    pub queue: VecDeque<Mail>,
    pub ready_at: u64,
    /// Credits that the sender may take.
    pub credits: u32,
    /// Taken by `reserve`, not yet used.
    pub reserved: u32,
    /// Used by `send`, not yet released.
    pub on_loan: u32,
    /// On their way back: when, how many.
    pub returning: VecDeque<(u64, u32)>,
    /// The sender was refused and waits to hear.
    pub starved: bool,
    pub limit: u32,
}

impl Link {
    pub fn new(limit: u32) -> Self {
        Self {
            queue: VecDeque::new(),
            ready_at: 0,
            credits: limit,
            reserved: 0,
            on_loan: 0,
            returning: VecDeque::new(),
            starved: false,
            limit,
        }
    }

    /// Takes back the credits that have arrived.
    pub fn collect(&mut self, now: u64) {
        while let Some(&(at, n)) = self.returning.front() {
            if at > now {
                break;
            }
            self.returning.pop_front();
            self.credits += n;
        }
    }

    /// All credits are at home.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty()
            && self.reserved == 0
            && self.on_loan == 0
            && self.credits + self.returning.iter().map(|r| r.1).sum::<u32>() == self.limit
    }

    /// The next moment at which something happens by itself.
    pub fn next_at(&self, now: u64) -> Option<u64> {
        let mail = (!self.queue.is_empty()).then_some(self.ready_at);
        let credit = self.returning.front().map(|r| r.0);
        [mail, credit].into_iter().flatten().filter(|&at| at > now).min()
    }
}
