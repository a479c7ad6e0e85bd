//! Unix sockets: clients of this machine, the socket's file and its fate.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{SHARDS, start, wait_until};
use crate::broker::{Broker, NO_HTTP, binary, temporary_dir, wait};
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Publish, Version};

fn connect(path: &Path, connect: Connect) -> Client {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    let mut client = Client::over(stream, connect.version);
    client.send(connect);
    assert_eq!(client.recv_connack().reason, 0);
    client
}

fn listen(shards: u16, keys: &str) -> (Broker, PathBuf) {
    let broker = start(shards, &format!("[[listener]]\nurl = \"unix:{{dir}}/百万.sock\"\n{keys}"));
    let path = broker.dir().join("百万.sock");
    (broker, path)
}

/// Runs a broker on `path` to its end, which has to be a failure; its one line.
fn refused(path: &Path) -> String {
    let mut command = Command::new(binary());
    command.arg("--listen").arg(format!("unix:{}", path.display())).args(["--shards", "1"]);
    command
        .args(["--set", "storage.durability=memory", "--set", NO_HTTP])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let status = wait(&mut child).unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((status.code(), line.lines().count()), (Some(1), 1), "{line}");
    line
}

#[test]
fn clients_of_a_unix_socket_are_as_any() {
    for shards in SHARDS {
        let (broker, path) = listen(shards, "");
        assert!(broker.output().contains(&format!("listening on unix:{}", path.display())));
        let mut clients: Vec<_> =
            (0..40).map(|number| connect(&path, Connect::v5(&format!("c-{number}")))).collect();
        clients.iter_mut().for_each(|client| client.subscribe("t", 1));
        let large = vec![7; 300_000];
        clients[0].publish(Publish::new("t", large.clone()).qos(1));
        clients.iter_mut().for_each(|client| assert!(client.recv_message().payload == large));
        let mut again = connect(&path, Connect::v5("c-0"));
        clients[0].expect_disconnect(0x8E);
        again.ping();
    }
}

#[test]
fn a_stopped_listener_closes_who_connects_to_its_unix_socket() {
    let (broker, path) = listen(2, "");
    let mut here = connect(&path, Connect::v5("here"));
    let operator = broker.http();
    operator.ask("POST", "/api/v1/listeners/0/stop", &[], b"").json(200);
    for _ in 0..6 {
        Client::over(UnixStream::connect(&path).unwrap(), Version::V50).expect_closed();
    }
    here.ping();
    operator.ask("POST", "/api/v1/listeners/0/start", &[], b"").json(200);
    for number in 0..6 {
        connect(&path, Connect::v5(&format!("next-{number}"))).ping();
    }
}

#[test]
fn mosquitto_pub_and_sub_reach_it() {
    if !crate::clients::mosquitto::installed() {
        return;
    }
    let (_broker, path) = listen(2, "");
    let mut publish = Command::new("mosquitto_pub");
    publish.arg("--unix").arg(&path).args(["-t", "kept", "-m", "hello", "-q", "1", "-r"]);
    assert!(publish.status().unwrap().success());
    let subscribe =
        Command::new("mosquitto_sub").arg("--unix").arg(&path).args(["-t", "kept", "-C", "1"]).output();
    assert_eq!(subscribe.unwrap().stdout, b"hello\n");
}

#[test]
fn the_file_has_its_permissions_and_goes_with_the_broker() {
    let (mut broker, path) = listen(2, "unix_mode = \"0600\"");
    let file = std::fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert!(broker.terminate().success());
    assert!(!path.exists());
    let (_broker, path) = listen(1, "");
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn a_dead_brokers_socket_is_replaced_and_a_live_ones_is_in_use() {
    let dir = temporary_dir();
    let path = dir.join("m.sock");
    let file = format!("[[listener]]\nurl = \"unix:{}\"", path.display());
    let live = start(1, &file);
    connect(&path, Connect::v5("c")).ping();
    let line = refused(&path);
    assert!(line.contains("m.sock is in use by another program"), "{line}");
    connect(&path, Connect::v5("c")).ping();
    // SIGKILL: nobody removes the file.
    drop(live);
    assert!(path.exists());
    let next = start(1, &file);
    wait_until("the next broker has the socket", || UnixStream::connect(&path).is_ok());
    connect(&path, Connect::v5("c")).ping();
    drop(next);
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn what_is_no_socket_stays() {
    let dir = temporary_dir();
    let path = dir.join("notes.txt");
    std::fs::write(&path, "precious").unwrap();
    let line = refused(&path);
    assert!(line.contains("notes.txt exists and is no socket"), "{line}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let line = refused(&dir.join("missing/m.sock"));
    assert!(line.contains("its directory has to exist"), "{line}");
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn access_rules_see_this_machine() {
    let (_broker, path) = listen(1, "access = [\"deny 127.0.0.1\"]");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert!(!matches!(std::io::Read::read(&mut stream, &mut [0; 10]), Ok(1..)));
}
