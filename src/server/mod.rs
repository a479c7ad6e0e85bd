//! The broker on the real machine: the only caller of `shards`. Start, listeners, signals, reload, drain, systemd.
//! What a shard does with its broker is in `application`; everything else here happens once, on the main thread.

mod access;
mod acl_file;
mod acl_http;
mod application;
mod auth_cache;
mod auth_gate;
mod auth_http;
mod auth_pool;
mod certificates;
mod cpus;
mod hand_over;
mod handshakes;
mod listeners;
mod log;
mod machine;
mod memory;
mod names;
mod notify;
mod operators;
mod storage;
mod watchdog;
mod wrapped;

use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shards::{Handle, ShardId, Shards};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::admin::{
    AdminError, Desk, DeskParts, Doors, Order, Recovery, Reloaded, Serving, StoredFile, StoredFileError,
    TraceDesk,
};
use crate::bridge::{BridgeError, ReadyBridges};
use crate::broker::{Condition, Origins, Shared};
use crate::config::{Arguments, Config, ShardCount};
use crate::webhook::{WebhookError, Webhooks};
use access::Access;
use acl_http::AclAsker;
use application::{Application, Door, ServerMessage, Setup};
use auth_gate::{Gate, Secrets};
use auth_pool::Pool;
use certificates::Certificates;
use memory::MemoryMeter;
use notify::ServiceManager;
use operators::{Doormen, Event, Line};
use storage::{Opened, Parts};

pub use acl_file::{AclFileError, load_policy};
pub use log::{LogHandle, start_log};
pub use storage::StorageError;

/// How long clients have to take what is queued for them when they are sent away.
const FLUSH_TIMEOUT_MS: u64 = 5_000;
/// Messages that one shard may have under way to another. Fewer where shards are many: there is a queue a pair.
const MAILBOX_CREDITS_MAX: u32 = 4_096;
const MAILBOX_CREDITS_SUM: u32 = 65_536;
const MAILBOX_CREDITS_MIN: u32 = 64;

