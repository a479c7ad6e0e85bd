//! `myriad-bench million` with the real broker, small: every stage runs, nothing is lost, and the exit status and the
//! JSON say so. The broker is the one that cargo builds for this test.

#![allow(clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

fn million(arguments: &[&str]) -> Output {
    bench("million", arguments)
}

fn bench(subcommand: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriad-bench"));
    command.args([subcommand, "--quiet"]).args(arguments);
    // Other tests run beside it: no figure is looked at, only that all of it happened.
    let output = command.output().unwrap();
    // The broker's files are in a folder of its own.
    assert!(!Path::new("data").exists(), "a broker has left ./data");
    output
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_stage_runs_and_nothing_is_lost() {
    let (json, log) = (file("million.json"), file("million.log"));
    let output = million(&[
        "--connections",
        "220",
        "--steps",
        "100,220",
        // Few, so that each has clients of every part.
        "--load-shards",
        "2",
        "--hold",
        "0.2",
        "--duration",
        "0.5",
        "--message-rate",
        "200",
        "--json",
        json.to_str().unwrap(),
        "--broker-log",
        log.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let run: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(run["connections_reached"], 220);
    assert_eq!(run["problems"], serde_json::json!([]));
    assert_eq!(run["broker_exit"]["status"], 0);
    let stages = run["stages"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|s| s["name"].as_str().unwrap()).collect();
    let held = ["fill", "hold", "ping", "p2p0", "p2p1"];
    let expected = [held.as_slice(), &held, &["fanout", "storm", "takeover", "end"]].concat();
    assert_eq!(names, expected);
    for stage in stages.iter().filter(|s| s["name"] != "hold") {
        assert_eq!(stage["done"], stage["asked"], "{stage}");
        assert!(stage["done"].as_u64().unwrap() > 0, "{stage}");
    }
    let steps: Vec<u64> =
        run["steps"].as_array().unwrap().iter().filter_map(|s| s["connections"].as_u64()).collect();
    assert_eq!(steps, [100, 220]);
    for path in [json, log] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn clients_that_are_refused_fail_the_run() {
    let log = file("refused.log");
    let output = million(&[
        "--connections",
        "50",
        "--stages",
        "fill",
        "--broker-log",
        log.to_str().unwrap(),
        // The last word of two is the one that counts: 30 of 50 are taken.
        "--set",
        "limits.max_connections=30",
    ]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("PROBLEM") && text.contains("30 of 50"), "{text}");
    std::fs::remove_file(log).unwrap();
}

#[test]
fn a_broker_that_does_not_start_is_told_in_its_words() {
    let log = file("wrong.log");
    let set = "limits.max_conections=1";
    let output = million(&["--connections", "10", "--set", set, "--broker-log", log.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("limits.max_connections"), "{}", text(&output));
    std::fs::remove_file(log).unwrap();
}

/// Runs a smaller subcommand; the figures of its JSON.
fn figures(subcommand: &str, arguments: &[&str]) -> Value {
    let (json, log) = (file(&format!("{subcommand}.json")), file(&format!("{subcommand}.log")));
    let files = ["--json", json.to_str().unwrap(), "--broker-log", log.to_str().unwrap()];
    let output = bench(subcommand, &[arguments, &files].concat());
    assert!(output.status.success(), "{}", text(&output));
    let run: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    for stage in run["stages"].as_array().unwrap() {
        assert_eq!(stage["done"], stage["asked"], "{stage}");
    }
    for path in [json, log] {
        std::fs::remove_file(path).unwrap();
    }
    run["figures"].clone()
}

#[test]
fn a_churn_leaves_the_broker_as_it_was_whatever_others_do() {
    let (ended, end) = mpsc::channel::<()>();
    let others = thread::spawn(move || {
        // Connections of somebody else, more of them at every look.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut open = Vec::new();
        while end.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout)
            && open.len() < 2000
        {
            open.push((
                TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
                listener.accept().unwrap(),
            ));
        }
    });
    let figures = figures("churn", &["--rate", "200", "--duration", "2", "--connections", "50"]);
    drop(ended);
    others.join().unwrap();
    assert_eq!(figures["broker_descriptors_before"], figures["broker_descriptors_after"]);
    assert_eq!((&figures["sockets_before"], &figures["sockets_after"]), (&50.0.into(), &50.0.into()));
}

#[test]
fn sessions_stay_while_their_clients_are_away() {
    let figures = figures("sessions", &["--clients", "1k", "--duration", "0.5", "--message-rate", "100"]);
    assert!(figures["publish_cpu_us_with_sessions"].as_f64().unwrap() > 0.0, "{figures}");
}

#[test]
fn all_retained_messages_come_to_a_wildcard() {
    for qos in ["0", "1"] {
        let figures = figures("retained", &["--topics", "2k", "--message-rate", "50", "--qos", qos]);
        assert!(figures["bytes_per_retained_message"].is_number(), "{figures}");
    }
}
