//! Starting and ending all shards, and the way in from other threads.
//!
//! Pitfall 5: hand-overs name rings, and glommio wakes executors, by descriptor number. All rings and eventfds
//! exist before any shard runs, and no thread of ours leaves the shared table (`unshare(CLONE_FILES)`); who
//! wants many descriptors raises RLIMIT_NOFILE, or lets a shard have several rings.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};

use crate::application::{Application, ShardId};
use crate::io::Io;
use crate::limits::{Config, Layout};
use crate::listener::{Address, Bound, ListenerSocket, SocketFile};
use crate::mailbox::{Door, Exchange};
use crate::net::{Capacity, Entrance, Net};
use crate::probe::{check, ring_error};
use crate::ring::{Port, Remains};
use crate::shard::{Core, Shard, run};
use crate::stats::ShardStats;
use crate::sys::{self, EventFd, SignalsBlocked, SmallPages};

/// Why the shards did not start: one line that names the thing and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `Config::shards` is 0.
    #[error("0 shards are configured; at least 1 is needed")]
    NoShards,
    /// The kernel has no io_uring.
    #[error("this kernel ({release}) has no io_uring; run Linux 6.1 or newer, built with CONFIG_IO_URING")]
    Missing {
        /// Release of the running kernel.
        release: String,
    },
    /// io_uring is switched off.
    #[error(
        "io_uring is disabled (kernel.io_uring_disabled = {level}); run `sysctl kernel.io_uring_disabled=0`"
    )]
    Disabled {
        /// Value of the switch.
        level: String,
    },
    /// A filter forbids io_uring.
    #[error(
        "io_uring is forbidden here, probably by a seccomp profile (Docker's default one does that); \
         allow io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Forbidden,
    /// The kernel is too old.
    #[error("this kernel ({release}) is too old for the data rings; run Linux 6.1 or newer")]
    Kernel {
        /// Release of the running kernel.
        release: String,
    },
    /// Memory for the rings is charged to RLIMIT_MEMLOCK, which does not suffice.
    #[error(
        "not enough lockable memory for the rings of this many shards; raise RLIMIT_MEMLOCK \
         (systemd: LimitMEMLOCK=infinity), run fewer shards, or wait a moment after a restart"
    )]
    LockedMemory,
    /// Too few descriptors.
    #[error(
        "{needed} file descriptors are needed and {allowed} allowed; raise RLIMIT_NOFILE (systemd: LimitNOFILE=)"
    )]
    Descriptors {
        /// Descriptors needed.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// The system has too few open files.
    #[error(
        "{wanted} connections are configured and the system allows {allowed} open files; raise fs.file-max"
    )]
    Files {
        /// Connections configured.
        wanted: u32,
        /// `fs.file-max`.
        allowed: u64,
    },
    /// The port is taken.
    #[error("{0} is in use by another program; stop it or choose another port")]
    InUse(Address),
    /// The address is not one of this machine.
    #[error("{0} is not an address of this machine; use one that `ip address` lists, or 0.0.0.0 or [::]")]
    NotAvailable(Address),
    /// A low port without the right to it.
    #[error("no permission to bind {0}; use a port from 1024 on, or give the program CAP_NET_BIND_SERVICE")]
    Permission(Address),
    /// The directory of a Unix socket is not there or may not be written.
    #[error("cannot create the socket {0}: {1}; its directory has to exist and be writable for this user")]
    SocketFile(Address, io::Error),
    /// Something else is where a Unix socket should be.
    #[error("{0} exists and is no socket; remove it or choose another path")]
    NoSocket(Address),
    /// Another failure of bind or listen.
    #[error("cannot listen on {0}: {1}")]
    Bind(Address, io::Error),
    /// A CPU that does not exist, or another failure of the executor.
    #[error("a shard's thread could not be started: {0}")]
    Thread(String),
    /// Another failure of the system.
    #[error("the system refused a resource: {0}")]
    System(io::Error),
}

