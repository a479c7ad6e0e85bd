//! The machine around the brokers: shards that take turns in any order, sockets, mailboxes and timers, one clock.
//! It knows no MQTT. Everything that may happen next is a candidate; the seed chooses.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use myriad::acl::Policy;
use myriad::broker::{Broker, Close, Input, Origin, Timer};
use myriad::clock::Timestamp;
use myriad::limits::{Level, Pressure};
use myriad::session::ConnectionId;

use crate::defect::Saboteur;
use crate::effects::{Delays, Notice, Order, Port, ShardState, Written};
use crate::link::Link;
use crate::random::Random;
use crate::socket::{ClientEnd, Ended, Place, Socket, SocketId};
use crate::trace::{Check, Trace, Violation, broken, ensure};

/// Time that a closed connection may take to flush.
const FLUSH_MS: u64 = 2_000;

/// How rough the world is; the end of a run is calm.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub delays: Delays,
    /// Hand-overs that the target refuses, in percent.
    pub hand_over_fails: u64,
    pub inputs_max: u64,
}

/// Everything but clients.
pub struct World {
    pub nodes: Vec<Broker>,
    pub states: Vec<ShardState>,
    /// `links[from][to]`.
    pub links: Vec<Vec<Link>>,
    pub sockets: Vec<Socket>,
    /// Those of them that are not gone yet.
    pub(super) live: Vec<SocketId>,
    pub now: u64,
    pub step: u64,
    pub weather: Weather,
    /// Clients have to authenticate.
    pub authenticates: bool,
    /// How short memory is, as all shards see it.
    pub pressure: Arc<Pressure>,
    /// The rules of the ACL.
    pub policy: Arc<Policy>,
    pub random: Random,
    pub trace: Trace,
    pub saboteur: Saboteur,
    /// What waits for the journal's writer, where there is one.
    pub journal: Option<VecDeque<Written>>,
    /// Sockets whose broker's end is over since last asked.
    pub ended: Vec<SocketId>,
    /// What else the model has to hear.
    pub news: Vec<News>,
}

/// What the model can't see from a client's end.
#[derive(Debug, Clone, Copy)]
pub enum News {
    /// The broker has been given a client's bytes up to this offset.
    Fed(SocketId, u64),
    /// And has handled them: it does not wait for anything before it goes on.
    Handled(SocketId, u64),
    /// A shard has a new configuration: which shard, which configuration.
    Reloaded(usize, usize),
}

/// What may happen to a shard now.
#[derive(Debug, Clone, Copy)]
enum Candidate {
    Accept(SocketId),
    Receive(SocketId),
    Closed(SocketId),
    Drained(SocketId),
    Mail(usize),
    Credits,
    Timer(u64, Timer),
    HandOverFailed(usize),
    Verdict(usize),
    Stored,
    Notice,
    Order,
}

/// Where a socket comes from: an address of its own.
fn origin(socket: SocketId, over_capacity: bool) -> Origin {
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1024 + (socket % 60_000) as u16));
    Origin { listener: 0, remote, over_capacity }
}

impl World {
    pub fn new(nodes: Vec<Broker>, credits: u32, weather: Weather, random: Random, trace: Trace) -> Self {
        let shards = nodes.len();
        let states = (0..shards).map(|_| ShardState { accepting: true, ..ShardState::default() }).collect();
        let links = (0..shards).map(|_| (0..shards).map(|_| Link::new(credits)).collect()).collect();
        Self {
            nodes,
            states,
            links,
            sockets: Vec::new(),
            live: Vec::new(),
            now: 0,
            step: 0,
            weather,
            authenticates: false,
            pressure: Arc::default(),
            policy: Arc::default(),
            random,
            trace,
            saboteur: Saboteur::new(None, 0),
            journal: None,
            ended: Vec::new(),
            news: Vec::new(),
        }
    }

    /// A client connects; some shard will accept it.
    pub fn connect(&mut self, client: usize) -> SocketId {
        let shard = self.random.below(self.nodes.len());
        let room = self.random.pick(&[64, 500, 4_000, 60_000]);
        self.sockets.push(Socket::new(client, shard, self.now, room));
        self.live.push(self.sockets.len() - 1);
        self.sockets.len() - 1
    }

    /// A client writes.
    pub fn write(&mut self, socket: SocketId, bytes: &[u8]) {
        let delay = Delays::some(&mut self.random, self.weather.delays.wire_max);
        let now = self.now;
        let socket = &mut self.sockets[socket];
        if socket.up.is_empty() {
            socket.up_ready_at = now + delay;
        }
        socket.up.extend(bytes);
        socket.sent += bytes.len() as u64;
    }

