//! One run under one seed: brokers over a journal on a treacherous disk, crashes at any moment, each time another number of
//! shards; then the calm, in which everything that was promised has to come.

use std::collections::BTreeMap;
use std::sync::Arc;

use myriad::acl::{Acl, Policy};
use myriad::broker::{Broker, BrokerSetup, Origins, Shared, distribute};
use myriad::clock::Timestamp;
use myriad::config::{Config, Durability};
use myriad::interest::ShardId;
use myriad::storage::{RecoverOptions, recover};

use super::Defect;
use super::client::{Client, Phase, Profile};
use super::flip;
use super::model::{Checked, Model, Will};
use super::store::{Roughness, Store};
use crate::effects::Delays;
use crate::model::message::RULES;
use crate::random::Random;
use crate::trace::{Check, Trace, broken, ensure};
use crate::wire::Version;
use crate::world::{Weather, World};

/// Virtual time after which a calm world must have come to rest.
const CALM_MS: u64 = 120_000;
/// Steps after which a world that still runs runs for ever.
const STEPS_MAX: u64 = 400_000;

/// A run.
pub struct Scenario {
    pub world: World,
    pub model: Model,
    pub store: Store,
    clients: Vec<Client>,
    config: Arc<Config>,
    seed: u64,
    credits: u32,
    /// When the next crash comes.
    crash_at: u64,
    /// When the disk is hurt next.
    hurt_at: u64,
    wild_until: u64,
    is_calm: bool,
    /// Most clients are members of Shared Subscriptions.
    is_sharing: bool,
    /// Bits flip before each recovery: then only that nothing panics counts, and that what is lost is told.
    pub flips: bool,
    /// Sessions and Retained Messages that flipped bits have changed.
    pub lost: u64,
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        delays: Delays {
            mail_max: random.pick(&[0, 5, 50, 200]),
            credit_max: random.pick(&[0, 5, 100]),
            timer_max: random.pick(&[0, 100]),
            wire_max: random.pick(&[0, 5, 50]),
            disk_max: 0,
        },
        hand_over_fails: 0,
        inputs_max: random.pick(&[1, 3, 8]),
    }
}

fn configuration(random: &mut Random) -> Config {
    let mut config = Config::default();
    config.session.expiry_s = 100_000;
    config.session.inflight_max = random.pick(&[1, 3, 100]);
    config.limits.receive_max = random.pick(&[6, 100]);
    config.limits.subscriptions_expected = random.pick(&[1, 1_000]);
    config.sys.interval_s = 0;
    config.storage.durability = random.pick(&[
        Durability::Sync,
        Durability::Sync,
        Durability::Sync,
        Durability::Sync,
        Durability::Interval,
    ]);
    config.storage.interval_ms = random.pick(&[100, 600]);
    config.storage.backlog_bytes = random.pick(&[300, 2_000, 1_000_000]);
    config.storage.will_grace_s = random.pick(&[1, 2]);
    config.storage.will_rate = random.pick(&[1, 20]);
    config
}

fn roughness(random: &mut Random, config: &Config) -> Roughness {
    let is_interval = config.storage.durability == Durability::Interval;
    Roughness {
        segment_bytes: random.pick(&[1_000, 5_000, 40_000]),
        checkpoint_bytes_min: random.pick(&[1_000, 4_000, 30_000, 1_000_000]),
        interval_ms: is_interval.then_some(config.storage.interval_ms),
        commit_max: random.pick(&[0, 5, 60, 300]),
        notice_max: random.pick(&[0, 5, 60]),
    }
}

/// `is_sharing`: most are members of Shared Subscriptions, slow ones that often begin anew.
fn profile(random: &mut Random, is_loyal: bool, is_sharing: bool) -> Profile {
    let is_worker = random.percent(if is_sharing { 80 } else { 35 });
    let version = random.pick(&[Version::V311, Version::V5, Version::V5]);
    let may_expire = version == Version::V5 && !is_worker && !is_loyal && random.percent(30);
    Profile {
        version,
        is_worker,
        is_watcher: false,
        is_loyal: is_loyal || !is_sharing && random.percent(40),
        // What a member of a Shared Subscription has got goes with it.
        dies_at: (!is_worker && random.percent(25)).then(|| random.within(500, 6_000)),
        ack_max: random.pick(if is_sharing { &[300, 1_000, 3_000] } else { &[0, 20, 300] }),
        act_max: random.pick(&[20, 60, 200]),
        clean_percent: if is_sharing { 50 } else { 10 },
        expiry_s: if may_expire { Some(random.pick(&[1, 2, 4])) } else { None },
    }
}

