//! One io_uring: its setup, what is submitted and consumed, what has arrived, and how many slots of its
//! descriptor table are free. Knows nothing of connections.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue};

use crate::sys::EventFd;

/// The kernel may refuse submissions for lack of memory; longer than this ends the process.
const STUCK_MAX: Duration = Duration::from_secs(10);
/// Waits for locked memory that are left to all rings of the process.
static PAUSES: AtomicI32 = AtomicI32::new(6);
/// Smallest submission queue that is tried.
const SQ_MIN: u32 = 32;

/// What a completion belongs to: the top 8 bits of `user_data`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Operation {
    Bell = 1,
    Accept,
    AcceptCancel,
    Poll,
    PollOut,
    Receive,
    Send,
    Discard,
    Peek,
    Cancel,
    Close,
    HandOver,
    HandedOver,
    Connect,
    Install,
}

impl Operation {
    const ALL: [Operation; 15] = [
        Self::Bell,
        Self::Accept,
        Self::AcceptCancel,
        Self::Poll,
        Self::PollOut,
        Self::Receive,
        Self::Send,
        Self::Discard,
        Self::Peek,
        Self::Cancel,
        Self::Close,
        Self::HandOver,
        Self::HandedOver,
        Self::Connect,
        Self::Install,
    ];

    /// `user_data`: operation (8 bits), generation (24), slot (32). The generation tells a late completion of
    /// a closed connection from one of the slot's next owner.
    pub(crate) fn on(self, generation: u32, slot: u32) -> u64 {
        (self as u64) << 56 | u64::from(generation & 0x00FF_FFFF) << 32 | u64::from(slot)
    }

    /// `user_data` with 56 bits of the caller's.
    pub(crate) fn with_token(self, token: u64) -> u64 {
        (self as u64) << 56 | token & TOKEN_MASK
    }

    /// The operation in `user_data`.
    pub(crate) fn of(user_data: u64) -> Option<Self> {
        Self::ALL.get(((user_data >> 56) as usize).wrapping_sub(1)).copied()
    }
}

/// Bits of a token.
pub(crate) const TOKEN_MASK: u64 = (1 << 56) - 1;

/// A ring as other shards see it: where to send a descriptor, and whether there is room.
pub(crate) struct Port {
    /// Descriptor number of the ring; -1 before it exists.
    pub(crate) fd: AtomicI32,
    /// Slots of its table that are neither occupied nor promised.
    free: AtomicI32,
    /// A slot was reserved once: completions may come, the shard has to look at the ring.
    opened: AtomicBool,
}

impl Port {
    /// A port without a ring.
    pub(crate) fn new() -> Self {
        Self { fd: AtomicI32::new(-1), free: AtomicI32::new(0), opened: AtomicBool::new(false) }
    }

    /// Whether a slot was ever reserved.
    pub(crate) fn is_opened(&self) -> bool {
        self.opened.load(Ordering::Acquire)
    }

    /// Reserves a slot unless only `leave` are left. Pitfall 9: whatever fills a slot (ACCEPT, hand-over)
    /// has reserved it first, so the table is never found full.
    pub(crate) fn reserve(&self, leave: i32) -> bool {
        let reserved = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |free| (free > leave).then(|| free - 1))
            .is_ok();
        if reserved && !self.is_opened() {
            self.opened.store(true, Ordering::Release);
        }
        reserved
    }

    /// Gives a slot or a reservation back.
    pub(crate) fn give_back(&self, slots: i32) {
        self.free.fetch_add(slots, Ordering::AcqRel);
    }
}

/// Wanted sizes of a ring.
#[derive(Copy, Clone, Debug)]
pub(crate) struct RingSize {
    pub(crate) submissions: u32,
    pub(crate) completions: u32,
    pub(crate) slots: u32,
}

/// A data ring. Created and used on one thread only (pitfall 13: SINGLE_ISSUER).
pub(crate) struct Ring {
    uring: IoUring,
    pub(crate) port: Arc<Port>,
    /// Submissions ever queued, wrapping.
    queued: u32,
    /// Sends under way: (value of `queued` behind the send, its output).
    pub(crate) sends: VecDeque<(u32, u32)>,
    /// Completions taken from the queue.
    pub(crate) arrived: Vec<cqueue::Entry>,
    /// The value of `queued` up to which submissions are consumed and what became of them has been collected.
    seen: u32,
    /// The last enter that ran deferred work brought no completion, so there is none left (pitfall 4).
    settled: bool,
    /// Written by its completions (not by those of ring 0), read by ring 0.
    bell: Arc<EventFd>,
    /// Completions write to the eventfd.
    notifies: bool,
    /// A read of the eventfd is under way in ring 0.
    reading_bell: bool,
}