    /// A client reads some of what has arrived.
    pub fn read(&mut self, socket: SocketId, all: bool) -> Vec<u8> {
        let len = self.sockets[socket].arrived.len();
        let n = if all || len == 0 { len } else { self.random.within(1, len as u64) as usize };
        let socket = &mut self.sockets[socket];
        let bytes = socket.arrived.drain(..n).collect();
        if socket.flow() {
            socket.drained_owed = true;
        }
        bytes
    }

    /// A client ends its side.
    pub fn cut(&mut self, socket: SocketId, how: ClientEnd) {
        let delay = Delays::some(&mut self.random, self.weather.delays.wire_max);
        let lost = match how {
            ClientEnd::Finished | ClientEnd::Open => 0,
            ClientEnd::Reset | ClientEnd::Silent => {
                let len = self.sockets[socket].up.len() as u64;
                self.random.within(0, len) as usize
            }
        };
        self.trace.note(|| format!("socket {socket} is cut: {how:?}, {lost} bytes lost"));
        let now = self.now;
        let end = &mut self.sockets[socket];
        let keep = end.up.len() - lost;
        end.up.truncate(keep);
        end.client_end = how;
        end.closed_ready_at = now + delay;
        if end.flow() {
            end.drained_owed = true;
        }
    }

    /// Whether shard `at` has anything to do at once.
    pub fn is_runnable(&self, at: usize) -> bool {
        self.nodes[at].has_work() || !self.candidates(at).is_empty()
    }

    fn candidates(&self, at: usize) -> Vec<Candidate> {
        let mut found = Vec::new();
        let state = &self.states[at];
        for &id in &self.live {
            self.socket_candidates(at, id, &self.sockets[id], &mut found);
        }
        for from in 0..self.nodes.len() {
            let link = &self.links[from][at];
            if !link.queue.is_empty() && link.ready_at <= self.now {
                found.push(Candidate::Mail(from));
            }
        }
        let refilled = |link: &Link| {
            link.starved && (link.credits > 0 || link.returning.front().is_some_and(|r| r.0 <= self.now))
        };
        if self.links[at].iter().any(refilled) {
            found.push(Candidate::Credits);
        }
        let due = state.timers.iter().take_while(|t| t.0 <= self.now);
        found.extend(due.map(|&(when, timer)| Candidate::Timer(when, timer)));
        // A CONNACK that waits for the disk tells of the configuration of its CONNECT, which the model knows by its sending.
        let may_reload = |order: &Order| !matches!(order, Order::Reload(..)) || state.stored.is_empty();
        if state.orders.front().is_some_and(|order| order.0 <= self.now && may_reload(&order.1)) {
            found.push(Candidate::Order);
        }
        if state.stored.front().is_some_and(|stored| stored.0 <= self.now) {
            found.push(Candidate::Stored);
        }
        if state.notices.front().is_some_and(|notice| notice.0 <= self.now) {
            found.push(Candidate::Notice);
        }
        let failed = state.failed.iter().enumerate().filter(|(_, f)| f.0 <= self.now);
        found.extend(failed.map(|(index, _)| Candidate::HandOverFailed(index)));
        let verdicts = state.verdicts.iter().enumerate().filter(|(_, v)| v.0 <= self.now);
        found.extend(verdicts.map(|(index, _)| Candidate::Verdict(index)));
        found
    }

    fn socket_candidates(&self, at: usize, id: SocketId, socket: &Socket, found: &mut Vec<Candidate>) {
        match socket.place {
            Place::Backlog(shard) if shard == at && self.states[at].accepting => {
                found.push(Candidate::Accept(id))
            }
            Place::At(shard, _) if shard == at => {
                let over = matches!(socket.client_end, ClientEnd::Finished | ClientEnd::Reset)
                    && socket.closed_ready_at <= self.now;
                if !socket.up.is_empty() && !socket.paused && socket.up_ready_at <= self.now {
                    found.push(Candidate::Receive(id));
                }
                // A reset is seen at any time, also by who doesn't read; an orderly end behind the bytes.
                if over && (socket.up.is_empty() && !socket.paused || socket.client_end == ClientEnd::Reset) {
                    found.push(Candidate::Closed(id));
                }
                if socket.drained_owed {
                    found.push(Candidate::Drained(id));
                }
            }
            Place::Flushing(shard, _)
                if shard == at && (socket.waiting.is_empty() || socket.flush_until <= self.now) =>
            {
                found.push(Candidate::Closed(id));
            }
            _ => {}
        }
    }

