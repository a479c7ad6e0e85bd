//! Mountpoints: a prefix before every topic of a client, by its credentials or its listener. The client never sees it:
//! what comes in gets it, what goes out loses it. Its Client Identifier lives within the mountpoint too, so that no
//! tenant can take over, or ban, the session of another one. Without a mountpoint nothing of this costs anything.

use std::borrow::Cow;

use super::Broker;
use crate::auth::SubjectNames;
use crate::connection::Connection;
use crate::packet::ReasonCode;
use crate::session::ConnectionId;
use crate::topic;

/// Between mountpoint and Client Identifier in the name of a session: no string of MQTT has it [MQTT-1.5.4-2].
const SEPARATOR: char = '\0';

/// Bytes of the longest Topic Name that a message can have.
const TOPIC_LEN_MAX: usize = u16::MAX as usize;

/// The name of the session of `client_id` within `mount`.
pub fn session_name<'c>(mount: &str, client_id: &'c str) -> Cow<'c, str> {
    if mount.is_empty() { client_id.into() } else { format!("{mount}{SEPARATOR}{client_id}").into() }
}

/// The Client Identifier in the name of a session.
pub fn client_id_of(session_name: &str) -> &str {
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
    /// What stands for `%u` or `%c` would lead into another mountpoint, or there is no verified User Name; or of a listener's,
    /// the same with the names of a verified certificate.
    pub(super) fn mountpoint(&self, id: ConnectionId, client_id: &str) -> Result<String, ReasonCode> {
        let Some(connection) = self.clients.connections.get(id) else { return Ok(String::new()) };
        let identity = connection.identity.as_deref();
        let listener = self.config().listeners.get(usize::from(connection.listener));
        let username = identity.and_then(|identity| identity.username.as_deref());
        let names = [("%u", username), ("%c", Some(client_id))];
        let expanded = match identity.and_then(|identity| identity.mountpoint.as_deref()) {
            Some(template) => expand(template, &names),
            None => {
                let template = listener.map_or("", |listener| listener.mountpoint.as_str());
                if template.is_empty() {
                    return Ok(String::new());
                }
                let allowance = connection.allowance.as_ref();
                let subject = allowance.and_then(|allowance| allowance.subject.as_deref());
                expand(template, &[names.as_slice(), names_of(subject).as_slice()].concat())
            }
        };
        let expanded = expanded.ok_or(ReasonCode::NotAuthorized)?;
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

/// A variable, and what stands for it.
type Named<'n> = (&'static str, Option<&'n str>);

/// What a certificate's subject says, the longer names first.
fn names_of(subject: Option<&SubjectNames>) -> [Named<'_>; 3] {
    [
        ("%CN", subject.and_then(|subject| subject.common_name.as_deref())),
        ("%OU", subject.and_then(|subject| subject.unit.as_deref())),
        ("%O", subject.and_then(|subject| subject.organization.as_deref())),
    ]
}

/// `template` with its variables replaced, and a `/` at its end; `None`: what replaces them is no part of one level, or the
/// whole would lie among the topics that begin with `$`, where wildcards do not reach and the broker speaks.
fn expand(template: &str, names: &[Named<'_>]) -> Option<String> {
    let is_level = |text: &&str| !text.is_empty() && !text.contains(['/', '+', '#', SEPARATOR]);
    let mut expanded = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        let (before, variable) = rest.split_at_checked(at)?;
        expanded.push_str(before);
        let known = names.iter().find_map(|(name, value)| Some((variable.strip_prefix(*name)?, *value)));
        rest = match known {
            Some((rest, value)) => {
                expanded.push_str(value.filter(is_level)?);
                rest
            }
            None => {
                expanded.push('%');
                variable.get(1..)?
            }
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

    fn expanded(template: &str, username: Option<&str>, client_id: &str) -> Option<String> {
        expand(template, &[("%u", username), ("%c", Some(client_id))])
    }

    #[test]
    fn variables_are_one_level_each() {
        let expand = |template| expanded(template, Some("u"), "c");
        assert_eq!(expand("tenants/%u/").as_deref(), Some("tenants/u/"));
        assert_eq!(expand("%u-%c").as_deref(), Some("u-c/"));
        assert_eq!(expand("100%/%%u").as_deref(), Some("100%/%u/"));
        for name in ["", "a/b", "+", "#", "a\0b"] {
            assert_eq!(expanded("t/%u", Some(name), "c"), None, "{name:?}");
            assert_eq!(expanded("t/%c", Some("u"), name), None, "{name:?}");
        }
        assert_eq!(expanded("t/%u", None, "c"), None);
        assert_eq!((expand("t/+/"), expand("t/#")), (None, None));
    }

    #[test]
    fn a_certificates_names_are_one_level_each_and_nothing_in_them_is_replaced() {
        let subject = |name: &str| SubjectNames {
            common_name: Some(name.into()),
            organization: Some("o".into()),
            unit: Some("ou".into()),
        };
        let expand = |template, subject: Option<&SubjectNames>| expand(template, &names_of(subject));
        assert_eq!(expand("%O/%OU/%CN", Some(&subject("car 7"))).as_deref(), Some("o/ou/car 7/"));
        assert_eq!(expand("%CN", Some(&subject("%O"))).as_deref(), Some("%O/"));
        for name in ["", "a/b", "+", "#", "a\0b"] {
            assert_eq!(expand("t/%CN", Some(&subject(name))), None, "{name:?}");
        }
        assert_eq!(expand("%CN", Some(&subject("$SYS"))), None);
        for template in ["%CN", "%O", "%OU"] {
            assert_eq!(expand(template, None), None, "{template}");
            assert_eq!(expand(template, Some(&SubjectNames::default())), None, "{template}");
            // Credentials' own mountpoints know nothing of certificates.
            assert!(expanded(template, Some("u"), "c").is_some_and(|mount| mount.starts_with('%')));
        }
    }

    #[test]
    fn nobody_is_mounted_among_the_topics_of_the_broker() {
        for template in ["%c", "%c/", "$SYS/", "$share/g/%u"] {
            assert_eq!(expanded(template, Some("u"), "$SYS"), None, "{template}");
        }
        assert_eq!(expanded("%u/%c", Some("$SYS"), "brokers"), None);
        assert_eq!(expanded("t/%c", None, "$SYS").as_deref(), Some("t/$SYS/"));
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
