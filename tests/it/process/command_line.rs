//! Arguments, the configuration file, exit codes and what is printed at start.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use super::{expect_failure, expect_failure_in_one_line, file_with, run, start_with_file};
use crate::broker::{Broker, binary, peer_is_mosquitto, temporary_dir, unused_address};
use crate::client::Client;
use crate::wire::{Connect, Publish, Version};

#[test]
fn bad_arguments_exit_2() {
    for args in [
        &["--no-such-argument"][..],
        &["--shards", "none"],
        &["--shards", "0"],
        &["--listen", "http://127.0.0.1:80"],
        &["--listen", "mqtt://no address"],
        &["--set", "session.queue_len_max"],
        &["--set", "session.queue_len_max=many"],
        &["--set", "mqtt.qos_max=3"],
        &["--set", "storage.durability=sometimes"],
        &["surplus"],
    ] {
        expect_failure(args, 2, &[]);
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    expect_failure_in_one_line(&["--set", "session.queue_len=1"], 2, &["session.queue_len_max"]);
    expect_failure_in_one_line(&["--set", "limits.recieve_max=1"], 2, &["limits.receive_max"]);
    let (_dir, file) = file_with("[sesion]\nexpiry_s = 5\n");
    expect_failure_in_one_line(&["--config", file.to_str().unwrap()], 1, &["myriad.toml:1", "session"]);
    let (_dir, file) = file_with("[limits]\n\npacket_byte_max = 5\n");
    let args = ["check", "--config", file.to_str().unwrap()];
    expect_failure_in_one_line(&args, 1, &["myriad.toml:3", "limits.packet_bytes_max"]);
}

#[test]
fn an_unreadable_file_exits_1() {
    expect_failure_in_one_line(&["--config", "no/such/file.toml"], 1, &["no/such/file.toml"]);
    expect_failure_in_one_line(&["check", "--config", "no/such/file.toml"], 1, &["no/such/file.toml"]);
    let (dir, _file) = file_with("");
    expect_failure_in_one_line(&["--config", dir.to_str().unwrap()], 1, &[dir.to_str().unwrap()]);
    let (_dir, file) = file_with("[limits\n");
    expect_failure_in_one_line(&["--config", file.to_str().unwrap()], 1, &["myriad.toml:1"]);
}

#[test]
fn a_port_in_use_exits_1_and_names_it() {
    let listener = TcpListener::bind(unused_address()).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let url = format!("mqtt://{address}");
    let args = ["--listen", &url, "--shards", "2", "--set", "storage.durability=memory"];
    expect_failure_in_one_line(&args, 1, &[&address]);
}

#[test]
fn an_address_of_another_machine_exits_1_and_is_named() {
    let mut args = vec!["--listen", "mqtt://192.0.2.1:1883", "--shards", "1"];
    args.extend(["--set", "listener.allow_anonymous=true", "--set", "storage.durability=memory"]);
    expect_failure_in_one_line(&args, 1, &["192.0.2.1:1883"]);
}

#[test]
fn anonymous_clients_from_other_machines_have_to_be_allowed() {
    let Some(output) = run(&["--listen", "mqtt://0.0.0.0:21883", "--shards", "1"]) else { return };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{:?}", output.status);
    assert!(stderr.contains("allow_anonymous"), "{stderr}");
}

#[test]
fn check_prints_what_would_run_and_reads_it_back() {
    let (dir, file) =
        file_with("[session]\nqueue_len_max = 77\n[[listener]]\nurl = \"mqtt://127.0.0.1:1999\"\n");
    let Some(output) = run(&["check", "--config", file.to_str().unwrap()]) else { return };
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("queue_len_max = 77") && printed.contains("mqtt://127.0.0.1:1999"), "{printed}");
    let again = dir.join("again.toml");
    std::fs::write(&again, &printed).unwrap();
    let output = run(&["check", "--config", again.to_str().unwrap()]).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), printed);
}

#[test]
fn check_lays_the_arguments_over_the_file() {
    let (_dir, file) = file_with("[session]\nqueue_len_max = 77\n");
    let file = file.to_str().unwrap();
    let args = ["check", "--config", file, "--set", "session.queue_len_max=78", "--shards", "3"];
    let Some(output) = run(&args) else { return };
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("queue_len_max = 78") && printed.contains("shards = 3"), "{printed}");
}

#[test]
fn help_and_version_exit_0() {
    for (argument, word) in [("--help", "--listen"), ("--version", "myriad")] {
        let Some(output) = run(&[argument]) else { return };
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(word));
    }
}

#[test]
fn each_listener_has_a_line_and_port_0_becomes_a_real_one() {
    if peer_is_mosquitto() {
        return println!("skipped: the command line is ours");
    }
    let address = unused_address();
    let zero = SocketAddr::new(address.ip(), 0);
    let dir = temporary_dir();
    let mut command = Command::new(binary());
    command.args([
        "--shards",
        "2",
        "--listen",
        &format!("mqtt://{address}"),
        "--listen",
        &format!("mqtt://{zero}"),
        "--set",
        "admin.listen=",
    ]);
    command.arg("--data-dir").arg(&dir);
    let broker = Broker::spawn(&mut command, address, 2, dir);
    let output = broker.output();
    let bound: Vec<SocketAddr> = output
        .split(|c: char| c.is_whitespace() || c == '"')
        .filter_map(|word| word.strip_prefix("mqtt://").unwrap_or(word).parse().ok())
        .collect();
    assert!(bound.contains(&address), "{output}");
    let other =
        *bound.iter().find(|other| **other != address && other.port() != 0).expect("the second address");
    let mut first = broker.connect(Connect::v5("first"));
    first.subscribe("t", 0);
    let mut second = Client::open(other, Version::V50);
    second.send(Connect::v5("second"));
    assert_eq!(second.recv_connack().reason, 0);
    second.publish(Publish::new("t", "across listeners"));
    first.expect_message("t", "across listeners");
}

#[test]
fn it_works_below_a_path_of_other_letters_and_spaces() {
    let dir = temporary_dir().join("百万 Größe");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("myriad ü.toml");
    std::fs::write(&file, "[node]\nname = \"百万\"\n").unwrap();
    let Some(broker) = start_with_file(&dir, &file, 2) else { return };
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("百万", 1);
    client.publish(Publish::new("百万", "x").qos(1));
    client.expect_message("百万", "x");
}

sharded!(memory_durability_writes_no_files, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    client.publish(Publish::new("t", "x").qos(2).retain());
    client.expect_message("t", "x");
    client.disconnect();
    let mut files: Vec<_> =
        std::fs::read_dir(broker.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The control socket has no content.
    files.retain(|file| !file.ends_with("mosquitto.conf") && !file.ends_with("control.sock"));
    assert!(files.is_empty(), "{files:?}");
});
