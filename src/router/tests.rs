//! The router against a plain list of subscriptions, under a seeded generator.

use super::*;
use crate::topic::matches;
use std::collections::{BTreeMap, BTreeSet};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn levels(&mut self, choice: &[&'static str]) -> Vec<&'static str> {
        (0..1 + self.below(4)).map(|_| choice[self.below(choice.len() as u64) as usize]).collect()
    }

    fn topic(&mut self) -> String {
        let topic = self.levels(&["", "a", "b", "c", "$SYS", "a0"]).join("/");
        if topic.is_empty() { "x".into() } else { topic }
    }

    fn filter(&mut self) -> String {
        let mut levels = self.levels(&["", "a", "b", "c", "$SYS", "+", "+"]);
        if self.below(4) == 0 {
            levels.push("#");
        }
        let filter = levels.join("/");
        if filter.is_empty() { "#".into() } else { filter }
    }
}

type Model = BTreeMap<String, BTreeMap<u32, u8>>;

fn check_matching(router: &Router, model: &Model, groups: &BTreeSet<(String, u32)>, topic: &str) {
    let mut found = Vec::new();
    router.matching(topic, &mut found);
    let names: BTreeSet<_> = found.iter().map(|id| router.filter(*id).to_owned()).collect();
    assert_eq!(names.len(), found.len(), "a filter was found twice");
    let filters = model.keys().chain(groups.iter().map(|(filter, _)| filter));
    let expected: BTreeSet<_> = filters.filter(|filter| matches(filter, topic)).cloned().collect();
    assert_eq!(names, expected, "topic {topic}");

    // Each session once, in order, with everything that matched it.
    let mut expected: BTreeMap<u32, Vec<(FilterId, u8)>> = BTreeMap::new();
    for id in &found {
        for (session, bits) in model.get(router.filter(*id)).into_iter().flatten() {
            expected.entry(*session).or_default().push((*id, *bits));
        }
    }
    expected.values_mut().for_each(|list| list.sort_unstable());
    let mut merge = Merge::new();
    let mut merged = Vec::new();
    let mut after = None;
    loop {
        let mut portion = merge.start(router, &found, after);
        let mut budget = 3;
        while budget > 0
            && let Some((session, list)) = portion.next()
        {
            budget -= 1;
            after = Some(session);
            merged.push((
                session.0,
                list.iter().map(|(id, options)| (*id, options.bits())).collect::<Vec<_>>(),
            ));
        }
        if budget > 0 {
            break;
        }
    }
    assert!(merged.into_iter().eq(expected), "topic {topic}");
}

#[test]
fn the_router_agrees_with_a_plain_list_under_random_changes() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut router = Router::new(seed);
        let mut model = Model::new();
        let mut groups = BTreeSet::new();
        for step in 0..1500 {
            let filter = random.filter();
            let session = random.below(12) as u32;
            let bits = random.below(3) as u8;
            let used = |model: &Model, groups: &BTreeSet<(String, u32)>| {
                model.contains_key(&filter) || groups.iter().any(|(other, _)| *other == filter)
            };
            let was_used = used(&model, &groups);
            match random.below(if step < 1000 { 10 } else { 30 }) {
                0 => {
                    let attached = router.attach_group(&filter, session);
                    assert_eq!(attached.is_new_filter, !was_used);
                    assert_eq!(attached.is_new_subscription, groups.insert((filter.clone(), session)));
                }
                1..6 => {
                    let options = SubscriptionOptions::from_bits(bits);
                    let done = router.subscribe(&filter, SessionIndex(session), options);
                    let old = model.entry(filter.clone()).or_default().insert(session, bits);
                    assert_eq!((done.is_new_subscription, done.is_new_filter), (old.is_none(), !was_used));
                    assert_eq!(router.find(&filter), Some(done.filter));
                    assert_eq!(router.options(done.filter, SessionIndex(session)), Some(options));
                }
                6 => {
                    let detached = router.detach_group(&filter, session);
                    assert_eq!(detached.is_some(), groups.remove(&(filter.clone(), session)));
                    let gone = was_used && !used(&model, &groups);
                    assert_eq!(detached.is_some_and(|detached| detached.filter_gone), gone);
                }
                _ => {
                    let ended = router.unsubscribe(&filter, SessionIndex(session));
                    let list = model.entry(filter.clone()).or_default();
                    assert_eq!(ended.is_some(), list.remove(&session).is_some());
                    if list.is_empty() {
                        model.remove(&filter);
                    }
                    let gone = was_used && !used(&model, &groups);
                    assert_eq!(ended.is_some_and(|ended| ended.filter_gone), gone);
                }
            }
            assert_eq!(router.find(&filter).is_some(), used(&model, &groups));
            if let Some(id) = router.find(&filter) {
                let attached: BTreeSet<_> = router.groups(id).iter().copied().collect();
                let expected = groups.iter().filter(|(other, _)| *other == filter).map(|(_, group)| *group);
                assert_eq!(attached, expected.collect());
            }
            if step % 7 == 0 {
                check_matching(&router, &model, &groups, &random.topic());
            }
        }
        let filters: BTreeSet<_> =
            model.keys().chain(groups.iter().map(|(filter, _)| filter)).cloned().collect();
        assert_eq!(router.filters_len(), filters.len());
        assert_eq!(router.subscriptions_len(), model.values().map(BTreeMap::len).sum::<usize>());
        let mut listed = BTreeSet::new();
        let mut after = None;
        while let Some((id, name)) = router.filters_after(after).next() {
            listed.insert(name.to_owned());
            after = Some(id);
        }
        assert_eq!(listed, filters);
    }
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut random = Random(5);
    let mut router = Router::new(5);
    let mut subscriptions = BTreeSet::new();
    let mut groups = BTreeSet::new();
    for _ in 0..4000 {
        let (filter, session) = (random.filter(), random.below(50) as u32);
        if random.below(8) == 0 {
            router.attach_group(&filter, session);
            groups.insert((filter, session));
        } else {
            router.subscribe(&filter, SessionIndex(session), SubscriptionOptions::default());
            subscriptions.insert((filter, session));
        }
    }
    for (filter, session) in subscriptions {
        assert!(router.unsubscribe(&filter, SessionIndex(session)).is_some());
    }
    for (filter, group) in groups {
        assert!(router.detach_group(&filter, group).is_some());
    }
    assert_eq!((router.filters_len(), router.subscriptions_len()), (0, 0));
    assert_eq!((router.exact.len(), router.trie.nodes_len(), router.trie.edges_len()), (0, 0, 0));
    assert!(router.groups.is_empty() && router.trie.is_empty());
}

