//! One run under one seed: the brokers' configuration, the clients and their natures, the wild time, the calm at the
//! end, the leaving. Everything that is chosen is chosen here.

use std::sync::Arc;

use myriad::acl::{Acl, Policy};
use myriad::broker::{Broker, BrokerSetup, Shared};
use myriad::config::{Config, Durability};
use myriad::interest::ShardId;
use myriad::limits::Level;

use crate::client::{Client, Mood, Phase, Profile};
use crate::effects::{Delays, Order, ShardState};
use crate::inspect::Inspector;
use crate::model::message::RULES;
use crate::model::sys::{SYS_FILTER, Sys};
use crate::model::{Checked, Model, Wish};
use crate::random::Random;
use crate::settings::{self, Settings};
use crate::socket::{ClientEnd, Place};
use crate::trace::{Check, Trace, broken, ensure};
use crate::wire::Version;
use crate::world::{News, Weather, World};

/// Virtual time after which a calm world must have come to rest.
const CALM_MS: u64 = 240_000;
/// Steps after which a world that still runs runs for ever.
const STEPS_MAX: u64 = 600_000;

/// A run.
pub struct Scenario {
    pub world: World,
    pub(super) model: Model,
    clients: Vec<Client>,
    pub(super) shared: Arc<Shared>,
    wild_until: u64,
    pub(super) mood: Mood,
    /// When the next reload comes.
    reload_at: u64,
    /// When the journal's next generation begins, and its number.
    generation_at: (u64, u32),
    /// When memory runs short, or is there again; never where it has no limit.
    press_at: u64,
    inspector: Inspector,
    /// The node shuts down in the middle of it all.
    pub(super) is_cut_short: bool,
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        delays: Delays {
            mail_max: random.pick(&[0, 5, 50, 400]),
            credit_max: random.pick(&[0, 5, 200]),
            timer_max: random.pick(&[0, 100, 800]),
            wire_max: random.pick(&[0, 5, 100]),
            disk_max: 0,
        },
        hand_over_fails: random.pick(&[0, 0, 10, 40]),
        inputs_max: random.pick(&[1, 3, 8]),
    }
}

fn profile(random: &mut Random, config: &Config) -> Profile {
    let version =
        random.pick(&[Version::V31, Version::V311, Version::V311, Version::V5, Version::V5, Version::V5]);
    let expiry_s = match version {
        Version::V31 => 0,
        Version::V311 => random.pick(&[0, config.session.expiry_s, config.session.expiry_s]),
        Version::V5 => random.pick(&[0, 2, 6, 3600, u32::MAX]),
    };
    Profile {
        version,
        expiry_s,
        keep_alive_s: random.pick(&[0, 2, 5, 30]),
        receive_max: random.pick(&[None, Some(1), Some(2), Some(7)]),
        packet_max: random.pick(&[None, None, None, Some(200)]),
        alias_max: random.pick(&[None, Some(0), Some(2)]),
        worker: random.percent(35),
        watcher: false,
        calmness: random.pick(&[0, 0, 50, 90]),
        ack_max: if config.session.retry_interval_s > 0 && version != Version::V5 {
            random.pick(&[20, 3_000, 12_000, 12_000])
        } else {
            random.pick(&[0, 20, 500, 3_000])
        },
        act_max: random.pick(&[20, 100, 400]),
    }
}

/// The client that sees every Will: never disturbed.
fn watcher() -> Profile {
    Profile {
        version: Version::V5,
        expiry_s: u32::MAX,
        keep_alive_s: 0,
        receive_max: None,
        packet_max: None,
        alias_max: None,
        worker: false,
        watcher: true,
        calmness: 100,
        ack_max: 5,
        act_max: 1_000,
    }
}

