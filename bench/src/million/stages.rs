//! The stages, one function each: fill, hold, ping, point to point, fan-out, storm, takeover, end.

use std::time::{Duration, Instant};

use super::histogram::Latencies;
use super::load::{Command, Figures, Flow, Kind, Part, share};
use super::results::Stage;
use super::rig::{Rig, Watched};

/// How often a stage looks whether it is over: long, and short for what is over in a moment.
pub(super) const LOOK: Duration = Duration::from_millis(10);
const LOOK_CLOSELY: Duration = Duration::from_micros(500);
/// Longer than any stage.
pub(super) const FOR_EVER: Duration = Duration::from_secs(1 << 30);
/// From a command to the first message of a flow, so that all shards have it.
const LEAD_US: f64 = 50_000.0;
/// What has not come so long after the last that did is lost.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Repetitions of the fan-out.
const FAN_OUTS: u32 = 20;
/// Every tenth client is cut, every hundredth taken over; none is both.
const STORM: Part = Part { of: 10, rest: 3 };
const ALL: Part = Part { of: 1, rest: 0 };
const TAKEOVER: Part = Part { of: 100, rest: 7 };
/// PINGREQs go on for so long after the storm.
const CALM: Duration = Duration::from_secs(1);
/// The broker's time to forget the clients that have left, before its memory is read.
const FORGET: Duration = Duration::from_secs(3);

