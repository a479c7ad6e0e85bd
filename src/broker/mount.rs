//! Mountpoints: a prefix before every topic of a client, by its credentials or its listener. The client never sees it:
//! what comes in gets it, what goes out loses it. Its Client Identifier lives within the mountpoint too, so that no
//! tenant can take over, or ban, the session of another one. Without a mountpoint nothing of this costs anything.

use std::borrow::Cow;

use super::Broker;
use crate::connection::Connection;
use crate::packet::ReasonCode;
use crate::session::ConnectionId;
use crate::topic;

/// Between mountpoint and Client Identifier in the name of a session: no string of MQTT has it [MQTT-1.5.4-2].
const SEPARATOR: char = '\0';

/// Bytes of the longest Topic Name that a message can have.
const TOPIC_LEN_MAX: usize = u16::MAX as usize;

/// The name of the session of `client_id` within `mount`.
pub(super) fn session_name<'c>(mount: &str, client_id: &'c str) -> Cow<'c, str> {
    if mount.is_empty() { client_id.into() } else { format!("{mount}{SEPARATOR}{client_id}").into() }
}

/// The Client Identifier in the name of a session.
pub(super) fn client_id_of(session_name: &str) -> &str {
    session_name.split_once(SEPARATOR).map_or(session_name, |(_, client_id)| client_id)
}

/// The mountpoint in the name of a session.
pub(super) fn mount_of(session_name: &str) -> &str {
    session_name.split_once(SEPARATOR).map_or("", |(mount, _)| mount)
}

/// A Topic Filter as the client that lives within `mount` means it; of a Shared Subscription the part behind the name.
pub(super) fn mounted_filter<'f>(mount: &str, filter: &'f str) -> Cow<'f, str> {
    if mount.is_empty() {
        return filter.into();
    }
    match topic::parse_share(filter) {
        Ok(Some(share)) => format!("$share/{}/{mount}{}", share.name, share.filter).into(),
        _ => format!("{mount}{filter}").into(),
    }
}

/// A topic as the client that lives within a mountpoint of `mount_len` bytes knows it. The topic above all of its own,
/// which `#` matches too, has no other name than it has.
#[inline]
pub(super) fn unmounted(topic: &str, mount_len: u16) -> &str {
    topic.get(usize::from(mount_len)..).filter(|own| !own.is_empty()).unwrap_or(topic)
}

/// Whether a client within `mount` may publish to `topic`: nothing that begins with `$` is its own (`#` would match it
/// there, against [MQTT-4.7.2-1]), and no message has a topic that long.
pub(super) fn fits(mount: &str, topic: &str) -> bool {
    mount.is_empty() || !topic.starts_with('$') && mount.len() + topic.len() <= TOPIC_LEN_MAX
}

impl Broker {
    /// The mountpoint of a client that connects; empty: it has none.
    ///
    /// # Errors
    /// What stands for `%u` or `%c` would lead into another mountpoint, or there is no verified User Name.
    pub(super) fn mountpoint(&self, id: ConnectionId, client_id: &str) -> Result<String, ReasonCode> {
        let Some(connection) = self.clients.connections.get(id) else { return Ok(String::new()) };
        let identity = connection.identity.as_deref();
        let listener = self.config().listeners.get(usize::from(connection.listener));
        let template = identity
            .and_then(|identity| identity.mountpoint.as_deref())
            .or_else(|| listener.map(|listener| listener.mountpoint.as_str()))
            .unwrap_or_default();
        if template.is_empty() {
            return Ok(String::new());
        }
        let username = identity.and_then(|identity| identity.username.as_deref());
        let expanded = expand(template, username, client_id).ok_or(ReasonCode::NotAuthorized)?;
        if expanded.len() >= TOPIC_LEN_MAX { Err(ReasonCode::NotAuthorized) } else { Ok(expanded) }
    }

    /// The mountpoint of a connected client; empty: it has none.
    pub(super) fn mount(&self, connection: &Connection) -> &str {
        if connection.mount_len() == 0 {
            return "";
        }
        self.clients.sessions.get(connection.session).map_or("", |session| mount_of(&session.client_id))
    }

    /// Writes the topic that a client within a mountpoint means into `full`; false: it may not publish there.
    pub(super) fn mount_topic(&self, connection: &Connection, topic: &str, full: &mut String) -> bool {
        let mount = self.mount(connection);
        full.clear();
        full.push_str(mount);
        full.push_str(topic);
        fits(mount, topic)
    }
}

/// `template` with `%u` and `%c` replaced, and a `/` at its end; `None`: what replaces them is no part of one level, or the
/// whole would lie among the topics that begin with `$`, where wildcards do not reach and the broker speaks.
fn expand(template: &str, username: Option<&str>, client_id: &str) -> Option<String> {
    let is_level = |text: &&str| !text.is_empty() && !text.contains(['/', '+', '#', SEPARATOR]);
    let mut expanded = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        let (before, variable) = rest.split_at_checked(at)?;
        expanded.push_str(before);
        rest = if let Some(rest) = variable.strip_prefix("%u") {
            expanded.push_str(username.filter(is_level)?);
            rest
        } else if let Some(rest) = variable.strip_prefix("%c") {
            expanded.push_str(Some(client_id).filter(is_level)?);
            rest
        } else {
            expanded.push('%');
            variable.get(1..)?
        };
    }
    expanded.push_str(rest);
    if expanded.starts_with('$') || expanded.contains(['+', '#', SEPARATOR]) {
        return None;
    }
    if !expanded.ends_with('/') {
        expanded.push('/');
    }
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_one_level_each() {
        let expand = |template| expand(template, Some("u"), "c");
        assert_eq!(expand("tenants/%u/").as_deref(), Some("tenants/u/"));
        assert_eq!(expand("%u-%c").as_deref(), Some("u-c/"));
        assert_eq!(expand("100%/%%u").as_deref(), Some("100%/%u/"));
        for name in ["", "a/b", "+", "#", "a\0b"] {
            assert_eq!(super::expand("t/%u", Some(name), "c"), None, "{name:?}");
            assert_eq!(super::expand("t/%c", Some("u"), name), None, "{name:?}");
        }
        assert_eq!(super::expand("t/%u", None, "c"), None);
        assert_eq!((expand("t/+/"), expand("t/#")), (None, None));
    }

    #[test]
    fn nobody_is_mounted_among_the_topics_of_the_broker() {
        for template in ["%c", "%c/", "$SYS/", "$share/g/%u"] {
            assert_eq!(super::expand(template, Some("u"), "$SYS"), None, "{template}");
        }
        assert_eq!(super::expand("%u/%c", Some("$SYS"), "brokers"), None);
        assert_eq!(super::expand("t/%c", None, "$SYS").as_deref(), Some("t/$SYS/"));
    }

    #[test]
    fn names_come_back_as_they_were() {
        assert_eq!(session_name("", "c"), "c");
        let name = session_name("a/", "c");
        assert_eq!((mount_of(&name), client_id_of(&name)), ("a/", "c"));
        assert_ne!(session_name("a/", "b/c"), session_name("a/b/", "c"));
        assert_eq!((mount_of("c"), client_id_of("c")), ("", "c"));
        assert_eq!(mounted_filter("a/", "$share/g/t/#"), "$share/g/a/t/#");
        assert_eq!(mounted_filter("a/", "+/t"), "a/+/t");
        assert_eq!((unmounted("a/t", 2), unmounted("a", 2), unmounted("t", 0)), ("t", "a", "t"));
    }
}
