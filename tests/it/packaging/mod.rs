//! What `packaging/` ships, tried with the programs that it is for: the seccomp profile of containers, the configurations of
//! HAProxy and nginx, the Debian package, the RPM.

use std::path::PathBuf;
use std::process::{Command, Stdio};

mod debian;
mod proxies;
mod rpm;
mod seccomp;

/// A file or folder of `packaging/`.
fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

/// Whether `program` can be started; if not, the test says that it is skipped, and fails where none may be.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("MYRIAD_IT_STRICT").is_none(), "there is no {program}");
        println!("skipped: there is no {program}");
    }
    found
}

/// Whether a program says that all is well.
fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Whether all of it is here, each with its name; if not, the test says that it is skipped, and fails where none may be.
fn are_here(needs: &[(&str, bool)]) -> bool {
    let Some((what, _)) = needs.iter().find(|(_, is_here)| !is_here) else { return true };
    assert!(std::env::var_os("MYRIAD_IT_STRICT").is_none(), "not here: {what}");
    println!("skipped: not here: {what}");
    false
}

/// Runs to the end, which has to be a good one; what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}