impl Rig {
    /// Connects and subscribes all clients below `clients`, at `rate` a second (0: as fast as the broker answers).
    /// `false`: it had to stop early.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn fill(&mut self, clients: u32, rate: f64) -> anyhow::Result<bool> {
        let begun =
            self.begin("fill", "Every client connects and subscribes to its own topic and its group's")?;
        let interval_us = if rate > 0.0 { f64::from(self.fleet.shards()) * 1e6 / rate } else { 0.0 };
        self.fleet.command(|_| Command::Fill { clients, interval_us, leave: false })?;
        let mut watched = self.watch("fill", FOR_EVER, LOOK, |t| t.task_left == 0)?;
        if watched != Watched::Done {
            self.fleet.command(|_| Command::StopFill)?;
        }
        if watched == Watched::MemoryLow {
            let note = "the fill stopped because less than a tenth of the memory was left";
            self.run.notes.push(note.into());
            self.live.say(note);
            // What is under way is brought to its end.
            watched = self.watch("fill, the rest", DRAIN_MAX * 3, LOOK, |t| t.task_left == 0)?;
            self.clients = self.fleet.begun_whole().min(clients);
        } else {
            self.clients =
                if watched == Watched::Done { clients } else { self.fleet.begun_whole().min(clients) };
        }
        let complete = watched == Watched::Done && self.clients == clients;
        let (mut stage, _) = self.end(&begun)?;
        stage.asked = u64::from(clients) - u64::from(clients).min(begun.totals.held);
        stage.done = self.fleet.totals().handshakes - begun.totals.handshakes;
        // Fewer than wanted is said once, for the run; here is missing what was begun and not completed.
        let attempted = u64::from(self.clients).saturating_sub(begun.totals.held);
        stage.lost = attempted.saturating_sub(stage.done + stage.connections_lost);
        stage.broker_cpu_us_each = each(stage.broker_cpu_s, stage.done);
        let held = stage.connections_after;
        self.run.connections_reached = self.run.connections_reached.max(held);
        self.keep(stage);
        Ok(complete)
    }

    /// Nothing but due PINGREQs for `seconds`.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn hold(&mut self, seconds: f64) -> anyhow::Result<()> {
        let begun = self.begin("hold", "Idle: nothing but PINGREQs that the Keep Alive demands")?;
        self.watch("hold", Duration::from_secs_f64(seconds), LOOK, |_| false)?;
        let (stage, _) = self.end(&begun)?;
        self.keep(stage);
        Ok(())
    }

    /// PINGREQs of random clients.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn ping(&mut self, rate: f64, seconds: f64) -> anyhow::Result<()> {
        let title = "PINGREQ of random clients at a fixed rate, to PINGRESP";
        let (mut stage, figures) = self.flow("ping", title, Kind::Ping, rate, seconds)?;
        stage.lost = figures.unanswered;
        stage.broker_cpu_us_each = each(stage.broker_cpu_s, stage.done + stage.keep_alive_pings);
        self.keep(stage);
        Ok(())
    }

    /// PUBLISHes from random clients to random clients' own topics.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn publish(&mut self, qos: u8, rate: f64, seconds: f64) -> anyhow::Result<()> {
        let (name, title) = match qos {
            0 => ("p2p0", "QoS 0 from random clients to random clients at a fixed rate, to delivery"),
            _ => ("p2p1", "QoS 1 from random clients to random clients at a fixed rate, to delivery"),
        };
        let (mut stage, figures) = self.flow(name, title, Kind::Publish(qos), rate, seconds)?;
        stage.lost = figures.sent.saturating_sub(figures.done);
        if qos > 0 {
            stage.second_latency = figures.second.result();
            stage.second_title = Some("to PUBACK");
            if figures.unanswered > 0 {
                self.run.problems.push(format!("{name}: {} PUBACKs missing", figures.unanswered));
            }
        }
        stage.broker_cpu_us_each = self.without_pings(&stage, stage.done);
        self.keep(stage);
        Ok(())
    }

    /// A stage of one flow over all shards, until everything is answered or nothing comes any more.
    pub(super) fn flow(
        &mut self,
        name: &'static str,
        title: &'static str,
        kind: Kind,
        rate: f64,
        seconds: f64,
    ) -> anyhow::Result<(Stage, Figures)> {
        let begun = self.begin(name, title)?;
        let due = self.start_flow(kind, rate, Some(seconds), None)?;
        let mut last = (0, Instant::now());
        self.watch(name, FOR_EVER, LOOK, |t| {
            let moved = t.due + t.done + t.messages;
            if moved != last.0 {
                last = (moved, Instant::now());
            }
            let complete = t.due >= due && t.pending == 0 && (kind == Kind::Ping || t.done >= t.sent);
            complete || last.1.elapsed() > DRAIN_MAX
        })?;
        let (mut stage, figures) = self.end(&begun)?;
        self.fleet.command(|_| Command::StopFlow)?;
        (stage.asked, stage.done) = (figures.sent, figures.done);
        self.note_busy(&mut stage);
        note_flow(&mut stage, &figures);
        Ok((stage, figures))
    }

    /// Latencies of a machine that had nothing left are not those of the broker.
    fn note_busy(&mut self, stage: &mut Stage) {
        let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let busy = (stage.load_cpu_s + stage.broker_cpu_s.unwrap_or(0.0)) / stage.seconds.max(1e-3);
        if busy > 0.9 * cores {
            let note = format!("{}: broker and load kept all cores busy: latencies are of that", stage.name);
            self.run.notes.push(note.clone());
            stage.notes.push(note);
        }
    }

    /// Starts a flow on all shards; how many messages it has in all, 0 without an end.
    pub(super) fn start_flow(
        &mut self,
        kind: Kind,
        rate: f64,
        seconds: Option<f64>,
        spare: Option<Part>,
    ) -> anyhow::Result<u64> {
        let shards = self.fleet.shards();
        let each_us = 1e6 / rate;
        let first_us = self.fleet.now_us() as f64 + LEAD_US;
        let until_us = seconds.map_or(f64::INFINITY, |s| first_us + s * 1e6);
        let clients = self.clients;
        let flow = |shard: u16| Flow {
            kind,
            // The shards' grids interleave.
            first_us: first_us + f64::from(shard) * each_us,
            interval_us: each_us * f64::from(shards),
            until_us,
            clients,
            spare,
            senders: clients,
        };
        self.fleet.command(|shard| Command::Flow(flow(shard)))?;
        let count = |f: Flow| if seconds.is_some() { f.len() } else { 0 };
        Ok((0..shards).map(|shard| count(flow(shard))).sum())
    }

    /// One message to a thousand clients, some times over, one after the other.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn fan_out(&mut self, group_len: u32) -> anyhow::Result<()> {
        let begun = self.begin("fanout", "One message to the clients of a group, one after the other")?;
        let mut last_of_each = Latencies::default();
        let (mut asked, mut sent) = (0, 0);
        // Whole groups, or the only one there is.
        let groups = (self.clients / group_len).max(1);
        let receivers = u64::from(group_len.min(self.clients));
        for repetition in 0..FAN_OUTS {
            // Any spread will do, the same each run: two primes.
            let group = repetition.wrapping_mul(7_919) % groups;
            let client = repetition.wrapping_mul(104_729).wrapping_add(17) % self.clients.max(1);
            self.fleet.command(|_| Command::FanOut { client, group, sequence: repetition })?;
            asked += receivers;
            sent += 1;
            let watched =
                self.watch("fanout", DRAIN_MAX, LOOK_CLOSELY, |t| t.done >= asked && t.pending == 0)?;
            last_of_each.record(self.fleet.totals().slowest_us);
            if watched == Watched::Interrupted {
                break;
            }
        }
        let (mut stage, figures) = self.end(&begun)?;
        (stage.asked, stage.done) = (asked, figures.done.min(asked));
        stage.lost = asked - stage.done;
        stage.duplicates = figures.done - stage.done;
        stage.second_latency = last_of_each.result();
        stage.second_title = Some("until the last subscriber had it, one a repetition");
        stage.broker_cpu_us_each = self.without_pings(&stage, stage.done);
        stage.notes.push(format!("{sent} messages of QoS 1, {receivers} subscribers each"));
        self.keep(stage);
        Ok(())
    }

    /// Cuts a tenth of the clients at once, or all of them; they come back at full speed while the others ping.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn storm(&mut self, rate: f64, all: bool) -> anyhow::Result<()> {
        let what = match all {
            true => "All clients are cut at once and return at full speed",
            false => {
                "A tenth of the clients is cut at once and returns at full speed; PINGREQs of the others meanwhile"
            }
        };
        let begun = self.begin("storm", what)?;
        if !all {
            self.start_flow(Kind::Ping, rate, None, Some(STORM))?;
        }
        let since = Instant::now();
        self.fleet.command(|_| Command::Storm(if all { ALL } else { STORM }))?;
        self.watch("storm", FOR_EVER, LOOK, |t| t.task_left == 0)?;
        let seconds = since.elapsed().as_secs_f64();
        let totals = self.fleet.totals();
        self.watch("storm", CALM, LOOK, |_| false)?;
        self.fleet.command(|_| Command::StopFlow)?;
        self.watch("storm", DRAIN_MAX, LOOK, |t| t.pending == 0)?;
        let (mut stage, figures) = self.end(&begun)?;
        tally(&mut stage, totals.chosen, totals.handshakes - begun.totals.handshakes);
        stage.second_latency = figures.second.result();
        stage.second_title = Some("handshakes of the returning clients");
        stage.notes.push(format!("its CPU is that of {} s of calm afterwards too", CALM.as_secs()));
        stage.seconds = seconds;
        if figures.unanswered > 0 {
            self.run.problems.push(format!("storm: {} PINGREQs unanswered", figures.unanswered));
        }
        if !all {
            note_flow(&mut stage, &figures);
        }
        self.keep(stage);
        Ok(())
    }

    /// A hundredth of the clients connects again under its Client Identifier while the first connection is open.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn take_over(&mut self) -> anyhow::Result<()> {
        let begun = self.begin(
            "takeover",
            "A hundredth of the clients connects again under the same Client Identifier; the broker closes the first",
        )?;
        self.fleet.command(|_| Command::Takeover(TAKEOVER))?;
        self.watch("takeover", FOR_EVER, LOOK_CLOSELY, |t| t.task_left == 0)?;
        let totals = self.fleet.totals();
        let (mut stage, figures) = self.end(&begun)?;
        tally(&mut stage, totals.chosen, figures.done);
        self.keep(stage);
        Ok(())
    }

    /// All clients disconnect.
    ///
    /// # Errors
    /// The broker or a load shard is gone.
    pub(crate) fn leave(&mut self) -> anyhow::Result<()> {
        let begun = self.begin("end", "All clients send DISCONNECT; then the broker's memory")?;
        let since = Instant::now();
        self.fleet.command(|_| Command::Leave)?;
        self.watch("end", PATIENCE_AT_THE_END, LOOK, |t| t.task_left == 0)?;
        let seconds = since.elapsed().as_secs_f64();
        let left = self.fleet.totals();
        self.watch("end", FORGET, LOOK, |_| false)?;
        let (mut stage, _) = self.end(&begun)?;
        let held = begun.totals.held;
        tally(&mut stage, held, held.saturating_sub(left.held + left.task_left));
        stage.seconds = seconds;
        self.keep(stage);
        Ok(())
    }

    /// The broker's CPU for each of `n`, without what its answers to due PINGREQs cost.
    fn without_pings(&self, stage: &Stage, n: u64) -> Option<f64> {
        let ping = self.run.stages.iter().rev().find(|s| s.name == "ping").and_then(|s| s.broker_cpu_us_each);
        let pings_s = stage.keep_alive_pings as f64 * ping.unwrap_or(0.0) / 1e6;
        each(stage.broker_cpu_s.map(|s| (s - pings_s).max(0.0)), n)
    }

    /// Whether a stage over a part of the clients has any to choose.
    pub(crate) fn has_part(&self, part: Part) -> bool {
        (0..self.fleet.shards()).any(|shard| share(self.clients, shard, self.fleet.shards()) > part.rest)
    }

    /// The parts of the storm and of the takeover.
    pub(crate) const PARTS: (Part, Part) = (STORM, TAKEOVER);
}

