//! Lists of the Topic Filters in use on a shard, by their numbers, and who subscribes to one. A filter may be in use on several
//! shards: whoever asks puts that together.

use super::super::Broker;
use super::super::message::SessionToken;
use super::page::{Budget, ITEMS_MAX, Listing, Page};
use crate::interest::ShardId;
use crate::router::FilterId;
use crate::topic;

/// A filter in use.
#[derive(Debug, Clone)]
pub struct TopicRow {
    /// The filter as the broker has it, without `$share/{ShareName}/`.
    pub filter: Box<str>,
    /// Subscribers on this shard, and all members of Shared Subscriptions whose home is here.
    pub subscribers: usize,
}

/// Whose subscribers are wanted.
#[derive(Debug, Clone)]
pub struct TopicWanted {
    /// The filter as the broker has it, without `$share/{ShareName}/`.
    pub filter: Box<str>,
    /// Only the members of the Shared Subscription of this name.
    pub share: Option<Box<str>>,
    /// So many are named at most, of each kind.
    pub limit: usize,
}

/// Who subscribes to a filter.
#[derive(Debug)]
pub struct TopicDetail {
    /// How many, as in [`TopicRow`].
    pub subscribers: usize,
    /// Names of subscribing sessions of this shard, as many as were asked for.
    pub sessions: Vec<Box<str>>,
    /// Members of Shared Subscriptions, as many as were asked for.
    pub members: Vec<Member>,
}

/// A member of a Shared Subscription, whose own shard knows its name.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Where its session is.
    pub shard: ShardId,
    /// Which session.
    pub session: SessionToken,
}

impl Broker {
    pub(super) fn list_topics(&self, listing: &Listing<Option<Box<str>>, u32>) -> Page<TopicRow, u32> {
        let mut budget = Budget::new(listing.limit);
        let mut items = Vec::new();
        for number in listing.from.unwrap_or(0)..self.router.places() {
            if budget.is_spent() {
                return Page { items, next: Some(number) };
            }
            budget.spend(1);
            let filter = self.router.filter(FilterId(number));
            let is_wanted = !filter.is_empty()
                && listing.selection.as_deref().is_none_or(|wanted| topic::matches(wanted, filter));
            if is_wanted {
                budget.spend_item();
                let subscribers = self.subscribers_len(FilterId(number));
                items.push(TopicRow { filter: filter.into(), subscribers });
            }
        }
        Page { items, next: None }
    }

    fn subscribers_len(&self, filter: FilterId) -> usize {
        let groups = self.router.groups(filter).iter();
        let members: usize = groups.map(|group| self.groups.members_len(*group)).sum();
        self.router.subscribers_len(filter) + members
    }

    pub(super) fn count_filters(&self, filters: &[Box<str>]) -> Vec<Option<usize>> {
        let found = filters.iter().take(ITEMS_MAX).map(|filter| self.router.find(filter));
        found.map(|filter| filter.map(|filter| self.subscribers_len(filter))).collect()
    }

    pub(super) fn describe_topic(&self, wanted: &TopicWanted) -> Option<TopicDetail> {
        let limit = wanted.limit.min(ITEMS_MAX);
        let filter = self.router.find(&wanted.filter)?;
        let is_plain = wanted.share.is_none();
        let sessions = self.router.subscribers_after(filter, None).take(if is_plain { limit } else { 0 });
        let sessions = sessions.filter_map(|(session, _)| {
            self.clients.sessions.get(session.0).map(|session| session.client_id.clone())
        });
        let groups = self.router.groups(filter).iter().filter(|group| {
            let share = self.groups.share(**group);
            wanted.share.is_none() || share.map(|share| &*share.name) == wanted.share.as_deref()
        });
        let members_len: usize = groups.clone().map(|group| self.groups.members_len(*group)).sum();
        let members = groups.flat_map(|group| self.groups.members(*group)).take(limit);
        let plain_len = if is_plain { self.router.subscribers_len(filter) } else { 0 };
        Some(TopicDetail {
            subscribers: plain_len + members_len,
            sessions: sessions.collect(),
            members: members.map(|(shard, session)| Member { shard, session }).collect(),
        })
    }

    pub(super) fn names(&self, tokens: &[SessionToken]) -> Vec<Option<Box<str>>> {
        let name = |token: &SessionToken| {
            let session = self.clients.sessions.get(token.index)?;
            (session.serial == token.serial).then(|| session.client_id.clone())
        };
        tokens.iter().take(ITEMS_MAX).map(name).collect()
    }
}
