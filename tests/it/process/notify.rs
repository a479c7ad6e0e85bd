//! What systemd is told at start, reload and end (`Type=notify`), by a socket that stands in for it.

use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::file_with;
use crate::broker::{Broker, NO_HTTP, binary, peer_is_mosquitto, temporary_dir, unused_address, wait_until};
use crate::client::TIMEOUT;
use crate::storage::injection::Injection;
use crate::wire::Connect;

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    /// As NOTIFY_SOCKET has it.
    name: String,
}

impl Manager {
    fn at_path(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::with(socket, path.to_str().unwrap().into())
    }

    fn at_abstract_name(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Self::with(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn with(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { socket, name }
    }

    /// The fields of the next message.
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let len = self.socket.recv(&mut buffer).expect("the broker tells the service manager");
        std::str::from_utf8(&buffer[..len]).unwrap().lines().map(Into::into).collect()
    }

    /// The next message, which has to begin with `first`, and has the field `name`: its value.
    fn expect(&self, first: &str, name: &str) -> String {
        let fields = self.next();
        assert_eq!(fields[0], first, "{fields:?}");
        let value = fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name} in {fields:?}")).into()
    }
}

/// A broker with the file `file` whose service manager is `name`.
fn start(file: &Path, name: &str) -> Broker {
    start_with(file, name, &[])
}

/// The same with further variables in its environment.
fn start_with(file: &Path, name: &str, variables: &[(&str, &str)]) -> Broker {
    let (dir, address) = (temporary_dir(), unused_address());
    let mut command = Command::new(binary());
    command.arg("--config").arg(file).arg("--data-dir").arg(&dir).env("NOTIFY_SOCKET", name);
    command
        .args(["--shards", "2", "--listen", &format!("mqtt://{address}"), "--set", NO_HTTP])
        .envs(variables.iter().copied());
    Broker::spawn(&mut command, address, 2, dir)
}

fn is_skipped() -> bool {
    if peer_is_mosquitto() {
        println!("skipped: Mosquitto tells systemd other things");
    }
    peer_is_mosquitto()
}

#[test]
fn systemd_is_told_ready_once_clients_can_connect() {
    if is_skipped() {
        return;
    }
    let (dir, file) = file_with("");
    let manager = Manager::at_path(&dir);
    let name = manager.name.clone();
    let address = unused_address();
    // Connects in the moment of the message, from a thread: the start below waits for another sign.
    let waiter = thread::spawn(move || {
        let status = manager.expect("READY=1", "STATUS");
        (TcpStream::connect(address).map(drop), status)
    });
    let mut command = Command::new(binary());
    command.arg("--config").arg(&file).arg("--data-dir").arg(&dir).env("NOTIFY_SOCKET", name);
    command.args(["--shards", "2", "--listen", &format!("mqtt://{address}"), "--set", NO_HTTP]);
    assert!(TcpStream::connect(address).is_err(), "nothing listens there yet");
    let mut broker = Broker::spawn(&mut command, address, 2, dir);
    let (connected, status) = waiter.join().unwrap();
    connected.expect("the listener is open when systemd is told so");
    assert!(status.contains("2 shards"), "{status}");
    assert_eq!(broker.terminate().code(), Some(0));
}

#[test]
fn systemd_is_told_of_reloads_and_of_the_end() {
    if is_skipped() {
        return;
    }
    let (dir, file) = file_with("");
    let manager = Manager::at_path(&dir);
    let mut broker = start(&file, &manager.name);
    let usual = manager.expect("READY=1", "STATUS");
    let client = broker.connect(Connect::v5("c"));

    let begin = Instant::now();
    broker.signal("HUP");
    let first: u64 = manager.expect("RELOADING=1", "MONOTONIC_USEC").parse().unwrap();
    assert_eq!(manager.expect("READY=1", "STATUS"), usual);

    std::fs::write(&file, "no_such_key = 1\n").unwrap();
    thread::sleep(Duration::from_millis(50));
    broker.signal("HUP");
    let second: u64 = manager.expect("RELOADING=1", "MONOTONIC_USEC").parse().unwrap();
    let failed = manager.expect("READY=1", "STATUS");
    assert!(failed.contains("not reloaded"), "a reload that failed ends too, and says so: {failed}");
    let between = Duration::from_micros(second - first);
    assert!(between >= Duration::from_millis(50) && between <= begin.elapsed(), "microseconds: {between:?}");

    broker.signal("TERM");
    manager.expect("STOPPING=1", "STATUS");
    assert_eq!(broker.wait().code(), Some(0));
    drop(client);
}

#[test]
fn systemd_is_told_at_an_abstract_socket_too() {
    if is_skipped() {
        return;
    }
    let (dir, file) = file_with("");
    let manager = Manager::at_abstract_name(&format!("myriad-it{}", dir.display()));
    let mut broker = start(&file, &manager.name);
    manager.expect("READY=1", "STATUS");
    assert_eq!(broker.terminate().code(), Some(0));
    manager.expect("STOPPING=1", "STATUS");
}

#[test]
fn the_watchdog_hears_nothing_while_a_shard_hangs() {
    if is_skipped() {
        return;
    }
    let (dir, file) = file_with("");
    let manager = Manager::at_path(&dir);
    let mut broker = start_with(&file, &manager.name, &[("WATCHDOG_USEC", "400000")]);
    manager.expect("READY=1", "STATUS");
    for _ in 0..3 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    // It waits in the kernel longer than anyone may.
    let Some(injection) = Injection::into_thread(broker.pid(), "shard", "io_uring_enter:delay_enter=4000000")
    else {
        return;
    };
    wait_until("the silence is in the log", || broker.output().contains("does not answer"));
    drop(injection);
    // What was said before the thread hung, then silence, then word again.
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    assert_eq!(manager.next(), ["WATCHDOG=1"]);
    assert_eq!(broker.terminate().code(), Some(0));
}

#[test]
fn the_watchdog_of_another_process_is_not_told() {
    if is_skipped() {
        return;
    }
    let (dir, file) = file_with("");
    let manager = Manager::at_path(&dir);
    let variables = [("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
    let mut broker = start_with(&file, &manager.name, &variables);
    manager.expect("READY=1", "STATUS");
    thread::sleep(Duration::from_millis(200));
    assert_eq!(broker.terminate().code(), Some(0));
    manager.expect("STOPPING=1", "STATUS");
}

#[test]
fn a_service_manager_that_is_not_there_stops_nothing() {
    if is_skipped() {
        return;
    }
    let (dir, file) = file_with("");
    for name in [dir.join("nobody").to_str().unwrap(), "no address", "@"] {
        let mut broker = start(&file, name);
        drop(broker.connect(Connect::v5("c")));
        let deadline = Instant::now() + TIMEOUT;
        while !broker.output().contains("NOTIFY_SOCKET") {
            assert!(Instant::now() < deadline, "{name:?}: {}", broker.output());
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(broker.terminate().code(), Some(0), "{name:?}");
    }
}