impl StartError {
    pub(crate) fn bind(address: Address, error: io::Error) -> Self {
        let is_unix = matches!(address, Address::Unix { .. });
        match error.kind() {
            io::ErrorKind::AddrInUse => return Self::InUse(address),
            io::ErrorKind::AlreadyExists => return Self::NoSocket(address),
            _ if is_unix => return Self::SocketFile(address, error),
            _ => {}
        }
        match error.raw_os_error() {
            Some(libc::EADDRNOTAVAIL) => Self::NotAvailable(address),
            Some(libc::EACCES | libc::EPERM) => Self::Permission(address),
            _ => Self::Bind(address, error),
        }
    }
}

/// A shard's thread ended badly.
#[derive(Debug, thiserror::Error)]
#[error("a shard's thread failed: {0}")]
pub struct JoinError(String);

/// The way in from threads that are no shards.
pub struct Handle<A: Application> {
    outside: Arc<Outside<A::Message>>,
}

struct Outside<M> {
    doors: Arc<[Door]>,
    senders: Vec<crossbeam_channel::Sender<M>>,
    capacity: Arc<Capacity>,
}

impl<A: Application> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self { outside: self.outside.clone() }
    }
}

impl<A: Application> Handle<A> {
    /// Sends a message; it needs no credit and is handled with `from` = `None`. `false`: that shard
    /// does not exist or has ended.
    pub fn send(&self, to: ShardId, message: A::Message) -> bool {
        let position = usize::from(to.0);
        let (Some(sender), Some(door)) =
            (self.outside.senders.get(position), self.outside.doors.get(position))
        else {
            return false;
        };
        if door.gone.load(std::sync::atomic::Ordering::Acquire) || sender.send(message).is_err() {
            return false;
        }
        door.post(self.outside.doors.len());
        true
    }

