//! The node's own bridges, as clients: they come by a door of their own, under names that nobody else may have, and no rule binds
//! them. And messages that come back to a node whose bridge they have passed.

use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::super::Broker;
use crate::auth::{Identity, Method};
use crate::config::{BRIDGE_CLIENT_PREFIX, BRIDGE_MARK, Config};
use crate::packet::{Connect, Publish, encode_user_property};
use crate::session::ConnectionId;

/// What names a node among those whose bridges a message passes; empty: it has no bridges. `key` is the node's own, and is not
/// told.
pub(in crate::broker) fn mark(config: &Config, key: u64) -> Box<str> {
    if config.bridges.is_empty() {
        return "".into();
    }
    let digest: [u8; 20] =
        Sha1::new().chain_update(BRIDGE_MARK).chain_update(key.to_le_bytes()).finalize().into();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Broker {
    /// Whether a connection came in by the bridges' door.
    pub(in crate::broker) fn is_bridge(&self, id: ConnectionId) -> bool {
        let connection = self.clients.connections.get(id);
        let listener = connection.and_then(|c| self.config().listeners.get(usize::from(c.listener)));
        listener.is_some_and(|listener| listener.is_internal)
    }

    /// Whether a client may have that name at the door where it stands.
    pub(in crate::broker) fn may_be_called(&self, id: ConnectionId, client_id: &str) -> bool {
        client_id.starts_with(BRIDGE_CLIENT_PREFIX) == self.is_bridge(id)
    }

    /// Who a bridge is.
    pub(in crate::broker) fn bridge_identity(&self) -> Arc<Identity> {
        let mut identity = Identity::new(Method::Bridge);
        identity.is_superuser = true;
        Arc::new(identity)
    }

    /// What a CONNACK says of this node to a client that is a bridge of another one: encoded User Properties.
    pub(in crate::broker) fn mark_for(&self, connect: &Connect<'_>) -> Vec<u8> {
        let mut encoded = Vec::new();
        let is_asked = connect.user_properties.iter().any(|(name, _)| name == BRIDGE_MARK);
        if is_asked && !self.shared.bridge_mark.is_empty() {
            encode_user_property(BRIDGE_MARK, &self.shared.bridge_mark, &mut encoded);
        }
        encoded
    }

    /// Whether a message has been on this node and left it by a bridge; counts it if so.
    #[inline]
    pub(in crate::broker) fn came_back(&self, id: ConnectionId, publish: &Publish<'_>) -> bool {
        let mark = &*self.shared.bridge_mark;
        // The bridges have looked already, and put the mark on.
        if mark.is_empty() || publish.forwarded.is_empty() || self.is_bridge(id) {
            return false;
        }
        let properties = publish.forwarded.user_properties();
        let came_back = properties.iter().any(|(name, value)| name == BRIDGE_MARK && value == mark);
        if came_back {
            self.metrics().bridge_loops.inc();
        }
        came_back
    }
}
