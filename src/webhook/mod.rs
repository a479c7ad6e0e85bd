//! Webhooks: events of clients, posted to HTTP servers as JSON arrays. A bounded queue and a thread each: a shard puts an event into
//! the queue or drops it, and never waits; a server that is slow or away costs events, and they are counted.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{HookEvent, HookKind};
use crate::config::{Webhook, shown_url};
use crate::topic;

/// The wait before the first repetition, which doubles, and the longest one.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Bytes of one request, past which it leaves though there is place for more events.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of an answer's body that are read, and thrown away, so that its connection can be used again.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Stack of a thread: what TLS needs, and some.
const STACK_BYTES: usize = 1024 * 1024;

/// Why webhooks can't run.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The file of one can't be used.
    #[error("webhook {url}: authorization_file {file}: {problem}")]
    Authorization {
        /// Which, without its secrets.
        url: String,
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no thread for one.
    #[error("cannot start a thread for webhooks: {0}")]
    Thread(std::io::Error),
}

#[derive(Debug, Default)]
struct Numbers {
    queued: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    error: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Hook {
    settings: Webhook,
    numbers: Arc<Numbers>,
    queue: SyncSender<Arc<str>>,
}

/// One webhook, for who looks at it.
#[derive(Debug, Clone)]
pub struct WebhookShown {
    /// Where to, without secrets.
    pub url: String,
    /// Which events.
    pub events: Vec<String>,
    /// Events that wait.
    pub queued: u64,
    /// Events that the server has taken.
    pub delivered: u64,
    /// Events that found the queue full.
    pub dropped: u64,
    /// Events that the server did not take, however often it was asked.
    pub failed: u64,
    /// The last trouble; `None`: the last request went well.
    pub error: Option<String>,
}

/// All webhooks of the node.
#[derive(Debug, Default)]
pub struct Webhooks(Vec<Hook>);

impl Webhooks {
    /// Starts one thread for each.
    ///
    /// # Errors
    /// A file can't be read, or there is no thread.
    pub fn start(all: &[Webhook]) -> Result<Self, WebhookError> {
        let mut hooks = Vec::new();
        for settings in all {
            let authorization = authorization(settings)?;
            let (queue, events) = sync_channel(settings.queue_len_max as usize);
            let numbers = Arc::<Numbers>::default();
            let poster = Poster::new(settings.clone(), authorization, Arc::clone(&numbers));
            thread::Builder::new()
                .name("webhook".into())
                .stack_size(STACK_BYTES)
                .spawn(move || poster.run(&events))
                .map_err(WebhookError::Thread)?;
            hooks.push(Hook { settings: settings.clone(), numbers, queue });
        }
        Ok(Self(hooks))
    }

    /// Reads the files of all, as `start` does, and nothing else.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn check(all: &[Webhook]) -> Result<(), WebhookError> {
        all.iter().try_for_each(|settings| authorization(settings).map(drop))
    }

    /// Puts an event into the queues of those that want it; false: some had no room. Does not wait.
    pub fn push(&self, event: &HookEvent) -> bool {
        let mut has_room = true;
        for hook in self.0.iter().filter(|hook| hook.wants(event)) {
            hook.numbers.queued.fetch_add(1, Relaxed);
            if hook.queue.try_send(Arc::clone(&event.json)).is_err() {
                hook.numbers.queued.fetch_sub(1, Relaxed);
                hook.numbers.dropped.fetch_add(1, Relaxed);
                has_room = false;
            }
        }
        has_room
    }

