//! HAProxy and nginx with the configurations that we ship, only their addresses changed: clients come through them, and
//! the broker knows each by its own address.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use socket2::{Domain, Socket, Type};

use super::{has, shipped};
use crate::broker::{Broker, NO_HTTP, binary, temporary_dir, unused_address, wait_until};
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Publish, Version};

/// Loopback addresses of two clients, the second of which may not come in.
const FRIEND: &str = "127.0.9.1:0";
const STRANGER: &str = "127.0.9.2:0";

/// A proxy in front of a broker; it ends with the test.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker that believes PROXY headers of this machine and does not let the stranger in.
fn broker() -> Broker {
    let (address, dir) = (unused_address(), temporary_dir());
    let file = dir.join("myriad.toml");
    let text = format!(
        "[[listener]]\nurl = \"mqtt://{address}\"\nallow_anonymous = true\nproxy_protocol = true\n\
         trusted = [\"127.0.0.0/8\"]\naccess = [\"deny 127.0.9.2\"]\n[storage]\ndurability = \"memory\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(binary());
    command.arg("--config").arg(file).arg("--data-dir").arg(&dir).args(["--shards", "2", "--log", "debug"]);
    command.args(["--set", NO_HTTP]);
    Broker::spawn(&mut command, address, 2, dir)
}

/// The shipped file with the addresses of this test, written where the broker keeps its files.
fn configuration(name: &str, broker: &Broker, address: SocketAddr) -> PathBuf {
    let text = std::fs::read_to_string(shipped(name)).unwrap();
    let of_broker = broker.address.to_string();
    for wanted in ["0.0.0.0:1884", "127.0.0.1:1883"] {
        assert!(text.contains(wanted), "{name} has no {wanted}");
    }
    let text = text.replace("0.0.0.0:1884", &address.to_string()).replace("127.0.0.1:1883", &of_broker);
    // This process may have few files.
    let text = text.replace("worker_rlimit_nofile 200000;", "").replace("100000", "100");
    let path = broker.dir().join(Path::new(name).file_name().unwrap());
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts a proxy and waits until it listens.
fn start(command: &mut Command, address: SocketAddr) -> Proxy {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let proxy = Proxy { child: command.spawn().unwrap(), address };
    wait_until("the proxy listens", || TcpStream::connect(address).is_ok());
    proxy
}

/// A client that connects from `from`.
fn come_from(from: &str, proxy: &Proxy) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&from.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect_timeout(&proxy.address.into(), TIMEOUT).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_nodelay(true).unwrap();
    Client::over(stream, Version::V311)
}

fn clients_are_known_by_their_own_addresses(broker: &Broker, proxy: &Proxy) {
    let mut friends = Vec::new();
    for number in 0..4 {
        let mut friend = come_from(FRIEND, proxy);
        friend.send(Connect::v311(&format!("friend-{number}")));
        assert_eq!(friend.recv_connack().reason, 0);
        friend.subscribe("news", 0);
        friends.push(friend);
    }
    let payload = "x".repeat(60_000);
    friends[0].publish(Publish::new("news", payload.as_str()).qos(1));
    for friend in &mut friends {
        friend.expect_message("news", &payload);
    }
    // A violation: the log names whose.
    friends[0].send_bytes(&[0, 0]);
    friends[0].expect_closed();
    wait_until("the friend's address is named", || broker.output().contains("remote=127.0.9.1:"));

    let mut stranger = come_from(STRANGER, proxy);
    stranger.send_bytes_or_closed(&[0x10]);
    stranger.expect_closed();
    wait_until("the stranger is refused", || broker.output().contains("remote=127.0.9.2:"));
}

fn is_skipped(program: &str) -> bool {
    if crate::broker::peer_is_mosquitto() {
        println!("skipped: Mosquitto 2.0 has no PROXY protocol");
        return true;
    }
    !has(program)
}

#[test]
fn haproxy_with_the_shipped_configuration() {
    if is_skipped("haproxy") {
        return;
    }
    let (broker, address) = (broker(), unused_address());
    let file = configuration("haproxy/haproxy.cfg", &broker, address);
    // In the foreground.
    let proxy = start(Command::new("haproxy").arg("-db").arg("-f").arg(file), address);
    clients_are_known_by_their_own_addresses(&broker, &proxy);
}

#[test]
fn nginx_with_the_shipped_configuration() {
    if is_skipped("nginx") {
        return;
    }
    let (broker, address) = (broker(), unused_address());
    let file = configuration("nginx/nginx.conf", &broker, address);
    let module = "load_module modules/ngx_stream_module.so;";
    let text = std::fs::read_to_string(&file).unwrap();
    // Debian's modules are not below the prefix; one process, so that it ends with the test.
    let text = text.replace(module, "load_module /usr/lib/nginx/modules/ngx_stream_module.so;");
    std::fs::write(&file, text + "daemon off;\nmaster_process off;\n").unwrap();
    let log = broker.dir().join("nginx.log");
    let pid = format!("pid {};", broker.dir().join("nginx.pid").display());
    let mut command = Command::new("nginx");
    command.arg("-p").arg(broker.dir()).arg("-c").arg(&file).arg("-e").arg(log).arg("-g").arg(pid);
    let proxy = start(&mut command, address);
    clients_are_known_by_their_own_addresses(&broker, &proxy);
}
