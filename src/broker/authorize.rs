//! Whether a client may: every PUBLISH, every filter of a SUBSCRIBE and every Will is judged by the rules of its
//! credentials, then by those of `acl.file`, then by `acl.no_match`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Broker;
use super::mount::client_id_of;
use crate::acl::{Access, Acl, Action, Client, Decisions, Permission, Policy};
use crate::auth::{self, Identity};
use crate::connection::Connection;
use crate::session::ConnectionId;
use crate::topic;

impl Broker {
    /// Other rules are in effect. What is subscribed stays so; every PUBLISH from now on is judged by them.
    pub(super) fn change_policy(&mut self, policy: Arc<Policy>) {
        self.policy_allows_all = policy.allows_all(Action::Publish);
        self.policy = policy;
        self.policy_generation = self.policy_generation.wrapping_add(1);
    }

    /// Whether a connected client may publish to `topic`; counts it if not.
    #[inline]
    pub(super) fn may_publish(&mut self, id: ConnectionId, topic: &str) -> bool {
        let Some(connection) = self.clients.connections.get(id) else { return false };
        if is_free(connection.identity.as_deref(), self.policy_allows_all) {
            return true;
        }
        let is_allowed = if self.policy.asks_http {
            let session = self.clients.sessions.get(connection.session);
            let client_id = session.map_or("", |session| client_id_of(&session.client_id));
            self.allows(connection, client_id, Action::Publish, topic)
        } else {
            self.decide_publish(id, topic)
        };
        if !is_allowed {
            self.metrics().acl_denied_publish.inc();
        }
        is_allowed
    }

    fn decide_publish(&mut self, id: ConnectionId, topic: &str) -> bool {
        let hash = self.clients.topic_hash(topic);
        let Self { clients, policy, policy_generation, .. } = self;
        let Some(connection) = clients.connections.get_mut(id) else { return false };
        let known = connection.allowance.as_ref().and_then(|allowance| allowance.decisions.as_deref());
        let known = known.filter(|decisions| !decisions.is_older_than(*policy_generation));
        if let Some(answer) = known.and_then(|decisions| decisions.recall(hash)) {
            return answer;
        }
        let is_current = known.is_some();
        let Some(session) = clients.sessions.get(connection.session) else { return false };
        let mut allowance = connection.allowance.take().unwrap_or_default();
        let client = client(connection, client_id_of(&session.client_id));
        if !is_current {
            let own = own_rules(connection.identity.as_deref());
            allowance.decisions = Some(Box::new(Decisions::new(policy, *policy_generation, own, &client)));
        }
        let is_allowed = allowance
            .decisions
            .as_mut()
            .is_some_and(|decisions| decisions.decide(policy, &client, topic, hash));
        connection.allowance = Some(allowance);
        is_allowed
    }

    /// Whether a connected client may subscribe with `filter`; counts it if not. A Shared Subscription is judged by the
    /// filter behind its Share Name.
    pub(super) fn may_subscribe(&self, id: ConnectionId, filter: &str) -> bool {
        let filter = match topic::parse_share(filter) {
            Ok(Some(share)) => share.filter,
            _ => filter,
        };
        let Some(connection) = self.clients.connections.get(id) else { return false };
        let Some(session) = self.clients.sessions.get(connection.session) else { return false };
        let is_allowed = self.allows(connection, client_id_of(&session.client_id), Action::Subscribe, filter);
        if !is_allowed {
            self.metrics().acl_denied_subscribe.inc();
        }
        is_allowed
    }

    /// Whether a client that connects may leave a Will for `topic`; counts it if not.
    pub(super) fn may_leave_will(&self, id: ConnectionId, client_id: &str, topic: &str) -> bool {
        let Some(connection) = self.clients.connections.get(id) else { return false };
        let is_allowed = self.allows(connection, client_id, Action::Publish, topic);
        if !is_allowed {
            self.metrics().acl_denied_publish.inc();
        }
        is_allowed
    }

    /// Asks the rules, for what is not asked with every packet.
    fn allows(&self, connection: &Connection, client_id: &str, action: Action, topic: &str) -> bool {
        match self.rules_say(connection, client_id, action, topic) {
            Some(permission) => permission == Permission::Allow,
            None if self.policy.asks_http => self.answered_by_server(connection, action, topic),
            None => self.policy.no_match == Permission::Allow,
        }
    }

    /// What the rules say; `None`: nothing.
    pub(super) fn rules_say(
        &self,
        connection: &Connection,
        client_id: &str,
        action: Action,
        topic: &str,
    ) -> Option<Permission> {
        let identity = connection.identity.as_deref();
        if is_free(identity, self.policy.allows_all(action)) {
            return Some(Permission::Allow);
        }
        let own = own_rules(identity);
        self.policy.rules_say(own.as_ref(), &client(connection, client_id), action, topic)
    }
}

/// Whether no rule can deny it anything.
fn is_free(identity: Option<&Identity>, policy_allows_all: bool) -> bool {
    match identity {
        None => policy_allows_all,
        Some(identity) => identity.is_superuser || policy_allows_all && identity.rules.is_none(),
    }
}

/// The rules that came with the credentials.
fn own_rules(identity: Option<&Identity>) -> Option<Acl> {
    let rules = identity?.rules.as_deref()?;
    Some(Acl::of_client(rules.iter().map(|rule| {
        let permission = if rule.allow { Permission::Allow } else { Permission::Deny };
        let access = match rule.access {
            auth::Access::Publish => Access::Publish,
            auth::Access::Subscribe => Access::Subscribe,
            auth::Access::Both => Access::PubSub,
        };
        (permission, access, &*rule.filter)
    })))
}

/// The client as the rules see it. A User Name that nobody verified is none.
fn client<'c>(connection: &'c Connection, client_id: &'c str) -> Client<'c> {
    let address = SocketAddr::from(connection.remote).ip();
    let username = connection.identity.as_ref().and_then(|identity| identity.username.as_deref());
    Client { client_id, username, address }
}
