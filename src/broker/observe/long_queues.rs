//! Mqueues that are longer than `session.queue_high_watermark` and have not come down to the low one since: how many a shard has,
//! and whose is the longest. Other shards tell shard 0, which raises the alarm.

use super::super::Broker;
use super::super::clients::Clients;
use super::super::effects::Effects;
use super::super::message::ShardMessage;
use super::super::mount::client_id_of;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::interest::ShardId;

/// Sessions that one look walks over to find the longest again.
const SEARCH_BUDGET: usize = 4096;

/// The lengths that count, and the longest queue that was seen.
#[derive(Debug, Default)]
pub(in crate::broker) struct Lengths {
    low: usize,
    high: usize,
    /// A session and how long its queue was at its longest.
    longest: Option<(u32, usize)>,
    /// Where the search for the longest goes on.
    next: u32,
    told: LongQueues,
}

/// The long mqueues of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LongQueues {
    /// How many.
    pub count: u64,
    /// The client whose is the longest, as far as it is known, and how many messages wait for it.
    pub longest: Option<(Box<str>, usize)>,
}

impl Lengths {
    /// Those of this configuration.
    pub(in crate::broker) fn configure(&mut self, config: &Config) {
        let of = |part: f32| (f64::from(config.session.queue_len_max) * f64::from(part)) as usize;
        self.low = of(config.session.queue_low_watermark);
        self.high = of(config.session.queue_high_watermark);
    }
}

impl Clients {
    /// The mqueue of a session has become longer or shorter.
    #[inline]
    pub(in crate::broker) fn judge_queue(&mut self, index: u32) {
        let Self { sessions, metrics, sight, .. } = self;
        let Some(outbound) = sessions.get_mut(index).and_then(|session| session.outbound.as_mut()) else {
            return;
        };
        let mqueue = &mut outbound.mqueue;
        match mqueue.judge_length(sight.lengths.low, sight.lengths.high) {
            Some(true) => metrics.queues_high.inc(),
            Some(false) => metrics.queues_high.dec(),
            None => {}
        }
        if mqueue.is_long() && sight.lengths.longest.is_none_or(|(_, len)| mqueue.len() > len) {
            sight.lengths.longest = Some((index, mqueue.len()));
        }
    }

    /// How long the long queue of a session is; `None`: it has none.
    fn long_queue(&self, index: u32) -> Option<usize> {
        let mqueue = &self.sessions.get(index)?.outbound.as_ref()?.mqueue;
        mqueue.is_long().then(|| mqueue.len())
    }

    /// The longest is not any more: looks for another one among the next sessions.
    fn search_longest(&mut self) {
        for _ in 0..SEARCH_BUDGET {
            let Some(index) = self.sessions.iter_from(self.sight.lengths.next).next().map(|(index, _)| index)
            else {
                self.sight.lengths.next = 0;
                return;
            };
            self.sight.lengths.next = index + 1;
            if let Some(len) = self.long_queue(index)
                && self.sight.lengths.longest.is_none_or(|(_, longest)| len > longest)
            {
                self.sight.lengths.longest = Some((index, len));
            }
        }
    }

    fn long_queues(&mut self) -> LongQueues {
        let count = self.metrics.queues_high.load();
        if count == 0 {
            self.sight.lengths.longest = None;
            return LongQueues::default();
        }
        let longest = self.sight.lengths.longest.map(|(index, _)| index);
        self.sight.lengths.longest = longest.and_then(|index| Some((index, self.long_queue(index)?)));
        if self.sight.lengths.longest.is_none() {
            self.search_longest();
        }
        let longest =
            self.sight.lengths.longest.and_then(|(index, len)| {
                Some((client_id_of(&self.sessions.get(index)?.client_id).into(), len))
            });
        LongQueues { count, longest }
    }
}

impl Broker {
    /// Says what is new about this shard's long queues.
    pub(super) fn look_at_queues<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let long = self.clients.long_queues();
        let name = |long: &LongQueues| long.longest.as_ref().map(|(name, _)| name.clone());
        let told = &self.clients.sight.lengths.told;
        if long.count == told.count && name(&long) == name(told) {
            return;
        }
        self.clients.sight.lengths.told = long.clone();
        if self.shard.0 == 0 {
            self.queues_told(now, self.shard, long, fx);
        } else {
            fx.send_control(ShardId(0), ShardMessage::LongQueues(Box::new(long)));
        }
    }
}
