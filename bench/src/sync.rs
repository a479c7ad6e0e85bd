//! `myriad-bench sync`: what the disk allows. Appends of several sizes to a growing file, each followed by an fdatasync, through
//! the same code as the broker's journal: no broker can acknowledge a durable message sooner than one of these takes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use hdrhistogram::Histogram;
use myriad::storage::Disk as _;
use myriad::storage::real_disk::RealDisk;

/// Bytes of an append: some acknowledgements, a small batch, a large one, a checkpoint's portion.
const SIZES: [usize; 4] = [200, 4 * 1024, 64 * 1024, 1024 * 1024];
/// More than this is not written of a size: it is no test of how full the disk gets.
const BYTES_MAX: usize = 2 << 30;

/// Options of `myriad-bench sync`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Folder on the disk to measure: of the broker's node.data_dir
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Seconds for each size
    #[arg(long, default_value_t = 3.0)]
    duration: f64,
}

/// What was measured of one size.
struct Row {
    size: usize,
    /// Microseconds of an append and its sync.
    latency_us: Histogram<u64>,
    elapsed: Duration,
}

/// Measures and prints a table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = options.folder.join(format!("myriad-bench-sync-{}", std::process::id()));
    let measured = measure_all(&folder, Duration::from_secs_f64(options.duration));
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    println!(
        "{:>10} {:>8} {:>10} {:>10} {:>10} {:>12} {:>10}",
        "append", "syncs", "p50 us", "p99 us", "max us", "syncs/s", "MiB/s"
    );
    for Row { size, latency_us, elapsed } in measured? {
        let seconds = elapsed.as_secs_f64();
        let syncs = latency_us.len();
        println!(
            "{size:>10} {syncs:>8} {:>10} {:>10} {:>10} {:>12.0} {:>10.1}",
            latency_us.value_at_quantile(0.5),
            latency_us.value_at_quantile(0.99),
            latency_us.max(),
            syncs as f64 / seconds,
            syncs as f64 * size as f64 / seconds / f64::from(1 << 20),
        );
    }
    Ok(())
}

fn measure_all(folder: &Path, duration: Duration) -> anyhow::Result<Vec<Row>> {
    let mut disk = RealDisk::open(folder)?;
    SIZES.iter().map(|size| measure(&mut disk, *size, duration)).collect()
}

fn measure(disk: &mut RealDisk, size: usize, duration: Duration) -> anyhow::Result<Row> {
    let name = format!("append-{size}");
    let mut file = disk.create(&name)?;
    disk.sync_names()?;
    // Not zeros, which some file systems leave out.
    let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
    let mut latency_us = Histogram::new(3)?;
    let begun = Instant::now();
    while begun.elapsed() < duration && latency_us.len() as usize * size < BYTES_MAX {
        let append = Instant::now();
        disk.append(&mut file, &[&bytes])?;
        disk.sync(&mut file)?;
        latency_us.record(append.elapsed().as_micros() as u64)?;
    }
    let elapsed = begun.elapsed();
    drop(file);
    disk.remove(&name)?;
    Ok(Row { size, latency_us, elapsed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_is_measured_and_nothing_is_left() -> anyhow::Result<()> {
        let folder = std::env::temp_dir().join(format!("myriad-sync-test-{}", std::process::id()));
        let rows = measure_all(&folder, Duration::from_millis(5))?;
        assert_eq!(rows.iter().map(|row| row.size).collect::<Vec<_>>(), SIZES);
        assert!(rows.iter().all(|row| !row.latency_us.is_empty()));
        assert_eq!(std::fs::read_dir(&folder)?.count(), 1, "only the lock");
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }
}
