//! Pauses and hand-overs by one connection's callback of another whose bytes have been received and not yet
//! delivered: they are neither lost nor out of order.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use shards::{Accepted, ConnectionId, ShardId};

use crate::script::*;

/// What the first of two connections that speak in one turn does with the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    HandOver,
    Pause,
    PauseForTheTurn,
    /// Resumes it and gives it away at once; shard 1 gives it back at once.
    PauseThenHandOver,
}

struct Meddler {
    what: What,
    resume: Option<ConnectionId>,
    known: Vec<ConnectionId>,
    done: bool,
    log: Sender<String>,
}

impl Script for Meddler {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.log.send(format!("{} received {text}", io.shard().0)).unwrap();
        if text == "hello" {
            self.known.push(id);
        } else if text == "go" && !self.done && io.shard() == ShardId(0) {
            self.done = true;
            let other = *self.known.iter().find(|&&known| known != id).unwrap();
            match self.what {
                What::HandOver => io.hand_over(other, ShardId(1), b"moved".to_vec()),
                What::Pause => {
                    io.pause(other);
                    io.set_timer(other.to_bits(), io.now_ms() + 200);
                }
                What::PauseForTheTurn | What::PauseThenHandOver => {
                    io.pause(other);
                    self.resume = Some(other);
                }
            }
        }
    }
    fn handed_over(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, _: Accepted, word: Vec<u8>) {
        self.log.send(format!("{} {}", io.shard().0, String::from_utf8(word).unwrap())).unwrap();
        if self.what == What::PauseThenHandOver && io.shard() == ShardId(1) {
            io.hand_over(id, ShardId(0), b"back".to_vec());
        }
    }
    fn timer(&mut self, io: &mut Port<'_, Self>, key: u64) {
        self.log.send("resume".into()).unwrap();
        io.resume(ConnectionId::from_bits(key));
    }
    fn turn_end(&mut self, io: &mut Port<'_, Self>) -> bool {
        if let Some(id) = self.resume.take() {
            io.resume(id);
            if self.what == What::PauseThenHandOver {
                io.hand_over(id, ShardId(1), b"moved".to_vec());
            }
        }
        false
    }
    fn message(&mut self, _io: &mut Port<'_, Self>, _from: Option<ShardId>, _word: Word) {
        // Both clients speak meanwhile.
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Runs two clients; `second` is what the second one says, while the shard is busy.
fn meddle(what: What, second: &str) -> (Receiver<String>, impl FnOnce()) {
    let (log, told) = channel();
    let shards = shards::Shards::start(config(2), move |shard, io: &mut Port<'_, Meddler>| {
        if shard == ShardId(1) {
            io.stop_accepting();
        }
        Run(Meddler { what, resume: None, known: Vec::new(), done: false, log: log.clone() })
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut clients: Vec<_> = (0..2).map(|_| client(shards.addresses()[0])).collect();
    for stream in &mut clients {
        stream.write_all(b"hello").unwrap();
        assert_eq!(next(&told), "0 received hello");
    }
    shards.handle().send(ShardId(0), Word::Number(0));
    std::thread::sleep(Duration::from_millis(100));
    clients[0].write_all(b"go").unwrap();
    clients[1].write_all(second.as_bytes()).unwrap();
    let end = move || {
        drop(clients);
        stop(shards);
    };
    (told, end)
}

fn next(told: &Receiver<String>) -> String {
    told.recv_timeout(Duration::from_secs(10)).unwrap()
}

#[test]
fn bytes_received_before_a_pause_by_another_wait_for_the_resume() {
    let (told, end) = meddle(What::Pause, "words");
    let expected = ["0 received go", "resume", "0 received words"];
    assert!(expected.iter().all(|&line| next(&told) == line));
    end();
}

#[test]
fn bytes_received_before_a_hand_over_by_another_follow_it() {
    let (told, end) = meddle(What::HandOver, "words");
    let expected = ["0 received go", "1 moved", "1 received words"];
    assert!(expected.iter().all(|&line| next(&told) == line));
    end();
}

#[test]
fn bytes_received_before_a_pause_come_before_later_ones() {
    let second: String = (0..12_000).map(|n| format!("{n:05} ")).collect();
    for what in [What::PauseForTheTurn, What::Pause, What::HandOver, What::PauseThenHandOver] {
        let (told, end) = meddle(what, &second);
        let mut got = String::new();
        while got.len() < second.len() {
            let line = next(&told);
            let text = line.split_once(" received ").map_or("", |(_, text)| text);
            if text != "go" {
                got.push_str(text);
            }
        }
        assert!(got == second);
        end();
    }
}
