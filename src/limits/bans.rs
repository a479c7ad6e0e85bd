//! Who is kept out for a while: addresses, Client Identifiers and User Names that failed to authenticate too often,
//! that connect again and again, or that an operator named. Node-wide and bounded; while there are no bans nothing but
//! one word is read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use super::network_of;
use super::occurrences::{Occurrences, Sweep};
use crate::clock::Timestamp;

/// Bans at a time: what an attacker with many addresses can make us keep.
const BANS_MAX: usize = 100_000;
/// Failures remembered at a time.
const FAILURES_MAX: usize = 100_000;

/// Who is banned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An IPv4 address, or an IPv6 address, which stands for its /64.
    Address(IpAddr),
    /// A Client Identifier.
    ClientId(Box<str>),
    /// A User Name.
    Username(Box<str>),
}

impl Subject {
    /// From the words of an operator: `address`, `client` or `user`, and which.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(kind: &str, name: &str) -> Result<Self, BanError> {
        match kind {
            "address" => {
                let address = name.parse().map_err(|_| BanError::Address(name.into()))?;
                Ok(Self::Address(network_of(address)))
            }
            "client" => Ok(Self::ClientId(name.into())),
            "user" => Ok(Self::Username(name.into())),
            _ => Err(BanError::Kind(kind.into())),
        }
    }

    /// Its kind and its name, as `parse` takes them.
    pub fn parts(&self) -> (&'static str, String) {
        match self {
            Self::Address(address) => ("address", address.to_string()),
            Self::ClientId(id) => ("client", id.to_string()),
            Self::Username(name) => ("user", name.to_string()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.parts();
        write!(f, "{kind} {name}")
    }
}

/// Why an operator's ban is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// Not a kind of subject.
    #[error("expected address, client or user, not {0:?}")]
    Kind(Box<str>),
    /// Not an address.
    #[error("expected an IP address, not {0:?}")]
    Address(Box<str>),
    /// The table is full.
    #[error("{BANS_MAX} bans are in effect already")]
    Full,
}

/// Why somebody is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanCause {
    /// Too many failed authentications.
    Failures,
    /// Too many connections of one Client Identifier.
    Flapping,
    /// An operator said so.
    Operator,
}

impl BanCause {
    /// One word for logs and lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Flapping => "flapping",
            Self::Operator => "operator",
        }
    }
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub subject: Subject,
    /// Until when; `None`: until it is lifted.
    pub until: Option<Timestamp>,
    /// Why.
    pub cause: BanCause,
}

#[derive(Debug, Clone, Copy)]
struct Term {
    until: Option<Timestamp>,
    cause: BanCause,
}

