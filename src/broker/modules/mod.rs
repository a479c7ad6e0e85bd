//! emqttd's modules, as far as a shard has a part in them: automatic subscriptions, rewritten topics, delayed messages, bridges,
//! and clients that are sent away before a restart. One file each; what operators ask of them comes as a `ModuleOrder`.

mod auto_subscriptions;
mod bridges;
mod delayed;
mod drain;
mod hooks;
mod rewrite;

use std::sync::Arc;

pub use auto_subscriptions::{StoredSubscription, StoredSubscriptions, StoredSubscriptionsError};
pub(super) use bridges::mark as bridge_mark;
pub use delayed::{DelayedCounts, DelayedPage, DelayedShown};
pub use drain::DrainOrder;
pub use hooks::{HookEvent, HookKind};
pub(super) use rewrite::PacketKind;

use super::Broker;
use super::effects::Effects;
use super::mount::client_id_of;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::session::ConnectionId;
use delayed::DelayedMessages;
use drain::Draining;
use hooks::Hooks;
use rewrite::Rewrites;

/// What an operator wants of the modules of a shard. All shards are told the same.
#[derive(Debug)]
pub enum ModuleOrder {
    /// Send clients away at a pace, and let no one in.
    Drain(DrainOrder),
    /// Let clients in again.
    StopDrain,
    /// These are the stored automatic subscriptions from now on; who is connected keeps what it has. Answered by `Replaced`.
    AutoSubscriptions(Arc<StoredSubscriptions>),
    /// Delayed messages, in the order in which they are due, after this place.
    Delayed {
        /// Where the page before ended; `None`: from the first.
        after: Option<(u64, u64)>,
        /// Messages at most.
        limit: usize,
    },
}

/// The answer to a `ModuleOrder`.
#[derive(Debug)]
pub enum ModuleAnswer {
    /// It is done.
    Done,
    /// The stored automatic subscriptions until now. Whoever asked lets go of them: freeing 100,000 of them is no work for a shard,
    /// and the last shard to answer would have to do it.
    Replaced(Arc<StoredSubscriptions>),
    /// To `ModuleOrder::Delayed`.
    Delayed(DelayedPage),
}

/// The state of a shard's modules.
#[derive(Debug)]
pub(super) struct Modules {
    rewrites: Rewrites,
    stored: Arc<StoredSubscriptions>,
    delayed: DelayedMessages,
    drain: Option<Draining>,
    /// A timer for the next step of a drain is set, be it one that has ended since: it can't be taken back.
    drain_timer_is_set: bool,
    hooks: Hooks,
}

impl Modules {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            rewrites: Rewrites::new(config),
            stored: Arc::default(),
            delayed: DelayedMessages::default(),
            drain: None,
            drain_timer_is_set: false,
            hooks: Hooks::new(config),
        }
    }

    /// A new configuration is in effect, in place of `former`.
    pub(super) fn reload(&mut self, former: &Config, config: &Config) {
        if former.rewrites != config.rewrites {
            self.rewrites = Rewrites::new(config);
        }
        self.hooks = Hooks::new(config);
    }
}

/// The names of a client that may stand in a topic.
#[derive(Debug, Clone, Copy)]
struct Names<'n> {
    client_id: &'n str,
    username: Option<&'n str>,
}

impl<'n> Names<'n> {
    /// The Client Identifier, if it can be part of a level of a topic.
    fn client_id(&self) -> Option<&'n str> {
        Some(self.client_id).filter(|name| is_level(name))
    }

    /// The verified User Name, if there is one and it can be part of a level of a topic.
    fn username(&self) -> Option<&'n str> {
        self.username.filter(|name| is_level(name))
    }
}

fn is_level(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '+', '#', '\0'])
}

impl Broker {
    /// Does what an operator wants of this shard's modules.
    pub(super) fn module_order<E: Effects>(
        &mut self,
        now: Timestamp,
        order: ModuleOrder,
        fx: &mut E,
    ) -> ModuleAnswer {
        match order {
            ModuleOrder::Drain(order) => self.begin_to_send_away(now, order, fx),
            ModuleOrder::StopDrain => self.modules.drain = None,
            ModuleOrder::AutoSubscriptions(stored) => {
                return ModuleAnswer::Replaced(std::mem::replace(&mut self.modules.stored, stored));
            }
            ModuleOrder::Delayed { after, limit } => {
                return ModuleAnswer::Delayed(self.modules.delayed.page(after, limit));
            }
        }
        ModuleAnswer::Done
    }

    /// The names of a connection's client. `client_id`: that of one whose session is not there yet.
    fn names_of<'n>(&'n self, id: ConnectionId, client_id: Option<&'n str>) -> Option<Names<'n>> {
        let connection = self.clients.connections.get(id)?;
        let username = connection.identity.as_ref().and_then(|identity| identity.username.as_deref());
        let client_id = match client_id {
            Some(client_id) => client_id,
            None => client_id_of(&self.clients.sessions.get(connection.session)?.client_id),
        };
        Some(Names { client_id, username })
    }
}