#[test]
fn mqtt_4_7_2_1_leading_wildcards_do_not_match_dollar_topics() {
    let mut router = Router::new(1);
    for filter in ["#", "+/monitor/Clients", "+/#", "$SYS/#", "$SYS/monitor/+"] {
        router.subscribe(filter, SessionIndex(1), SubscriptionOptions::default());
    }
    let mut found = Vec::new();
    router.matching("$SYS/monitor/Clients", &mut found);
    let names: BTreeSet<_> = found.iter().map(|id| router.filter(*id)).collect();
    assert_eq!(names, BTreeSet::from(["$SYS/#", "$SYS/monitor/+"]));
}

#[test]
fn a_cursor_over_subscribers_survives_changes() {
    let mut router = Router::new(1);
    for session in 0..5000 {
        router.subscribe("t", SessionIndex(session * 2), SubscriptionOptions::default());
    }
    let Some(filter) = router.find("t") else { return assert_eq!(router.filters_len(), 1) };
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let portion: Vec<_> =
            router.subscribers_after(filter, after).take(100).map(|(session, _)| session).collect();
        let Some(last) = portion.last() else { break };
        after = Some(*last);
        seen.extend(portion.iter().map(|session| session.0).filter(|session| session % 2 == 0));
        // The one at the cursor leaves, one before it and one after it come.
        router.unsubscribe_id(filter, *last);
        router.subscribe("t", SessionIndex(last.0.saturating_sub(1) | 1), SubscriptionOptions::default());
        router.subscribe("t", SessionIndex(last.0 | 1), SubscriptionOptions::default());
    }
    assert!(seen.into_iter().eq((0..5000).map(|session| session * 2)));
}

#[test]
fn a_thousand_filters_for_one_topic_merge_to_each_session_once() {
    let mut router = Router::new(9);
    let topic = "a/b/c/d/e/f/g/h/i/j";
    for pattern in 0..1024_u32 {
        let levels = topic.split('/').enumerate();
        let filter: Vec<_> =
            levels.map(|(bit, level)| if pattern >> bit & 1 == 0 { level } else { "+" }).collect();
        router.subscribe(&filter.join("/"), SessionIndex(pattern % 16), SubscriptionOptions::default());
    }
    let mut found = Vec::new();
    router.matching(topic, &mut found);
    assert_eq!(found.len(), 1024);
    let mut merge = Merge::new();
    let mut merged = merge.start(&router, &found, None);
    for session in 0..16 {
        let next = merged.next().map(|(session, list)| (session.0, list.len()));
        assert_eq!(next, Some((session, 64)));
    }
    assert!(merged.next().is_none());
}
