//! Threads that compute hashes, check signatures and ask HTTP servers for the shards. They have low priority, so that
//! connected clients come first, and bounded queues. Those that compute and those that wait for another machine have a
//! queue each: a slow HTTP server keeps no one from a password file.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::application::{Application, ServerMessage};
use super::auth_gate::Gate;
use crate::auth::{Moment, OwnedCredentials, Progress, QuestionWatch, Refusal, Verdict};
use crate::config::Auth;
use crate::interest::ShardId;
use crate::session::ConnectionId;

/// Stack of a thread: what TLS and a chain of certificates need, and some.
const STACK_BYTES: usize = 1024 * 1024;

/// Client Identifiers, User Names and passwords that may wait in a queue: each may have 64 KiB, and nobody knows yet who sent it.
const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A client that waits for its verdict.
#[derive(Debug)]
pub(super) struct Job {
    /// Who is asked.
    pub(super) gate: Arc<Gate>,
    /// Whether anybody still waits for the verdict.
    pub(super) watch: QuestionWatch,
    /// About whom.
    pub(super) client: OwnedCredentials,
    /// The method that is to be asked next.
    pub(super) at: usize,
    /// When the shard asked, by the broker's clock and by Unix time.
    pub(super) now: Moment,
    /// The same by this process's clock.
    pub(super) asked: Instant,
    /// Who wants to know.
    pub(super) to: (ShardId, ConnectionId),
    /// Methods that were much work and did not know the client.
    pub(super) ignored: Vec<usize>,
    /// Methods that were much work.
    pub(super) computed: u32,
}

impl Job {
    fn moment(&self) -> Moment {
        let waited = self.asked.elapsed();
        Moment { at: self.now.at + waited, unix_s: self.now.unix_s.saturating_add(waited.as_secs()) }
    }
}

/// Jobs in the order of their coming, and what their clients' words take.
#[derive(Debug, Default)]
struct Jobs {
    list: VecDeque<Job>,
    bytes: usize,
}

impl Jobs {
    /// Appends a job, unless so many wait already, or so much.
    fn push(&mut self, job: Job, len_max: usize) -> bool {
        let bytes = job.client.bytes();
        if self.list.len() >= len_max || self.bytes + bytes > QUEUE_BYTES_MAX {
            return false;
        }
        self.bytes += bytes;
        self.list.push_back(job);
        true
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.list.pop_front()?;
        self.bytes -= job.client.bytes();
        Some(job)
    }
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    filled: Condvar,
}