/// What is left of a ring whose shard has ended. The shard's ring 0 reads into the eventfds of all of them: it goes first.
pub(crate) struct Remains {
    _uring: IoUring,
    _bell: Arc<EventFd>,
}

fn builder(size: RingSize, no_array: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(size.completions);
    if no_array {
        builder.setup_no_sqarray();
    }
    builder.build(size.submissions)
}

/// Builds a ring; halves the queues as long as memory that may be locked does not suffice (it is charged per
/// user and given back late after a restart, hence the pauses).
pub(crate) fn build(mut size: RingSize) -> io::Result<IoUring> {
    loop {
        // NO_SQARRAY needs 6.6; without it the ring works the same.
        let built = match builder(size, true) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder(size, false),
            built => built,
        };
        let made =
            built.and_then(|uring| uring.submitter().register_files_sparse(size.slots).map(|()| uring));
        match made {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                if PAUSES.fetch_sub(1, Ordering::Relaxed) > 0 {
                    std::thread::sleep(Duration::from_millis(50));
                } else if size.submissions > SQ_MIN {
                    size.submissions /= 2;
                    size.completions /= 2;
                } else {
                    return Err(error);
                }
            }
            made => return made,
        }
    }
}

impl Ring {
    /// The ring that its shard sleeps in, with `size.slots` direct descriptors; `bell` is what others wake it with.
    pub(crate) fn first(size: RingSize, port: Arc<Port>, bell: Arc<EventFd>) -> io::Result<Self> {
        Self::new(size, port, bell)
    }

    fn new(size: RingSize, port: Arc<Port>, bell: Arc<EventFd>) -> io::Result<Self> {
        let uring = build(size)?;
        port.fd.store(uring.as_raw_fd(), Ordering::Release);
        port.give_back(size.slots as i32);
        Ok(Self {
            uring,
            port,
            queued: 0,
            sends: VecDeque::new(),
            arrived: Vec::new(),
            seen: 0,
            settled: false,
            bell,
            notifies: false,
            reading_bell: false,
        })
    }

    /// A further ring. Its completions write to an eventfd while that is enabled; disabled at first.
    pub(crate) fn further(size: RingSize, port: Arc<Port>) -> io::Result<Self> {
        let mut ring = Self::new(size, port, Arc::new(EventFd::new()?))?;
        ring.uring.submitter().register_eventfd(ring.bell.fd())?;
        ring.uring.completion().disable_eventfd();
        Ok(ring)
    }

    /// Enables or disables the eventfd; says whether that changed anything.
    pub(crate) fn notify(&mut self, enabled: bool) -> bool {
        if self.notifies == enabled {
            return false;
        }
        self.notifies = enabled;
        let completions = self.uring.completion();
        if enabled {
            completions.enable_eventfd();
        } else {
            completions.disable_eventfd();
        }
        true
    }

    /// For ring 0: what reads the eventfd, unless it does so already.
    pub(crate) fn begin_to_read_bell(&mut self) -> Option<Entry> {
        (!std::mem::replace(&mut self.reading_bell, true)).then(|| self.bell.read())
    }

    /// Ring 0 has read the eventfd.
    pub(crate) fn bell_was_read(&mut self) {
        self.reading_bell = false;
    }

    /// Queues a submission; submits first when the queue is full.
    ///
    /// # Safety
    /// Memory that the entry names stays valid until its completion has been seen, or, where success gives no
    /// completion, until the ring has consumed the entry ([`Ring::consumed`]).
    pub(crate) unsafe fn push(&mut self, entry: &Entry) {
        self.room(1);
        // SAFETY: the caller's promise. `room` has made room.
        let _ = unsafe { self.uring.submission().push(entry) };
        self.queued = self.queued.wrapping_add(1);
    }