    /// Connections of a listener now, over all shards, without those accepted over capacity.
    #[must_use]
    pub fn listener_connections(&self, listener: usize) -> u32 {
        let entrance = self.outside.capacity.listeners.get(listener);
        entrance.map_or(0, |entrance| entrance.connections.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Closes a listener, whose connections stay, or opens it again. It keeps its address, so that no other program can take it, and
    /// clients are refused there by the system. A Unix socket stays open, since it can't be opened again: whoever has to be
    /// kept out there is the filter's to tell. `false`: there is no such listener.
    pub fn pause_listener(&self, listener: usize, is_paused: bool) -> bool {
        let Some(entrance) = self.outside.capacity.listeners.get(listener) else { return false };
        entrance.is_paused.store(is_paused, std::sync::atomic::Ordering::Relaxed);
        // After the store: who sees the change sees what has changed.
        self.outside.capacity.changes.fetch_add(1, std::sync::atomic::Ordering::Release);
        for door in self.outside.doors.iter() {
            door.post(self.outside.doors.len());
        }
        true
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.outside.doors.len() as u16
    }
}

/// The running shards.
pub struct Shards<A: Application> {
    threads: Vec<ExecutorJoinHandle<Vec<Remains>>>,
    handle: Handle<A>,
    addresses: Vec<SocketAddr>,
    stats: Vec<Arc<ShardStats>>,
    /// Removed at the end.
    _files: Vec<SocketFile>,
}

/// What a shard's thread needs to build its shard.
struct Seed<A: Application> {
    number: u16,
    layout: Layout,
    ports: Arc<Vec<Vec<Arc<Port>>>>,
    capacity: Arc<Capacity>,
    sockets: Vec<ListenerSocket>,
    post: crate::mailbox::Post<A::Message, A::HandOver>,
    start: Instant,
    stats: Arc<ShardStats>,
}

impl<A: Application> Seed<A> {
    fn core(self) -> io::Result<(Core<A>, Arc<ShardStats>)> {
        let ports = &self.ports[usize::from(self.number)];
        let acceptor = self.layout.acceptor(self.sockets);
        let bell = self.post.door().eventfd.clone();
        let net = Net::new(&self.layout, ports, self.capacity, acceptor, bell)?;
        Ok((Core::new(self.number, net, self.post, self.ports, self.start), self.stats))
    }
}

impl<A: Application> Shards<A> {
    /// Starts all shards; returns when clients can connect. `make` is called once on each shard's thread,
    /// before anything else happens there.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start<F>(config: Config, make: F) -> Result<Self, StartError>
    where
        F: Fn(ShardId, &mut Io<'_, A>) -> A + Send + Clone + 'static,
    {
        let limit = check(&config)?;
        let layout = Layout::new(&config, limit.descriptors_max);
        let bound: Vec<Bound> = config
            .listeners
            .iter()
            .map(|listener| Bound::new(listener, config.shards))
            .collect::<Result<_, _>>()?;
        let mut sockets: Vec<Vec<_>> = (0..config.shards).map(|_| Vec::new()).collect();
        for (bound, listener) in bound.iter().zip(&config.listeners) {
            for (shard, socket) in
                bound.sockets(listener).map_err(StartError::System)?.into_iter().enumerate()
            {
                sockets[shard].push(socket);
            }
        }
        let doors: Arc<[Door]> = (0..config.shards)
            .map(|_| Ok(Door::new(usize::from(config.shards), EventFd::new()?)))
            .collect::<io::Result<Vec<_>>>()
            .map_err(StartError::System)?
            .into();
        let exchange = Exchange::<A::Message, A::HandOver>::new(&doors, config.mailbox_credits);
        let ports = (0..config.shards).map(|_| (0..layout.rings).map(|_| Arc::new(Port::new())).collect());
        let ports = Arc::new(ports.collect::<Vec<Vec<_>>>());
        let capacity = Arc::new(Capacity {
            connections: AtomicU32::new(0),
            connections_max: config.connections_max,
            listeners: config.listeners.iter().map(Entrance::new).collect(),
            changes: AtomicU32::new(0),
        });
        let start = Instant::now();
        let stats: Vec<Arc<ShardStats>> = (0..config.shards).map(|_| Arc::default()).collect();
        let seeds =
            exchange.posts.into_iter().zip(sockets).enumerate().map(|(number, (post, sockets))| Seed {
                number: number as u16,
                layout,
                ports: ports.clone(),
                capacity: capacity.clone(),
                sockets,
                post,
                start,
                stats: stats[number].clone(),
            });
        let threads = launch(&config, seeds, &bound, &make)?;
        let outside = Arc::new(Outside { doors, senders: exchange.outside, capacity });
        let addresses = bound.iter().map(|listener| listener.address).collect();
        let files = bound.into_iter().filter_map(|listener| listener.file).collect();
        Ok(Self { threads, handle: Handle { outside }, addresses, stats, _files: files })
    }

    /// A way to send messages from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle<A> {
        self.handle.clone()
    }

    /// Addresses of the listeners, in their order, with the ports that were bound; 0.0.0.0:0 for a Unix socket.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Counters of each shard.
    #[must_use]
    pub fn stats(&self) -> &[Arc<ShardStats>] {
        &self.stats
    }

    /// Waits until all shards have ended (see [`Io::exit`]).
    ///
    /// # Errors
    /// A thread could not be joined. A panic on a shard's thread ends the process before that.
    pub fn join(self) -> Result<(), JoinError> {
        // All rings are kept until the last shard has ended: no shard may send a descriptor to a number that
        // has become something else.
        let mut rings = Vec::new();
        for thread in self.threads {
            rings.push(thread.join().map_err(|error| JoinError(error.to_string()))?);
        }
        drop(rings);
        Ok(())
    }
}

/// CPUs for the shards, round robin: the configured ones, or all that the process may use.
fn cpus(config: &Config) -> Vec<usize> {
    if config.pin && config.cpus.is_empty() { sys::allowed_cpus() } else { config.cpus.clone() }
}

fn placement(config: &Config, cpus: &[usize], number: u16) -> Placement {
    match cpus.get(usize::from(number) % cpus.len().max(1)) {
        Some(&cpu) if config.pin => Placement::Fixed(cpu),
        _ => Placement::Unbound,
    }
}

/// Spawns the threads, lets each build its rings and make its application, opens the listeners, and lets the shards go: nobody
/// is accepted before all applications are there, and what they begin with is whole.
fn launch<A, F>(
    config: &Config,
    seeds: impl Iterator<Item = Seed<A>>,
    bound: &[Bound],
    make: &F,
) -> Result<Vec<ExecutorJoinHandle<Vec<Remains>>>, StartError>
where
    A: Application,
    F: Fn(ShardId, &mut Io<'_, A>) -> A + Send + Clone + 'static,
{
    let (ready, readies) = mpsc::channel::<io::Result<()>>();
    let (made, mades) = mpsc::channel::<io::Result<()>>();
    let mut threads = Vec::with_capacity(usize::from(config.shards));
    let mut goes = Vec::with_capacity(usize::from(config.shards));
    let cpus = cpus(config);
    let signals = SignalsBlocked::new();
    let small_pages = SmallPages::new();
    for seed in seeds {
        let (go, wait) = mpsc::channel::<()>();
        let (ready, made, make, number) = (ready.clone(), made.clone(), make.clone(), seed.number);
        // Pitfall 1: a preemption timer that never fires in practice.
        let thread = LocalExecutorBuilder::new(placement(config, &cpus, number))
            .name("shard")
            .io_memory(64 * 1024)
            .ring_depth(64)
            .preempt_timer(Duration::from_secs(3600))
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
            .spawn(move || async move {
                match seed.core() {
                    Ok((mut core, stats)) => {
                        let _ = ready.send(Ok(()));
                        drop(ready);
                        // Blocks this thread, on which nothing else runs yet. An error: another shard could
                        // not start, this one ends.
                        if wait.recv().is_err() {
                            return Vec::new();
                        }
                        let application = make(ShardId(number), &mut Io { core: &mut core });
                        let _ = made.send(Ok(()));
                        drop(made);
                        // The same: a listener could not be opened.
                        if wait.recv().is_err() {
                            return Vec::new();
                        }
                        run(Shard::new(core, application, stats))
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        Vec::new()
                    }
                }
            })
            .map_err(|error| StartError::Thread(error.to_string()))?;
        threads.push(thread);
        goes.push(go);
    }
    drop((ready, made));
    drop(signals);
    let ready = wait_ready(&readies, threads.len());
    drop(small_pages);
    // Whose thread has ended is told of by `wait_ready`.
    let go_on = || {
        for go in &goes {
            let _ = go.send(());
        }
    };
    let started = ready.and_then(|()| {
        go_on();
        wait_ready(&mades, threads.len())?;
        bound.iter().try_for_each(Bound::listen)
    });
    if let Err(error) = started {
        drop(goes);
        return Err(ended(threads, error));
    }
    go_on();
    Ok(threads)
}

fn wait_ready(readies: &mpsc::Receiver<io::Result<()>>, shards: usize) -> Result<(), StartError> {
    for _ in 0..shards {
        match readies.recv() {
            Ok(result) => result.map_err(ring_error)?,
            // A thread ended without a word: its executor could not be made.
            Err(mpsc::RecvError) => return Err(StartError::Thread("its executor failed".into())),
        }
    }
    Ok(())
}

/// Joins the threads of a start that failed; a thread's own error says more.
fn ended(threads: Vec<ExecutorJoinHandle<Vec<Remains>>>, error: StartError) -> StartError {
    let mut error = error;
    for thread in threads {
        if let Err(failed) = thread.join()
            && matches!(error, StartError::Thread(_))
        {
            let text = failed.to_string();
            let memory = ["Cannot allocate memory", "MemLockLimit"];
            error = if memory.iter().any(|sign| text.contains(sign)) {
                StartError::LockedMemory
            } else {
                StartError::Thread(text)
            };
        }
    }
    error
}