    /// The next moment at which something happens without anyone's doing.
    pub fn next_at(&self) -> Option<u64> {
        let links = self.links.iter().flatten().filter_map(|link| link.next_at(self.now));
        let timers = self.states.iter().filter_map(|s| s.timers.first().map(|t| t.0));
        let failed = self.states.iter().flat_map(|s| s.failed.iter().map(|f| f.0));
        let orders = self.states.iter().filter_map(|s| s.orders.front().map(|o| o.0));
        let verdicts = self.states.iter().flat_map(|s| s.verdicts.iter().map(|v| v.0));
        let sockets = self.live.iter().map(|&id| &self.sockets[id]).filter_map(|s| match s.place {
            Place::At(..) if !s.up.is_empty() && !s.paused => Some(s.up_ready_at),
            Place::At(..) if matches!(s.client_end, ClientEnd::Finished | ClientEnd::Reset) => {
                Some(s.closed_ready_at)
            }
            Place::Flushing(..) => Some(s.flush_until),
            _ => None,
        });
        let stored = self.states.iter().filter_map(|s| s.stored.front().map(|t| t.0));
        let notices = self.states.iter().filter_map(|s| s.notices.front().map(|n| n.0));
        let orders = orders.chain(verdicts).chain(stored).chain(notices);
        links.chain(timers).chain(failed).chain(orders).chain(sockets).filter(|&at| at > self.now).min()
    }

    /// Credits that are back are back.
    pub fn collect_credits(&mut self) {
        let now = self.now;
        self.links.iter_mut().flatten().for_each(|link| link.collect(now));
    }

    /// One turn of shard `at`: a few inputs in any order, then the end of the turn.
    pub fn turn(&mut self, at: usize) -> Check {
        let inputs = self.random.within(1, self.weather.inputs_max);
        for input in 0..inputs {
            let mut candidates = self.candidates(at);
            // A reload comes first: see `may_reload`.
            candidates.retain(|candidate| input == 0 || !matches!(candidate, Candidate::Order));
            if candidates.is_empty() {
                break;
            }
            let chosen = candidates[self.random.below(candidates.len())];
            self.feed(at, chosen)?;
        }
        self.input(at, Input::TurnEnd)?;
        self.submit(at);
        let Self { live, sockets, .. } = self;
        live.retain(|&id| sockets[id].place != Place::Gone);
        Ok(())
    }

    /// All output of the turn goes to the sockets.
    pub(super) fn submit(&mut self, at: usize) {
        let output = std::mem::take(&mut self.states[at].output);
        for (name, bytes) in output {
            if let Some(&id) = self.states[at].names.get(&name) {
                self.append(id, bytes);
            }
        }
    }

    fn append(&mut self, id: SocketId, bytes: Vec<u8>) {
        let now = self.now;
        let socket = &mut self.sockets[id];
        socket.written.append(bytes.len(), now);
        // What leaves at once is no news to the broker: `Drained` is owed only for what had to wait, or if asked for.
        let is_news = !socket.waiting.is_empty() || std::mem::take(&mut socket.drained_wanted);
        socket.waiting.extend(bytes);
        socket.drained_owed |= socket.flow() && is_news;
    }

    /// The brokers set their first timers.
    pub fn start(&mut self) -> Check {
        for at in 0..self.nodes.len() {
            let policy = Arc::clone(&self.policy);
            self.input(at, Input::Policy(policy))?;
            self.perform(at, |node, now, port| node.start(now, port))?;
        }
        Ok(())
    }

    pub(super) fn input(&mut self, at: usize, input: Input<'_>) -> Check {
        self.perform(at, |node, now, port| node.handle(now, input, port))
    }

    pub(super) fn perform(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Broker, Timestamp, &mut Port<'_>),
    ) -> Check {
        let mut port = Port {
            me: at,
            now: self.now,
            state: &mut self.states[at],
            sockets: &mut self.sockets,
            links: &mut self.links,
            random: &mut self.random,
            trace: &mut self.trace,
            saboteur: &mut self.saboteur,
            journal: self.journal.as_mut(),
            delays: self.weather.delays,
            authenticates: self.authenticates,
            closed: Vec::new(),
            violation: None,
        };
        act(&mut self.nodes[at], Timestamp(self.now), &mut port);
        let (closed, violation) = (port.closed, port.violation);
        self.note_handled(at);
        for (socket, how) in closed {
            self.close(at, socket, how);
        }
        if let Some(violation) = violation {
            return Err(violation);
        }
        self.nodes[at].check_invariants().map_err(|detail| Violation {
            invariant: "broker-invariants",
            detail: format!("shard {at}: {detail}"),
        })
    }

