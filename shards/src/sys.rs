//! The few system calls that std lacks: eventfd, limits, signal mask, thread CPU time.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

/// An eventfd: written by whoever wakes, read by ring 0 of a shard.
pub(crate) struct EventFd {
    fd: OwnedFd,
    /// Where ring 0 reads to; the value says nothing.
    count: AtomicU64,
}

impl EventFd {
    /// A new one with count 0.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: plain system call; a non-negative result is a descriptor that nobody else owns.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, count: AtomicU64::new(0) })
    }

    /// Adds 1, which wakes.
    pub(crate) fn ring(&self) {
        let one = 1u64;
        // SAFETY: writes 8 bytes from a local. It can only fail when the count is at its maximum of 2^64 - 2.
        unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// What completes as soon as the count is not 0, and sets it to 0. Writes into this value: it has to outlive the ring.
    pub(crate) fn read(&self) -> squeue::Entry {
        opcode::Read::new(Fd(self.fd.as_raw_fd()), self.count.as_ptr().cast(), 8).build()
    }

    /// Its descriptor number.
    pub(crate) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// Lets a socket be bound to an address while its port is chosen at connect time, when it has to be unique with the
/// target's address and port only: many times 64,512 connections from one address.
pub(crate) fn bind_address_no_port(socket: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: reads the local only.
    let result = unsafe {
        libc::setsockopt(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, (&raw const on).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling thread the lowest priority: it runs on what the others leave. For side threads that compute.
pub fn lower_priority() {
    // SAFETY: plain system call; 0 is the calling thread. Lowering a priority is always allowed.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

/// Bytes of a page of memory.
pub(crate) fn page_len() -> usize {
    // SAFETY: takes and gives plain numbers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(64 * 1024)
}

/// While it lives, fresh memory of the process is in small pages. Buffers that are registered with a ring are charged to
/// RLIMIT_MEMLOCK by the page that they are in: in huge ones, 2 MiB each.
pub(crate) struct SmallPages {
    before: libc::c_int,
}

impl SmallPages {
    /// Switches huge pages off.
    pub(crate) fn new() -> Self {
        // SAFETY: both calls take and give plain numbers.
        unsafe {
            let before = libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0);
            libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
            Self { before }
        }
    }
}

impl Drop for SmallPages {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, libc::c_ulong::from(self.before == 1), 0, 0, 0) };
    }
}

/// CPU time of the calling thread, microseconds.
pub(crate) fn thread_cpu_us() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call fills the timespec when it returns 0.
    unsafe {
        if libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) != 0 {
            return 0;
        }
        let time = time.assume_init();
        time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
    }
}

/// Raises the soft limit of descriptors to the hard one; the limit afterwards.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the local only.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        if limit.rlim_cur < limit.rlim_max {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
                limit = raised;
            }
        }
    }
    Ok(limit.rlim_cur)
}

/// CPUs that this process may run on.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the call writes at most the size given; all zeroes is a valid, empty set.
    let set = unsafe {
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr());
        set.assume_init()
    };
    // SAFETY: reads a bit below CPU_SETSIZE of an initialised set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Release of the running kernel, such as `6.1.0`.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |s| s.trim().into())
}

/// While it lives, the calling thread and those that it spawns take no signals: they go to the other threads,
/// and no wait of a shard is interrupted.
pub(crate) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    /// Blocks all signals but those that a thread causes itself.
    pub(crate) fn new() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the first calls initialise `all`; pthread_sigmask with valid arguments cannot fail and
        // writes the old mask to `before`.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in
                [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP]
            {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: restores the mask that `new` was given by the kernel.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}
