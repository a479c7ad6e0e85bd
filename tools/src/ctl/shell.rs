//! `myriadctl completions` and `man`: what shells and `man` know of the command line, made from its definition.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::Shell;

/// Of `myriadctl completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArguments {
    /// Which shell.
    #[arg(value_enum, required_unless_present = "dir")]
    shell: Option<Shell>,
    /// Write the scripts of bash, zsh and fish into this folder, under the names that these look for.
    #[arg(long, value_name = "DIR", conflicts_with = "shell")]
    dir: Option<PathBuf>,
}

/// Of `myriadctl man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArguments {
    /// Write a page for each command into this folder instead of printing the first one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the shell's script, or writes those of the common shells.
pub(crate) fn completions(arguments: &CompletionArguments, mut command: clap::Command) -> Result<ExitCode> {
    if let Some(dir) = &arguments.dir {
        let named = || dir.display().to_string();
        std::fs::create_dir_all(dir).with_context(named)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command, "myriadctl", dir).with_context(named)?;
        }
    }
    if let Some(shell) = arguments.shell {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "myriadctl", &mut script);
        stdout().lock().write_all(&script)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the page in roff, or writes one for each command.
pub(crate) fn man(arguments: &ManArguments, command: clap::Command) -> Result<ExitCode> {
    match &arguments.dir {
        None => clap_mangen::Man::new(command).render(&mut stdout().lock())?,
        Some(dir) => {
            let named = || dir.display().to_string();
            std::fs::create_dir_all(dir).with_context(named)?;
            clap_mangen::generate_to(command, dir).with_context(named)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
