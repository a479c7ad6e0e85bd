//! What `packaging/` ships, tried with the programs that it is for: the seccomp profile of containers, the configurations of
//! HAProxy and nginx, the Debian package.

use std::path::PathBuf;
use std::process::{Command, Stdio};

mod debian;
mod proxies;
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