    /// What a shard has handled of its clients' bytes, and by which configuration it answers whom.
    fn note_handled(&mut self, at: usize) {
        let state = &self.states[at];
        for (connection, &id) in &state.names {
            let socket = &mut self.sockets[id];
            if !matches!(socket.place, Place::At(shard, _) if shard == at) {
                continue;
            }
            if !socket.paused && socket.handled < socket.fed {
                socket.handled = socket.fed;
                self.news.push(News::Handled(id, socket.fed));
            }
            if socket.config.is_none() && state.output.get(connection).is_some_and(|o| !o.is_empty()) {
                socket.config = Some(state.config);
            }
        }
    }

    fn feed(&mut self, at: usize, candidate: Candidate) -> Check {
        if !matches!(candidate, Candidate::Timer(..)) {
            self.trace.note(|| format!("shard {at}: {candidate:?}"));
        }
        self.stamp();
        match candidate {
            Candidate::Accept(id) => {
                let connection = self.name(at, id);
                self.sockets[id].place = Place::At(at, connection);
                self.sockets[id].no_memory = self.pressure.level() == Level::Refuse;
                let over_capacity = self.sockets[id].over_capacity && !self.saboteur.admits();
                self.input(at, Input::Accepted { connection, origin: origin(id, over_capacity) })
            }
            Candidate::Receive(id) => self.receive(at, id),
            Candidate::Closed(id) => self.closed(at, id),
            Candidate::Drained(id) => {
                self.sockets[id].drained_owed = false;
                let Place::At(_, connection) = self.sockets[id].place else { return Ok(()) };
                self.input(at, Input::Drained { connection })
            }
            Candidate::Mail(from) => self.mail(at, from),
            Candidate::Credits => {
                let now = self.now;
                for link in &mut self.links[at] {
                    link.collect(now);
                    link.starved &= link.credits == 0;
                }
                self.input(at, Input::CreditsAvailable)
            }
            Candidate::Order => self.order(at),
            Candidate::Stored => {
                let mut last = 0;
                while let Some(&(due, ticket)) = self.states[at].stored.front()
                    && due <= self.now
                {
                    self.states[at].stored.pop_front();
                    last = ticket;
                }
                self.input(at, Input::Stored(last))
            }
            Candidate::Notice => match self.states[at].notices.pop_front() {
                None => Ok(()),
                Some((_, Notice::Stored(ticket))) => self.input(at, Input::Stored(ticket)),
                Some((_, Notice::Written(ticket))) => self.input(at, Input::Written(ticket)),
                Some((_, Notice::Generation(generation))) => self.input(at, Input::Generation(generation)),
                Some((_, Notice::Fence(generation))) => self.input(at, Input::Fence(generation)),
                Some((_, Notice::Down)) => self.input(at, Input::StorageDown),
            },
            Candidate::Timer(when, timer) => {
                self.states[at].timers.remove(&(when, timer));
                if self.saboteur.stops(timer) {
                    return Ok(());
                }
                self.input(at, Input::Timer(timer))
            }
            Candidate::Verdict(index) => {
                let (_, connection, verdict) = self.states[at].verdicts.swap_remove(index);
                // As by credentials of before a reload.
                let verdict = (!self.random.percent(10)).then_some(verdict);
                self.input(at, Input::Authenticated { connection, verdict })
            }
            Candidate::HandOverFailed(index) => {
                let (_, id, hand_over) = self.states[at].failed.swap_remove(index);
                let Place::Moving { name: connection, .. } = self.sockets[id].place else {
                    return broken("simulator", format!("socket {id} failed to move and does not move"));
                };
                self.sockets[id].place = Place::At(at, connection);
                self.input(at, Input::HandOverFailed { connection, hand_over })
            }
        }
    }

    fn receive(&mut self, at: usize, id: SocketId) -> Check {
        let Place::At(_, connection) = self.sockets[id].place else { return Ok(()) };
        let len = self.sockets[id].up.len() as u64;
        let n = match self.random.below(4) {
            0 => 1,
            1 => self.random.within(1, len),
            _ => len,
        };
        let socket = &mut self.sockets[id];
        let bytes: Vec<u8> = socket.up.drain(..n as usize).collect();
        socket.fed += n;
        socket.last_fed_at = self.now;
        self.news.push(News::Fed(id, socket.fed));
        self.input(at, Input::Received { connection, bytes: &bytes })
    }

