//! Lists in pages while everything changes: what stays is listed once, every answer is within its budget, every list ends.

use std::collections::BTreeMap;

use super::*;

/// A small source of chance that repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What a list of everything found, with something happening between two of its pages.
fn walk<T, P>(
    node: &mut Node,
    mut ask: impl FnMut(&mut Node, Option<P>) -> Page<T, P>,
    mut between: impl FnMut(&mut Node),
) -> Vec<T> {
    let mut found = Vec::new();
    let mut from = None;
    for _ in 0..100_000 {
        let page = ask(node, from.take());
        assert!(page.items.len() <= ITEMS_MAX);
        found.extend(page.items);
        match page.next {
            Some(next) => from = Some(next),
            None => return found,
        }
        between(node);
    }
    panic!("the list does not end");
}

fn sessions(node: &mut Node, from: Option<u32>, limit: usize) -> Page<SessionRow, u32> {
    let listing = Listing { selection: SessionSelection::default(), from, limit };
    match node.ask(Question::Sessions(listing)) {
        Answer::Sessions(page) => page,
        other => panic!("{other:?}"),
    }
}

fn clients(node: &mut Node, from: Option<u32>, limit: usize) -> Page<ClientRow, u32> {
    let listing = Listing { selection: ClientSelection::default(), from, limit };
    match node.ask(Question::Clients(listing)) {
        Answer::Clients(page) => page,
        other => panic!("{other:?}"),
    }
}

fn subscriptions(
    node: &mut Node,
    from: Option<SubscriptionPlace>,
    limit: usize,
) -> Page<SubscriptionRow, SubscriptionPlace> {
    let listing = Listing { selection: SubscriptionSelection::default(), from, limit };
    match node.ask(Question::Subscriptions(listing)) {
        Answer::Subscriptions(page) => page,
        other => panic!("{other:?}"),
    }
}

fn topics(node: &mut Node, from: Option<u32>, limit: usize) -> Page<TopicRow, u32> {
    match node.ask(Question::Topics(Listing { selection: None, from, limit })) {
        Answer::Topics(page) => page,
        other => panic!("{other:?}"),
    }
}

fn retained(node: &mut Node, from: Option<Box<str>>, limit: usize) -> Page<Arc<Message>, Box<str>> {
    match node.ask(Question::Retained(Listing { selection: "#".into(), from, limit })) {
        Answer::Retained(page) => page,
        other => panic!("{other:?}"),
    }
}

/// What others do meanwhile: clients `x…` come and go, subscribe and publish, and the session of `s7` goes from connection to
/// connection.
fn churn(node: &mut Node, chance: &mut Chance) {
    for _ in 0..chance.below(8) {
        let name = format!("x{}", chance.below(40));
        match chance.below(6) {
            0 => node.cut(&name),
            1 => {
                node.connect("s7", 100);
            }
            2 if node.connected.contains_key(&name) => {
                let filter = format!("x/{}/+", chance.below(30));
                node.subscribe(&name, &filter);
            }
            3 if node.connected.contains_key(&name) => {
                let filter: Box<str> = format!("x/{}/+", chance.below(30)).into();
                node.change(Question::Unsubscribe(name.into(), filter));
            }
            4 if node.connected.contains_key(&name) => {
                let topic = format!("x/{}", chance.below(30));
                let payload: &[u8] = if chance.below(2) == 0 { b"" } else { b"p" };
                node.publish(&name, &topic, payload, true);
            }
            _ => {
                let expiry_s = 100 * chance.below(2) as u32;
                node.connect(&name, expiry_s);
            }
        }
    }
    node.broker.check_invariants().unwrap();
}

