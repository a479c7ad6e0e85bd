//! A disk that is slow or fails, as the broker sees it: strace on the one thread that writes, which delays its system calls or
//! fails them; and a disk that is full: a small file system in memory, in a mount namespace of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::broker::{Options, command, wait_until};

/// strace at work. It lets go when dropped.
pub struct Injection {
    strace: Child,
    log: PathBuf,
}

impl Injection {
    /// Injects into the system calls of the broker's thread "journal": `fdatasync:delay_enter=200000`, for example. `None`: not
    /// possible here, and the test is skipped.
    pub(super) fn new(pid: u32, inject: &str) -> Option<Self> {
        Self::into_thread(pid, "journal", inject)
    }

    /// The same for the first thread whose name begins so.
    pub fn into_thread(pid: u32, name: &str, inject: &str) -> Option<Self> {
        let calls = inject.split(':').next().unwrap();
        let log = crate::broker::temporary_dir().join("strace");
        let mut strace = Command::new("strace");
        strace.arg("-y").arg("-o").arg(&log).arg("-p").arg(thread(pid, name).to_string());
        strace.args(["-e", &format!("trace={calls},openat"), "-e", &format!("inject={inject}")]);
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let Ok(mut strace) = strace.spawn() else {
            println!("skipped: there is no strace");
            return None;
        };
        let mut said = String::new();
        let _ = BufReader::new(strace.stderr.take().unwrap()).read_line(&mut said);
        if !said.contains("attached") {
            println!("skipped: {said}");
            let _ = strace.wait();
            return None;
        }
        Some(Self { strace, log })
    }

    /// The system calls so far, a line each.
    pub(super) fn calls(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // At SIGTERM it lets the thread go on as it was.
        let pid = self.strace.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.strace.wait();
        if let Some(dir) = self.log.parent() {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

fn thread(pid: u32, name: &str) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let is_it =
        |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.starts_with(name));
    let task = tasks.into_iter().find(is_it).unwrap_or_else(|| panic!("no thread {name:?}"));
    task.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// A file system of a few MiB.
pub(super) struct SmallDisk {
    holder: Child,
    dir: PathBuf,
    is_root: bool,
}

impl SmallDisk {
    /// Mounts it. `None`: not possible here, and the test is skipped.
    pub(super) fn mount(kib: u32) -> Option<Self> {
        let dir = crate::broker::temporary_dir();
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        let script = format!("mount -t tmpfs -o size={kib}k tmpfs \"$0\" && echo mounted && exec sleep 600");
        let mut holder = Command::new("unshare");
        holder.arg(if is_root { "-m" } else { "-rm" }).args(["sh", "-c", &script]).arg(&dir);
        holder.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut holder) = holder.spawn() else {
            println!("skipped: there is no unshare");
            return None;
        };
        let mut said = String::new();
        let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said);
        let disk = Self { holder, dir, is_root };
        if said != "mounted\n" {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(disk)
    }

    /// Where it is for this process.
    pub(super) fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.dir.strip_prefix("/").unwrap())
    }

    /// A broker with its data there.
    pub(super) fn command(&self, options: &Options, address: SocketAddr) -> Option<Command> {
        let broker = command(options, address, &self.dir)?;
        let mut entering = self.enter();
        entering.arg(broker.get_program()).args(broker.get_args());
        Some(entering)
    }

    fn enter(&self) -> Command {
        let mut entering = Command::new("nsenter");
        entering.args(["-t", &self.holder.id().to_string(), "-m"]);
        if !self.is_root {
            entering.args(["-U", "--preserve-credentials"]);
        }
        entering.arg("--");
        entering
    }

    /// Nothing can be written there any more.
    pub(super) fn make_read_only(&self) {
        let status = self.enter().args(["mount", "-o", "remount,ro"]).arg(&self.dir).status();
        assert!(status.unwrap().success());
    }

    /// Takes all space that is left.
    pub(super) fn fill(&self) {
        let mut ballast = File::create(self.path().join("ballast")).unwrap();
        while ballast.write_all(&[0; 512]).is_ok() {}
    }

    /// Gives it back.
    pub(super) fn free(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Whether no process is left that has the directory's lock.
pub(super) fn wait_for_end_of(pid: u32) {
    wait_until("the broker has ended", || !Path::new(&format!("/proc/{pid}")).exists());
}
