//! Listeners that are not plain TCP, or that look at who connects: WebSocket, Unix sockets, PROXY protocol, access rules,
//! IPv6. What is refused, and that the rest of the broker sees no difference.

use std::fmt::Write as _;
use std::process::Command;

use crate::broker::{Broker, binary, temporary_dir, unused_address};
use crate::broker::{NO_HTTP, wait_until};

mod access;
mod browser;
mod clients;
mod dual_stack;
mod proxy;
pub mod stopped;
mod unix;
mod websocket;
pub mod ws;

/// Shards that a test runs with: one, and so many that most clients have to move.
const SHARDS: [u16; 2] = [1, 4];

/// Starts a broker with this configuration file, in which `{address}` and `{dir}` stand for an unused address and for the
/// broker's directory.
fn start(shards: u16, file: &str) -> Broker {
    let (address, dir) = (unused_address(), temporary_dir());
    let mut text = file.replace("{address}", &address.to_string()).replace("{dir}", dir.to_str().unwrap());
    let _ = write!(
        text,
        "\n[storage]\ndurability = \"memory\"\n[node]\nshards = {shards}\ncpu_pinning = false\n"
    );
    let path = dir.join("myriad.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(binary());
    command.arg("--config").arg(path).arg("--data-dir").arg(&dir).args(["--log", "debug", "--set", NO_HTTP]);
    Broker::spawn(&mut command, address, shards, dir)
}

/// Starts a broker with one listener: `scheme`, and these further keys of it.
fn listen(shards: u16, scheme: &str, keys: &str) -> Broker {
    start(shards, &format!("[[listener]]\nurl = \"{scheme}://{{address}}\"\n{keys}"))
}

/// Writes the configuration file anew and has it read.
fn reload(broker: &Broker, from: &str, to: &str) {
    let path = broker.dir().join("myriad.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
    let before = broker.output().matches("configuration reloaded").count();
    broker.signal("HUP");
    wait_until("the configuration is reloaded", || {
        broker.output().matches("configuration reloaded").count() > before
    });
}

/// The address of a listener that is printed as `url` with its port.
fn printed(broker: &Broker, before_port: &str) -> u16 {
    let output = broker.output();
    let after = output.split(&format!("listening on {before_port}")).nth(1).unwrap();
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}