impl Scenario {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let mut config = settings::first(&mut random);
        settings::authenticate(&mut config, seed);
        settings::limit_memory(&mut config, seed);
        let shards = random.pick(&[1, 2, 2, 3, 5]);
        let shared = Shared::new(&config, shards, random.word(), 0);
        let (queue_len_max, queue_qos0) = (config.session.queue_len_max, config.session.queue_qos0);
        let mut weather = weather(&mut random);
        weather.delays.disk_max = settings::store(&mut config, seed);
        let mut profiles: Vec<Profile> =
            (0..random.within(2, 6)).map(|_| profile(&mut random, &config)).collect();
        profiles.push(watcher());
        let watcher = profiles.len() - 1;
        let config = Arc::new(config);
        let nodes = (0..shards)
            .map(|shard| {
                let setup = BrokerSetup {
                    shard: ShardId(shard),
                    config: Arc::clone(&config),
                    shared: Arc::clone(&shared),
                };
                Broker::new(setup)
            })
            .collect();
        let policy = Policy { file: Acl::parse(RULES).unwrap(), ..Policy::default() };
        let credits = random.within(1, 8) as u32;
        let wild_until = random.pick(&[3_000, 8_000, 20_000]);
        let reload_at = if random.percent(50) { random.within(500, 4_000) } else { u64::MAX };
        let is_cut_short = random.percent(15);
        let mut trace = Trace::new(trace);
        trace.note(|| {
            format!("seed {seed}: {shards} shards, {credits} credits, {weather:?}\n{config:?}\n{profiles:#?}")
        });
        let sys = Sys::new(config.sys.interval_s, config.limits.outbound_bytes >= 2_000);
        let model = Model {
            queue_len_max,
            queue_qos0,
            watcher,
            workers: profiles.iter().map(|p| p.worker).collect(),
            settings: Settings::new(Arc::clone(&config)),
            sys,
            ..Model::default()
        };
        let clients = profiles
            .into_iter()
            .enumerate()
            .map(|(index, profile)| {
                let first = if profile.watcher { 0 } else { u64::MAX };
                Client::new(index, format!("client-{index}"), profile, first)
            })
            .collect();
        let mut world = World::new(nodes, credits, weather, random, trace);
        world.policy = Arc::new(policy);
        world.authenticates = config.auth.is_configured();
        world.pressure = Arc::clone(&shared.pressure);
        shared.pressure.set_max(config.limits.memory_max);
        let press_at = if config.limits.memory_max > 0 { 0 } else { u64::MAX };
        let mood = Mood::Wild;
        let is_stored = config.storage.durability != Durability::Memory;
        let generation_at = (if is_stored { 100 } else { u64::MAX }, 2);
        Self {
            world,
            model,
            clients,
            shared,
            wild_until,
            mood,
            reload_at,
            generation_at,
            press_at,
            inspector: Inspector::new(seed),
            is_cut_short,
        }
    }

    /// From the first CONNECT to the last gauge.
    pub fn run(&mut self) -> Check<Checked> {
        self.world.start()?;
        self.prepare_watcher()?;
        while self.world.now < self.wild_until {
            self.reload();
            self.begin_generation();
            self.press();
            self.step()?;
        }
        self.shared.pressure.measured(0);
        if self.is_cut_short {
            self.drain()?;
            return Ok(self.model.checked);
        }
        self.calm_down();
        let calm_from = self.world.stamp();
        self.rest("calm-comes-to-rest")?;
        self.audit_retained()?;
        for client in &self.clients {
            client.check_redelivered()?;
        }
        self.model.finish(self.world.now, calm_from)?;
        self.check_at_rest()?;
        self.leave()?;
        Ok(self.model.checked)
    }

    /// The watcher is there before anyone else.
    fn prepare_watcher(&mut self) -> Check {
        let watcher = self.model.watcher;
        self.rest_until(|s| s.clients[watcher].phase == Phase::Open)?;
        let wish = |filter: &str| Wish {
            filter: filter.into(),
            share: None,
            qos: 2,
            no_local: false,
            retain_as_published: true,
            retain_handling: Some(2),
            id: 0,
        };
        let Self { world, model, clients, .. } = self;
        clients[watcher].subscribe(world, model, vec![wish("w/#"), wish(SYS_FILTER)]);
        self.rest_until(|s| s.clients[watcher].is_settled(&s.world, Mood::Calm))?;
        for client in self.clients.iter_mut().filter(|c| !c.profile.watcher) {
            client.phase = Phase::Away { until: self.world.now + self.world.random.within(0, 500) };
        }
        self.wild_until += self.world.now;
        Ok(())
    }

    /// One thing happens: a turn of a shard, a deed of a client, or time passes.
    pub(super) fn step(&mut self) -> Check {
        ensure(self.world.step < STEPS_MAX, "comes-to-rest", || "too many steps".to_owned())?;
        self.take_news();
        self.take_ends()?;
        let now = self.world.now;
        let shards = (0..self.world.nodes.len()).filter(|&at| self.world.is_runnable(at));
        let mut runnable: Vec<usize> = shards.collect();
        let first_client = self.world.nodes.len();
        for (at, client) in self.clients.iter().enumerate() {
            if client.next_at(&self.world, self.mood).is_some_and(|next| next <= now) {
                runnable.push(first_client + at);
            }
        }
        if runnable.is_empty() {
            return self.pass_time();
        }
        let chosen = runnable[self.world.random.below(runnable.len())];
        if self.world.random.percent(10) {
            self.world.now += 1;
        }
        if chosen < first_client {
            self.world.turn(chosen)?;
            self.inspector.look(&mut self.world, chosen)
        } else {
            let Self { world, model, clients, .. } = self;
            clients[chosen - first_client].poll(world, model, self.mood)
        }
    }

    fn pass_time(&mut self) -> Check {
        let now = self.world.now;
        let wakes = self.clients.iter().filter_map(|c| c.next_at(&self.world, self.mood));
        let next = wakes.chain(self.world.next_at()).filter(|&at| at > now).min();
        self.world.now = next.unwrap_or(now + 1_000);
        self.world.collect_credits();
        for client in &self.clients {
            client.check_answers(&self.world, &self.model)?;
        }
        let retained = self.shared.retained_count.load(std::sync::atomic::Ordering::Relaxed);
        let count_max = self.model.settings.all().map(|config| config.retained.count_max).max();
        ensure(count_max.is_some_and(|max| retained <= max), "retained-count", || {
            format!("{retained} retained messages, at most {count_max:?} are allowed")
        })
    }

    /// The configuration changes under everyone's feet, a few times.
    fn reload(&mut self) {
        let now = self.world.now;
        if now < self.reload_at || self.world.states.iter().any(|state| !state.orders.is_empty()) {
            return;
        }
        let mail_max = self.world.weather.delays.mail_max;
        let config = settings::edited(self.model.settings.last(), &mut self.world.random, mail_max);
        self.world.trace.note(|| format!("reload: {config:?}"));
        self.reload_at = now + self.world.random.within(100, 6_000);
        self.model.queue_len_max = self.model.queue_len_max.min(config.session.queue_len_max);
        self.model.queue_qos0 |= config.session.queue_qos0;
        self.model.sys.is_complete &= config.limits.outbound_bytes >= 2_000;
        self.model.checked.reloads += 1;
        let config = Arc::new(config);
        let number = self.model.settings.reload(Arc::clone(&config), now);
        for state in &mut self.world.states {
            let at = now + Delays::some(&mut self.world.random, 500);
            state.orders.push_back((at, Order::Reload(number, Arc::clone(&config))));
        }
    }

    /// The journal begins anew now and then: every shard writes its images.
    fn begin_generation(&mut self) {
        let (at, generation) = self.generation_at;
        let is_busy = |state: &ShardState| state.imaging || !state.orders.is_empty();
        if self.world.now < at || self.world.states.iter().any(is_busy) {
            return;
        }
        self.generation_at = (self.world.now + self.world.random.within(50, 5_000), generation + 1);
        for state in &mut self.world.states {
            let at = self.world.now + Delays::some(&mut self.world.random, 200);
            state.orders.push_back((at, Order::Generation(generation)));
        }
    }

    /// Memory runs short for a while: too short for anyone to be sent away. Then it is there again, until all have noticed.
    fn press(&mut self) {
        let now = self.world.now;
        if now < self.press_at {
            return;
        }
        let is_short = self.shared.pressure.level() > Level::None;
        let used = if is_short { 0 } else { self.world.random.pick(&[860, 930, 930, 980]) };
        let (_, level) = self.shared.pressure.measured(used);
        self.world.trace.note(|| format!("memory: {level:?}"));
        self.press_at = now
            + if is_short {
                self.world.random.within(2_000, 5_000)
            } else {
                self.world.random.within(50, 1_500)
            };
        if level > Level::None {
            self.model.pressed(level);
        }
    }

    /// The model hears what it can't see from the clients' ends.
    fn take_news(&mut self) {
        let now = self.world.now;
        for news in std::mem::take(&mut self.world.news) {
            match news {
                News::Fed(socket, offset) => self.model.fed(socket, offset, now),
                News::Handled(socket, offset) => self.model.handled(socket, offset, now),
                News::Reloaded(shard, number) => {
                    self.model.settings.reached(number, self.world.nodes.len(), now);
                    if shard == 0 {
                        let interval_s = self.model.settings.config(number).sys.interval_s;
                        self.model.sys.paced(now, interval_s);
                    }
                }
            }
        }
    }

    /// The model hears which connections the brokers have ended.
    fn take_ends(&mut self) -> Check {
        for socket in std::mem::take(&mut self.world.ended) {
            let end = &self.world.sockets[socket];
            self.model.connections[socket].hand_over_failed = end.hand_over_failed || end.no_memory;
            if let Some(ended) = end.ended {
                self.model.connection_ended(socket, ended)?;
            }
        }
        Ok(())
    }

    /// No more rough weather; connections that nobody holds any more are seen to be dead.
    fn calm_down(&mut self) {
        self.mood = Mood::Calm;
        self.world.trace.note(|| "calm".to_owned());
        self.world.weather.hand_over_fails = 0;
        self.world.weather.delays.mail_max = 5;
        let here = |c: &&Client| !matches!(c.phase, Phase::Away { .. });
        let held: Vec<usize> = self.clients.iter().filter(here).map(|c| c.socket).collect();
        for id in 0..self.world.sockets.len() {
            let abandoned = !held.contains(&id) || self.world.sockets[id].client_end == ClientEnd::Silent;
            if self.world.sockets[id].is_live() && abandoned {
                self.model.connections[id].cut = true;
                self.world.cut(id, ClientEnd::Reset);
            }
        }
        for client in &mut self.clients {
            client.calm_down(&mut self.world, &mut self.model);
        }
    }

    /// Runs until nothing is under way.
    fn rest(&mut self, invariant: &'static str) -> Check {
        let from = self.world.now;
        loop {
            let runnable = (0..self.world.nodes.len()).any(|at| self.world.is_runnable(at));
            let settled = self.clients.iter().all(|c| c.is_settled(&self.world, self.mood));
            if settled && !runnable && self.world.is_settled() {
                return Ok(());
            }
            if self.world.now > from + CALM_MS {
                let waiting: Vec<String> = self
                    .clients
                    .iter()
                    .filter(|c| !c.is_settled(&self.world, self.mood))
                    .map(Client::waits_for)
                    .collect();
                return broken(invariant, format!("{waiting:#?}\n{}", self.world.unsettled()));
            }
            self.step()?;
        }
    }

    /// A new client asks for everything retained, and gets what was accepted last.
    fn audit_retained(&mut self) -> Check {
        let index = self.clients.len();
        let profile = Profile { watcher: true, worker: false, expiry_s: 0, ..watcher() };
        self.model.workers.push(false);
        let mut auditor = Client::new(index, "auditor".into(), profile, self.world.now);
        auditor.comes_in_calm();
        self.clients.push(auditor);
        self.rest_until(|s| s.clients[index].phase == Phase::Open)?;
        let wish = Wish {
            filter: "#".into(),
            share: None,
            qos: 2,
            no_local: false,
            retain_as_published: false,
            retain_handling: Some(0),
            id: 0,
        };
        let Self { world, model, clients, .. } = self;
        clients[index].subscribe(world, model, vec![wish]);
        self.rest("retained-comes-to-rest")?;
        let session = self.clients[index].session;
        // The `$SYS` tree is retained too; the model leaves it out.
        let is_silent = self.model.settings.all().all(|config| config.sys.interval_s == 0);
        let gauge = is_silent.then(|| self.gauge("retained"));
        self.model.audit(session.unwrap_or(0), gauge, self.world.now)
    }

    fn rest_until(&mut self, done: impl Fn(&Self) -> bool) -> Check {
        let from = self.world.now;
        while !done(self) {
            ensure(self.world.now < from + CALM_MS, "connect-answered", || {
                "of the watcher or the auditor".to_owned()
            })?;
            self.step()?;
        }
        Ok(())
    }

    /// The sum of a gauge over all shards.
    pub(super) fn gauge(&self, name: &str) -> u64 {
        let mut sum = 0u64;
        for metrics in &self.shared.metrics {
            metrics.each(|metric, value| {
                if metric.name == name {
                    sum = sum.wrapping_add(value);
                }
            });
        }
        sum
    }

    fn check_at_rest(&self) -> Check {
        for name in ["inflight", "queues"] {
            let value = self.gauge(name);
            let offline = self.clients.iter().any(|c| !matches!(c.phase, Phase::Open));
            ensure(value == 0 || offline, "gauges-at-rest", || format!("{name} is {value}"))?;
        }
        self.world.check_at_rest()
    }

    /// Everyone goes; nothing stays.
    fn leave(&mut self) -> Check {
        self.mood = Mood::Leaving;
        self.world.trace.note(|| "leaving".to_owned());
        for client in &mut self.clients {
            client.start_leaving(&mut self.world, &mut self.model);
        }
        self.rest("leaving-comes-to-rest")?;
        let from = self.world.now;
        let left = |s: &Self| {
            [
                "clients",
                "sessions",
                "sessions_persistent",
                "subscriptions",
                "subscriptions_shared",
                "subscribers",
                "topics",
                "routes",
                "queues",
                "inflight",
            ]
            .into_iter()
            .map(|name| (name, s.gauge(name)))
            .filter(|(_, value)| *value != 0)
            .collect::<Vec<_>>()
        };
        while self.world.now < from + 20_000 && (!left(self).is_empty() || !self.all_gone()) {
            self.step()?;
        }
        while self.world.now < from + 40_000 && !self.world.is_settled() {
            self.step()?;
        }
        let rest = left(self);
        ensure(rest.is_empty(), "gauges-back-to-zero", || format!("{rest:?}"))?;
        for (at, node) in self.world.nodes.iter().enumerate() {
            let (connections, sessions) = (node.connections_len(), node.sessions_len());
            ensure(connections == 0 && sessions == 0, "nothing-stays", || {
                format!("shard {at}: {connections} connections, {sessions} sessions")
            })?;
        }
        self.world.check_at_rest()
    }

    fn all_gone(&self) -> bool {
        self.world.sockets.iter().all(|s| s.place == Place::Gone)
    }
}
