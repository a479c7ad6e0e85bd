//! The description of the API against the API: schemathesis makes requests of all kinds from it and checks the answers.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{logged_in, served};
use crate::clients::{repository, runs, skip};
use crate::wire::{Connect, Publish};

/// Longest time that it may take.
const TIMEOUT: Duration = Duration::from_secs(110);

#[test]
fn admin_answers_are_as_the_description_says() {
    let Some(broker) = served(2, &["storage.durability=memory"]) else { return };
    let schemathesis = repository(".venv/bin/schemathesis");
    if !runs(Command::new(&schemathesis).arg("--version")) {
        return skip(&format!("{} does not run (tests/it/requirements.txt)", schemathesis.display()));
    }
    let http = logged_in(&broker);
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t/#", 1);
    client.publish(Publish::new("t/1", "x").qos(1).retain());
    let output = broker.output();
    let address = output.lines().find_map(|line| line.strip_prefix("admin on ")).unwrap();
    let mut command = Command::new(schemathesis);
    command.arg("run").arg(format!("{address}/api/v1/openapi.json"));
    command.args(["--header", &format!("Authorization: {}", http.authorization.as_deref().unwrap())]);
    command.args(["--phases", "examples,fuzzing", "--max-examples", "8", "--seed", "1", "--no-color"]);
    command.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    command.args(["--checks", "response_schema_conformance", "--request-timeout", "20"]);
    // What it would end is what it tests with; consoles are no HTTP, and a stream of events has no end.
    command.args(["--exclude-path", "/api/v1/traces/{id}/stream"]);
    command.args(["--exclude-path", "/api/v1/drain"]);
    command.args(["--exclude-path", "/api/v1/logout", "--exclude-path", "/mqtt"]);
    command.args(["--exclude-path", "/api/v1/login", "--exclude-path-regex", "/api/v1/users.*"]);
    command.current_dir(broker.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let said = std::thread::spawn(move || std::io::read_to_string(&mut stdout).unwrap());
    let complained = std::thread::spawn(move || std::io::read_to_string(&mut stderr).unwrap());
    let deadline = Instant::now() + TIMEOUT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = child.wait().unwrap();
    let (said, complained) = (said.join().unwrap(), complained.join().unwrap());
    assert!(status.success(), "{status}\n{said}{complained}");
    // The client may have been disconnected, banned, discarded; every shard still answers.
    assert_eq!(http.get("/healthz").status, 200);
}
