//! Who is connected to a door. Its places are for everyone, so that probes and scrapers need no password; but when all are taken, one
//! who has not shown who he is gives way: strangers can't keep operators out.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::task::AbortHandle;

use crate::limits::network_of;

/// Whether somebody has shown who he is, on this connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<AtomicBool>);

impl Known {
    /// He has.
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A connection.
#[derive(Debug)]
struct Guest {
    network: Option<IpAddr>,
    known: Known,
    task: AbortHandle,
}

/// The connections of a door, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Guests(Vec<Guest>);

impl Guests {
    /// One more, which `task` serves.
    pub(super) fn enter(&mut self, address: Option<IpAddr>, known: Known, task: AbortHandle) {
        self.0.retain(|guest| !guest.task.is_finished());
        self.0.push(Guest { network: address.map(network_of), known, task });
    }

    /// Ends the connection of a stranger: of the network that has most of them the first that came. Whoever comes from elsewhere has as
    /// much time to say who he is as there are places. Without strangers nothing happens: the next one waits.
    pub(super) fn make_room(&mut self) {
        self.0.retain(|guest| !guest.task.is_finished());
        let mut counts = HashMap::new();
        for guest in self.0.iter().filter(|guest| !guest.known.is_set()) {
            *counts.entry(guest.network).or_insert(0_usize) += 1;
        }
        let strangers = self.0.iter().enumerate().filter(|(_, guest)| !guest.known.is_set());
        let first_of_most = strangers.max_by_key(|(at, guest)| (counts.get(&guest.network), Reverse(*at)));
        if let Some((at, guest)) = first_of_most {
            tracing::debug!(network = ?guest.network, "a connection of the admin side gives way to the next one");
            guest.task.abort();
            self.0.remove(at);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_of_the_network_with_most_strangers_gives_way() {
        let mut guests = Guests::default();
        let mut tasks = Vec::new();
        // Two networks, one of them an IPv6 /64.
        let known = [(); 6].map(|()| Known::default());
        let addresses = ["10.0.0.1", "2001:db8::1", "10.0.0.2", "2001:db8::2", "2001:db8::3", "10.0.0.2"];
        for (address, known) in addresses.iter().zip(&known) {
            let task = tokio::spawn(std::future::pending::<()>());
            guests.enter(Some(address.parse().unwrap()), known.clone(), task.abort_handle());
            tasks.push(Some(task));
        }
        known[1].set();
        let mut gone = Vec::new();
        for _ in 0..6 {
            let before = guests.0.len();
            guests.make_room();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let ended = tasks.iter().position(|task| task.as_ref().is_some_and(|task| task.is_finished()));
            assert_eq!(before - guests.0.len(), usize::from(ended.is_some()));
            gone.extend(ended);
            if let Some(ended) = ended {
                tasks[ended] = None;
            }
        }
        // Two networks have two strangers each: the first that came of those, then of the other one, then whoever came first.
        assert_eq!(gone, [2, 3, 0, 4, 5]);
    }
}
