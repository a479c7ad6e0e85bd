//! Topic metrics: messages in, out and dropped for chosen Topic Filters. A message is compared with each of them where there are
//! some; where there are none it costs one comparison.

use super::super::publication::Publication;
use crate::metrics::Metrics;
use crate::topic;

/// Filters that may be chosen: one bit each.
const FILTERS_MAX: usize = 64;

/// What a shard has counted for one filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicMetric {
    /// The filter.
    pub filter: Box<str>,
    /// Messages published to matching topics.
    pub messages_in: u64,
    /// Times that such a message was sent to a client.
    pub messages_out: u64,
    /// Times that such a message was dropped.
    pub dropped: u64,
    /// Bytes of the payloads of `messages_in`.
    pub bytes_in: u64,
    /// Bytes of the payloads of `messages_out`.
    pub bytes_out: u64,
}

/// The filters that were chosen.
#[derive(Debug, Default)]
pub(in crate::broker) struct TopicMetrics {
    rows: Vec<TopicMetric>,
}

/// What the counters of the shard said before deliveries.
#[derive(Debug)]
pub(in crate::broker) struct Before {
    filters: u64,
    payload_len: usize,
    sent: u64,
    dropped: u64,
}

impl TopicMetrics {
    /// Counts for a filter, be it for one more; false: there are too many.
    pub(in crate::broker) fn add(&mut self, filter: &str) -> bool {
        if self.rows.iter().any(|row| &*row.filter == filter) {
            return true;
        }
        if self.rows.len() >= FILTERS_MAX {
            return false;
        }
        self.rows.push(TopicMetric { filter: filter.into(), ..TopicMetric::default() });
        true
    }

    /// Counts no more for a filter; false: it was not there.
    pub(in crate::broker) fn remove(&mut self, filter: &str) -> bool {
        let before = self.rows.len();
        self.rows.retain(|row| &*row.filter != filter);
        self.rows.len() < before
    }

    /// What was counted.
    pub(in crate::broker) fn rows(&self) -> Vec<TopicMetric> {
        self.rows.clone()
    }

    /// Whether nothing is counted.
    #[inline]
    pub(in crate::broker) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn matching(&self, name: &str) -> u64 {
        let bit = |(at, row): (usize, &TopicMetric)| u64::from(topic::matches(&row.filter, name)) << at;
        self.rows.iter().enumerate().map(bit).sum()
    }

    fn each(&mut self, filters: u64, mut count: impl FnMut(&mut TopicMetric)) {
        for (at, row) in self.rows.iter_mut().enumerate() {
            if filters >> at & 1 == 1 {
                count(row);
            }
        }
    }

    /// A message was published.
    pub(in crate::broker) fn came_in(&mut self, publication: &Publication<'_>) {
        let filters = self.matching(publication.topic);
        self.each(filters, |row| {
            row.messages_in += 1;
            row.bytes_in += publication.payload.len() as u64;
        });
    }

    /// A message is about to be delivered; `None`: nobody counts that.
    #[inline]
    pub(in crate::broker) fn begin(
        &self,
        name: &str,
        payload_len: usize,
        metrics: &Metrics,
    ) -> Option<Before> {
        if self.rows.is_empty() {
            return None;
        }
        self.begin_counting(name, payload_len, metrics)
    }

    #[cold]
    fn begin_counting(&self, name: &str, payload_len: usize, metrics: &Metrics) -> Option<Before> {
        let filters = self.matching(name);
        let (sent, dropped) = (metrics.messages_sent.load(), metrics.messages_dropped.load());
        (filters != 0).then_some(Before { filters, payload_len, sent, dropped })
    }

    /// It was delivered: what the shard has sent and dropped meanwhile was this message.
    pub(in crate::broker) fn end(&mut self, before: &Before, metrics: &Metrics) {
        let sent = metrics.messages_sent.load().wrapping_sub(before.sent);
        let dropped = metrics.messages_dropped.load().wrapping_sub(before.dropped);
        self.each(before.filters, |row| {
            row.messages_out += sent;
            row.bytes_out += sent * before.payload_len as u64;
            row.dropped += dropped;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_and_dropped_between_counts_for_the_filters_that_match() {
        let metrics = Metrics::default();
        let mut topics = TopicMetrics::default();
        assert!(topics.begin("a/b", 10, &metrics).is_none());
        assert!(topics.add("a/+") && topics.add("x") && topics.add("#"));
        // Who was told of it, and could not say so, is told again.
        assert!(topics.add("x"));
        assert!(topics.begin("$SYS/x", 10, &metrics).is_none());
        let before = topics.begin("a/b", 10, &metrics);
        metrics.messages_sent.add(3);
        metrics.messages_dropped.inc();
        before.iter().for_each(|before| topics.end(before, &metrics));
        let counts: Vec<_> =
            topics.rows().iter().map(|row| (row.messages_out, row.bytes_out, row.dropped)).collect();
        assert_eq!(counts, [(3, 30, 1), (0, 0, 0), (3, 30, 1)]);
        assert!(topics.remove("x") && !topics.remove("x"));
        let added = (0..100).filter(|n| topics.add(&n.to_string())).count();
        assert_eq!(added, FILTERS_MAX - 2);
        assert_eq!(topics.rows().len(), FILTERS_MAX);
    }
}
