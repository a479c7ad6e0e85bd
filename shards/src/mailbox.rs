//! Mailboxes between shards: one bounded queue of batches per pair, credits per pair, one bell per shard.
//!
//! A batch is what one turn of a shard has for another: messages sent with credit, messages sent without, and
//! hand-overs, handled in the order of their sending. Credits bound the first kind; what bounds the others is
//! outstanding elsewhere (`Io::send_control`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};

use crate::application::Accepted;
use crate::bell::Bell;
use crate::credit::Credit;
use crate::sys::EventFd;

/// Letters of an emptied batch beyond which its memory is freed, not used again for a batch the other way.
const SPARE_LETTERS_MAX: usize = 1024;
/// Emptied batches that are kept a pair.
const SPARES_MAX: usize = 4;
/// Batches in the queue of a pair; when it is full, the sender goes on filling its batch.
const BATCHES: usize = 32;

/// A connection on its way, without its descriptor.
pub(crate) struct Parcel<H> {
    pub(crate) token: u64,
    pub(crate) accepted: Accepted,
    /// Bytes that the sender had received already.
    pub(crate) unread: Vec<u8>,
    pub(crate) payload: H,
}

/// What is handled in order.
pub(crate) enum Letter<M, H> {
    Message(M),
    /// Boxed: rare, and twice as large as a message.
    HandOver(Box<Parcel<H>>),
}

/// What is handled before everything else.
pub(crate) enum Urgent<H> {
    /// More received bytes for this parcel.
    Late(u64, Vec<u8>),
    /// The descriptor of this parcel will not come.
    Withdraw(u64),
    /// The parcel, with its unread bytes, is returned to its sender.
    Returned(u64, Vec<u8>, H),
}

/// What one turn of a shard has for another.
pub(crate) struct Batch<M, H> {
    pub(crate) letters: VecDeque<Letter<M, H>>,
    pub(crate) urgent: Vec<Urgent<H>>,
}

impl<M, H> Batch<M, H> {
    fn new() -> Self {
        Self { letters: VecDeque::new(), urgent: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.urgent.is_empty()
    }
}

/// What everyone knows of one shard.
pub(crate) struct Door {
    pub(crate) bell: Bell,
    /// Where to write when [`Bell::post`] says so: read by data ring 0.
    pub(crate) eventfd: Arc<EventFd>,
    /// The shard has ended: nothing sent to it is read any more.
    pub(crate) gone: AtomicBool,
}

impl Door {
    /// The door of a shard among `shards`. Bits of its bell: one per sender, one for the outside, one for
    /// credit that has come back.
    pub(crate) fn new(shards: usize, eventfd: EventFd) -> Self {
        Self { bell: Bell::new(shards + 2), eventfd: Arc::new(eventfd), gone: AtomicBool::new(false) }
    }

