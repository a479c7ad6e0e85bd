//! Chores that only start another program: the simulation over many seeds, the fuzz targets.

use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

/// Lines of a fuzz target's output that are shown when it found something.
const FUZZ_LINES: usize = 80;

/// Runs `tests/simulation` over the seeds `from..from + seeds`.
pub(crate) fn simulate(root: &Path, seeds: u64, from: u64) -> Result<()> {
    ensure!(root.join("tests/simulation").is_dir(), "there is no tests/simulation");
    let mut cargo = Command::new(cargo());
    cargo.args(["test", "--locked", "--test", "simulation"]);
    // As environment, not as arguments: the test harness has its own arguments.
    cargo.env("SEEDS", seeds.to_string()).env("START", from.to_string()).current_dir(root);
    succeed(cargo)
}

/// Runs every target of `fuzz/targets` for `seconds`, as many at a time as there are cores. With a seed each begins with the
/// same mutations every time. One that finds something does not keep the others from running.
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
    let (targets, broken) = (Mutex::new(targets.into_iter()), AtomicBool::new(false));
    let next = || targets.lock().ok()?.next();
    let work = || {
        while let Some(target) = next() {
            match fuzz_target(root, &target, seconds, seed) {
                Ok(done) => println!("fuzz {target}: {done}"),
                Err(error) => {
                    eprintln!("fuzz {target}: {error:#}");
                    broken.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    ensure!(!broken.load(Ordering::Relaxed), "not all fuzz targets have passed");
    Ok(())
}

/// The last word of a target that found nothing.
fn fuzz_target(root: &Path, target: &str, seconds: u32, seed: Option<u32>) -> Result<String> {
    let mut run = Command::new(root.join("fuzz/run"));
    run.arg(target).arg(seconds.to_string()).current_dir(root);
    run.args(seed.map(|seed| format!("-seed={seed}")));
    fuzz_quietly(run)
}

/// Runs a target. libFuzzer prints a line for every input that it keeps: of a run that finds nothing only the last word is
/// of interest, of another the end.
fn fuzz_quietly(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} can't be started"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.len().saturating_sub(FUZZ_LINES);
        bail!("{command:?}: {}\n{}", output.status, lines[end..].join("\n"));
    }
    Ok(text.lines().rfind(|line| line.starts_with("Done ")).unwrap_or("done").to_owned())
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
