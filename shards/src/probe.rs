//! What the machine allows, found out before anything is started.

use std::io;

use io_uring::{Probe, opcode};

use crate::limits::{Config, Layout};
use crate::ring::RingSize;
use crate::start::StartError;
use crate::{ring, sys};

/// What fits.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Descriptors that a process may have (the soft limit, after raising it to the hard one).
    pub descriptors_max: u64,
    /// Data rings per shard.
    pub rings_per_shard: u16,
    /// Connections that a shard has room for.
    pub connections_per_shard: u64,
    /// Connections that the system's limit of open files (`fs.file-max`) leaves room for.
    pub files_max: u64,
}

/// Descriptors that a shard needs besides its rings and listeners: glommio's rings, eventfds.
const DESCRIPTORS_PER_SHARD: u64 = 10;
/// A ring's own and its eventfd.
const DESCRIPTORS_PER_RING: u64 = 2;
/// Descriptors for everything else in the process.
const DESCRIPTORS_SPARE: u64 = 64;

/// Raises the soft limit of descriptors to the hard one, checks that io_uring can be used, and says how many
/// connections fit.
///
/// # Errors
/// One clear line about what forbids or limits it, and what to do.
pub fn check(config: &Config) -> Result<Capacity, StartError> {
    if config.shards == 0 {
        return Err(StartError::NoShards);
    }
    let descriptors_max = sys::raise_descriptor_limit().map_err(StartError::System)?;
    check_io_uring()?;
    let layout = Layout::new(config, descriptors_max);
    let shards = u64::from(config.shards);
    let rings = DESCRIPTORS_PER_RING * u64::from(layout.rings);
    let per_shard = DESCRIPTORS_PER_SHARD + rings + 2 * config.listeners.len() as u64;
    let needed = DESCRIPTORS_SPARE + shards * per_shard;
    if needed > descriptors_max {
        return Err(StartError::Descriptors { needed, allowed: descriptors_max });
    }
    let connections_per_shard = u64::from(layout.rings) * u64::from(layout.ring.slots);
    let files_max = std::fs::read_to_string("/proc/sys/fs/file-max")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u64::MAX);
    if files_max < u64::from(config.connections_max) {
        return Err(StartError::Files { wanted: config.connections_max, allowed: files_max });
    }
    Ok(Capacity { descriptors_max, rings_per_shard: layout.rings, connections_per_shard, files_max })
}

fn check_io_uring() -> Result<(), StartError> {
    let uring = ring::build(RingSize { submissions: 8, completions: 16, slots: 8 }).map_err(ring_error)?;
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(ring_error)?;
    // DEFER_TASKRUN (6.1), which the ring was just made with, is younger than most of these.
    let needed = [
        opcode::Accept::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
        opcode::MsgRingSendFd::CODE,
        opcode::PollAdd::CODE,
        opcode::Read::CODE,
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::SendMsg::CODE,
    ];
    if needed.iter().all(|&code| probe.is_supported(code)) {
        Ok(())
    } else {
        Err(StartError::Kernel { release: sys::kernel_release() })
    }
}

/// What the error of a ring's creation means.
pub(crate) fn ring_error(error: io::Error) -> StartError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => StartError::Missing { release: sys::kernel_release() },
        Some(libc::EPERM | libc::EACCES) => {
            let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
            match switch.trim() {
                level @ ("1" | "2") => StartError::Disabled { level: level.into() },
                _ => StartError::Forbidden,
            }
        }
        Some(libc::EINVAL) => StartError::Kernel { release: sys::kernel_release() },
        Some(libc::ENOMEM) => StartError::LockedMemory,
        Some(libc::EMFILE) => StartError::Descriptors { needed: 0, allowed: 0 },
        _ => StartError::System(error),
    }
}