    /// Queues a chain of linked submissions; they are submitted together.
    ///
    /// # Safety
    /// As [`Ring::push`].
    pub(crate) unsafe fn push_chain(&mut self, entries: &[Entry]) {
        self.room(entries.len());
        // SAFETY: the caller's promise. `room` has made room for all.
        let _ = unsafe { self.uring.submission().push_multiple(entries) };
        self.queued = self.queued.wrapping_add(entries.len() as u32);
    }

    fn room(&mut self, entries: usize) {
        let mut since = None;
        loop {
            let queue = self.uring.submission();
            if queue.capacity() - queue.len() >= entries {
                return;
            }
            drop(queue);
            let before = self.unconsumed();
            // What this completes is collected with the next enter.
            self.settled = false;
            let _ = self.enter_raw(0, EnterFlags::empty(), None);
            if self.unconsumed() < before {
                continue;
            }
            // Kernel memory is short or completions have overflowed: take what has arrived, try again.
            self.collect();
            let _ = self.enter_raw(0, EnterFlags::GETEVENTS, None);
            let since = *since.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < STUCK_MAX, "the kernel has taken no submission for {STUCK_MAX:?}");
            std::thread::yield_now();
        }
    }

    /// The value of `queued` up to which the kernel has consumed submissions, now.
    pub(crate) fn queued(&self) -> u32 {
        self.queued
    }

    /// Submissions that the kernel has not consumed.
    pub(crate) fn unconsumed(&mut self) -> u32 {
        self.uring.submission().len() as u32
    }

    /// Whether the kernel had consumed the submission behind which `queued` stood at `mark` before completions were
    /// last collected to the end.
    pub(crate) fn consumed(&self, mark: u32) -> bool {
        self.seen.wrapping_sub(mark) < u32::MAX / 2
    }

    fn enter_raw(&mut self, want: u32, flags: EnterFlags, timeout: Option<Duration>) -> io::Result<usize> {
        let submit = self.unconsumed();
        let submitter = self.uring.submitter();
        let result = match timeout {
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                let arguments = SubmitArgs::new().timespec(&timeout);
                let flags = flags | EnterFlags::EXT_ARG;
                // SAFETY: EXT_ARG goes with a getevents argument, which SubmitArgs is; it outlives the call.
                unsafe { submitter.enter(submit, want, flags.bits(), Some(&arguments)) }
            }
            // SAFETY: no argument.
            None => unsafe { submitter.enter::<libc::sigset_t>(submit, want, flags.bits(), None) },
        };
        match result {
            // Time is up; a signal; too little memory or a full completion queue for now: the caller sees by
            // the queues what was done.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM)
                ) =>
            {
                Ok(0)
            }
            result => result,
        }
    }

    /// Submits everything, runs deferred work, and with a timeout waits that long for a completion. Takes
    /// what has arrived. Pitfall 13: GETEVENTS is always given, without it deferred work does not run.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let want = u32::from(timeout.is_some());
        self.enter_raw(want, EnterFlags::GETEVENTS, timeout)?;
        let before = self.arrived.len();
        self.collect();
        // While completions overflow, a send's failure may be among those not yet seen.
        while self.uring.submission().cq_overflow() {
            self.enter_raw(0, EnterFlags::GETEVENTS, None)?;
            self.collect();
        }
        self.settled = self.arrived.len() == before;
        self.seen = self.queued.wrapping_sub(self.unconsumed());
        Ok(())
    }

    fn collect(&mut self) {
        let completions = self.uring.completion();
        self.arrived.extend(completions);
    }

    /// Whether something is to be submitted, run or taken (pitfall 4). Looks no further than it must. The completion
    /// queue too: descriptors from other shards (SEND_FD) appear there whenever the thread returns from the kernel,
    /// with neither an enter of this ring nor its TASKRUN flag.
    pub(crate) fn has_work(&mut self) -> bool {
        if !self.settled || self.has_queued() || !self.arrived.is_empty() {
            return true;
        }
        let queue = self.uring.submission();
        let flagged = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        flagged || !self.uring.completion().is_empty()
    }

    /// Whether something was queued that the last enter has not consumed.
    pub(crate) fn has_queued(&self) -> bool {
        self.seen != self.queued
    }

    /// What is to be kept until no other shard can name this ring's descriptor.
    pub(crate) fn into_remains(self) -> Remains {
        Remains { _uring: self.uring, _bell: self.bell }
    }
}
