//! RLIMIT_MEMLOCK at its usual 8 MiB, for a user to whom rings are charged: the default configuration starts.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::broker::{binary, peer_is_mosquitto, temporary_dir};

/// Lowers the limit, becomes a user without capabilities, then the program that its arguments name.
const BECOME_NOBODY: &str = r"
import os, resource, sys
try:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65533)
    os.execv(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f'not possible here: {error}')
";

#[test]
fn a_million_connections_fit_the_usual_lockable_memory() {
    if peer_is_mosquitto() {
        return println!("skipped: Mosquitto locks no memory");
    }
    if !is_root() {
        return println!("skipped: only root can become a user without capabilities");
    }
    // Where that user may not go, the broker comes along.
    let home = temporary_dir();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let broker = home.join("myriad");
    fs::copy(binary(), &broker).unwrap();
    fs::set_permissions(&broker, fs::Permissions::from_mode(0o755)).unwrap();
    for shards in ["2", "8"] {
        let mut command = Command::new("python3");
        command.args(["-c", BECOME_NOBODY]).arg(&broker);
        command.args(["--shards", shards, "--listen", "mqtt://127.0.0.1:0"]);
        command.args(["--set", "storage.durability=memory", "--set", "admin.listen="]);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            assert!(std::env::var_os("MYRIAD_IT_STRICT").is_none(), "there is no python3");
            return println!("skipped: there is no python3");
        };
        let lines: Vec<String> =
            BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).take(3).collect();
        if lines.is_empty() {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            child.wait().unwrap();
            assert!(why.starts_with("not possible here"), "{shards} shards: {why}");
            return println!("skipped: {why}");
        }
        let is_ready = lines.last().is_some_and(|line| line == "myriad ready");
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        assert!(is_ready, "{shards} shards: {lines:?}\n{}", String::from_utf8_lossy(&output.stderr));
        // The kernel gives the charge back a moment after the end.
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    fs::remove_dir_all(home).unwrap();
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}
