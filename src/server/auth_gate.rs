//! Authentication as a shard asks for it: what is cheap or remembered is answered at once, the rest goes to the threads
//! of `auth_pool`. One gate for a configuration and the files that were read with it; a reload makes another one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::auth_cache::{Cache, Known};
use super::auth_http::HttpClient;
use super::auth_pool::{Job, Pool};
use crate::auth::{
    Answer, Chain, Credentials, ExchangeStep, FileError, Identity, Moment, Progress, Question, Refusal, Step,
    Verdict,
};
use crate::clock::Timestamp;
use crate::config::{Auth, Config};
use crate::interest::ShardId;
use crate::metrics::Metrics;
use crate::session::ConnectionId;

/// Keys that no one outside knows, new with every process.
pub(super) struct Secrets {
    /// Of the digests of credentials.
    digest_key: hmac::Key,
    /// Of the salts of unknown users. The same over reloads: a salt that changes would tell that nobody has it.
    salt_key: hmac::Key,
    random: SystemRandom,
    /// Gates that were made.
    gates: AtomicU64,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// New ones. `None`: the system gives no random bytes.
    pub(super) fn new() -> Option<Arc<Self>> {
        let random = SystemRandom::new();
        let key = || hmac::Key::generate(hmac::HMAC_SHA256, &random).ok();
        Some(Arc::new(Self { digest_key: key()?, salt_key: key()?, random, gates: AtomicU64::new(0) }))
    }
}

/// Who may come in, by one configuration.
#[derive(Debug)]
pub(super) struct Gate {
    chain: Chain,
    http: Option<HttpClient>,
    cache: Cache,
    config: Auth,
    secrets: Arc<Secrets>,
    generation: u64,
}

impl Gate {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// The first that can't be read, with the line.
    pub(super) fn load(config: &Config, secrets: &Arc<Secrets>) -> Result<Arc<Self>, FileError> {
        let config = config.auth.clone();
        let chain = Chain::load(&config, &read)?;
        let http = config.asks("http").then(|| HttpClient::new(&config.http, read)).transpose();
        let http = http.map_err(|problem| FileError { file: "auth.http.ca".into(), line: 0, problem })?;
        let cache = Cache::new(config.cache_len_max);
        let generation = secrets.gates.fetch_add(1, Relaxed);
        Ok(Arc::new(Self { chain, http, cache, config, secrets: Arc::clone(secrets), generation }))
    }

    /// Which of the gates of this process it is: later ones have larger numbers.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Asks who a client is. On the shard's thread.
    pub(super) fn ask(
        self: &Arc<Self>,
        client: &Credentials<'_>,
        now: Moment,
        to: (ShardId, ConnectionId),
        pool: &Pool,
        metrics: &Metrics,
    ) -> Answer {
        let (progress, is_known) = self.ask_from(client, 0, now);
        if is_known {
            metrics.auth_cache_hits.inc();
        }
        let at = match progress {
            Progress::Verdict(verdict) => return Answer::Now(verdict),
            Progress::Work(at) => at,
        };
        let question = Question::default();
        let job = Job {
            gate: Arc::clone(self),
            watch: question.watch(),
            client: client.to_owned(),
            at,
            now,
            asked: Instant::now(),
            to,
            ignored: Vec::new(),
            computed: 0,
        };
        if pool.push(job) {
            return Answer::Later(question);
        }
        metrics.auth_queue_full.inc();
        Answer::Now(Verdict::Deny(Refusal::busy("too many clients wait for their verdict")))
    }

    /// Asks the methods from `from` on, up to one that is much work and whose answer is not remembered. Tells too
    /// whether an answer was.
    pub(super) fn ask_from(&self, client: &Credentials<'_>, from: usize, now: Moment) -> (Progress, bool) {
        let (mut from, mut is_known) = (from, false);
        loop {
            let at = match self.chain.quick(client, from, now) {
                Progress::Verdict(verdict) => return (Progress::Verdict(verdict), is_known),
                Progress::Work(at) => at,
            };
            match self.cache.find(&self.digest(client, at), now.at) {
                Some(Known::Yes(identity)) => return (Progress::Verdict(Verdict::Allow(identity)), true),
                Some(Known::Ignored) => (from, is_known) = (at + 1, true),
                None => return (Progress::Work(at), is_known),
            }
        }
    }

    /// Asks the method at `at`, which is much work. Not on a shard's thread.
    pub(super) fn work(&self, client: &Credentials<'_>, at: usize, now: Moment) -> Verdict {
        match (self.chain.requests(at), &self.http) {
            (Some(requests), Some(http)) => http.ask(requests, client),
            _ => self.chain.work(client, at, now),
        }
    }

    /// Whether the method at `at` waits for another machine rather than computes.
    pub(super) fn is_http(&self, at: usize) -> bool {
        self.chain.requests(at).is_some()
    }

    /// Remembers who a client is, and the methods before that did not know it.
    pub(super) fn remember(
        &self,
        client: &Credentials<'_>,
        at: Option<usize>,
        ignored: &[usize],
        identity: &Arc<Identity>,
        now: Timestamp,
    ) {
        let until = |at: usize| {
            let seconds = if self.is_http(at) { self.config.http.cache_s } else { self.config.cache_s };
            let end = now.plus_s(u64::from(seconds));
            identity.expires_at.map_or(end, |expires_at| end.min(expires_at))
        };
        if let Some(at) = at.filter(|&at| until(at) > now) {
            self.cache.insert(self.digest(client, at), Known::Yes(Arc::clone(identity)), until(at));
        }
        for &at in ignored.iter().filter(|&&at| until(at) > now) {
            self.cache.insert(self.digest(client, at), Known::Ignored, until(at));
        }
    }

    /// Longest that a client waits for its verdict.
    pub(super) fn timeout_s(&self) -> u32 {
        self.config.timeout_s
    }

    /// A step of SCRAM-SHA-256. On the shard's thread: four hashes.
    pub(super) fn exchange(&self, client: &Credentials<'_>, step: ExchangeStep<'_>) -> Step {
        match step {
            ExchangeStep::First(message) => {
                let mut nonce = [0; 24];
                if self.secrets.random.fill(&mut nonce).is_err() {
                    return Step::Refused(Refusal::busy("the system gives no random bytes"));
                }
                let nonce = STANDARD_NO_PAD.encode(nonce);
                match self.chain.scram_first(client, message, &nonce, &self.secrets.salt_key) {
                    Ok((exchange, data)) => Step::Continue { exchange: Box::new(exchange), data },
                    Err(refusal) => Step::Refused(refusal),
                }
            }
            ExchangeStep::Last(exchange, message) => match self.chain.scram_last(&exchange, message) {
                Ok((identity, data)) => Step::Done { identity, data },
                Err(refusal) => Step::Refused(refusal),
            },
        }
    }

    fn digest(&self, client: &Credentials<'_>, at: usize) -> [u8; 16] {
        self.chain.digest(client, at, &self.secrets.digest_key)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("can't be read: {error}"))
}
