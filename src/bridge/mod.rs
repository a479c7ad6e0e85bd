//! Bridges to other brokers (`[[bridge]]`): one thread, a task each. On this node a bridge is a client with a durable session,
//! `$bridge:<name>`, over a socket that nobody else can open: what waits for the other broker is in that session's queue, and
//! in the journal. The protocol is in `link`; here are connections, their order, and the waiting between them.

mod link;
mod status;
mod stream;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::config::{BRIDGE_CLIENT_PREFIX, Bridge, Config, ListenerUrl};
use crate::packet::ProtocolVersion;
use link::{Account, Link, LinkSettings, Side};
use status::Status;
use stream::Stream;

pub use status::BridgeState;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait before the second try, which doubles, and the longest one.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A connection that has lasted so long was a good one: the next wait is short again.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of the longest line of a password file.
const PASSWORD_LEN_MAX: usize = 65_535;

/// Why bridges can't run.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A file of one can't be used.
    #[error("bridge {name:?}: {problem}")]
    Settings {
        /// Which bridge.
        name: String,
        /// What is wrong, with the file.
        problem: String,
    },
    /// There is no thread for them.
    #[error("cannot start a thread for bridges: {0}")]
    Thread(std::io::Error),
}

/// One bridge, for who looks at it.
#[derive(Debug, Clone)]
pub struct BridgeShown {
    /// Its name.
    pub name: String,
    /// Where the other broker is.
    pub url: String,
    /// What it does.
    pub state: BridgeState,
    /// The last trouble; `None`: it is connected, or there was none.
    pub error: Option<String>,
    /// Messages that came.
    pub messages_in: u64,
    /// Messages that went.
    pub messages_out: u64,
    /// Messages that were not passed on because they had been here.
    pub looped: u64,
    /// Messages that were not passed on for another reason.
    pub dropped: u64,
    /// Connections after the first one.
    pub reconnects: u64,
}

/// One bridge, for its task.
struct Task {
    bridge: Bridge,
    link: Arc<LinkSettings>,
    tls: Option<TlsConnector>,
    door: PathBuf,
    status: Arc<Status>,
    wanted: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Known {
    name: String,
    url: String,
    status: Arc<Status>,
    wanted: watch::Sender<bool>,
}

/// All bridges of the node.
#[derive(Debug, Default)]
pub struct Bridges(Vec<Known>);

/// Bridges that are ready to be started.
pub struct ReadyBridges {
    tasks: Vec<Task>,
    known: Vec<Known>,
}

impl ReadyBridges {
    /// Reads what they need. `mark` names this node among all.
    ///
    /// # Errors
    /// A file of one can't be used.
    pub fn read(config: &Config, mark: &str) -> Result<Self, BridgeError> {
        let mut ready = Self { tasks: Vec::new(), known: Vec::new() };
        let door = config.listeners.iter().find(|listener| listener.is_internal);
        let door = door.and_then(|listener| match &listener.url {
            ListenerUrl::Unix(path) => Some(path.clone()),
            ListenerUrl::Tcp { .. } => None,
        });
        for bridge in &config.bridges {
            let failed = |problem| BridgeError::Settings { name: bridge.name.clone(), problem };
            let link = Arc::new(settings(config, bridge, mark).map_err(failed)?);
            let tls = stream::tls(bridge).map_err(failed)?;
            let (start, wanted) = watch::channel(true);
            let status = Arc::<Status>::default();
            ready.known.push(Known {
                name: bridge.name.clone(),
                url: bridge.url.clone(),
                status: Arc::clone(&status),
                wanted: start,
            });
            let (bridge, door) = (bridge.clone(), door.clone().unwrap_or_default());
            ready.tasks.push(Task { bridge, link, tls, door, status, wanted });
        }
        Ok(ready)
    }

