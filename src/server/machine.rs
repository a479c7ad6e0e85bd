//! The machine, as the effects of a shard's broker see it: rings, mailboxes, timers, the journal, and those who are asked. No
//! decision is made here.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use shards::Io;

use super::application::{Application, Door, ServerMessage};
use super::hand_over;
use super::names::theirs;
use super::wrapped::WrappedConnections;
use crate::admin::TraceWriter;
use crate::auth::{Answer, Credentials, ExchangeStep, Moment, Step};
use crate::broker::{self, AclQuestion, Close, Effects, HookEvent, ShardMessage, Timer, TraceEvent};
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::metrics::Metrics;
use crate::session::ConnectionId;
use crate::storage::thread::StorageHandle;
use crate::webhook::Webhooks;

/// The machine, as the broker's effects see it.
pub(super) struct Machine<'a, 'b> {
    pub(super) io: &'a mut Io<'b, Application>,
    pub(super) wrapped: &'a mut WrappedConnections,
    pub(super) door: &'a Door,
    pub(super) metrics: &'a Metrics,
    pub(super) journal: Option<&'a StorageHandle>,
    pub(super) traces: &'a TraceWriter,
    pub(super) webhooks: &'a Webhooks,
    pub(super) epoch_ms: u64,
}

impl Machine<'_, '_> {
    fn moment(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment {
            at: Timestamp(self.epoch_ms + self.io.now_ms()),
            unix_s: since.map_or(0, |since| since.as_secs()),
        }
    }
}

impl Effects for Machine<'_, '_> {
    #[inline]
    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        let connection = theirs(connection);
        if self.wrapped.find(connection).is_some() {
            return self.wrapped.staged(connection, self.io);
        }
        self.io.output(connection)
    }

    fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes) {
        let connection = theirs(connection);
        if self.wrapped.find(connection).is_some() {
            // Layers change every byte or frame it: nothing is left to share.
            return self.wrapped.staged(connection, self.io).extend_from_slice(&bytes);
        }
        self.io.output_shared(connection, bytes);
    }

    #[inline]
    fn outbound_len(&mut self, connection: ConnectionId) -> usize {
        let connection = theirs(connection);
        self.io.outbound_len(connection) + self.wrapped.staged_len(connection)
    }

    fn want_drained(&mut self, connection: ConnectionId) {
        self.wrapped.flush_one(theirs(connection), self.io);
        // False where nothing is queued: the broker asks only when much is.
        let _ = self.io.want_drained(theirs(connection));
    }

    fn pause(&mut self, connection: ConnectionId) {
        if let Some(wrapped) = self.wrapped.find(theirs(connection)) {
            wrapped.is_paused = true;
        }
        self.io.pause(theirs(connection));
    }

    fn resume(&mut self, connection: ConnectionId) {
        if let Some(wrapped) = self.wrapped.find(theirs(connection)) {
            wrapped.is_paused = false;
            if wrapped.is_ended {
                self.wrapped.ended.push(theirs(connection));
            }
        }
        self.io.resume(theirs(connection));
    }

    fn close(&mut self, connection: ConnectionId, how: Close) {
        let connection = theirs(connection);
        let how = match how {
            Close::Flush => {
                self.wrapped.say_farewell(connection, self.io);
                shards::Close::Flush
            }
            Close::Abort => {
                self.wrapped.remove(connection);
                shards::Close::Abort
            }
        };
        self.io.close(connection, how);
    }

    fn hand_over(&mut self, connection: ConnectionId, to: ShardId, hand_over: broker::HandOver) {
        hand_over::send(self.wrapped, self.io, theirs(connection), shards::ShardId(to.0), hand_over);
    }

    fn reserve(&mut self, to: ShardId) -> bool {
        self.io.reserve(shards::ShardId(to.0))
    }

    fn unreserve(&mut self, to: ShardId) {
        self.io.unreserve(shards::ShardId(to.0));
    }

    fn send(&mut self, to: ShardId, message: ShardMessage) {
        self.io.send(shards::ShardId(to.0), ServerMessage::Broker(message));
    }

    fn send_control(&mut self, to: ShardId, message: ShardMessage) {
        self.io.send_control(shards::ShardId(to.0), ServerMessage::Broker(message));
    }

    fn release(&mut self, from: ShardId, n: u32) {
        self.io.release(shards::ShardId(from.0), n);
    }

    fn set_timer(&mut self, timer: Timer, at: Timestamp) {
        self.io.set_timer(timer.to_bits(), at.0.saturating_sub(self.epoch_ms));
    }

    fn store(&mut self, ticket: u64, frame: Vec<u8>, is_awaited: bool) {
        if let Some(journal) = self.journal {
            journal.store(self.io.shard().0, ticket, frame, is_awaited);
        }
    }

    fn imaged(&mut self, generation: u32) {
        if let Some(journal) = self.journal {
            journal.imaged(self.io.shard().0, u64::from(generation));
        }
    }

    fn fenced(&mut self, generation: u32) {
        if let Some(journal) = self.journal {
            journal.fenced(self.io.shard().0, u64::from(generation));
        }
    }

    fn authorize(&mut self, connection: ConnectionId, question: AclQuestion) -> bool {
        let to = (ShardId(self.io.shard().0), connection);
        self.door.asker.push(to, question)
    }

    fn give_memory_back(&mut self, all: bool) {
        shards::allocator::give_memory_back(all);
    }

    fn authenticate(&mut self, connection: ConnectionId, client: &Credentials<'_>) -> Answer {
        let to = (ShardId(self.io.shard().0), connection);
        self.door.gate.ask(client, self.moment(), to, &self.door.pool, self.metrics)
    }

    fn exchange(&mut self, client: &Credentials<'_>, step: ExchangeStep<'_>) -> Step {
        self.door.gate.exchange(client, step)
    }

    fn now_us(&mut self) -> u64 {
        self.io.now_us()
    }

    fn unix_ms(&mut self) -> Option<u64> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as u64)
    }

    fn hook(&mut self, event: HookEvent) -> bool {
        self.webhooks.push(&event)
    }

    fn trace(&mut self, event: TraceEvent) {
        if !self.traces.write(event) {
            self.metrics.trace_left_out.inc();
        }
    }

    fn stop_accepting(&mut self) {
        self.io.stop_accepting();
    }
}