fn watcher() -> Profile {
    Profile {
        version: Version::V5,
        is_worker: false,
        is_watcher: true,
        is_loyal: true,
        dies_at: None,
        ack_max: 5,
        act_max: 100,
        clean_percent: 0,
        expiry_s: None,
    }
}

impl Scenario {
    pub fn new(seed: u64, trace: bool, defect: Option<Defect>) -> Self {
        let mut random = Random::new(seed ^ 0x00c4_a5e5);
        let config = configuration(&mut random);
        let roughness = roughness(&mut random, &config);
        let weather = weather(&mut random);
        let is_interval = config.storage.durability == Durability::Interval;
        let is_sharing = !is_interval && random.percent(25);
        let mut profiles: Vec<Profile> =
            (0..random.within(2, 4)).map(|_| profile(&mut random, is_interval, is_sharing)).collect();
        profiles.push(watcher());
        let credits = random.within(1, 8) as u32;
        let wild_until = random.pick(&[2_000, 5_000, 8_000]);
        let mut trace = Trace::new(trace);
        trace.note(|| {
            format!(
                "seed {seed}: {credits} credits, {weather:?}\n{roughness:?}\n{:?}\n{profiles:#?}",
                config.storage
            )
        });
        // A batch is taken, waits, is synced when the interval is over or the one after it comes; the word of it takes its time.
        let tail_ms = roughness.interval_ms.map(|ms| u64::from(ms) + 2 * roughness.commit_max + 1_000);
        let crash_at = random.within(50, 3_000);
        let hurt_at = if !is_interval && random.percent(60) { random.within(100, 3_000) } else { u64::MAX };
        let mut world = World::new(Vec::new(), credits, weather, random, trace);
        world.policy = Arc::new(Policy { file: Acl::parse(RULES).unwrap(), ..Policy::default() });
        let clients =
            profiles.into_iter().enumerate().map(|(index, profile)| Client::new(index, profile, 0)).collect();
        Self {
            world,
            model: Model { tail_ms, ..Model::default() },
            store: Store::new(seed, roughness, defect),
            clients,
            config: Arc::new(config),
            seed,
            credits,
            crash_at,
            hurt_at,
            wild_until,
            is_calm: false,
            is_sharing,
            flips: false,
            lost: 0,
        }
    }

    /// From the first start to the last message.
    pub fn run(&mut self) -> Check<Checked> {
        self.start()?;
        while self.world.now < self.wild_until {
            self.meddle()?;
            let gone = self.model.members_gone;
            self.step()?;
            if self.is_sharing && self.model.members_gone > gone && self.world.random.percent(30) {
                // What it leaves is on its way to other members for some ms.
                self.crash_at = self.world.now + self.world.random.within(0, 100);
            }
        }
        if self.world.random.percent(50) {
            self.crash()?;
        }
        self.calm_down();
        self.rest()?;
        let retained = self.audit()?;
        self.model.finish()?;
        self.model.audit(&retained)?;
        self.check_wills()?;
        self.model.checked.failures = self.store.failures;
        self.model.checked.checkpoints = self.store.checkpoints;
        self.model.checked.wall_jumps = self.store.wall_jumps;
        Ok(self.model.checked)
    }

