//! Mailboxes: order of messages with and without credit, credits, hand-overs in their place.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use shards::{Accepted, ConnectionId, ShardId};

use crate::script::*;

const CONTROL: u64 = 1 << 63;
const TOTAL: u64 = 300_000;

/// Shard 0 sends numbers: data messages count up, control messages name how many data messages went before
/// them. All others check, and give credits back in irregular portions.
struct Order {
    shard: u16,
    sent: Vec<u64>,
    seed: u64,
    handled: u64,
    controls: u64,
    unreleased: u32,
    refused: u64,
    done: Sender<(u16, u64, u64)>,
}

impl Order {
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.seed >> 33
    }

    /// Sends until a credit is missing or a few are sent; `true` if there is more to send.
    fn push(&mut self, io: &mut Port<'_, Self>) -> bool {
        let mut more = false;
        for to in 1..io.shards() {
            for _ in 0..self.random() % 700 {
                let sent = self.sent[usize::from(to)];
                if sent == TOTAL {
                    break;
                }
                if self.random().is_multiple_of(3) {
                    io.send_control(ShardId(to), Word::Number(CONTROL | sent));
                }
                if !io.reserve(ShardId(to)) {
                    self.refused += 1;
                    break;
                }
                if self.random().is_multiple_of(50) {
                    io.unreserve(ShardId(to));
                    continue;
                }
                io.send(ShardId(to), Word::Number(sent));
                self.sent[usize::from(to)] += 1;
                if sent + 1 == TOTAL {
                    io.send_control(ShardId(to), Word::Number(CONTROL | TOTAL));
                }
            }
            more |= self.sent[usize::from(to)] < TOTAL;
        }
        more
    }
}

impl Script for Order {
    fn message(&mut self, io: &mut Port<'_, Self>, from: Option<ShardId>, word: Word) {
        let Word::Number(number) = word else { panic!() };
        let Some(from) = from else {
            self.push(io);
            return;
        };
        if number & CONTROL == 0 {
            assert_eq!(number, self.handled, "messages with credit are out of order");
            self.handled += 1;
            self.unreleased += 1;
            if self.random().is_multiple_of(20) {
                io.release(from, std::mem::take(&mut self.unreleased));
            }
        } else {
            let before = number & !CONTROL;
            assert_eq!(self.handled, before, "a message without credit is out of order");
            self.controls = before;
            if before == TOTAL {
                self.done.send((self.shard, self.handled, self.controls)).unwrap();
            }
        }
    }
    fn credits_available(&mut self, io: &mut Port<'_, Self>) {
        assert_eq!(self.shard, 0);
        self.push(io);
    }
    fn turn_end(&mut self, io: &mut Port<'_, Self>) -> bool {
        if self.shard == 0 && self.sent.iter().any(|&sent| sent > 0) {
            // Every other time the shard goes on only when a credit tells it to.
            if self.random().is_multiple_of(2) {
                return self.push(io);
            }
            let to = ShardId(1);
            let open = io.reserve(to);
            if open {
                io.unreserve(to);
            }
            return open && self.sent.iter().skip(1).any(|&sent| sent < TOTAL);
        }
        if self.unreleased > 0 {
            io.release(ShardId(0), std::mem::take(&mut self.unreleased));
        }
        false
    }
}

fn order(shards: u16, credits: u32) {
    let (done, finished) = channel();
    let config = shards::Config { mailbox_credits: credits, ..config(shards) };
    let running = start(config, move |shard| Order {
        shard: shard.0,
        sent: vec![0; usize::from(shards)],
        seed: u64::from(shard.0) + 99,
        handled: 0,
        controls: 0,
        unreleased: 0,
        refused: 0,
        done: done.clone(),
    });
    running.handle().send(ShardId(0), Word::Number(0));
    for _ in 1..shards {
        let (shard, handled, _) = finished.recv_timeout(Duration::from_secs(60)).expect("stuck");
        assert_eq!(handled, TOTAL, "shard {shard}");
    }
    stop(running);
}

#[test]
fn data_sent_before_a_control_message_is_handled_before_it() {
    order(2, 1000);
}

#[test]
fn order_holds_with_few_credits_and_several_targets() {
    order(4, 7);
}

