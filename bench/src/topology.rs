//! Who publishes what and who receives it, for each scenario.
//!
//! Publishers and subscribers are dealt to groups in turn: publisher `k` belongs to group `k % groups` and is
//! number `k / groups` there. A message reaches the subscribers of its publisher's group.

use anyhow::bail;
use serde::Serialize;

use crate::cli::Options;

/// The subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    Connect,
    Pub,
    Sub,
    P2p,
    Fanout,
    Fanin,
    Shared,
}

impl Scenario {
    /// The subcommand's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Pub => "pub",
            Self::Sub => "sub",
            Self::P2p => "p2p",
            Self::Fanout => "fanout",
            Self::Fanin => "fanin",
            Self::Shared => "shared",
        }
    }
}

/// The shape of a load.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) scenario: Scenario,
    pub(crate) publishers: usize,
    /// Clients that subscribe, or idle ones in `connect`.
    pub(crate) subscribers: usize,
    pub(crate) groups: usize,
    topic_prefix: String,
    subscriptions: u16,
}

impl Topology {
    /// The shape that the options ask for.
    pub(crate) fn new(scenario: Scenario, o: &Options, topic_prefix: String) -> anyhow::Result<Self> {
        let n = o.clients;
        let topics = o.topics.unwrap_or(1);
        let (publishers, subscribers, groups) = match scenario {
            Scenario::Connect => (0, n, n),
            Scenario::Pub => (n, 0, o.topics.unwrap_or(n)),
            Scenario::Sub => (0, n, topics),
            Scenario::P2p => (n, n, o.topics.unwrap_or(n)),
            Scenario::Fanout | Scenario::Shared => (o.publishers.unwrap_or(topics), n, topics),
            Scenario::Fanin => (n, o.subscribers.unwrap_or(topics), topics),
        };
        if (publishers > 0 && groups > publishers) || (subscribers > 0 && groups > subscribers) {
            bail!(
                "--topics {groups}: more than the {publishers} publishers or the {subscribers} subscribers"
            );
        }
        let subscriptions = if scenario == Scenario::Connect { o.subscriptions } else { 1 };
        Ok(Self { scenario, publishers, subscribers, groups, topic_prefix, subscriptions })
    }

    /// All connections.
    pub(crate) fn clients(&self) -> usize {
        self.publishers + self.subscribers
    }

    /// Subscriptions of each subscriber.
    pub(crate) fn subscriptions(&self) -> u16 {
        self.subscriptions
    }

    /// Deliveries that one message of `publisher` causes among our own subscribers.
    pub(crate) fn fan(&self, publisher: usize) -> u32 {
        match self.scenario {
            Scenario::Shared => 1,
            _ => members(self.subscribers, self.groups, publisher % self.groups) as u32,
        }
    }

    /// Publishers whose messages reach `subscriber`.
    pub(crate) fn sources(&self, subscriber: usize) -> usize {
        members(self.publishers, self.groups, subscriber % self.groups)
    }

    /// The number of `publisher` within its group.
    fn slot(&self, publisher: usize) -> usize {
        publisher / self.groups
    }

    /// The thread that has a publisher or subscriber. Whole groups where there are enough of them: their closed
    /// loops then need no word between threads.
    pub(crate) fn thread(&self, member: usize, threads: usize) -> usize {
        if self.is_spread(threads) { member % threads } else { (member % self.groups) % threads }
    }

    /// True if the members of a group are on several threads.
    pub(crate) fn is_spread(&self, threads: usize) -> bool {
        self.groups < threads
    }

    /// True if each message reaches only one of its group.
    pub(crate) fn is_shared(&self) -> bool {
        self.scenario == Scenario::Shared
    }

    /// Where `publisher` publishes.
    pub(crate) fn topic(&self, publisher: usize) -> String {
        let group = publisher % self.groups;
        match self.scenario {
            Scenario::Fanin => format!("{}/{group}/{}", self.topic_prefix, self.slot(publisher)),
            _ => format!("{}/{group}", self.topic_prefix),
        }
    }

    /// What `subscriber` subscribes with; `number` counts its subscriptions from 0.
    pub(crate) fn filter(&self, subscriber: usize, number: u16) -> String {
        let prefix = &self.topic_prefix;
        let group = subscriber % self.groups;
        match self.scenario {
            Scenario::Connect => format!("{prefix}/{subscriber}/{number}"),
            Scenario::Fanin => format!("{prefix}/{group}/+"),
            Scenario::Shared => format!("$share/bench/{prefix}/{group}"),
            _ => format!("{prefix}/{group}"),
        }
    }
}

/// Members of `group` when `all` are dealt to `groups` in turn.
fn members(all: usize, groups: usize, group: usize) -> usize {
    all / groups + usize::from(group < all % groups)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn topology(line: &str) -> Topology {
        let (scenario, options) =
            Cli::try_parse_from(format!("myriad-bench {line}").split(' ')).unwrap().command.parts();
        Topology::new(scenario, &options, "t".into()).unwrap()
    }

    #[test]
    fn each_pair_has_its_topic() {
        let t = topology("p2p --clients 3");
        assert_eq!((t.publishers, t.subscribers), (3, 3));
        for k in 0..3 {
            assert_eq!((t.topic(k), t.filter(k, 0)), (format!("t/{k}"), format!("t/{k}")));
            assert_eq!((t.fan(k), t.sources(k), t.slot(k)), (1, 1, 0));
        }
    }

    #[test]
    fn uneven_groups_count_their_own_members() {
        let t = topology("fanout --clients 8 --topics 3");
        assert_eq!((0..3).map(|k| t.fan(k)).collect::<Vec<_>>(), [3, 3, 2]);
        assert_eq!(t.filter(7, 0), t.topic(1));
        let t = topology("fanin --clients 5 --topics 2 --subscribers 3");
        assert_eq!((0..3).map(|j| t.sources(j)).collect::<Vec<_>>(), [3, 2, 3]);
        assert_eq!((t.fan(0), t.fan(1)), (2, 1));
        assert_eq!((t.topic(4), t.filter(0, 0), t.slot(4)), ("t/0/2".into(), "t/0/+".into(), 2));
    }

    #[test]
    fn a_shared_message_is_delivered_once() {
        let t = topology("shared --clients 8");
        assert_eq!((t.publishers, t.fan(0)), (1, 1));
        assert_eq!((t.topic(0), t.filter(5, 0)), ("t/0".into(), "$share/bench/t/0".into()));
    }

    #[test]
    fn threads_get_whole_groups_if_there_are_enough() {
        let t = topology("fanin --clients 9 --topics 3");
        assert!(!t.is_spread(2));
        for k in 0..9 {
            assert_eq!(t.thread(k, 2), t.thread(k % 3, 2));
        }
        let t = topology("fanout --clients 4");
        assert!(t.is_spread(2));
        assert_eq!((0..4).map(|j| t.thread(j, 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
    }

    #[test]
    fn pub_and_sub_meet() {
        let p = topology("pub --clients 6 --topics 2");
        let s = topology("sub --clients 4 --topics 2");
        assert_eq!((p.topic(5), p.fan(5)), (s.filter(1, 0), 0));
        assert_eq!(topology("pub --clients 6").groups, 6);
    }

    #[test]
    fn idle_clients_have_filters_of_their_own() {
        let t = topology("connect --clients 2 --subscriptions 2");
        assert_eq!((t.publishers, t.subscribers, t.subscriptions()), (0, 2, 2));
        assert_ne!(t.filter(0, 1), t.filter(1, 0));
        assert_ne!(t.filter(0, 0), t.filter(0, 1));
    }
}