    /// Brokers begin with what is on the disk.
    fn start(&mut self) -> Check {
        let clocks = self.store.clocks(self.world.now);
        if self.flips {
            self.lost += flip::check(&self.store.disk, clocks, &mut self.world.random)?;
            flip::flip(&self.store.disk, &mut self.world.random);
        }
        let options = RecoverOptions { accept_damage: self.flips, store_id: self.seed, user_key: self.seed };
        let recovered = recover(&self.store.disk, clocks, &options, &mut |_| ());
        let (mut restored, end, report) = match recovered {
            Ok(recovered) => recovered,
            Err(error) => return broken("crash-recovers", error.to_string()),
        };
        self.world.trace.note(|| format!("recovered: {report:?}\n{restored:#?}"));
        let damage = report.findings.iter().find(|finding| finding.is_damage());
        ensure(damage.is_none() || self.flips, "crash-is-no-damage", || format!("{damage:?}"))?;
        let is_new = report.files == 0;
        ensure(is_new || restored.now == Timestamp(self.world.now), "crash-journal-time", || {
            format!("{:?} instead of {}", restored.now, self.world.now)
        })?;
        self.model.checked.restored += report.sessions;
        self.store.forget(&mut restored);
        let shards = self.world.random.pick(&[1, 2, 3, 5]);
        let origins = Origins {
            first_serial: restored.first_serial,
            first_number: restored.first_number,
            user_key: restored.user_key,
            now: restored.now,
        };
        let seed = self.world.random.word();
        let shared = Shared::after(&self.config, shards, seed, 0, origins);
        let parts = distribute(restored, &shared.placement, shards);
        let setup = |shard| BrokerSetup {
            shard: ShardId(shard),
            config: Arc::clone(&self.config),
            shared: Arc::clone(&shared),
        };
        let nodes: Vec<Broker> = (0..shards).map(|shard| Broker::new(setup(shard))).collect();
        self.world.restart(nodes, self.credits, parts)?;
        if let Err(error) = self.store.open(&mut self.world, end) {
            // The disk fails at the start: it does not come to one, and somebody starts it again.
            self.world.trace.note(|| format!("does not start: {error}"));
            return self.crash();
        }
        Ok(())
    }

    /// Everything but the clients and the disk is gone, and comes back after a while.
    fn crash(&mut self) -> Check {
        self.model.checked.crashes += 1;
        self.model.crashes.push(self.world.now);
        self.world.crash();
        self.store.crash();
        let random = &mut self.world.random;
        let away_ms = random.pick(&[0, 0, 0, 10, 10, 2_000, 2_000, 20_000]);
        self.crash_at = self.world.now + away_ms + random.within(20, 3_000);
        self.world.now += away_ms;
        self.start()
    }

    /// What happens to the machine.
    fn meddle(&mut self) -> Check {
        let now = self.world.now;
        self.store.turn_clock();
        if now >= self.hurt_at {
            if self.store.is_full() {
                self.store.relieve();
            } else {
                self.store.hurt();
            }
            self.hurt_at = now + self.world.random.within(50, 3_000);
        }
        if now < self.crash_at {
            return Ok(());
        }
        if self.world.random.percent(40) {
            return self.crash();
        }
        self.crash_at = u64::MAX;
        let operations = self.world.random.within(0, 12);
        self.store.lose_power_after(operations);
        Ok(())
    }

    /// One thing happens: a turn of a shard, a deed of a client, a batch of the writer, or time passes.
    fn step(&mut self) -> Check {
        ensure(self.world.step < STEPS_MAX, "comes-to-rest", || "too many steps".to_owned())?;
        self.model.checked.failures = self.store.failures;
        self.world.ended.clear();
        self.world.news.clear();
        let now = self.world.now;
        let shards = self.world.nodes.len();
        let mut runnable: Vec<usize> = (0..shards).filter(|&at| self.world.is_runnable(at)).collect();
        for (at, client) in self.clients.iter().enumerate() {
            if client.next_at(&self.world, self.is_calm).is_some_and(|next| next <= now) {
                runnable.push(shards + at);
            }
        }
        let writer = shards + self.clients.len();
        if self.store.next_at(&self.world).is_some_and(|next| next <= now) {
            runnable.push(writer);
        }
        if runnable.is_empty() {
            self.pass_time();
            return Ok(());
        }
        let chosen = runnable[self.world.random.below(runnable.len())];
        if self.world.random.percent(10) {
            self.world.now += 1;
        }
        self.world.stamp();
        if chosen < shards {
            self.world.turn(chosen)
        } else if chosen < writer {
            let Self { world, model, clients, is_calm, .. } = self;
            clients[chosen - shards].poll(world, model, *is_calm)
        } else if self.store.work(&mut self.world) {
            self.crash()
        } else {
            Ok(())
        }
    }

