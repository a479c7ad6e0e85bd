//! The load on one shard: real clients, their connections and what they send. Led by commands, seen by its board.
//!
//! `handshake` brings clients in (and back, and away), `traffic` is what they send while they are held. Here is how
//! they are called: callbacks of the shard, packets, commands, the end of a turn. A client costs 16 bytes of table and
//! 4 for the way back from its connection; a message allocates nothing.

mod clients;
mod command;
mod handshake;
mod retained;
mod takeover;
mod traffic;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use shards::{Accepted, Application, Close, Closed, ConnectionId, Io, ShardId};

pub(crate) use self::clients::share;
use self::clients::{Clients, Role};
pub(crate) use self::command::{Board, Command, Figures, Flow, Kind, Part, Plan, Subscriptions, Totals};
use self::handshake::Handshakes;
use self::retained::Retain;
use self::takeover::Takeovers;
use self::traffic::Traffic;
use super::histogram::Latencies;
use crate::scanner::{self, Frame, Split};

/// How often timeouts, retries and the Keep Alive are looked after, milliseconds.
const TICK_MS: u64 = 100;
/// Ticks between two copies of the latencies for the live view.
const LIVE_TICKS: u64 = 10;
/// The only timer.
const TICK: u64 = 0;
/// More than any answer that a client of ours can get; a peer that promises more is not collected.
const PACKET_LEN_MAX: usize = 1 << 20;

/// One load shard.
#[derive(Debug)]
pub(crate) struct Load {
    plan: Arc<Plan>,
    board: Arc<Board>,
    replies: Sender<Box<Figures>>,
    shard: u16,
    shards: u16,
    clients: Clients,
    /// Starts of packets whose rest has not come, by index of the connection.
    partial: HashMap<u32, Vec<u8>>,
    handshakes: Handshakes,
    takeovers: Takeovers,
    traffic: Traffic,
    retain: Retain,
    figures: Figures,
    totals: Totals,
    /// Commands handled.
    handled: u64,
    ticks: u64,
    exiting: bool,
}

impl Load {
    /// Made on the shard's own thread.
    pub(crate) fn new(
        io: &mut Io<'_, Self>,
        plan: Arc<Plan>,
        board: Arc<Board>,
        replies: Sender<Box<Figures>>,
    ) -> Self {
        let (shard, shards) = (io.shard().0, io.shards());
        let len = share(plan.clients_max, shard, shards) as usize;
        io.set_timer(TICK, io.now_ms() + TICK_MS);
        Self {
            clients: Clients::new(len, io.connection_indices() as usize),
            partial: HashMap::new(),
            handshakes: Handshakes::default(),
            takeovers: Takeovers::default(),
            traffic: Traffic::new(shard, shards),
            retain: Retain::default(),
            figures: Figures::default(),
            totals: Totals::default(),
            handled: 0,
            ticks: 0,
            exiting: false,
            plan,
            board,
            replies,
            shard,
            shards,
        }
    }

    /// The number of a client of this shard among all.
    fn number(&self, local: u32) -> u32 {
        local * u32::from(self.shards) + u32::from(self.shard)
    }

    /// The second of the run, wrapping; enough for a Keep Alive.
    fn second(io: &Io<'_, Self>) -> u16 {
        (io.now_ms() / 1000) as u16
    }

    /// Counts a failure, for the stage and for the live view.
    fn failed(&mut self, reason: String) {
        self.totals.failures += 1;
        *self.figures.failures.entry(reason).or_default() += 1;
    }

    /// Handles the packets in `bytes`, with what was kept of the last one.
    fn packets(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, bytes: &[u8]) {
        if self.partial.is_empty() {
            return self.split(io, connection, bytes);
        }
        match self.partial.remove(&connection.index()) {
            None => self.split(io, connection, bytes),
            Some(mut kept) => {
                kept.extend_from_slice(bytes);
                self.split(io, connection, &kept);
            }
        }
    }

    fn split(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, bytes: &[u8]) {
        let mut tail = bytes;
        while !tail.is_empty() {
            match scanner::split(tail) {
                Split::Frame(frame, used) => {
                    let Some((local, role)) = self.clients.owner(connection) else { return };
                    self.frame(io, connection, local, role, &frame);
                    tail = tail.get(used..).unwrap_or_default();
                }
                Split::Incomplete(len) if len.unwrap_or(0) <= PACKET_LEN_MAX => {
                    self.partial.insert(connection.index(), tail.to_vec());
                    return;
                }
                Split::Incomplete(_) | Split::Malformed => {
                    self.failed("malformed packet from the broker".into());
                    io.close(connection, Close::Abort);
                    return;
                }
            }
        }
    }