/// Shard 0 sends until it is refused; shard 1 sits on the messages for a while.
struct Miser {
    held: u32,
    log: Sender<(&'static str, u64)>,
}

impl Script for Miser {
    fn message(&mut self, io: &mut Port<'_, Self>, from: Option<ShardId>, word: Word) {
        if from.is_none() {
            let mut sent = 0;
            while io.reserve(ShardId(1)) {
                io.send(ShardId(1), word.clone());
                sent += 1;
            }
            self.log.send(("sent", sent)).unwrap();
        } else {
            self.held += 1;
            if self.held == 1 {
                io.set_timer(0, io.now_ms() + 300);
            }
        }
    }
    fn timer(&mut self, io: &mut Port<'_, Self>, _key: u64) {
        io.release(ShardId(0), 3);
    }
    fn credits_available(&mut self, io: &mut Port<'_, Self>) {
        let mut again = 0;
        while io.reserve(ShardId(1)) {
            io.unreserve(ShardId(1));
            again += 1;
            if again == 3 {
                break;
            }
        }
        self.log.send(("again", again)).unwrap();
    }
}

#[test]
fn a_refused_reservation_is_told_when_credit_is_back() {
    let (log, told) = channel();
    let config = shards::Config { mailbox_credits: 5, ..config(2) };
    let shards = start(config, move |_| Miser { held: 0, log: log.clone() });
    let begin = Instant::now();
    shards.handle().send(ShardId(0), Word::Number(1));
    let wait = Duration::from_secs(5);
    assert_eq!(told.recv_timeout(wait).unwrap(), ("sent", 5));
    // Both shards sleep when the credit comes back.
    assert_eq!(told.recv_timeout(wait).unwrap(), ("again", 3));
    assert!(begin.elapsed() >= Duration::from_millis(300));
    stop(shards);
}

/// Writes down what comes, in order.
struct Witness {
    log: Sender<String>,
}

impl Script for Witness {
    fn accepted(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, _accepted: Accepted) {
        for n in 0..3 {
            io.send_control(ShardId(1), Word::Text(format!("before {n}")));
        }
        io.hand_over(id, ShardId(1), b"over".to_vec());
        for n in 0..3 {
            io.send_control(ShardId(1), Word::Text(format!("after {n}")));
        }
    }
    fn handed_over(&mut self, _io: &mut Port<'_, Self>, _id: ConnectionId, _: Accepted, word: Vec<u8>) {
        self.log.send(String::from_utf8(word).unwrap()).unwrap();
    }
    fn message(&mut self, _io: &mut Port<'_, Self>, _from: Option<ShardId>, word: Word) {
        let Word::Text(text) = word else { panic!() };
        self.log.send(text).unwrap();
    }
}

#[test]
fn a_hand_over_keeps_its_place_among_control_messages() {
    let (log, told) = channel();
    let shards = shards::Shards::start(config(2), move |shard, io: &mut Port<'_, Witness>| {
        if shard == ShardId(1) {
            io.stop_accepting();
        }
        Run(Witness { log: log.clone() })
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..300 {
        let mut stream = client(shards.addresses()[0]);
        stream.write_all(b"x").unwrap();
        let expected = ["before 0", "before 1", "before 2", "over", "after 0", "after 1", "after 2"];
        for text in expected {
            assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), text);
        }
    }
    stop(shards);
}

/// Passes a ball: every message goes back to where it came from.
struct Ball {
    done: Sender<u64>,
}

impl Script for Ball {
    fn message(&mut self, io: &mut Port<'_, Self>, from: Option<ShardId>, word: Word) {
        let Word::Number(left) = word else { panic!() };
        if left == 0 {
            self.done.send(0).unwrap();
        } else if left.is_multiple_of(2000) {
            // Long enough for both to fall asleep.
            io.set_timer(left, io.now_ms() + 120);
        } else {
            io.send_control(ShardId(1 - io.shard().0), Word::Number(left - 1));
        }
        let _ = from;
    }
    fn timer(&mut self, io: &mut Port<'_, Self>, left: u64) {
        io.send_control(ShardId(1 - io.shard().0), Word::Number(left - 1));
    }
}

#[test]
fn no_wake_up_is_lost() {
    for ring_slots_max in [None, Some(500)] {
        let (done, finished) = channel();
        let config = shards::Config { ring_slots_max, ..config(2) };
        let shards = start(config, move |_| Ball { done: done.clone() });
        shards.handle().send(ShardId(0), Word::Number(20_001));
        finished.recv_timeout(Duration::from_secs(60)).expect("the ball is lost");
        stop(shards);
    }
}
