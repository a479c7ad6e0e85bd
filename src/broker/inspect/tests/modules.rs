//! What operators tell the modules, and what is said of slow clients.

use super::*;
use crate::broker::modules::{DrainOrder, ModuleAnswer, ModuleOrder, StoredSubscriptions};

fn order(node: &mut Node, order: ModuleOrder) -> ModuleAnswer {
    let Answer::Module(answer) = node.ask(Question::Module(order)) else {
        panic!("an order is answered as such")
    };
    answer
}

/// Of two shards the one that lets go last would free all of it.
#[test]
fn stored_subscriptions_that_are_replaced_are_freed_by_who_asked() {
    let mut node = Node::new(Durability::Memory);
    let stored = Arc::<StoredSubscriptions>::default();
    order(&mut node, ModuleOrder::AutoSubscriptions(Arc::clone(&stored)));
    let replaced = order(&mut node, ModuleOrder::AutoSubscriptions(Arc::default()));
    assert_eq!(Arc::strong_count(&stored), 2, "the answer has the other one");
    assert!(matches!(&replaced, ModuleAnswer::Replaced(former) if Arc::ptr_eq(former, &stored)));
    drop(replaced);
    assert_eq!(Arc::strong_count(&stored), 1);
}

/// No timer can be taken back, and each would set itself again as long as clients are sent away.
#[test]
fn a_drain_has_one_timer_however_often_it_is_begun_and_ended() {
    let mut node = Node::new(Durability::Memory);
    let drain = || ModuleOrder::Drain(DrainOrder { rate: 10, server_reference: None, is_permanent: false });
    let set = |node: &mut Node| {
        let timers = std::mem::take(&mut node.world.timers);
        timers.iter().filter(|(timer, _)| *timer == Timer::Drain).count()
    };
    order(&mut node, drain());
    assert_eq!(set(&mut node), 1);
    for _ in 0..10 {
        order(&mut node, ModuleOrder::StopDrain);
        order(&mut node, drain());
        order(&mut node, drain());
    }
    assert_eq!(set(&mut node), 0);
    for _ in 0..10 {
        node.now = node.now.plus_ms(50);
        node.handle(Input::Timer(Timer::Drain));
        assert_eq!(set(&mut node), 1);
    }
    order(&mut node, ModuleOrder::StopDrain);
    node.handle(Input::Timer(Timer::Drain));
    assert_eq!(set(&mut node), 0, "it is over");
    order(&mut node, drain());
    assert_eq!(set(&mut node), 1);
}

fn slow(node: &mut Node) -> Vec<(String, u64, u64)> {
    let Answer::Observe(ObserveAnswer::Slow(list)) = node.ask(Question::Observe(ObserveQuestion::Slow))
    else {
        panic!("a question about slow clients is answered as such")
    };
    list.iter().map(|slow| (slow.client_id.to_string(), slow.dropped, slow.worst_delay_ms)).collect()
}

#[test]
fn a_slow_client_that_is_gone_gets_no_slower() {
    let mut node = Node::new(Durability::Memory);
    node.connect("p", 0);
    for name in ["gone", "stays"] {
        node.connect(name, 1000);
        node.subscribe(name, "t");
    }
    node.world.outbound_len = 64 << 20;
    node.publish("p", "t", b"x", false);
    let told = |name: &str, ms: u64| (name.to_owned(), 1, ms);
    node.now = node.now.plus_s(10);
    let mut both = slow(&mut node);
    both.sort();
    assert_eq!(both, [told("gone", 10_000), told("stays", 10_000)]);
    node.cut("gone");
    node.now = node.now.plus_s(100);
    assert_eq!(slow(&mut node), [told("stays", 110_000), told("gone", 10_000)]);
}
