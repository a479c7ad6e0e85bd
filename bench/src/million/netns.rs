//! A network namespace of its own for both ends, with its loopback up and a wide range of ports.

use std::fs;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd as _;

/// What may be set inside; a setting that a kernel lacks is left alone.
const SETTINGS: [(&str, &str); 3] = [
    ("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535"),
    ("/proc/sys/net/core/somaxconn", "65535"),
    ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "65536"),
];

/// Slots of the kernel's table of connections, of all namespaces that have none of their own.
const TABLE: &str = "/proc/sys/net/ipv4/tcp_ehash_entries";
/// Slots of the tables of namespaces made from here; 0: they share that one. Since Linux 6.1.
const TABLE_OF_CHILDREN: &str = "/proc/sys/net/ipv4/tcp_child_ehash_entries";

/// Moves this thread, and all that it starts from now on, into a new network namespace with room for so many connections.
///
/// # Errors
/// No right to it, or no namespaces in this kernel.
pub(crate) fn enter(connections: u64) -> anyhow::Result<()> {
    unshare_network()?;
    // Two sockets a slot, as `myriadctl tune` advises for a host. What is made has it, so it takes one in between.
    let slots = connections.next_power_of_two();
    let shared = fs::read_to_string(TABLE).ok().and_then(|text| text.trim().parse::<i64>().ok());
    let is_short = shared.is_some_and(|shared| shared.unsigned_abs() < slots);
    if is_short && fs::write(TABLE_OF_CHILDREN, slots.to_string()).is_ok() {
        unshare_network()?;
    }
    loopback_up().context("--netns: the loopback interface does not come up")?;
    for (path, value) in SETTINGS {
        // Not in every kernel's namespaces; the machine check shows what there is.
        let _ = fs::write(path, value);
    }
    Ok(())
}

fn unshare_network() -> anyhow::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => bail!("--netns: a network namespace needs root (CAP_SYS_ADMIN)"),
        Err(why) => bail!("--netns: this kernel has no network namespaces: {why}"),
    }
}

/// Asks the kernel to set interface 1, which is always `lo`, up.
fn loopback_up() -> anyhow::Result<()> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(fd.as_raw_fd(), &request(), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 64];
    let len = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // NLMSG_ERROR (2) with the code behind the header of 16 bytes; 0 is success.
    let code = answer.get(16..20).filter(|_| len >= 20).and_then(|c| c.first_chunk::<4>());
    match code.map(|c| i32::from_ne_bytes(*c)) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw(-code).into()),
        None => bail!("an answer of {len} bytes"),
    }
}

/// RTM_NEWLINK: `struct nlmsghdr`, then `struct ifinfomsg`, in the byte order of the machine.
fn request() -> [u8; 32] {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut message = [0; 32];
    let fields: [(usize, &[u8]); 6] = [
        (0, &32_u32.to_ne_bytes()),
        (4, &RTM_NEWLINK.to_ne_bytes()),
        (6, &NLM_F_REQUEST_ACK.to_ne_bytes()),
        // ifi_index, ifi_flags, ifi_change.
        (20, &1_i32.to_ne_bytes()),
        (24, &IFF_UP.to_ne_bytes()),
        (28, &IFF_UP.to_ne_bytes()),
    ];
    for (at, bytes) in fields {
        if let Some(place) = message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_its_length_and_the_first_interface() {
        let message = request();
        assert_eq!(message.first_chunk().map(|b| u32::from_ne_bytes(*b)), Some(32));
        assert_eq!(message.get(20..24), Some(1_i32.to_ne_bytes().as_slice()));
        assert_eq!(message.get(16), Some(&0));
    }
}
