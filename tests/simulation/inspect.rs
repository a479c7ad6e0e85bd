//! An operator among the traffic: now and then all lists of a shard are asked for, page by page, and what they say has to agree with
//! itself. Its choices come from a source of their own, and it changes nothing: a seed's run is the same with it and without.

use std::collections::{BTreeMap, BTreeSet};

use myriad::broker::inspect::{
    ClientSelection, ITEMS_MAX, Listing, Page, SessionDetail, SessionRow, SessionSelection,
    SubscriptionSelection,
};
use myriad::broker::{Answer, Question};

use crate::random::Random;
use crate::trace::{Check, Violation, broken, ensure};
use crate::world::World;

/// Pages of a list, where there are some dozen items: it goes nowhere.
const PAGES_MAX: usize = 10_000;

/// Who asks.
pub struct Inspector {
    random: Random,
}

fn odd(detail: impl Into<String>) -> Violation {
    Violation { invariant: "inspect", detail: detail.into() }
}

impl Inspector {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(!seed) }
    }

    /// After a turn of shard `at`.
    pub fn look(&mut self, world: &mut World, at: usize) -> Check {
        if !self.random.percent(2) {
            return Ok(());
        }
        let sessions = self.sessions(world, at)?;
        self.clients(world, at, &sessions)?;
        self.subscriptions(world, at, &sessions)?;
        self.topics(world, at)?;
        self.retained(world, at)
    }

    fn ask(world: &mut World, at: usize, question: Question) -> Check<Answer> {
        let mut answer = None;
        world.perform(at, |node, now, port| answer = Some(node.inspect(now, question, port)))?;
        answer.ok_or_else(|| odd("no answer"))
    }

    /// All pages of a list.
    fn pages<T, P>(
        &mut self,
        world: &mut World,
        at: usize,
        question: impl Fn(Option<P>, usize) -> Question,
        page: impl Fn(Answer) -> Option<Page<T, P>>,
    ) -> Check<Vec<T>> {
        let limit = self.random.pick(&[1, 2, 5, 1000]);
        let (mut found, mut from) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let answer = Self::ask(world, at, question(from.take(), limit))?;
            let page = page(answer).ok_or_else(|| odd("an answer to another question"))?;
            ensure(page.items.len() <= limit.min(ITEMS_MAX), "inspect", || "a page is too long".into())?;
            found.extend(page.items);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(found),
            }
        }
        broken("inspect", "a list has no end")
    }

    fn sessions(&mut self, world: &mut World, at: usize) -> Check<BTreeMap<String, SessionRow>> {
        let question =
            |from, limit| Question::Sessions(Listing { selection: SessionSelection::default(), from, limit });
        let found = self.pages(world, at, question, |answer| match answer {
            Answer::Sessions(page) => Some(page),
            _ => None,
        })?;
        let len = found.len();
        let sessions: BTreeMap<_, _> =
            found.into_iter().map(|row| (row.client_id.to_string(), row)).collect();
        let there_are = world.nodes[at].sessions_len();
        ensure(len == there_are && sessions.len() == len, "inspect", || {
            format!(
                "{len} sessions are listed, {} of them different, and there are {there_are}",
                sessions.len()
            )
        })?;
        for (name, row) in &sessions {
            let Answer::Session(Some(detail)) =
                Self::ask(world, at, Question::Session(name.as_str().into()))?
            else {
                return broken("inspect", format!("session {name} is listed and not shown"));
            };
            check_detail(name, row, &detail)?;
        }
        Ok(sessions)
    }

    fn clients(&mut self, world: &mut World, at: usize, sessions: &BTreeMap<String, SessionRow>) -> Check {
        let question =
            |from, limit| Question::Clients(Listing { selection: ClientSelection::default(), from, limit });
        let found = self.pages(world, at, question, |answer| match answer {
            Answer::Clients(page) => Some(page),
            _ => None,
        })?;
        let found: Vec<_> = found.iter().map(|row| row.session.client_id.to_string()).collect();
        let connected = sessions.iter().filter(|(_, row)| row.is_connected).map(|(name, _)| name.clone());
        let (found, connected) = (found.into_iter().collect::<BTreeSet<_>>(), connected.collect());
        ensure(found == connected, "inspect", || format!("clients {found:?}, connected are {connected:?}"))
    }

    fn subscriptions(
        &mut self,
        world: &mut World,
        at: usize,
        sessions: &BTreeMap<String, SessionRow>,
    ) -> Check {
        let question = |from, limit| {
            Question::Subscriptions(Listing { selection: SubscriptionSelection::default(), from, limit })
        };
        let found = self.pages(world, at, question, |answer| match answer {
            Answer::Subscriptions(page) => Some(page),
            _ => None,
        })?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut different = BTreeSet::new();
        for row in &found {
            *counts.entry(row.client_id.to_string()).or_default() += 1;
            different.insert((&row.client_id, &row.share, &row.filter));
        }
        let expected = sessions.iter().filter(|(_, row)| row.subscriptions > 0);
        let expected: BTreeMap<_, _> =
            expected.map(|(name, row)| (name.clone(), row.subscriptions)).collect();
        ensure(counts == expected && different.len() == found.len(), "inspect", || {
            format!("subscriptions are listed as {counts:?}, sessions have {expected:?}")
        })
    }

    fn topics(&mut self, world: &mut World, at: usize) -> Check {
        let question = |from, limit| Question::Topics(Listing { selection: None, from, limit });
        let found = self.pages(world, at, question, |answer| match answer {
            Answer::Topics(page) => Some(page),
            _ => None,
        })?;
        let filters: Vec<Box<str>> = found.iter().take(ITEMS_MAX).map(|row| row.filter.clone()).collect();
        let Answer::FilterCounts(counts) = Self::ask(world, at, Question::FilterCounts(filters))? else {
            return broken("inspect", "an answer to another question");
        };
        let expected: Vec<_> = found.iter().take(ITEMS_MAX).map(|row| Some(row.subscribers)).collect();
        ensure(counts == expected && !counts.contains(&Some(0)), "inspect", || {
            format!("filters are listed with {expected:?} subscribers and have {counts:?}")
        })
    }

    fn retained(&mut self, world: &mut World, at: usize) -> Check {
        let question = |from, limit| Question::Retained(Listing { selection: "#".into(), from, limit });
        let found = self.pages(world, at, question, |answer| match answer {
            Answer::Retained(page) => Some(page),
            _ => None,
        })?;
        let is_sorted = found.windows(2).all(|pair| pair[0].topic() < pair[1].topic());
        ensure(is_sorted, "inspect", || format!("retained messages are listed as {found:?}"))?;
        for message in found {
            let asked = Question::RetainedMessage(message.topic().into());
            let Answer::RetainedMessage(Some(shown)) = Self::ask(world, at, asked)? else {
                return broken(
                    "inspect",
                    format!("retained message {} is listed and not shown", message.topic()),
                );
            };
            ensure(shown.payload() == message.payload(), "inspect", || {
                format!("{shown:?}, not {message:?}")
            })?;
        }
        Ok(())
    }
}

fn check_detail(name: &str, row: &SessionRow, detail: &SessionDetail) -> Check {
    let agrees = detail.subscriptions.len() == row.subscriptions
        && detail.queue.len() == row.queued.min(100)
        && detail.inflight.len() == row.inflight.min(100)
        && detail.connection.is_some() == row.is_connected
        && detail.session.is_persistent == row.is_persistent;
    ensure(agrees, "inspect", || format!("session {name}: {row:?} is shown as {detail:?}"))
}
