//! Clients that others wrote, against our broker: paho-mqtt and gmqtt (Python), MQTT.js, rumqttc, and Mosquitto's tools.
//! A test whose client is not installed says so and passes; with `MYRIAD_IT_STRICT=1` it fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::broker::Broker;

pub mod javascript;
pub mod mosquitto;
pub mod python;
mod rumqttc;

/// Longest time that one scenario may take.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(120);

/// A path below the root of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Says that a test is skipped, and why.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("MYRIAD_IT_STRICT").is_none(), "{reason}");
    println!("skipped: {reason}");
}

/// Whether a program can be started.
pub fn runs(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a scenario's script against the broker to its end, `more` are its further arguments; its last line has to be `done`.
fn run_scenario(mut command: Command, broker: &Broker, scenario: &str, more: &[&str]) {
    let (host, port) = (broker.address.ip().to_string(), broker.address.port().to_string());
    command.args([&host, &port, scenario]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + SCENARIO_TIMEOUT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{scenario}: {}\n{stdout}{stderr}", output.status);
    assert_eq!(stdout.lines().last(), Some("done"), "{stderr}");
}