    /// Starts them, on a thread of their own, if there are some.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(self) -> Result<Bridges, BridgeError> {
        let Self { tasks, known } = self;
        if tasks.is_empty() {
            return Ok(Bridges::default());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(BridgeError::Thread)?;
        let work = move || {
            runtime.block_on(async {
                let running: Vec<_> = tasks.into_iter().map(|task| tokio::spawn(task.run())).collect();
                for task in running {
                    // Each ends when nobody can tell it anything any more.
                    let _ = task.await;
                }
            });
        };
        thread::Builder::new().name("bridges".into()).spawn(work).map_err(BridgeError::Thread)?;
        Ok(Bridges(known))
    }
}

impl Bridges {
    /// All of them, in the order of the file.
    pub fn list(&self) -> Vec<BridgeShown> {
        let shown = |known: &Known| {
            let (state, error) = known.status.now();
            BridgeShown {
                name: known.name.clone(),
                url: known.url.clone(),
                state,
                error,
                messages_in: known.status.messages_in.load(),
                messages_out: known.status.messages_out.load(),
                looped: known.status.looped.load(),
                dropped: known.status.dropped.load(),
                reconnects: known.status.reconnects.load(),
            }
        };
        self.0.iter().map(shown).collect()
    }

    /// Starts or stops one; false: there is none of that name.
    pub fn set(&self, name: &str, is_wanted: bool) -> bool {
        let Some(known) = self.0.iter().find(|known| known.name == name) else { return false };
        known.wanted.send_replace(is_wanted);
        true
    }

    /// Stops all: the broker ends.
    pub fn stop(&self) {
        for known in &self.0 {
            known.wanted.send_replace(false);
        }
    }
}

fn settings(config: &Config, bridge: &Bridge, mark: &str) -> Result<LinkSettings, String> {
    let remote = Account {
        version: if bridge.version == "5.0" { ProtocolVersion::V5 } else { ProtocolVersion::V311 },
        client_id: bridge.remote_client_id(),
        username: Some(bridge.username.clone()).filter(|name| !name.is_empty()),
        password: password(&bridge.password_file)?,
        clean_start: bridge.clean_start,
        routes: Bridge::routes(&bridge.subscribe),
    };
    let local = Account {
        version: ProtocolVersion::V5,
        client_id: format!("{BRIDGE_CLIENT_PREFIX}{}", bridge.name),
        username: None,
        password: None,
        clean_start: false,
        routes: Bridge::routes(&bridge.forward),
    };
    Ok(LinkSettings {
        local,
        remote,
        keep_alive_s: bridge.keep_alive_s,
        inflight_max: bridge.inflight_max,
        expiry_s: bridge.expiry_s,
        packet_bytes_max: config.limits.packet_bytes_max,
        mark: mark.to_owned(),
    })
}

/// The first line of a password file; `None`: there is none.
fn password(file: &Path) -> Result<Option<Vec<u8>>, String> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let bytes = std::fs::read(file).map_err(|error| format!("password_file {}: {error}", file.display()))?;
    let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    match line.len() {
        0 => Err(format!("password_file {}: its first line is empty", file.display())),
        1..=PASSWORD_LEN_MAX => Ok(Some(line.to_vec())),
        _ => Err(format!("password_file {}: its first line is too long", file.display())),
    }
}