    fn closed(&mut self, at: usize, id: SocketId) -> Check {
        match self.sockets[id].place {
            Place::At(_, connection) => {
                self.end(id, false);
                self.release_name(at, connection);
                self.sockets[id].place = Place::Gone;
                self.input(at, Input::Closed { connection })
            }
            Place::Flushing(_, connection) => {
                let socket = &mut self.sockets[id];
                socket.place = Place::Gone;
                socket.broker_finished = true;
                socket.output_lost |= !socket.waiting.is_empty();
                socket.waiting.clear();
                self.release_name(at, connection);
                if self.random.percent(50) {
                    return self.input(at, Input::Closed { connection });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The broker closed a connection that it had.
    fn close(&mut self, at: usize, id: SocketId, how: Close) {
        let Place::At(_, connection) = self.sockets[id].place else { return };
        self.end(id, true);
        let output = self.states[at].output.remove(&connection);
        if how == Close::Flush {
            self.sockets[id].place = Place::Flushing(at, connection);
            self.sockets[id].flush_until = self.now + FLUSH_MS;
            self.append(id, output.unwrap_or_default());
            return;
        }
        self.release_name(at, connection);
        let lost = self.random.percent(50);
        let socket = &mut self.sockets[id];
        socket.output_lost = true;
        socket.waiting.clear();
        if lost {
            socket.arrived.clear();
        }
        socket.broker_finished = true;
        socket.place = Place::Gone;
    }

    /// A number for the next event: unique and growing.
    pub fn stamp(&mut self) -> u64 {
        self.step += 1;
        self.trace.at(self.step, self.now);
        self.step
    }

    fn end(&mut self, id: SocketId, by_broker: bool) {
        let stamp = self.stamp();
        let socket = &mut self.sockets[id];
        let all_fed = socket.up.is_empty();
        let config = socket.config;
        socket.ended.get_or_insert(Ended { at: self.now, stamp, by_broker, all_fed, config });
        self.ended.push(id);
    }

    pub(super) fn name(&mut self, at: usize, socket: SocketId) -> ConnectionId {
        let state = &mut self.states[at];
        let index = state.free.pop().unwrap_or_else(|| {
            state.generations.push(0);
            state.generations.len() as u32 - 1
        });
        let generation = &mut state.generations[index as usize];
        *generation += 1;
        let connection = ConnectionId { index, generation: *generation };
        state.names.insert(connection, socket);
        connection
    }

    pub(super) fn release_name(&mut self, at: usize, connection: ConnectionId) {
        let state = &mut self.states[at];
        state.names.remove(&connection);
        state.output.remove(&connection);
        state.free.push(connection.index);
    }

    /// Nothing is under way between shards or to a broker.
    pub fn is_settled(&self) -> bool {
        let moving = |s: &Socket| {
            matches!(s.place, Place::Backlog(_) | Place::Moving { .. } | Place::Flushing(..))
                || matches!(s.place, Place::At(..)) && !s.up.is_empty()
        };
        let failed = self.states.iter().all(|s| {
            s.failed.is_empty()
                && s.orders.is_empty()
                && s.verdicts.is_empty()
                && s.stored.is_empty()
                && s.notices.is_empty()
        });
        let idle = |link: &Link| link.queue.is_empty() && link.returning.is_empty() && !link.starved;
        failed && self.links.iter().flatten().all(idle) && !self.sockets.iter().any(moving)
    }

    /// What is not at rest, in words.
    pub fn unsettled(&self) -> String {
        let mut lines = Vec::new();
        for (from, links) in self.links.iter().enumerate() {
            for (to, link) in links.iter().enumerate().filter(|(_, l)| !l.is_settled()) {
                lines.push(format!(
                    "{from} → {to}: {} queued, {} credits of {}, {} reserved, {} on loan, starved {}",
                    link.queue.len(),
                    link.credits,
                    link.limit,
                    link.reserved,
                    link.on_loan,
                    link.starved
                ));
            }
        }
        for (id, socket) in self.sockets.iter().enumerate().filter(|(_, s)| s.place != Place::Gone) {
            lines.push(format!(
                "socket {id} of client {} {:?} {:?}: {} up, {} waiting, paused {}",
                socket.client,
                socket.place,
                socket.client_end,
                socket.up.len(),
                socket.waiting.len(),
                socket.paused
            ));
        }
        lines.join("\n")
    }

    /// All credits are at home, nobody is paused.
    pub fn check_at_rest(&self) -> Check {
        let settled = self.links.iter().flatten().all(Link::is_settled);
        ensure(settled, "credits-come-home", || self.unsettled())?;
        let paused = self.sockets.iter().position(|s| matches!(s.place, Place::At(..)) && s.paused);
        ensure(paused.is_none(), "paused-goes-on", || format!("socket {paused:?}"))
    }
}