/// Longest wait for all to leave: a few microseconds each are the rule.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(300);

pub(super) fn note_flow(stage: &mut Stage, figures: &Figures) {
    if figures.skipped > 0 {
        stage.notes.push(format!("{} due messages had no free client to send them", figures.skipped));
    }
    if figures.foreign > 0 {
        stage.notes.push(format!("{} deliveries of an earlier stage or of others", figures.foreign));
    }
}

/// What was asked for and what was done of it, and what follows from the two.
pub(super) fn tally(stage: &mut Stage, asked: u64, done: u64) {
    (stage.asked, stage.done, stage.lost) = (asked, done, asked.saturating_sub(done));
    stage.broker_cpu_us_each = each(stage.broker_cpu_s, done);
}

pub(super) fn each(cpu_s: Option<f64>, n: u64) -> Option<f64> {
    cpu_s.filter(|_| n > 0).map(|s| s * 1e6 / n as f64)
}

impl Flow {
    /// How many messages are due before the end.
    fn len(&self) -> u64 {
        ((self.until_us - self.first_us) / self.interval_us).ceil().max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shards_messages_add_up_to_the_rate() {
        let flow = |shard: f64| Flow {
            kind: Kind::Ping,
            first_us: 1e6 + shard * 500.0,
            interval_us: 1_500.0,
            until_us: 11e6,
            clients: 1,
            spare: None,
            senders: 1,
        };
        assert_eq!(flow(0.0).len() + flow(1.0).len() + flow(2.0).len(), 20_000);
    }

    #[test]
    fn nothing_costs_nothing_each() {
        assert_eq!(each(Some(1.0), 0), None);
        assert_eq!(each(Some(1.0), 100_000), Some(10.0));
    }
}