    fn pass_time(&mut self) {
        let now = self.world.now;
        let clients = self.clients.iter().filter_map(|c| c.next_at(&self.world, self.is_calm));
        let next = clients.chain(self.world.next_at()).chain(self.store.next_at(&self.world));
        let next = next.filter(|&at| at > now).min().unwrap_or(now + 100);
        let next = if self.is_calm { next } else { next.min(self.crash_at.max(now + 1)) };
        self.world.now = next;
        self.world.collect_credits();
    }

    /// No more crashes; the disk is good; everyone who lives comes.
    fn calm_down(&mut self) {
        self.world.trace.note(|| "calm".to_owned());
        self.is_calm = true;
        self.store.calm_down();
        let now = self.world.now;
        self.clients.iter_mut().for_each(|client| client.calm_down(now));
    }

    /// Runs until nothing is under way, and every Will that waits has had its time.
    fn rest(&mut self) -> Check {
        let from = self.world.now;
        let wills_ms = 20_000;
        loop {
            let runnable = (0..self.world.nodes.len()).any(|at| self.world.is_runnable(at));
            let is_settled = self.clients.iter().all(|client| client.is_settled(&self.world));
            let is_quiet = self.world.is_settled() && self.store.is_at_rest(&self.world);
            if is_settled && is_quiet && !runnable && self.world.now > from + wills_ms {
                return self.world.check_at_rest();
            }
            if self.world.now > from + CALM_MS {
                let waiting: Vec<String> = self
                    .clients
                    .iter()
                    .filter(|client| !client.is_settled(&self.world))
                    .map(Client::waits_for)
                    .collect();
                let rest = self.store.is_at_rest(&self.world);
                return broken(
                    "crash-comes-to-rest",
                    format!("{waiting:#?}\nstore at rest: {rest}\n{}", self.world.unsettled()),
                );
            }
            self.step()?;
        }
    }

    /// A new client asks for everything retained; what it got.
    fn audit(&mut self) -> Check<BTreeMap<String, usize>> {
        let index = self.clients.len();
        let mut auditor = Client::new(index, watcher(), self.world.now);
        auditor.is_auditor = true;
        self.clients.push(auditor);
        self.rest()?;
        Ok(std::mem::take(&mut self.clients[index].retained))
    }

    /// The Will of everyone who died has come to the watcher: once, and not before its delay was over.
    fn check_wills(&mut self) -> Check {
        if self.model.tail_ms.is_some() {
            return Ok(());
        }
        let watcher = self.clients.iter().position(|client| client.profile.is_watcher).unwrap_or(0);
        let of_watcher = || self.model.sessions.iter().filter(|session| session.client == watcher);
        let asked_at =
            of_watcher().flat_map(|s| &s.subscriptions).filter_map(|s| s.acked).map(|at| at.1).min();
        let dead = self.clients.iter().filter(|client| client.phase == Phase::Dead);
        let mut wills = 0;
        for client in dead.filter(|client| asked_at.is_some_and(|at| at < client.died_at)) {
            let is_its = |will: Will| will.socket == client.socket;
            let number = self.model.messages.iter().position(|m| m.will.is_some_and(is_its));
            let Some((number, will)) = number.and_then(|n| Some((n, self.model.messages[n].will?))) else {
                continue;
            };
            wills += 1;
            let got: Vec<_> = of_watcher().filter_map(|session| session.got.get(&number)).collect();
            let seen: u32 = got.iter().map(|got| got.fresh).sum();
            ensure(seen == 1, "crash-will-once", || {
                format!("client {}: its Will, message {number}, was seen {seen} times", client.index)
            })?;
            // After a crash the moment of its connection's end is not known that well.
            let is_known = self.model.crashes.iter().all(|&at| at < client.died_at);
            let session_s = client.profile.expiry_s.unwrap_or(u32::MAX);
            let due = client.died_at + u64::from(will.delay_s.min(session_s)) * 1000;
            let is_early = is_known && got.iter().any(|got| got.first_at < due);
            ensure(!is_early, "crash-will-when-due", || {
                format!("client {}: its Will, message {number}, was seen before {due}", client.index)
            })?;
        }
        self.model.checked.wills += wills;
        Ok(())
    }
}
