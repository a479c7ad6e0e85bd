//! The same with paho-mqtt, whose sessions are its own business: it repeats and resumes as its authors read the standard.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use super::{SHARDS, end, random::Random, rounds, seed};
use crate::broker::{Broker, Options, wait};
use crate::clients::{repository, runs, skip};

#[test]
fn paho_loses_nothing_over_crashes() {
    let own = repository(".venv/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    if !runs(Command::new(&python).args(["-c", "import paho.mqtt.client"])) {
        return skip(&format!(
            "{} can't import paho.mqtt.client (tests/it/requirements.txt)",
            python.display()
        ));
    }
    let options = Options::durable(SHARDS[0]).set("session.queue_len_max=1000000");
    let Some(mut broker) = Broker::start(&options) else { return };
    let mut command = Command::new(python);
    command.arg(repository("tests/it/python/paho_crash.py"));
    command.args([broker.address.ip().to_string(), broker.address.port().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    if line == "ready\n" {
        let mut random = Random::new(seed());
        for round in 1..=rounds(5).min(20) {
            thread::sleep(random.pause(150, 900));
            end(&mut broker, &mut random);
            broker.restart(&options.with_shards(SHARDS[round as usize % 3]));
        }
        thread::sleep(random.pause(200, 600));
    }
    drop(child.stdin.take());
    let mut rest = String::new();
    let reader = thread::spawn(move || {
        let _ = stdout.read_to_string(&mut rest);
        rest
    });
    // It has bounds of its own, which are longer than those of a broker.
    let status = wait(&mut child).or_else(|| wait(&mut child)).or_else(|| wait(&mut child));
    if status.is_none() {
        let _ = child.kill();
    }
    let (said, errors) = (reader.join().unwrap(), errors.join().unwrap());
    assert_eq!(said.lines().last(), Some("done"), "{status:?}\n{line}{said}{errors}");
}