impl Term {
    fn is_over(self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

#[derive(Debug)]
struct Table {
    bans: BTreeMap<Subject, Term>,
    /// A search of the full table holds the lock for the whole of it.
    bans_sweep: Sweep,
    failures: Occurrences,
}

/// The table of a node.
#[derive(Debug)]
pub struct Bans {
    /// Bans in the table, those included that are over and not yet removed.
    len: AtomicUsize,
    table: Mutex<Table>,
    hasher: RandomState,
}

impl Bans {
    /// Nobody is banned. `seed` keys the hashes.
    pub fn new(seed: u64) -> Self {
        let hasher = RandomState::with_seeds(seed, 31, 37, 41);
        let failures = Occurrences::new(FAILURES_MAX, hasher.clone());
        let table = Table { bans: BTreeMap::new(), bans_sweep: Sweep::default(), failures };
        Self { len: AtomicUsize::new(0), table: Mutex::new(table), hasher }
    }

    /// Why one who connects is kept out; `None`: it is not. What is not known (yet) is left out.
    pub fn find(
        &self,
        now: Timestamp,
        address: Option<IpAddr>,
        client_id: Option<&str>,
        username: Option<&str>,
    ) -> Option<BanCause> {
        if self.len.load(Relaxed) == 0 {
            return None;
        }
        let subjects = [
            address.map(|address| Subject::Address(network_of(address))),
            client_id.map(|client_id| Subject::ClientId(client_id.into())),
            username.map(|username| Subject::Username(username.into())),
        ];
        let mut table = self.table();
        let found = subjects.iter().flatten().find_map(|subject| {
            let term = table.bans.get(subject)?;
            if term.is_over(now) {
                table.bans.remove(subject);
                return None;
            }
            Some(term.cause)
        });
        self.len.store(table.bans.len(), Relaxed);
        found
    }

    /// Bans; a ban that is there is replaced.
    ///
    /// # Errors
    /// The table is full.
    pub fn add(&self, now: Timestamp, ban: Ban) -> Result<(), BanError> {
        let mut table = self.table();
        if table.bans.len() >= BANS_MAX && !table.bans.contains_key(&ban.subject) {
            if ban.cause == BanCause::Operator || table.bans_sweep.is_due(now) {
                table.bans.retain(|_, term| !term.is_over(now));
            }
            if table.bans.len() >= BANS_MAX {
                return Err(BanError::Full);
            }
        }
        table.bans.insert(ban.subject, Term { until: ban.until, cause: ban.cause });
        self.len.store(table.bans.len(), Relaxed);
        Ok(())
    }

    /// Lifts a ban and forgets the failures that led to it; whether there was one.
    pub fn lift(&self, now: Timestamp, subject: &Subject) -> bool {
        let mut table = self.table();
        table.failures.forget(self.hasher.hash_one(subject));
        let lifted = table.bans.remove(subject);
        self.len.store(table.bans.len(), Relaxed);
        lifted.is_some_and(|term| !term.is_over(now))
    }

    /// All bans in effect, by subject; those that are over are removed.
    pub fn list(&self, now: Timestamp) -> Vec<Ban> {
        let mut table = self.table();
        table.bans.retain(|_, term| !term.is_over(now));
        self.len.store(table.bans.len(), Relaxed);
        let ban = |(subject, term): (&Subject, &Term)| Ban {
            subject: subject.clone(),
            until: term.until,
            cause: term.cause,
        };
        table.bans.iter().map(ban).collect()
    }

    /// One more failure of `subject`; true: that makes `max` within `window_ms`, and it starts anew.
    pub fn failed(&self, now: Timestamp, subject: &Subject, max: u32, window_ms: u64) -> bool {
        let key = self.hasher.hash_one(subject);
        // More who fail than can be told apart: none of them is worth forgetting another one.
        self.table().failures.count(now, key, max, window_ms).unwrap_or(false)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds the lock can leave it half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(id: &str) -> Subject {
        Subject::ClientId(id.into())
    }

    fn ban(subject: Subject, until: Option<u64>) -> Ban {
        Ban { subject, until: until.map(Timestamp), cause: BanCause::Operator }
    }

    #[test]
    fn bans_end_by_time_or_when_they_are_lifted() {
        let bans = Bans::new(1);
        bans.add(Timestamp(0), ban(client("a"), Some(100))).unwrap();
        bans.add(Timestamp(0), ban(client("b"), None)).unwrap();
        bans.add(Timestamp(0), ban(Subject::parse("address", "10.0.0.1").unwrap(), None)).unwrap();
        let find = |now, id| bans.find(Timestamp(now), None, Some(id), None);
        assert_eq!(find(99, "a"), Some(BanCause::Operator));
        assert_eq!((find(100, "a"), find(100, "c")), (None, None));
        assert_eq!(bans.list(Timestamp(1_000_000)).len(), 2);
        assert!(bans.lift(Timestamp(200), &client("b")) && !bans.lift(Timestamp(200), &client("b")));
        assert_eq!(find(200, "b"), None);
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert!(bans.find(Timestamp(200), Some(mapped), None, None).is_some());
        assert!(Subject::parse("host", "x").is_err() && Subject::parse("address", "x").is_err());
    }

    #[test]
    fn failures_count_within_their_window() {
        let bans = Bans::new(1);
        let failed = |now| bans.failed(Timestamp(now), &client("a"), 3, 1000);
        assert_eq!([failed(0), failed(1), failed(999)], [false, false, true]);
        assert_eq!(
            [failed(1000), failed(1500), failed(2000), failed(2001), failed(2002)],
            [false, false, false, false, true]
        );
    }

    #[test]
    fn the_tables_are_bounded() {
        let bans = Bans::new(1);
        for number in 0..BANS_MAX {
            bans.add(Timestamp(0), ban(client(&number.to_string()), Some(10))).unwrap();
        }
        assert_eq!(bans.add(Timestamp(5), ban(client("x"), None)), Err(BanError::Full));
        bans.add(Timestamp(5), ban(client("7"), None)).unwrap();
        bans.add(Timestamp(10), ban(client("x"), None)).unwrap();
        assert_eq!(bans.list(Timestamp(10)).len(), 2);
        for number in 0..FAILURES_MAX {
            assert!(!bans.failed(Timestamp(0), &client(&number.to_string()), 2, 1000));
        }
        assert!(!bans.failed(Timestamp(1), &client("new"), 1, 1000));
        assert!(bans.failed(Timestamp(1001), &client("new"), 1, 1000));
        assert!(bans.table().failures.len() < 2);
    }

    #[test]
    fn a_full_table_is_searched_once_a_second() {
        let flapping = |id: &str| Ban { cause: BanCause::Flapping, ..ban(client(id), Some(10)) };
        let bans = Bans::new(1);
        for number in 0..BANS_MAX {
            let id = number.to_string();
            bans.add(Timestamp(0), flapping(&id)).unwrap();
            bans.failed(Timestamp(0), &client(&id), 2, 10);
        }
        assert_eq!(bans.add(Timestamp(9), flapping("x")), Err(BanError::Full));
        assert!(!bans.failed(Timestamp(9), &client("x"), 1, 10));
        // All is over, but it was searched just now; whoever is known is counted all the same.
        assert_eq!(bans.add(Timestamp(1008), flapping("x")), Err(BanError::Full));
        assert!(!bans.failed(Timestamp(1008), &client("x"), 1, 10));
        assert!(bans.failed(Timestamp(5), &client("7"), 2, 10));
        bans.failed(Timestamp(1008), &client("fills the place"), 2, 10);
        bans.add(Timestamp(1009), flapping("x")).unwrap();
        assert!(bans.failed(Timestamp(1009), &client("x"), 1, 10));
        assert_eq!(bans.table().bans.len(), 1);
        assert_eq!(bans.table().failures.len(), 1);
    }
}
