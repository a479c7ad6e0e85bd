//! The broker under test: one that this run starts and ends, or one that runs already. Its CPU and memory.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::results::BrokerExit;
use super::target::Target;
use crate::proc::{Process, Usage};

/// Longest wait for `myriad ready`.
const READY_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(2);

/// The broker under test.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    /// Unknown for a broker elsewhere, or without `--pid`.
    pub(crate) pid: Option<u32>,
    pub(crate) version: Option<String>,
    /// Where its log goes, if this run started it.
    pub(crate) log: Option<PathBuf>,
    child: Option<Child>,
    /// What it keeps, removed with this.
    _data: Option<DataFolder>,
}

/// A folder of this run's own for a broker's data: not `./data`, which may be somebody's.
#[derive(Debug)]
struct DataFolder(PathBuf);

impl DataFolder {
    fn new(port: u16) -> Self {
        // The broker makes it. One process may have several brokers after each other.
        Self(std::env::temp_dir().join(format!("myriad-bench-data-{}-{port}", std::process::id())))
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // It may not have come to be.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Broker {
    /// One that runs already.
    pub(crate) fn running(address: SocketAddr, pid: Option<u32>) -> anyhow::Result<Self> {
        if let Some(pid) = pid {
            Usage::of(pid)?;
        }
        Ok(Self { address, pid, version: None, log: None, child: None, _data: None })
    }

    /// Starts one on a free port of loopback; returns when it is ready.
    ///
    /// # Errors
    /// No program to start, or its own words for why it did not start.
    pub(crate) fn start(target: &Target, sets: &[String]) -> anyhow::Result<Self> {
        let program = program(target)?;
        let version = version(&program)?;
        let address = free_address()?;
        let log = target.broker_log.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("myriad-bench-broker-{}.log", std::process::id()))
        });
        let log_file = File::create(&log).with_context(|| format!("--broker-log {}", log.display()))?;
        let mut command = Command::new(&program);
        let data = DataFolder::new(address.port());
        command.args(["--listen", &format!("mqtt://{address}"), "--shards", &target.broker_shards]);
        // The port of HTTP may be another broker's.
        command.arg("--data-dir").arg(&data.0).args(["--set", "admin.listen="]);
        for set in sets.iter().chain(&target.set) {
            command.args(["--set", set]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        // A group of its own: SIGINT of the terminal ends this run, which then ends the broker.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        if let Err(why) = wait_ready(&mut child, &log) {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Err(why);
        }
        Ok(Self {
            address,
            pid: Some(child.id()),
            version: Some(version),
            log: Some(log),
            child: Some(child),
            _data: Some(data),
        })
    }

    /// What it has used until now.
    pub(crate) fn usage(&self) -> Option<BrokerUsage> {
        self.pid.and_then(BrokerUsage::of)
    }

    /// Descriptors that it has open, where that may be seen.
    pub(crate) fn descriptors(&self) -> Option<u64> {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid?)).ok()?;
        Some(folder.count() as u64)
    }

    /// Its process, as a condition of the results.
    pub(crate) fn process(&self) -> Option<Process> {
        self.pid.and_then(|pid| Process::of(pid).ok())
    }

    /// Why it is not running any more.
    pub(crate) fn gone(&mut self) -> Option<String> {
        if let Some(child) = &mut self.child {
            let status = child.try_wait().ok().flatten()?;
            let log = self.log.as_deref().map(last_line).unwrap_or_default();
            return Some(format!("the broker ended by itself ({status}): {log}"));
        }
        let pid = self.pid?;
        (!Path::new(&format!("/proc/{pid}")).exists()).then(|| format!("the broker (pid {pid}) is gone"))
    }

    /// Ends one that this run has started, by SIGTERM, and tells how that went.
    pub(crate) fn end(mut self) -> Option<BrokerExit> {
        let mut child = self.child.take()?;
        let since = Instant::now();
        signal(&child, Signal::SIGTERM);
        let mut killed = false;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    let seconds = since.elapsed().as_secs_f64();
                    return Some(BrokerExit { status: status.code(), seconds, killed });
                }
                Ok(None) if since.elapsed() > END_MAX && !killed => {
                    killed = true;
                    // It may have ended this very moment.
                    let _ = child.kill();
                }
                Ok(None) => std::thread::sleep(LOOK),
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Only after an error of this run: nothing is measured any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may have ended by itself: then there is nobody to tell.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The program to start: `--broker`; with `cargo run` the one that cargo builds (so it is never an old one);
/// else `myriad` beside this program.
fn program(target: &Target) -> anyhow::Result<PathBuf> {
    if let Some(given) = &target.broker {
        return Ok(given.clone());
    }
    let own = std::env::current_exe().context("this program's own path")?;
    let beside = own.with_file_name("myriad");
    if let (Some(cargo), Some(bench)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR")) {
        let root = Path::new(&bench).parent().unwrap_or(Path::new("."));
        let release = own.components().any(|part| part.as_os_str() == "release");
        eprintln!("building the broker: cargo build{} -p myriad", if release { " --release" } else { "" });
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "-p", "myriad", "--bin", "myriad"]).current_dir(root);
        if release {
            build.arg("--release");
        }
        if !build.status().context("cannot run cargo")?.success() {
            bail!("the broker does not build; name one with --broker PATH");
        }
    }
    if !beside.exists() {
        bail!(
            "there is no broker at {}; build it with `cargo build --release -p myriad`, name one with --broker PATH, \
             or use a running one with --host",
            beside.display()
        );
    }
    Ok(beside)
}

fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An address on loopback with a port that nobody has now.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

/// Waits for the line `myriad ready`; its output goes on to be read, so that the broker never waits for us.
fn wait_ready(child: &mut Child, log: &Path) -> anyhow::Result<()> {
    let Some(stdout) = child.stdout.take() else { bail!("the broker has no standard output") };
    let (ready, is_ready) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line == "myriad ready" {
                // The leader may have given up meanwhile.
                let _ = ready.send(());
            }
        }
    });
    match is_ready.recv_timeout(READY_MAX) {
        Ok(()) => Ok(()),
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
            bail!("the broker is not ready after {} s; its log: {}", READY_MAX.as_secs(), log.display())
        }
        Err(_) => bail!("the broker did not start: {}", last_line(log)),
    }
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().next_back().unwrap_or("it left no word in its log").to_owned()
}

/// What the broker has used until now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BrokerUsage {
    /// User and system time of all threads, seconds.
    pub(crate) cpu_s: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) anon_bytes: u64,
}

impl BrokerUsage {
    /// Of a process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let usage = Usage::of(pid).ok()?;
        Some(Self {
            cpu_s: cpu_s(pid).unwrap_or(usage.cpu_s),
            rss_bytes: usage.rss_bytes,
            anon_bytes: usage.anon_bytes,
        })
    }
}

/// CPU time of all running threads in nanoseconds from the scheduler, finer than the ticks of `/proc/PID/stat`. A
/// broker whose threads come and go would lose those that went: then it is less than the ticks say, and not used.
fn cpu_s(pid: u32) -> Option<f64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        ns += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    let ticks_s = Usage::of(pid).ok()?.cpu_s;
    let fine_s = ns as f64 / 1e9;
    (fine_s + 0.05 >= ticks_s).then_some(fine_s)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured_finely() {
        let usage = BrokerUsage::of(std::process::id()).unwrap();
        assert!(usage.cpu_s > 0.0 && usage.rss_bytes >= usage.anon_bytes && usage.anon_bytes > 0);
        assert!(BrokerUsage::of(u32::MAX).is_none());
    }

    #[test]
    fn a_program_that_is_no_broker_is_told_by_its_last_words() {
        let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        let error = wait_ready(&mut child, Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("did not start"), "{error}");
        child.wait().unwrap();
    }

    #[test]
    fn a_missing_broker_names_the_mend() {
        assert!(Broker::running("127.0.0.1:1".parse().unwrap(), Some(u32::MAX)).is_err());
        let error = version(Path::new("/nonexistent/myriad")).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/myriad"));
    }
}