/// Why the broker did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine does not allow it: the line names the thing and the mend.
    #[error("{0}")]
    Start(#[from] shards::StartError),
    /// A shard ended badly.
    #[error("{0}")]
    Join(#[from] shards::JoinError),
    /// The files of a TLS listener can't serve.
    #[error("{0}")]
    Certificates(String),
    /// The server that knows who may do what can't be asked.
    #[error("{0}")]
    AclRequest(String),
    /// The ACL can't be used.
    #[error("{0}")]
    Acl(#[from] AclFileError),
    /// The journal can't be read or written.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The port of the admin side can't be had.
    #[error("{0}")]
    Admin(#[from] AdminError),
    /// Signals can't be received.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
    /// A file that authentication needs can't be read.
    #[error("{0}")]
    Auth(#[from] crate::auth::FileError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes (getrandom(2)); authentication needs them")]
    Random,
    /// The stored automatic subscriptions can't be read.
    #[error("{0}")]
    Stored(#[from] StoredFileError),
    /// A webhook can't run.
    #[error("{0}")]
    Webhook(#[from] WebhookError),
    /// A bridge can't run.
    #[error("{0}")]
    Bridge(#[from] BridgeError),
    /// No thread can be started.
    #[error("cannot start a thread: {0}; raise the limit of processes (ulimit -u)")]
    Thread(std::io::Error),
}

/// Warnings of the configuration, into the log.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Runs the broker until SIGTERM or SIGINT. The configuration is read again as `arguments` say (SIGHUP).
///
/// # Errors
/// What kept it from starting, in one line.
pub fn run(config: Config, log: &LogHandle, arguments: &Arguments) -> Result<(), Error> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(Error::Signals)?;
    let (events, happened) = operators::events(signals).map_err(Error::Thread)?;
    let doors = Doors::open(&config, |warning| tracing::warn!("{warning}"))?;
    let recovery = Arc::<Recovery>::default();
    // Whoever watches is answered from here on, however long the journal takes.
    let mut serving = doors.serve(Arc::clone(&recovery), shards::lower_priority)?;
    let mut config = Arc::new(config);
    let certificates = load_certificates(&config, |warning| tracing::warn!("{warning}"))?;
    let policy = load_policy(&config)?;
    let access = Access::new(&config);
    let stored = StoredFile::open(&config.node.data_dir)?;
    let setup = machine(&config, &access);
    let capacity = shards::probe::check(&setup)?;
    let opened = Opened::read(&config, random_seed, &recovery)?;
    let origins = opened.as_ref().map_or_else(fresh_origins, Opened::origins);
    let started = Instant::now();
    let shared =
        Shared::after(&config, setup.shards, random_seed(), unix_ms().saturating_sub(origins.now.0), origins);
    let webhooks = Arc::new(Webhooks::start(&config.webhooks)?);
    let ready_bridges = ReadyBridges::read(&config, &shared.bridge_mark)?;
    let memory =
        MemoryMeter::start(Arc::clone(&shared.pressure), config.limits.memory_max).map_err(Error::Thread)?;
    let secrets = Secrets::new().ok_or(Error::Random)?;
    let asker = Arc::<AclAsker>::default();
    asker.replace(&config).map_err(Error::AclRequest)?;
    let gate = Gate::load(&config, &secrets)?;
    let pool = Pool::new(&config.auth, &gate);
    let door = Door { gate, pool: Arc::clone(&pool), asker: Arc::clone(&asker) };
    let handle_later = Arc::<OnceLock<Handle<Application>>>::default();
    let (journal, parts) = match opened {
        None => (None, Parts::default()),
        Some(opened) => {
            let later = Arc::clone(&handle_later);
            let (journal, parts) = opened.start(&config, &shared, setup.shards, started, later)?;
            (Some(journal), parts)
        }
    };
    let (trace_writer, traces) = TraceDesk::start(&config.node.data_dir).map_err(Error::Thread)?;
    let shards = {
        let of_each = Setup {
            config: Arc::clone(&config),
            shared: Arc::clone(&shared),
            layers: listeners::layers(&config),
            acceptors: certificates.acceptors(),
            access: Arc::clone(&access),
            door,
            policy: Arc::clone(&policy),
            journal: journal.clone(),
            parts,
            traces: trace_writer,
            stored: stored.all(),
            webhooks: Arc::clone(&webhooks),
        };
        Shards::<Application>::start(setup, move |shard, io| Application::new(shard, of_each.clone(), io))?
    };
    // Nobody sets it before.
    let _ = handle_later.set(shards.handle());
    pool.start(&config.auth, &shards.handle()).map_err(Error::Thread)?;
    asker.start(&shards.handle()).map_err(Error::Thread)?;
    let bridges = Arc::new(ready_bridges.start()?);
    let desk = Desk::new(DeskParts {
        line: Box::new(Line(shards.handle())),
        orders: Box::new(move |order| events.send(Event::Order(order)).is_ok()),
        shared: Arc::clone(&shared),
        storage: journal.clone(),
        listeners: Box::new(Doormen::new(&config, shards.addresses(), &access, shards.handle())),
        policy: Arc::clone(&policy),
        config: Arc::clone(&config),
        arguments: arguments.clone(),
        traces,
        started,
        stored,
        bridges: Arc::clone(&bridges),
        webhooks,
    });
    open_doors(&mut serving, &config, &desk);
    let manager = Arc::new(ServiceManager::from_environment());
    let status =
        announce(&config, serving.address(), shards.addresses(), shards.handle().shards(), &capacity);
    manager.ready(&status);
    watchdog::start(&manager, &desk).map_err(Error::Thread)?;
    let handle = shards.handle();
    let watcher = {
        let handle = handle.clone();
        let apply = {
            let handle = handle.clone();
            move |acceptors| {
                send_all(&handle, || ServerMessage::Certificates(Arc::clone(&acceptors)));
            }
        };
        certificates.watch(apply, move |expiring| {
            handle.send(ShardId(0), ServerMessage::Condition(Condition::CertificateExpiry, expiring));
        })
    };
    for event in happened {
        let (reply, is_reload) = match event {
            Event::Order(Order::ReloadAcl(reply)) => {
                // Whoever asked may have gone.
                let _ = reply.send(reload_policy(&config, &handle, &desk));
                continue;
            }
            Event::Order(Order::Reload(reply)) => (Some(reply), true),
            Event::Signal(signal) => (None, signal == SIGHUP),
        };
        if !is_reload {
            tracing::info!("shutting down: clients are sent away");
            desk.set_draining();
            manager.stopping();
            bridges.stop();
            send_all(&handle, || ServerMessage::Drain);
            break;
        }
        manager.reloading();
        if let Some(watcher) = &watcher {
            watcher.refresh();
        }
        let side = (&*access, &secrets, &pool, &asker);
        let outcome = reload_config(&mut config, log, side, &handle, arguments, &desk);
        desk.set_config(Arc::clone(&config));
        memory.change(config.limits.memory_max);
        manager.ready(match &outcome {
            Ok(_) => &status,
            Err(_) => "the configuration was not reloaded; the log says why",
        });
        if let Err(problem) = &outcome {
            tracing::error!("the configuration was not reloaded, the old one stays in effect: {problem}");
        }
        if let Some(reply) = reply {
            // Whoever asked may have gone.
            let _ = reply.send(outcome);
        }
    }
    shards.join()?;
    drop(serving);
    if let Some(journal) = journal {
        journal.stop();
    }
    tracing::info!("all shards have ended");
    Ok(())
}

/// Reads the certificates that `config` names, as [`run`] does, and nothing else (`myriad check`). Warnings go to `warn`, a
/// line each.
///
/// # Errors
/// The file that can't serve, and why.
pub fn check(config: &Config, warn: impl FnMut(String)) -> Result<(), Error> {
    load_certificates(config, warn)?;
    load_policy(config)?;
    ReadyBridges::read(config, "")?;
    Webhooks::check(&config.webhooks)?;
    let secrets = Secrets::new().ok_or(Error::Random)?;
    Gate::load(config, &secrets)?;
    Ok(())
}

fn load_certificates(config: &Config, warn: impl FnMut(String)) -> Result<Certificates, Error> {
    Certificates::load(config, warn).map_err(|error| Error::Certificates(error.to_string()))
}

/// What the configuration asks of the machine.
fn machine(config: &Config, access: &Arc<Access>) -> shards::Config {
    let cpus = cpus::allowed();
    let shards = match config.node.shards {
        ShardCount::Auto => u16::try_from(cpus.len()).unwrap_or(u16::MAX).max(1),
        ShardCount::Count(count) => count,
    };
    let credits = MAILBOX_CREDITS_SUM / u32::from(shards);
    shards::Config {
        shards,
        pin: config.node.cpu_pinning,
        cpus,
        connections_max: config.limits.max_connections,
        refusals: u32::from(shards).saturating_mul(64),
        listeners: listeners::sockets(config, access),
        mailbox_credits: credits.clamp(MAILBOX_CREDITS_MIN, MAILBOX_CREDITS_MAX),
        flush_timeout_ms: FLUSH_TIMEOUT_MS,
        ring_slots_max: None,
    }
}

/// One line a listener, then `myriad ready`: whoever started the broker waits for it. The same in short for a service
/// manager.
fn announce(
    config: &Config,
    admin: Option<SocketAddr>,
    addresses: &[SocketAddr],
    shards: u16,
    capacity: &shards::probe::Capacity,
) -> String {
    let fit = (u64::from(shards) * capacity.connections_per_shard)
        .min(u64::from(config.limits.max_connections))
        .min(capacity.files_max);
    println!(
        "myriad {} with {shards} shards: {fit} connections fit (limits.max_connections {}, {} open files a process)",
        env!("CARGO_PKG_VERSION"),
        config.limits.max_connections,
        capacity.descriptors_max,
    );
    for (listener, address) in config.listeners.iter().zip(addresses).filter(|(l, _)| !l.is_internal) {
        println!("listening on {}", listener.url.at(*address));
    }
    if let Some(address) = admin {
        println!("admin on http://{address}");
    }
    println!("myriad ready");
    format!("{shards} shards, {fit} connections fit")
}

/// Reads the configuration again and puts into effect what can be.
///
/// # Errors
/// Why the old one stays in effect.
fn reload_config(
    config: &mut Arc<Config>,
    log: &LogHandle,
    (access, secrets, pool, asker): (&Access, &Arc<Secrets>, &Arc<Pool>, &Arc<AclAsker>),
    handle: &Handle<Application>,
    arguments: &Arguments,
    desk: &Desk,
) -> Result<Reloaded, String> {
    let new = arguments.load(|warning| warn(&[warning])).map_err(|error| error.to_string())?;
    let changes = config.diff_live(&new);
    if !changes.needs_restart.is_empty() {
        tracing::warn!(keys = changes.needs_restart.join(", "), "these keys change with the next restart");
    }
    // All or nothing: what the files say and what the configuration says of them belong together.
    let gate = Gate::load(&changes.config, secrets).map_err(|error| error.to_string())?;
    let no_thread = |error| format!("no thread for authentication can be started: {error}");
    pool.start(&changes.config.auth, handle).map_err(no_thread)?;
    if let Err(error) = log.change(&changes.config.log) {
        tracing::error!(%error, "the log level stays");
    }
    asker.replace(&changes.config)?;
    if let Err(error) = asker.start(handle) {
        tracing::error!(%error, "no thread for questions about the ACL can be started: they are not answered");
    }
    if let Err(error) = reload_policy(&changes.config, handle, desk) {
        tracing::error!(error, "the ACL was not reloaded, the old rules stay in effect");
    }
    *config = Arc::new(changes.config);
    access.replace(config);
    let layers = listeners::layers(config);
    pool.replace_gate(&gate);
    send_all(handle, || ServerMessage::Reload(Arc::clone(config), Arc::clone(&layers), Arc::clone(&gate)));
    tracing::info!(changed = changes.changed.join(", "), "configuration reloaded");
    Ok(Reloaded { changed: changes.changed, needs_restart: changes.needs_restart })
}

/// The first start makes an operator, whose password is told here and nowhere else.
fn announce_first_operator(desk: &Desk) {
    let file = desk.operators_file().display();
    match desk.make_first_operator() {
        Ok(None) => {}
        Ok(Some(password)) => println!(
            "admin password: {password} (user admin), shown once; change it with myriadctl passwd {file} admin"
        ),
        Err(error) => tracing::error!(
            %error,
            "nobody can log in to the admin side: mend the file of operators, or name another with admin.users_file"
        ),
    }
}

/// Reads the ACL again.
///
/// # Errors
/// Why the old rules stay in effect.
fn reload_policy(config: &Config, handle: &Handle<Application>, desk: &Desk) -> Result<(), String> {
    let policy = load_policy(config).map_err(|error| error.to_string())?;
    send_all(handle, || ServerMessage::Policy(Arc::clone(&policy)));
    desk.set_policy(policy);
    Ok(())
}

/// Lets operators in. Without a control socket the broker still serves its clients.
fn open_doors(serving: &mut Serving, config: &Config, desk: &Arc<Desk>) {
    if config.node.control_socket
        && let Err(error) = serving.open_socket(&config.node.data_dir)
    {
        tracing::warn!(%error, "no control socket: myriadctl can't ask anything of this broker");
    }
    if serving.address().is_some() {
        announce_first_operator(desk);
    }
    serving.admit(Arc::clone(desk));
}

fn send_all(handle: &Handle<Application>, message: impl Fn() -> ServerMessage) {
    for shard in 0..handle.shards() {
        handle.send(ShardId(shard), message());
    }
}

/// Keys every hash of the process: std's hasher takes its keys from the system's random source.
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// Those of a node that keeps nothing.
fn fresh_origins() -> Origins {
    Origins { user_key: random_seed(), ..Origins::default() }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
