//! `myriadctl passwd` as a program: what it writes, what it refuses, and that what was there stays.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("passwd-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("users")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_myriadctl"));
        command.arg("passwd").arg(self.file()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn runs(&self, arguments: &[&str], input: &str) {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }

    fn fails(&self, arguments: &[&str], input: &str, why: &str) {
        let output = self.run(arguments, input);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(why), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The fields of the only line of a user.
fn hash_of(text: &str, user: &str) -> String {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{user}:")));
    let hash = lines.next().unwrap().to_owned();
    assert_eq!(lines.next(), None);
    hash
}

#[test]
fn users_are_added_changed_and_deleted() {
    let folder = Folder::new();
    folder.runs(&["alice", "--batch"], "s3cret\n");
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    let first = hash_of(&folder.text(), "alice");
    assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(folder.file(), format!("# users\n{}\n", folder.text())).unwrap();
    folder.runs(&["bob"], "s3cret\r\n");
    folder.runs(&["alice", "--batch"], "other");
    let text = folder.text();
    assert!(text.starts_with("# users\nalice:$argon2id$"), "{text}");
    assert_ne!(hash_of(&text, "alice"), first);
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o640);
    folder.runs(&["-D", "alice"], "");
    let text = folder.text();
    assert!(text.starts_with("# users\n") && !text.contains("alice") && text.contains("bob:"), "{text}");
    folder.fails(&["-D", "alice"], "", "no user \"alice\"");
    // Nothing else is left behind.
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn scram_credentials_are_written_in_postgresqls_form() {
    let folder = Folder::new();
    folder.runs(&["alice", "--scram", "--batch"], "s3cret\n");
    let text = folder.text();
    assert!(text.starts_with("alice:SCRAM-SHA-256$16384:"), "{text}");
    assert_eq!((text.matches('$').count(), text.matches(':').count()), (2, 3), "{text}");
}

#[test]
fn what_the_file_can_not_hold_is_refused() {
    let folder = Folder::new();
    folder.fails(&["a:b", "--batch"], "s3cret", "':'");
    folder.fails(&["#a", "--batch"], "s3cret", "'#'");
    folder.fails(&["a\nb", "--batch"], "s3cret", "control characters");
    folder.fails(&["", "--batch"], "s3cret", "needs a name");
    folder.fails(&["alice", "--batch"], "\n", "empty");
    folder.fails(&["-D", "alice"], "", "users");
    assert!(!folder.file().exists());
}

#[test]
fn a_link_stays_a_link() {
    let folder = Folder::new();
    let real = folder.0.join("real");
    fs::write(&real, "").unwrap();
    std::os::unix::fs::symlink(&real, folder.file()).unwrap();
    folder.runs(&["alice", "--batch"], "s3cret");
    assert!(fs::symlink_metadata(folder.file()).unwrap().is_symlink());
    assert!(fs::read_to_string(real).unwrap().starts_with("alice:"));
}