    fn frame(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: ConnectionId,
        local: u32,
        role: Role,
        frame: &Frame<'_>,
    ) {
        match frame.kind() {
            scanner::PUBLISH => self.delivered(io, connection, frame),
            scanner::PINGRESP => self.pinged(io, local),
            scanner::PUBACK => self.acknowledged(io, local, frame),
            scanner::CONNACK => self.connack(io, connection, local, role, frame),
            scanner::SUBACK => self.suback(io, connection, local, frame),
            // The broker closes next, and that is counted; what it said is worth knowing only where that is a
            // failure: an old connection of a takeover is told so.
            scanner::DISCONNECT if role != Role::Old && !self.is_taken_over(local) => {
                self.failed(crate::wire::disconnect(self.plan.version, frame));
            }
            _ => {}
        }
    }

    fn command(&mut self, io: &mut Io<'_, Self>, command: Command) {
        match command {
            Command::Fill { clients, interval_us, leave } => self.fill(io, clients, interval_us, leave),
            Command::Churn { from, interval_us } => self.churn(io, from, interval_us),
            Command::StopChurn => self.handshakes.stop_churn(),
            Command::Retain { topics } => self.retain(io, topics),
            Command::SubscribeRetained { client, qos } => self.subscribe_retained(io, client, qos),
            Command::StopFill => self.handshakes.stop_fill(),
            Command::Stage(number) => self.stage(number),
            Command::Flow(flow) => self.flow(flow),
            Command::StopFlow => self.stop_flow(),
            Command::FanOut { client, group, sequence } => self.fan_out(io, client, group, sequence),
            Command::Storm(part) => self.handshakes.storm(part),
            Command::Takeover(part) => self.handshakes.take_over(part),
            Command::Leave => self.handshakes.leave(),
            Command::Collect => self.collect(),
            Command::Exit => {
                self.exiting = true;
                io.exit();
            }
        }
        self.handled += 1;
    }

    fn stage(&mut self, number: u16) {
        self.figures = Figures::default();
        let t = &mut self.totals;
        (t.sent, t.done, t.chosen, t.slowest_us) = (0, 0, 0, 0);
        if let Ok(mut live) = self.board.live.lock() {
            live.reset();
        }
        self.begin_stage(number);
    }

    fn collect(&mut self) {
        self.figures.unanswered = self.forget_pending();
        self.figures.sent = self.totals.sent;
        self.figures.done = self.totals.done;
        // The leader is gone only when the process ends.
        let _ = self.replies.send(Box::new(std::mem::take(&mut self.figures)));
    }

    fn tick(&mut self, io: &mut Io<'_, Self>) {
        self.ticks += 1;
        self.keep_alive(io);
        self.look_after_handshakes(io);
        if self.ticks.is_multiple_of(LIVE_TICKS)
            && let Ok(mut live) = self.board.live.try_lock()
        {
            live.copy_from(&self.figures.latency);
        }
        io.set_timer(TICK, io.now_ms() + TICK_MS);
    }

    fn show(&mut self) {
        self.totals.task_left = self.handshakes.task_left() + self.takeovers.len() as u64;
        self.totals.begun = u64::from(self.handshakes.begun());
        (self.totals.due, self.totals.pending) = (self.traffic.slots(), self.traffic.pending_len());
        self.board.show(&self.totals, self.handled);
    }
}

impl Application for Load {
    type Message = Command;
    type HandOver = ();

    fn connected(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, key: u64) {
        self.dialled(io, connection, key);
    }

    fn connect_failed(&mut self, io: &mut Io<'_, Self>, key: u64, error: io::Error) {
        self.not_dialled(io, key, &error);
    }

    fn received(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, bytes: &[u8]) {
        self.packets(io, connection, bytes);
    }

    fn closed(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, cause: Closed) {
        self.partial.remove(&connection.index());
        self.ended(io, connection, cause);
    }

    fn message(&mut self, io: &mut Io<'_, Self>, _from: Option<ShardId>, message: Command) {
        self.command(io, message);
    }

    fn timer(&mut self, io: &mut Io<'_, Self>, _key: u64) {
        if !self.exiting {
            self.tick(io);
        }
    }

    fn turn_end(&mut self, io: &mut Io<'_, Self>) -> bool {
        let mut more = false;
        if !self.exiting {
            more |= self.go_on(io);
            more |= self.send_due(io);
            self.wake(io);
        }
        self.show();
        more
    }

    // Nobody connects to a load shard, hands over to it, or lends it credit; its outputs are small.
    fn accepted(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, _accepted: Accepted) {
        io.close(connection, Close::Abort);
    }

    fn drained(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId) {}

    fn handed_over(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: ConnectionId,
        _accepted: Accepted,
        _hand_over: (),
    ) {
        io.close(connection, Close::Abort);
    }

    fn hand_over_failed(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId, _hand_over: ()) {}

    fn credits_available(&mut self, _io: &mut Io<'_, Self>) {}
}

/// The latencies of all shards for the live view, into `all`.
pub(crate) fn live(boards: &[Arc<Board>], all: &mut Latencies) {
    all.reset();
    for board in boards {
        if let Ok(live) = board.live.lock() {
            all.add(&live);
        }
    }
}