    /// Posts under `bit` and wakes the shard if it sleeps.
    pub(crate) fn post(&self, bit: usize) {
        if self.bell.post(bit) {
            self.eventfd.ring();
        }
    }
}

/// A shard's way to one other.
struct Outlet<M, H> {
    sender: Sender<Batch<M, H>>,
    batch: Batch<M, H>,
    touched: bool,
    credit: Arc<Credit>,
    /// Reservations ever made, wrapping.
    reserved: u32,
    /// What was given back when last looked.
    released: u32,
    /// A reservation was refused since the last credit came back.
    refused: bool,
}

/// What has come from one other shard.
pub(crate) struct Inlet<M, H> {
    receiver: Receiver<Batch<M, H>>,
    pub(crate) letters: VecDeque<Letter<M, H>>,
    /// Emptied, for the next batches to that shard: so the memory of batches goes round between the two.
    spares: Vec<VecDeque<Letter<M, H>>>,
    batches: VecDeque<Batch<M, H>>,
    /// The next letter, a hand-over whose descriptor has not come yet: nothing passes it.
    pub(crate) waiting: Option<Box<Parcel<H>>>,
    pub(crate) active: bool,
    credit: Arc<Credit>,
    /// Messages done with in this turn.
    done: u32,
}

impl<M, H> Inlet<M, H> {
    /// Takes all batches; returns what is urgent among them.
    pub(crate) fn take(&mut self) -> Vec<Urgent<H>> {
        let mut urgent = Vec::new();
        while self.batches.len() < BATCHES {
            match self.receiver.try_recv() {
                Ok(mut batch) => {
                    urgent.append(&mut batch.urgent);
                    self.batches.push_back(batch);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        urgent
    }

    /// Opens the next batch if the current one is done. `false`: there is none.
    pub(crate) fn open(&mut self) -> bool {
        if !self.letters.is_empty() {
            return true;
        }
        let Some(batch) = self.batches.pop_front() else { return false };
        let emptied = std::mem::replace(&mut self.letters, batch.letters);
        if self.spares.len() < SPARES_MAX && (1..=SPARE_LETTERS_MAX).contains(&emptied.capacity()) {
            self.spares.push(emptied);
        }
        true
    }

    /// Takes a parcel out again, wherever it waits.
    pub(crate) fn withdraw(&mut self, token: u64) -> Option<Box<Parcel<H>>> {
        if self.waiting.as_ref().is_some_and(|parcel| parcel.token == token) {
            return self.waiting.take();
        }
        let batches = self.batches.iter_mut().map(|batch| &mut batch.letters);
        let mut batches = std::iter::once(&mut self.letters).chain(batches);
        let found = batches.find_map(|letters| {
            let is_it =
                |letter: &Letter<M, H>| matches!(letter, Letter::HandOver(parcel) if parcel.token == token);
            let position = letters.iter().position(is_it)?;
            letters.remove(position)
        });
        match found {
            Some(Letter::HandOver(parcel)) => Some(parcel),
            _ => None,
        }
    }

    /// Messages that wait.
    fn depth(&self) -> usize {
        self.letters.len() + self.batches.iter().map(|batch| batch.letters.len()).sum::<usize>()
    }
}

/// All mailboxes of one shard.
pub(crate) struct Post<M, H> {
    shard: usize,
    doors: Arc<[Door]>,
    outlets: Vec<Outlet<M, H>>,
    pub(crate) inlets: Vec<Inlet<M, H>>,
    pub(crate) outside: Receiver<M>,
    touched: Vec<u16>,
    giving_back: Vec<u16>,
    credits_max: u32,
    /// Refused reservations.
    pub(crate) refused: u64,
    /// A credit came back unused after a refusal.
    pub(crate) credit_unused: bool,
}

/// The mailboxes of all shards, and the way in from outside.
pub(crate) struct Exchange<M, H> {
    pub(crate) posts: Vec<Post<M, H>>,
    pub(crate) outside: Vec<Sender<M>>,
}

impl<M, H> Exchange<M, H> {
    /// Mailboxes between all pairs, each with `credits_max` credits.
    pub(crate) fn new(doors: &Arc<[Door]>, credits_max: u32) -> Self {
        let shards = doors.len();
        let mut outside = Vec::with_capacity(shards);
        let mut posts: Vec<Post<M, H>> = (0..shards)
            .map(|shard| {
                let (sender, receiver) = crossbeam_channel::unbounded();
                outside.push(sender);
                Post {
                    shard,
                    doors: doors.clone(),
                    outlets: Vec::with_capacity(shards),
                    inlets: Vec::with_capacity(shards),
                    outside: receiver,
                    touched: Vec::new(),
                    giving_back: Vec::new(),
                    credits_max,
                    refused: 0,
                    credit_unused: false,
                }
            })
            .collect();
        for from in 0..shards {
            for to in 0..shards {
                let (sender, receiver) = crossbeam_channel::bounded(BATCHES);
                let credit = Arc::new(Credit::new());
                posts[from].outlets.push(Outlet {
                    sender,
                    batch: Batch::new(),
                    touched: false,
                    credit: credit.clone(),
                    reserved: 0,
                    released: 0,
                    refused: false,
                });
                posts[to].inlets.push(Inlet {
                    receiver,
                    letters: VecDeque::new(),
                    spares: Vec::new(),
                    batches: VecDeque::new(),
                    waiting: None,
                    active: false,
                    credit,
                    done: 0,
                });
            }
        }
        Self { posts, outside }
    }
}

impl<M, H> Post<M, H> {
    /// Bit of the outside in the bell.
    pub(crate) fn outside_bit(&self) -> usize {
        self.doors.len()
    }

    /// This shard's door.
    pub(crate) fn door(&self) -> &Door {
        &self.doors[self.shard]
    }

    /// Whether shard `to` has ended, or never was.
    pub(crate) fn gone(&self, to: u16) -> bool {
        self.doors.get(usize::from(to)).is_none_or(|door| door.gone.load(Ordering::Acquire))
    }

    /// Takes one credit towards `to`; a shard that has ended refuses nothing.
    pub(crate) fn reserve(&mut self, to: u16) -> bool {
        self.take_credit(to) || (usize::from(to) < self.doors.len() && self.gone(to))
    }

    fn take_credit(&mut self, to: u16) -> bool {
        let Some(outlet) = self.outlets.get_mut(usize::from(to)) else { return false };
        if outlet.reserved.wrapping_sub(outlet.released) >= self.credits_max {
            outlet.released = outlet.credit.released();
            if outlet.reserved.wrapping_sub(outlet.released) >= self.credits_max {
                outlet.released = outlet.credit.starve();
                if outlet.reserved.wrapping_sub(outlet.released) >= self.credits_max {
                    self.refused += 1;
                    outlet.refused = true;
                    return false;
                }
                outlet.credit.fed();
            }
        }
        outlet.reserved = outlet.reserved.wrapping_add(1);
        true
    }

    /// Gives an unused credit back.
    pub(crate) fn unreserve(&mut self, to: u16) {
        if let Some(outlet) = self.outlets.get_mut(usize::from(to)) {
            outlet.reserved = outlet.reserved.wrapping_sub(1);
            self.credit_unused |= std::mem::take(&mut outlet.refused);
        }
    }

    fn batch(&mut self, to: u16) -> Option<&mut Batch<M, H>> {
        let outlet = self.outlets.get_mut(usize::from(to))?;
        if !outlet.touched {
            outlet.touched = true;
            self.touched.push(to);
        }
        Some(&mut outlet.batch)
    }

    /// Appends, in the order of the calls.
    pub(crate) fn send(&mut self, to: u16, letter: Letter<M, H>) {
        if let Some(batch) = self.batch(to) {
            batch.letters.push_back(letter);
        }
    }

    /// Sends ahead of everything.
    pub(crate) fn send_urgent(&mut self, to: u16, urgent: Urgent<H>) {
        if let Some(batch) = self.batch(to) {
            batch.urgent.push(urgent);
        }
    }

    /// Gives `n` credits back to `from`, at the end of the turn.
    pub(crate) fn release(&mut self, from: u16, n: u32) {
        let Some(inlet) = self.inlets.get_mut(usize::from(from)) else { return };
        if inlet.done == 0 && n > 0 {
            self.giving_back.push(from);
        }
        inlet.done += n;
    }

    /// End of turn: hands every touched batch over, with at most one wake-up per target. `false`: a queue is
    /// full, its batch waits for the next turn.
    pub(crate) fn flush(&mut self) -> bool {
        let mut kept = 0;
        for position in 0..self.touched.len() {
            let to = self.touched[position];
            let outlet = &mut self.outlets[usize::from(to)];
            let door = &self.doors[usize::from(to)];
            let letters = self.inlets[usize::from(to)].spares.pop().unwrap_or_default();
            let batch = std::mem::replace(&mut outlet.batch, Batch { letters, urgent: Vec::new() });
            if door.gone.load(Ordering::Acquire) || batch.is_empty() {
                outlet.touched = false;
                continue;
            }
            match outlet.sender.try_send(batch) {
                Ok(()) => {
                    outlet.touched = false;
                    door.post(self.shard);
                }
                Err(TrySendError::Full(batch)) => {
                    outlet.batch = batch;
                    self.touched[kept] = to;
                    kept += 1;
                }
                // The receiver goes only with its shard.
                Err(TrySendError::Disconnected(_)) => outlet.touched = false,
            }
        }
        self.touched.truncate(kept);
        for from in self.giving_back.drain(..) {
            let inlet = &mut self.inlets[usize::from(from)];
            if inlet.credit.release(std::mem::take(&mut inlet.done)) {
                self.doors[usize::from(from)].post(self.doors.len() + 1);
            }
        }
        kept == 0
    }

    /// Messages that wait in taken batches.
    pub(crate) fn depth(&self) -> usize {
        self.inlets.iter().filter(|inlet| inlet.active).map(Inlet::depth).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    type Mail = Exchange<u32, &'static str>;

    fn exchange(shards: usize, credits: u32) -> (Arc<[Door]>, Mail) {
        let doors: Vec<Door> = (0..shards).map(|_| Door::new(shards, EventFd::new().unwrap())).collect();
        let doors: Arc<[Door]> = doors.into();
        let exchange = Exchange::new(&doors, credits);
        (doors, exchange)
    }

    fn parcel(token: u64) -> Letter<u32, &'static str> {
        let remote = "127.0.0.1:1".parse().unwrap();
        let accepted = Accepted { listener: 0, remote, over_capacity: false };
        Letter::HandOver(Box::new(Parcel { token, accepted, unread: vec![1, 2], payload: "payload" }))
    }

    fn message(letter: Letter<u32, &'static str>) -> u32 {
        match letter {
            Letter::Message(message) => message,
            Letter::HandOver(_) => panic!("a parcel"),
        }
    }

    #[test]
    fn a_parcel_is_withdrawn_wherever_it_waits() {
        let (_doors, mut mail) = exchange(2, 10);
        for (place, opened) in [("batch", false), ("letters", true)] {
            let [sender, receiver] = &mut mail.posts[..] else { panic!() };
            sender.send(1, Letter::Message(1));
            sender.send(1, parcel(7));
            sender.send(1, Letter::Message(2));
            assert!(sender.flush());
            let inlet = &mut receiver.inlets[0];
            assert!(inlet.take().is_empty());
            if opened {
                assert!(inlet.open());
            }
            assert!(inlet.withdraw(8).is_none());
            let parcel = inlet.withdraw(7).expect(place);
            assert_eq!((parcel.payload, &parcel.unread[..]), ("payload", &[1, 2][..]));
            assert!(inlet.open());
            let rest: Vec<u32> = std::mem::take(&mut inlet.letters).into_iter().map(message).collect();
            assert_eq!(rest, [1, 2], "{place}");
            inlet.waiting = Some(parcel);
            assert!(inlet.withdraw(7).is_some() && inlet.waiting.is_none());
        }
    }

    #[test]
    fn a_full_queue_keeps_the_batch_and_its_order() {
        let (_doors, mut mail) = exchange(2, u32::MAX / 2);
        let [sender, receiver] = &mut mail.posts[..] else { panic!() };
        let mut kept = 0;
        for number in 0..3 * BATCHES as u32 {
            sender.send(1, Letter::Message(number));
            kept += u32::from(!sender.flush());
        }
        assert_eq!(kept as usize, 2 * BATCHES);
        let mut got = Vec::new();
        for _ in 0..2 {
            receiver.inlets[0].take();
            while receiver.inlets[0].open() {
                got.extend(std::mem::take(&mut receiver.inlets[0].letters).into_iter().map(message));
            }
            assert!(sender.flush());
        }
        assert_eq!(got, (0..3 * BATCHES as u32).collect::<Vec<_>>());
    }

    #[test]
    fn credits_are_counted_per_pair_and_wrap() {
        let (doors, mut mail) = exchange(3, 2);
        let [sender, receiver, _] = &mut mail.posts[..] else { panic!() };
        for outlet in &mut sender.outlets {
            outlet.reserved = u32::MAX;
            outlet.released = u32::MAX;
            let _ = outlet.credit.release(u32::MAX);
        }
        assert!(sender.reserve(1) && sender.reserve(1) && !sender.reserve(1));
        assert!(sender.reserve(2), "the credits of another pair");
        assert!(!sender.reserve(9), "no such shard");
        receiver.release(0, 1);
        assert!(!sender.reserve(1), "given back at the end of the receiver's turn");
        receiver.flush();
        assert_ne!(doors[0].bell.take(0) & 1 << 4, 0, "the sender that waits is told");
        assert!(sender.reserve(1) && !sender.reserve(1));
        sender.unreserve(1);
        assert!(sender.credit_unused && sender.reserve(1));
    }
}
