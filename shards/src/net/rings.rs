//! Several rings, one wait: a shard sleeps in ring 0, which reads the eventfds of the others. A ring is quiet, and its
//! eventfd tells of its first completion, or awake, and looked at in each turn: a million connections have many rings, most
//! of them quiet, and a wake-up must not cost a look at each.

use std::io;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use io_uring::squeue;

use super::Net;
use crate::ring::{Operation, Remains, Ring};

/// Time between two looks at all rings, milliseconds.
const LOOK_AROUND_MS: u64 = 500;

impl Net {
    /// Queues a submission for the ring and slot of a connection.
    ///
    /// # Safety
    /// As [`Ring::push`].
    pub(super) unsafe fn push(&mut self, ring: usize, entry: &squeue::Entry) {
        // SAFETY: the caller's promise.
        unsafe { self.ring(ring).push(entry) }
    }

    /// A ring to submit something to: it will be looked at.
    pub(super) fn ring(&mut self, ring: usize) -> &mut Ring {
        self.wake(ring);
        &mut self.rings[ring]
    }

    /// Looks at a ring in each turn from now on. Its eventfd needs not hear of what completes meanwhile.
    fn wake(&mut self, ring: usize) {
        if ring != 0 && self.rings[ring].notify(false) {
            self.awake.push(ring);
        }
    }

    /// Submits and takes what has arrived, with a timeout after a wait, before which [`Net::listen`] comes.
    /// Sends are settled before anything else is looked at, so no callback ever sees one under way that the
    /// kernel has consumed. What the polls say is readable is read at once: a message that comes alone costs one turn.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.prompt = false;
        if timeout.is_some() || self.rings[0].has_work() {
            self.rings[0].enter(timeout)?;
            self.sort(0);
        }
        self.look_for_opened();
        self.enter_awake()?;
        if !self.readable.is_empty() {
            self.push_receives();
            self.submit();
        }
        Ok(())
    }

    fn enter_awake(&mut self) -> io::Result<()> {
        // What is done with one ring may wake another.
        let mut next = 0;
        while let Some(&ring) = self.awake.get(next) {
            if self.rings[ring].has_work() {
                self.enter_one(ring)?;
            }
            next += 1;
        }
        Ok(())
    }

    fn enter_one(&mut self, ring: usize) -> io::Result<()> {
        self.rings[ring].enter(None)?;
        self.sort(ring);
        Ok(())
    }

    /// Submits everything without waiting and settles the sends.
    pub(super) fn submit(&mut self) {
        let mut next = 0;
        let mut ring = 0;
        loop {
            // An error here is one of the ring itself: the next `enter` reports it.
            if self.rings[ring].has_queued() && self.enter_one(ring).is_err() {
                tracing::error!(ring, "submission failed");
            }
            let Some(&awake) = self.awake.get(next) else { return };
            (ring, next) = (awake, next + 1);
        }
    }

    /// Before a sleep in ring 0: all rings become quiet. First the eventfds are enabled and read, then the fence, then the
    /// look, so a completion is either seen here or writes (pitfall 4). The rings' descriptors could not be polled instead
    /// (pitfall 3). None is registered with ring 0: nothing nests (pitfall 2). `true`: nothing is left to do.
    pub(crate) fn listen(&mut self) -> io::Result<bool> {
        self.look_for_opened();
        self.look_around();
        self.read_bell(0);
        // While still disabled: an enter writes to the eventfd whenever the ring has completed anything since the last
        // write, even if this enter completes nothing.
        self.enter_awake()?;
        for next in 0..self.awake.len() {
            let ring = self.awake[next];
            self.rings[ring].notify(true);
            self.read_bell(ring);
        }
        fence(Ordering::SeqCst);
        let rings = &mut self.rings;
        self.awake.retain(|&ring| rings[ring].has_work() && rings[ring].notify(false));
        // A push to a full ring 0 may have collected completions.
        Ok(self.awake.is_empty() && self.rings[0].arrived.is_empty())
    }

    /// Looks at all rings now and then, whatever their eventfds say: what a kernel fails to tell is late, not lost.
    fn look_around(&mut self) {
        if self.now_ms < self.look_around_at_ms {
            return;
        }
        self.look_around_at_ms = self.now_ms + LOOK_AROUND_MS;
        for ring in 1..self.active {
            if self.rings[ring].has_work() {
                self.wake(ring);
            }
        }
    }

    /// Lets ring 0 read the eventfd of a ring; for ring 0 the one that other shards write to.
    fn read_bell(&mut self, ring: usize) {
        if let Some(entry) = self.rings[ring].begin_to_read_bell() {
            let entry = entry.user_data(Operation::Bell.on(0, ring as u32));
            // SAFETY: the eventfd, and what it is read to, outlive ring 0 (`Remains`).
            unsafe { self.rings[0].push(&entry) };
        }
    }

    /// The eventfd of a ring was read.
    fn rang(&mut self, ring: usize) {
        self.bell_rang = true;
        self.rings[ring].bell_was_read();
        self.wake(ring);
    }

    /// Takes note of rings that came into use. Slots are reserved in the order of the rings, so those in use are the
    /// first ones. Another shard opens one for a hand-over, whose parcel wakes this shard all the same.
    fn look_for_opened(&mut self) {
        while self.rings.get(self.active).is_some_and(|ring| ring.port.is_opened()) {
            self.awake.push(self.active);
            self.active += 1;
        }
    }

    /// Takes sends, polls and the bell out of what has arrived, queues the rest for [`Net::complete`].
    fn sort(&mut self, ring: usize) {
        // Nothing is pushed in this loop: a push may collect more completions, and consume sends whose failure has
        // not been seen.
        let mut arrived = std::mem::take(&mut self.rings[ring].arrived);
        let mut polls = std::mem::take(&mut self.polls);
        for entry in arrived.drain(..) {
            match Operation::of(entry.user_data()) {
                Some(Operation::Send) => self.sent(ring as u16, &entry),
                Some(Operation::Poll) => polls.push(entry),
                Some(Operation::Bell) => self.rang(entry.user_data() as u32 as usize),
                _ => self.completions.push_back((ring as u16, entry)),
            }
        }
        self.rings[ring].arrived = arrived;
        self.settle(ring);
        for entry in polls.drain(..) {
            self.polled(ring as u16, &entry);
        }
        self.polls = polls;
    }

    /// The rings, to be kept until no other shard can name their descriptors.
    pub(crate) fn into_remains(self) -> Vec<Remains> {
        self.rings.into_iter().map(Ring::into_remains).collect()
    }
}
