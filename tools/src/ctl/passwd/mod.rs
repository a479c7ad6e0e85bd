//! `myriadctl passwd`: the users of a password file, or of a file of SCRAM credentials: add, change, delete. `entry` makes
//! the line, `file` changes the file, `prompt` asks for the password.

mod entry;
mod file;
pub(crate) mod prompt;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};

/// Of `myriadctl passwd`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file: that of auth.file.path, or with --scram of auth.scram.path. Made if it is not there.
    file: PathBuf,
    /// The user.
    user: String,
    /// Delete the user.
    #[arg(short = 'D', long, conflicts_with_all = ["batch", "scram"])]
    delete: bool,
    /// Take the password from the first line of standard input and ask nothing.
    #[arg(long)]
    batch: bool,
    /// Write credentials for SCRAM-SHA-256 instead of an argon2id hash.
    #[arg(long)]
    scram: bool,
}

/// Runs it. Exit status 0: the file is as it was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_user(&arguments.user)?;
    if arguments.delete {
        let was_there = file::delete(&arguments.file, &arguments.user)?;
        ensure!(was_there, "{}: there is no user {:?}", arguments.file.display(), arguments.user);
        return Ok(ExitCode::SUCCESS);
    }
    let password = prompt::password(&arguments.user, arguments.batch)?;
    let secret = if arguments.scram { entry::scram_sha_256(&password)? } else { entry::argon2id(&password)? };
    file::put(&arguments.file, &arguments.user, &secret)?;
    Ok(ExitCode::SUCCESS)
}

/// A name that fits into a line: `name:hash`.
pub(crate) fn check_user(user: &str) -> Result<()> {
    ensure!(!user.is_empty(), "the user needs a name");
    ensure!(!user.contains(':'), "a user's name can't have ':': it ends there in the file");
    ensure!(!user.starts_with('#'), "a user's name can't begin with '#': that is a comment in the file");
    ensure!(!user.chars().any(char::is_control), "a user's name can't have control characters");
    ensure!(!user.starts_with('\u{feff}'), "a user's name can't begin with a byte order mark");
    ensure!(user.len() <= 65_535, "a user's name can have 65,535 bytes at most");
    Ok(())
}
