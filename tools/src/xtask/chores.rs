//! Chores that only start another program: the simulation over many seeds, the fuzz targets.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Runs `tests/simulation` over the seeds `from..from + seeds`.
pub(crate) fn simulate(root: &Path, seeds: u64, from: u64) -> Result<()> {
    ensure!(root.join("tests/simulation").is_dir(), "there is no tests/simulation");
    let mut cargo = Command::new(cargo());
    cargo.args(["test", "--locked", "--test", "simulation"]);
    // As environment, not as arguments: the test harness has its own arguments.
    cargo.env("SEEDS", seeds.to_string()).env("START", from.to_string()).current_dir(root);
    succeed(cargo)
}

/// Runs every target of `fuzz/targets` for `seconds`. With a seed each begins with the same mutations every time.
pub(crate) fn fuzz(root: &Path, seconds: u32, seed: Option<u32>) -> Result<()> {
    let folder = root.join("fuzz/targets");
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("there is no {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    targets.sort();
    ensure!(!targets.is_empty(), "no target in {}", folder.display());
    for target in targets {
        println!("fuzz {target} for {seconds} s");
        let mut run = Command::new(root.join("fuzz/run"));
        run.arg(&target).arg(seconds.to_string()).current_dir(root);
        run.args(seed.map(|seed| format!("-seed={seed}")));
        succeed(run).with_context(|| format!("fuzz target {target}"))?;
    }
    Ok(())
}

/// The cargo that started this program.
pub(crate) fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} can't be started"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