/// How often each of those that stay was found.
fn counts(found: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in found.filter(|name| name.starts_with('s')) {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn once(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    names.map(|name| (name, 1)).collect()
}

#[test]
fn what_stays_is_listed_once_whatever_else_happens() {
    for seed in 0..12 {
        let mut chance = Chance(seed);
        let mut node = Node::new(Durability::Memory);
        for n in 0..30 {
            churn(&mut node, &mut chance);
            let name = format!("s{n}");
            node.connect(&name, 100);
            for filter in 0..n % 4 {
                node.subscribe(&name, &format!("s/{n}/{filter}"));
            }
            node.publish(&name, &format!("s/{n}"), b"p", true);
        }
        let names = || (0..30).map(|n| format!("s{n}"));
        let limit = 1 + chance.below(7) as usize;
        let between = |node: &mut Node, chance: &mut Chance| churn(node, chance);

        let found = walk(&mut node, |n, from| sessions(n, from, limit), |n| between(n, &mut chance));
        let found = counts(found.iter().map(|row| row.client_id.to_string()));
        assert_eq!(found, once(names()), "sessions, seed {seed}");

        let found = walk(&mut node, |n, from| clients(n, from, limit), |n| between(n, &mut chance));
        let found = counts(found.iter().map(|row| row.session.client_id.to_string()));
        assert_eq!(found, once(names()), "clients, seed {seed}");

        let filters =
            || (0..30).flat_map(|n| (0..n % 4).map(move |f| format!("s/{n}/{f}"))).collect::<Vec<_>>();
        let found = walk(&mut node, |n, from| subscriptions(n, from, limit), |n| between(n, &mut chance));
        let found = counts(found.iter().map(|row| row.filter.to_string()));
        assert_eq!(found, once(filters().into_iter()), "subscriptions, seed {seed}");

        let found = walk(&mut node, |n, from| topics(n, from, limit), |n| between(n, &mut chance));
        let found = counts(found.iter().map(|row| row.filter.to_string()));
        assert_eq!(found, once(filters().into_iter()), "topics, seed {seed}");

        let found = walk(&mut node, |n, from| retained(n, from, limit), |n| between(n, &mut chance));
        let found = counts(found.iter().map(|message| message.topic().to_owned()));
        assert_eq!(found, once((0..30).map(|n| format!("s/{n}"))), "retained, seed {seed}");
    }
}

#[test]
fn no_answer_looks_at_more_than_its_budget() {
    let mut node = Node::new(Durability::Memory);
    for n in 0..6000 {
        node.connect(&format!("c{n}"), 100);
    }
    // Free places cost too.
    for n in 0..2500 {
        node.change(Question::Discard(format!("c{n}").into()));
    }
    let mut answers = 0;
    let selection = || SessionSelection { client_id: Glob::new("c5999"), ..SessionSelection::default() };
    let ask = |node: &mut Node, from: Option<u32>| {
        let before = from.unwrap_or(0);
        let listing = Listing { selection: selection(), from, limit: 1000 };
        let Answer::Sessions(page) = node.ask(Question::Sessions(listing)) else { panic!() };
        answers += 1;
        assert!(page.next.is_none_or(|next| next > before && next - before <= 2048), "{:?}", page.next);
        page
    };
    let found = walk(&mut node, ask, |_| {});
    assert_eq!((found.len(), answers), (1, 5), "2,500 free places and 3,500 sessions at twice the price");
    assert_eq!(walk(&mut node, |n, from| clients(n, from, 1000), |_| {}).len(), 3500);
}

#[test]
fn a_session_of_many_subscriptions_is_listed_in_parts() {
    let mut node =
        Node::with(Durability::Memory, |config| config.limits.subscriptions_per_session_max = 5000);
    node.connect("c", 100);
    for n in 0..3000 {
        node.subscribe("c", &format!("t/{n}"));
    }
    node.subscribe("c", "$share/g/t/1");
    node.connect("d", 100);
    node.subscribe("d", "t/1");
    let mut found = walk(&mut node, |n, from| subscriptions(n, from, 1000), |_| {});
    assert_eq!(found.len(), 3002);
    assert!(found.pop().is_some_and(|row| &*row.client_id == "d"));
    assert!(found.pop().is_some_and(|row| row.share.as_deref() == Some("g") && &*row.filter == "t/1"));
    let selection = SubscriptionSelection { filter: Some("t/1".into()), ..SubscriptionSelection::default() };
    let ask = |node: &mut Node, from| {
        let listing = Listing { selection: selection.clone(), from, limit: 1000 };
        let Answer::Subscriptions(page) = node.ask(Question::Subscriptions(listing)) else { panic!() };
        page
    };
    let found = walk(&mut node, ask, |_| {});
    let found: Vec<_> = found.iter().map(|row| (&*row.client_id, row.share.as_deref())).collect();
    assert_eq!(found, [("c", None), ("c", Some("g")), ("d", None)]);
}

#[test]
fn a_selection_is_kept_in_all_its_parts() {
    let mut node = Node::new(Durability::Memory);
    for n in 0..20 {
        node.connect(&format!("car-{n}"), 100 * (n % 2));
    }
    node.cut("car-3");
    let mut list = |selection: SessionSelection| {
        let listing = Listing { selection, from: None, limit: 1000 };
        let Answer::Sessions(page) = node.ask(Question::Sessions(listing)) else { panic!() };
        page.items.into_iter().map(|row| row.client_id.to_string()).collect::<Vec<_>>()
    };
    let all = SessionSelection::default;
    assert_eq!(list(all()).len(), 20);
    assert_eq!(list(SessionSelection { is_connected: Some(false), ..all() }), ["car-3"]);
    assert_eq!(list(SessionSelection { is_persistent: Some(true), ..all() }).len(), 10);
    let named = SessionSelection { client_id: Glob::new("car-1?"), is_persistent: Some(true), ..all() };
    assert_eq!(list(named), ["car-11", "car-13", "car-15", "car-17", "car-19"]);
    let mut clients = |selection: ClientSelection| {
        let listing = Listing { selection, from: None, limit: 1000 };
        let Answer::Clients(page) = node.ask(Question::Clients(listing)) else { panic!() };
        page.items.len()
    };
    let all = ClientSelection::default;
    assert_eq!(clients(all()), 19);
    assert_eq!(clients(ClientSelection { address: "127.0.0.0/8".parse().ok(), ..all() }), 19);
    assert_eq!(clients(ClientSelection { address: "10.0.0.0/8".parse().ok(), ..all() }), 0);
    assert_eq!(clients(ClientSelection { listener: Some(1), ..all() }), 0);
    assert_eq!(clients(ClientSelection { user: Glob::new("*"), ..all() }), 0, "none has a verified name");
}
