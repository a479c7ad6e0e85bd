//! What the service manager is told (systemd's `Type=notify`, sd_notify(3)): ready, reloading, alive, stopping. Without
//! NOTIFY_SOCKET in the environment there is none, and nothing happens. That it can't be told is no reason to end: the
//! log says so, and the manager acts by its own timeouts.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How long a manager that does not read may hold up the main thread.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// The one that NOTIFY_SOCKET names.
    pub(super) fn from_environment() -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.and_then(|name| {
            socket_to(&name)
                .inspect_err(|error| {
                    tracing::warn!(socket = %name.display(), %error, "NOTIFY_SOCKET: the service manager can't be told")
                })
                .ok()
        });
        Self { socket }
    }

    /// Clients can connect, or a reload has ended. `status`: one line for `systemctl status`.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// A reload begins; `ready` ends it. The time is what `Type=notify-reload` asks for.
    pub(super) fn reloading(&self) {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", time.as_micros()));
    }

    /// All is well; to be said within [`watchdog`](Self::watchdog).
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Within what time the manager wants to hear that all is well; `None`: it does not. WATCHDOG_USEC, and WATCHDOG_PID if it
    /// names this process (sd_watchdog_enabled(3)).
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.socket.as_ref()?;
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        number("WATCHDOG_USEC").filter(|&us| us > 0 && is_meant).map(Duration::from_micros)
    }

    /// Clients are sent away; the process ends soon.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=sending clients away");
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, message, "NOTIFY_SOCKET: the service manager was not told");
        }
    }
}

fn socket_to(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::other("neither a path nor an abstract name, as @name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok((socket, address))
}