impl Queue {
    /// Appends a job, unless the queue is full.
    fn push(&self, job: Job, len_max: usize) -> bool {
        let is_taken = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job, len_max);
        if is_taken {
            self.filled.notify_one();
        }
        is_taken
    }

    fn pop(&self) -> Job {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = jobs.pop() {
                return job;
            }
            jobs = self.filled.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The queues before the threads.
#[derive(Debug)]
pub(super) struct Pool {
    /// For hashes and signatures.
    computing: Queue,
    /// For HTTP.
    asking: Queue,
    /// By whom new jobs are judged, and those that waited over a reload.
    gate: Mutex<Arc<Gate>>,
    len_max: usize,
    /// Which of the threads run, those that compute first.
    running: [AtomicBool; 2],
}

impl Pool {
    /// Queues without threads.
    pub(super) fn new(config: &Auth, gate: &Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            computing: Queue::default(),
            asking: Queue::default(),
            gate: Mutex::new(Arc::clone(gate)),
            len_max: config.queue_len_max as usize,
            running: Default::default(),
        })
    }

    /// A reload has made another gate. To be called before the shards are told, so that they don't ask it in vain.
    pub(super) fn replace_gate(&self, gate: &Arc<Gate>) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(gate);
    }

    fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a job, unless its queue is full.
    pub(super) fn push(&self, job: Job) -> bool {
        self.queue_of(&job).push(job, self.len_max)
    }

    fn queue_of(&self, job: &Job) -> &Queue {
        if job.gate.is_http(job.at) { &self.asking } else { &self.computing }
    }

    /// Starts the threads that `config` has work for and that do not run yet. They end with the process.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        self: &Arc<Self>,
        config: &Auth,
        handle: &shards::Handle<Application>,
    ) -> std::io::Result<()> {
        let computes = config.asks("file") || config.asks("jwt");
        let wanted = [(computes, config.threads), (config.asks("http"), config.http.connections_max)];
        for (kind, (is_wanted, threads)) in wanted.into_iter().enumerate() {
            let is_running = self.running.get(kind).is_some_and(|running| running.swap(is_wanted, Relaxed));
            if is_wanted && !is_running {
                self.start_threads(kind == 1, threads, handle)?;
            } else if is_running {
                // Once started they stay.
                self.running.get(kind).inspect(|running| running.store(true, Relaxed));
            }
        }
        Ok(())
    }

    fn start_threads(
        self: &Arc<Self>,
        is_asking: bool,
        threads: u16,
        handle: &shards::Handle<Application>,
    ) -> std::io::Result<()> {
        for _ in 0..threads {
            let (pool, handle) = (Arc::clone(self), handle.clone());
            let name = if is_asking { "auth-http" } else { "auth" };
            thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(move || {
                shards::lower_priority();
                let queue = if is_asking { &pool.asking } else { &pool.computing };
                loop {
                    pool.serve(queue.pop(), &handle);
                }
            })?;
        }
        Ok(())
    }

    /// Asks the method that a job stands at; then it is answered, or waits for the next one.
    fn serve(&self, mut job: Job, handle: &shards::Handle<Application>) {
        if !job.watch.is_open() {
            // Its client is gone: nobody wants to know.
            return;
        }
        let gate = self.gate();
        if gate.generation() > job.gate.generation() {
            // Its verdict would come too late to count.
            return self.begin_again(job, gate, handle);
        }
        if job.asked.elapsed() > Duration::from_secs(job.gate.timeout_s().into()) {
            let verdict = Verdict::Deny(Refusal::busy("the client waited too long for its verdict"));
            return answer(&job, verdict, handle);
        }
        let now = job.moment();
        let client = job.client.borrow();
        // Another client with the same credentials may have been here since.
        let (verdict, at) = match job.gate.ask_from(&client, job.at, now) {
            (Progress::Verdict(verdict), _) => (verdict, None),
            (Progress::Work(at), _) if at != job.at => {
                job.at = at;
                return self.pass_on(job, handle);
            }
            (Progress::Work(at), _) => {
                job.computed += 1;
                (job.gate.work(&client, at, now), Some(at))
            }
        };
        let now = job.moment();
        match verdict {
            Verdict::Allow(identity) => {
                job.gate.remember(&client, at, &job.ignored, &identity, now.at);
                answer(&job, Verdict::Allow(identity), handle);
            }
            Verdict::Ignore if at.is_some() => {
                // A server that knows a client says yes, or no: this was no answer, and nothing to remember.
                if !job.gate.is_http(job.at) {
                    job.ignored.push(job.at);
                }
                match job.gate.ask_from(&job.client.borrow(), job.at + 1, now) {
                    (Progress::Verdict(verdict), _) => {
                        if let Verdict::Allow(identity) = &verdict {
                            job.gate.remember(&job.client.borrow(), None, &job.ignored, identity, now.at);
                        }
                        answer(&job, verdict, handle);
                    }
                    (Progress::Work(at), _) => {
                        job.at = at;
                        self.pass_on(job, handle);
                    }
                }
            }
            other => answer(&job, other, handle),
        }
    }

    /// A job that waited over a reload, from its first method on.
    fn begin_again(&self, mut job: Job, gate: Arc<Gate>, handle: &shards::Handle<Application>) {
        job.gate = gate;
        job.ignored.clear();
        match job.gate.ask_from(&job.client.borrow(), 0, job.moment()) {
            (Progress::Verdict(verdict), _) => answer(&job, verdict, handle),
            (Progress::Work(at), _) => {
                job.at = at;
                self.pass_on(job, handle);
            }
        }
    }

    /// To the queue of its next method.
    fn pass_on(&self, job: Job, handle: &shards::Handle<Application>) {
        let (to, generation, computed) = (job.to, job.gate.generation(), job.computed);
        let queue = self.queue_of(&job);
        if !queue.push(job, self.len_max) {
            let verdict = Verdict::Deny(Refusal::busy("too many clients wait for their verdict"));
            send(to, verdict, generation, computed, handle);
        }
    }
}

fn answer(job: &Job, verdict: Verdict, handle: &shards::Handle<Application>) {
    send(job.to, verdict, job.gate.generation(), job.computed, handle);
}

fn send(
    (shard, connection): (ShardId, ConnectionId),
    verdict: Verdict,
    generation: u64,
    computed: u32,
    handle: &shards::Handle<Application>,
) {
    let message = ServerMessage::Authenticated { connection, verdict, generation, computed };
    // False: the shard has ended, and the process with it.
    let _ = handle.send(shards::ShardId(shard.0), message);
}
