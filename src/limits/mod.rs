//! What keeps one client, one address or everybody together from using the node up: rates, counts, bans, memory.
//! Time is an argument. What all shards share here is touched when a client connects or leaves, never with a packet.

mod bans;
mod bucket;
mod gate;
mod occurrences;
mod own_quota;
mod pressure;
mod quota;
mod tally;

use std::net::{IpAddr, Ipv6Addr};

pub use bans::{Ban, BanCause, BanError, Bans, Subject};
pub use bucket::{Bucket, Rate};
pub use gate::{Gate, Passage};
pub use occurrences::Occurrences;
pub use own_quota::{OwnQuota, Resource};
pub use pressure::{Level, Pressure};
pub use quota::{Entry, Share, Usage, Users};
pub use tally::{Counted, Tally};

/// What an address counts as: one customer has a /64 of IPv6, so all its addresses are one.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_as_its_network() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("10.1.2.3"), "10.1.2.3");
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