    /// All of them, in the order of the file.
    pub fn list(&self) -> Vec<WebhookShown> {
        let shown = |hook: &Hook| WebhookShown {
            url: shown_url(&hook.settings.url),
            events: hook.settings.events.clone(),
            queued: hook.numbers.queued.load(Relaxed),
            delivered: hook.numbers.delivered.load(Relaxed),
            dropped: hook.numbers.dropped.load(Relaxed),
            failed: hook.numbers.failed.load(Relaxed),
            error: hook.numbers.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        self.0.iter().map(shown).collect()
    }
}

impl Hook {
    fn wants(&self, event: &HookEvent) -> bool {
        self.settings.events.iter().any(|name| name == event.kind.name())
            && (event.kind != HookKind::Publish
                || event.topic.as_deref().is_some_and(|topic| {
                    self.settings.topics.iter().any(|filter| topic::matches(filter, topic))
                }))
    }
}

/// The value of the header `Authorization`.
fn authorization(settings: &Webhook) -> Result<Option<String>, WebhookError> {
    let file: &Path = &settings.authorization_file;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed = |problem: String| WebhookError::Authorization {
        url: shown_url(&settings.url),
        file: file.display().to_string(),
        problem,
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) if line.is_ascii() && !line.contains(|c: char| c.is_ascii_control()) => {
            Ok(Some(line.into()))
        }
        Some(_) => Err(failed("its first line is no value of a header".into())),
        None => Err(failed("its first line is empty".into())),
    }
}

/// The thread of one webhook.
struct Poster {
    settings: Webhook,
    authorization: Option<String>,
    agent: ureq::Agent,
    numbers: Arc<Numbers>,
}

/// What became of a request.
enum Outcome {
    Taken,
    /// It would be the same again.
    Refused(String),
    /// Perhaps later.
    Later(String),
}

impl Poster {
    fn new(settings: Webhook, authorization: Option<String>, numbers: Arc<Numbers>) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("myriad/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(Duration::from_millis(settings.timeout_ms.into())))
            .build()
            .new_agent();
        Self { settings, authorization, agent, numbers }
    }

    fn run(self, events: &Receiver<Arc<str>>) {
        while let Ok(first) = events.recv() {
            let (body, count) = self.gather(first, events);
            self.numbers.queued.fetch_sub(count, Relaxed);
            let trouble = self.deliver(&body);
            let counter = if trouble.is_none() { &self.numbers.delivered } else { &self.numbers.failed };
            counter.fetch_add(count, Relaxed);
        }
    }

    /// A request: the first event and those that come soon.
    fn gather(&self, first: Arc<str>, events: &Receiver<Arc<str>>) -> (String, u64) {
        let until = Instant::now() + Duration::from_millis(self.settings.linger_ms.into());
        let mut body = format!("[{first}");
        let mut count = 1;
        while count < u64::from(self.settings.batch_max) && body.len() < BATCH_BYTES_MAX {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    body.push(',');
                    body.push_str(&event);
                    count += 1;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        body.push(']');
        (body, count)
    }

    /// Posts a request, again and again if that may help; the trouble if it did not.
    fn deliver(&self, body: &str) -> Option<String> {
        let mut wait = BACKOFF_MIN;
        let mut left = self.settings.retries;
        loop {
            let trouble = match self.post(body) {
                Outcome::Taken => {
                    self.note(None);
                    return None;
                }
                Outcome::Refused(trouble) => {
                    self.note(Some(&trouble));
                    return Some(trouble);
                }
                Outcome::Later(trouble) => trouble,
            };
            self.note(Some(&trouble));
            if left == 0 {
                return Some(trouble);
            }
            left -= 1;
            thread::sleep(wait);
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// Another trouble than before is told, once.
    fn note(&self, trouble: Option<&str>) {
        let mut last = self.numbers.error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() != trouble {
            if let Some(trouble) = trouble {
                tracing::warn!(url = shown_url(&self.settings.url), "webhook: {trouble}");
            }
            *last = trouble.map(str::to_owned);
        }
    }

    fn post(&self, body: &str) -> Outcome {
        let mut request = self.agent.post(&self.settings.url).content_type("application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        match request.send(body) {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                // A body that is too long, or cut short, costs the connection and nothing else.
                let _ = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
                match status {
                    200..=299 => Outcome::Taken,
                    408 | 425 | 429 | 500.. => Outcome::Later(format!("status {status}")),
                    _ => Outcome::Refused(format!("status {status}")),
                }
            }
            // The URL may have secrets in it.
            Err(ureq::Error::BadUri(_)) => Outcome::Refused("its url can't be asked".into()),
            Err(error) => Outcome::Later(error.to_string()),
        }
    }
}
