//! `acl.conf`: what a client may not publish to or subscribe with, and what it is told, by version.

mod file;
mod http;
mod publish;
mod subscribe;

use std::path::PathBuf;

use crate::broker::{Broker, Options, temporary_dir};

/// A broker with these rules.
pub struct Guarded {
    pub broker: Broker,
    pub file: PathBuf,
}

/// Starts a broker with the rules `text` and `settings`.
pub fn guarded(shards: u16, text: &str, settings: &[&str]) -> Guarded {
    let file = temporary_dir().join("acl.conf");
    std::fs::write(&file, text).unwrap();
    let mut options = Options::shards(shards)
        .set(&format!("acl.file={}", file.display()))
        .set("acl.no_match=deny")
        .set("sys.interval_s=1");
    for setting in settings {
        options = options.set(setting);
    }
    Guarded { broker: Broker::start(&options).unwrap(), file }
}

/// Runs with 1 and 4 shards.
pub fn each(text: &str, test: impl Fn(&Guarded)) {
    for shards in [1, 4] {
        test(&guarded(shards, text, &[]));
    }
}