impl Task {
    /// Connects, exchanges messages, waits and connects again, until nobody can tell it anything any more.
    async fn run(mut self) {
        let mut wait = BACKOFF_MIN;
        let mut is_first = true;
        loop {
            if !*self.wanted.borrow_and_update() {
                self.status.set(BridgeState::Stopped);
                if self.wanted.changed().await.is_err() {
                    return;
                }
                wait = BACKOFF_MIN;
                continue;
            }
            if self.wanted.has_changed().is_err() {
                return;
            }
            if !std::mem::take(&mut is_first) {
                self.status.reconnects.add(1);
            }
            self.status.set(BridgeState::Connecting);
            let began = Instant::now();
            let Err(trouble) = self.connect_and_exchange().await else { continue };
            if self.status.fail(&trouble) {
                tracing::warn!(bridge = self.bridge.name, "{trouble}; the bridge tries again");
            }
            if began.elapsed() > GOOD_AFTER {
                wait = BACKOFF_MIN;
            }
            // Whoever is told to stop does not wait.
            let _ = timeout(wait, self.wanted.changed()).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// One connection to its end; `Ok`: the bridge was told to stop.
    async fn connect_and_exchange(&mut self) -> Result<(), String> {
        let late = || "no connection within 10 s".to_owned();
        let remote = timeout(CONNECT_TIMEOUT, stream::remote(&self.bridge, self.tls.as_ref()));
        let remote = remote.await.map_err(|_| late())??;
        let local = UnixStream::connect(&self.door).await;
        let local = local.map_err(|error| format!("{}: {error}", self.door.display()))?;
        self.exchange(Box::new(local), remote).await
    }

    async fn exchange(&mut self, local: Box<dyn Stream>, remote: Box<dyn Stream>) -> Result<(), String> {
        let began = Instant::now();
        let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut link = Link::new(Arc::clone(&self.link), Arc::clone(&self.status), 0);
        let (mut local_in, mut local_out) = tokio::io::split(local);
        let (mut remote_in, mut remote_out) = tokio::io::split(remote);
        let (mut from_local, mut from_remote) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let (mut was_up, mut is_flushed) = (false, true);
        loop {
            let (to_local, to_remote) = link.outputs();
            let happened = tokio::select! {
                read = local_in.read(&mut from_local), if link.wants_input(Side::Local) => {
                    Happened::Read(Side::Local, read)
                }
                read = remote_in.read(&mut from_remote), if link.wants_input(Side::Remote) => {
                    Happened::Read(Side::Remote, read)
                }
                sent = send(&mut local_out, to_local), if !to_local.is_empty() => Happened::Sent(Side::Local, sent),
                sent = send(&mut remote_out, to_remote), if !to_remote.is_empty() || !is_flushed => {
                    Happened::Sent(Side::Remote, sent)
                }
                _ = ticks.tick() => Happened::Tick,
                changed = self.wanted.changed() => Happened::Told(changed.is_ok()),
            };
            let outcome = match happened {
                Happened::Read(side, read) => {
                    let bytes = match (side, read.map_err(|error| error.to_string())?) {
                        (_, 0) => return Err(format!("{side:?} side: the connection was closed")),
                        (Side::Local, len) => from_local.get(..len),
                        (Side::Remote, len) => from_remote.get(..len),
                    };
                    link.received(side, bytes.unwrap_or_default(), now_ms())
                }
                Happened::Sent(side, sent) => {
                    let len = sent.map_err(|error| error.to_string())?;
                    link.sent(side, len, now_ms());
                    if side == Side::Remote {
                        is_flushed = len == 0;
                    }
                    Ok(())
                }
                Happened::Tick => link.tick(now_ms()),
                Happened::Told(true) if *self.wanted.borrow_and_update() => Ok(()),
                Happened::Told(_) => return Ok(()),
            };
            outcome.map_err(|error| error.to_string())?;
            if link.is_up() && !was_up {
                was_up = true;
                self.status.set(BridgeState::Connected);
                tracing::info!(bridge = self.bridge.name, "the bridge is connected");
            }
        }
    }
}

/// What a turn of the exchange brought.
enum Happened {
    Read(Side, std::io::Result<usize>),
    Sent(Side, std::io::Result<usize>),
    Tick,
    Told(bool),
}

/// Sends some of the bytes; without any, what a layer still has in its buffer. Never both: one that is given up half way would
/// have sent what nobody knows of.
async fn send(stream: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() {
        return stream.flush().await.map(|()| 0);
    }
    stream.write(bytes).await
}
