//! The repository's chores: `cargo xtask deny`, `sbom`, `sim` and `fuzz`. What is for the broker's
//! operators is not here.

mod chores;
mod deny;
mod licence;
mod metadata;
mod sbom;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the repository.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Check the licences of all dependencies, and their versions against the known advisories (tools/deny.toml).
    Deny,
    /// Print what is built into the programs, as a CycloneDX document.
    Sbom,
    /// Run the simulation over many seeds.
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 256)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// Run every fuzz target.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 20)]
        seconds: u32,
        /// Begin with the mutations of this seed, for a run that repeats; without, with others each time.
        #[arg(long)]
        seed: Option<u32>,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Deny => deny::run(&root()),
        Chore::Sbom => sbom::run(&root()),
        Chore::Sim { seeds, from } => chores::simulate(&root(), seeds, from),
        Chore::Fuzz { seconds, seed } => chores::fuzz(&root(), seconds, seed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: the folder above this package's.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(package);
    root.pop();
    root
}
