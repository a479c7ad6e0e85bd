//! What operators ask of a shard: one question, one answer, in bounded time. Lists come in pages, walked by places that outlive
//! changes; whoever asks goes on until there is no next page. One file a subject; nothing here knows HTTP.

mod change;
mod detail;
mod glob;
mod observe;
mod page;
mod publish;
mod retained;
mod sessions;
mod subscriptions;
mod topics;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use std::sync::Arc;

pub use change::{Changed, Receipt, Receipts, Subscribing};
pub use detail::{InflightRow, QueueRow, SessionDetail, WillRow};
pub use glob::Glob;
pub use observe::{ObserveAnswer, ObserveQuestion};
pub use page::{ITEMS_MAX, Listing, Page};
pub use publish::Publishing;
pub use sessions::{ClientRow, ClientSelection, ConnectionRow, SessionRow, SessionSelection};
pub use subscriptions::{SubscriptionPlace, SubscriptionRow, SubscriptionSelection};
pub use topics::{Member, TopicDetail, TopicRow, TopicWanted};

use super::Broker;
use super::effects::Effects;
use super::message::SessionToken;
use super::modules::{ModuleAnswer, ModuleOrder};
use crate::clock::Timestamp;
use crate::session::Message;

/// What a shard is asked. One variant a subject. Clients and sessions are named as the broker has them: see
/// [`session_name`](crate::broker::session_name).
#[derive(Debug)]
pub enum Question {
    /// Whether the shard still turns.
    Ping,
    /// The connected clients among its sessions, by place.
    Clients(Listing<ClientSelection, u32>),
    /// Its sessions, by place.
    Sessions(Listing<SessionSelection, u32>),
    /// All about one session.
    Session(Box<str>),
    /// The subscriptions of its sessions, by place.
    Subscriptions(Listing<SubscriptionSelection, SubscriptionPlace>),
    /// Filters in use, by place; those that the topic filter matches, as if they were names.
    Topics(Listing<Option<Box<str>>, u32>),
    /// How many subscribe to each of these filters; at most [`ITEMS_MAX`] of them.
    FilterCounts(Vec<Box<str>>),
    /// Who subscribes to a filter.
    Topic(TopicWanted),
    /// Names of sessions; at most [`ITEMS_MAX`] of them.
    Names(Vec<SessionToken>),
    /// Retained messages of its slice, by topic; those that the topic filter matches.
    Retained(Listing<Box<str>, Box<str>>),
    /// The retained message of a topic whose slice is here.
    RetainedMessage(Box<str>),
    /// Forget it, and tell no subscriber.
    DeleteRetained(Box<str>),
    /// End a client's connection.
    Kick(Box<str>),
    /// End a session, and its connection if it has one.
    Discard(Box<str>),
    /// Subscribe a session.
    Subscribe(Box<Subscribing>),
    /// End the subscription of a session (its name) with a filter, as its client would say it.
    Unsubscribe(Box<str>, Box<str>),
    /// Whether a change has come true.
    IsDone(Receipt),
    /// Publish a message; of one topic always on the same shard, so that they stay in order.
    Publish(Box<Publishing>),
    /// What a module is told or asked.
    Module(ModuleOrder),
    /// About traces, slow clients, topic metrics, alarms.
    Observe(ObserveQuestion),
}

/// What a shard answers: the variant of its question.
#[derive(Debug)]
pub enum Answer {
    /// To `Question::Ping`.
    Pong,
    /// To `Question::Clients`.
    Clients(Page<ClientRow, u32>),
    /// To `Question::Sessions`.
    Sessions(Page<SessionRow, u32>),
    /// To `Question::Session`.
    Session(Option<Box<SessionDetail>>),
    /// To `Question::Subscriptions`.
    Subscriptions(Page<SubscriptionRow, SubscriptionPlace>),
    /// To `Question::Topics`.
    Topics(Page<TopicRow, u32>),
    /// To `Question::FilterCounts`, in its order; `None`: not in use here.
    FilterCounts(Vec<Option<usize>>),
    /// To `Question::Topic`; `None`: not in use here.
    Topic(Option<TopicDetail>),
    /// To `Question::Names`, in its order; `None`: ended.
    Names(Vec<Option<Box<str>>>),
    /// To `Question::Retained`.
    Retained(Page<Arc<Message>, Box<str>>),
    /// To `Question::RetainedMessage`.
    RetainedMessage(Option<Arc<Message>>),
    /// To everything that changes something.
    Changed(Changed),
    /// To `Question::IsDone`.
    IsDone(bool),
    /// To `Question::Module`.
    Module(ModuleAnswer),
    /// To `Question::Observe`.
    Observe(ObserveAnswer),
}

impl Broker {
    /// Answers a question, or does what is asked. Like `handle`: an input of a turn, with `Input::TurnEnd` after it, since it
    /// may have effects. No question looks at more than a bounded part of the shard's tables.
    pub fn inspect<E: Effects>(&mut self, now: Timestamp, question: Question, fx: &mut E) -> Answer {
        match question {
            Question::Ping => Answer::Pong,
            Question::Clients(listing) => Answer::Clients(self.list_clients(&listing)),
            Question::Sessions(listing) => Answer::Sessions(self.list_sessions(&listing)),
            Question::Session(name) => Answer::Session(self.describe_session(&name, fx)),
            Question::Subscriptions(listing) => Answer::Subscriptions(self.list_subscriptions(&listing)),
            Question::Topics(listing) => Answer::Topics(self.list_topics(&listing)),
            Question::FilterCounts(filters) => Answer::FilterCounts(self.count_filters(&filters)),
            Question::Topic(wanted) => Answer::Topic(self.describe_topic(&wanted)),
            Question::Names(tokens) => Answer::Names(self.names(&tokens)),
            Question::Retained(listing) => Answer::Retained(self.list_retained(now, &listing)),
            Question::RetainedMessage(topic) => Answer::RetainedMessage(self.live_retained(now, &topic)),
            Question::DeleteRetained(topic) => Answer::Changed(self.delete_retained(&topic)),
            Question::Kick(name) => Answer::Changed(self.kick(now, &name, fx)),
            Question::Discard(name) => Answer::Changed(self.discard(now, &name, fx)),
            Question::Subscribe(asked) => Answer::Changed(self.subscribe_for(&asked, fx)),
            Question::Unsubscribe(name, filter) => Answer::Changed(self.unsubscribe_for(&name, &filter, fx)),
            Question::Publish(asked) => Answer::Changed(self.publish_for(now, &asked, fx)),
            Question::IsDone(receipt) => Answer::IsDone(self.receipts.is_done(receipt)),
            Question::Module(order) => Answer::Module(self.module_order(now, order, fx)),
            Question::Observe(question) => Answer::Observe(self.inspect_observed(now, question)),
        }
    }
}
