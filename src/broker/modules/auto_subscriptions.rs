//! Automatic subscriptions: what a client is subscribed to when it connects, by the file (`[[subscription]]`) and by what
//! operators have stored for its Client Identifier. The ACL is not asked, no SUBACK is sent; a session that has the subscription
//! already keeps it as it is, and the client may unsubscribe, until it connects again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::Broker;
use super::super::effects::Effects;
use super::super::mount::mounted_filter;
use super::super::operations::{Pending, Waiter};
use super::Names;
use crate::config::AutoSubscription;
use crate::packet::{ReasonCode, RetainHandling, SubscriptionOptions as Asked};
use crate::session::ConnectionId;
use crate::topic::{self, TopicLimits};

/// Stored entries of a node, and of one client.
const COUNT_MAX: usize = 100_000;
const PER_CLIENT_MAX: usize = 64;

/// What is stored for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Whose.
    pub client_id: String,
    /// To what.
    pub subscription: AutoSubscription,
}

/// Why something can't be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredSubscriptionsError {
    /// It is no subscription.
    #[error("{0}")]
    Invalid(String),
    /// There is no room.
    #[error(
        "{0} automatic subscriptions are stored, which is the most; delete some, or use [[subscription]] with %c"
    )]
    TooMany(usize),
}

/// All stored automatic subscriptions, by Client Identifier and filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredSubscriptions {
    by_client: BTreeMap<Box<str>, BTreeMap<Box<str>, AutoSubscription>>,
    count: usize,
}

impl StoredSubscriptions {
    /// Adds one, or gives the one with its filter other options. Whether it is new.
    ///
    /// # Errors
    /// It can't be subscribed with, or there are too many.
    pub fn add(&mut self, stored: StoredSubscription) -> Result<bool, StoredSubscriptionsError> {
        let StoredSubscription { client_id, subscription } = stored;
        let invalid = |problem: String| Err(StoredSubscriptionsError::Invalid(problem));
        if client_id.is_empty() || client_id.contains('\0') || client_id.len() > usize::from(u16::MAX) {
            return invalid("client_id: expected 1 to 65535 bytes without U+0000".into());
        }
        if subscription.qos > 2 || subscription.retain_handling > 2 {
            return invalid("qos and retain_handling: expected 0, 1 or 2".into());
        }
        subscription.check().map_err(|(_, problem)| {
            StoredSubscriptionsError::Invalid(problem.replace("subscription.", ""))
        })?;
        let known = self.by_client.get(client_id.as_str());
        let is_new = known.is_none_or(|known| !known.contains_key(subscription.filter.as_str()));
        if is_new && known.is_some_and(|known| known.len() >= PER_CLIENT_MAX) {
            return Err(StoredSubscriptionsError::TooMany(PER_CLIENT_MAX));
        }
        if is_new && self.count >= COUNT_MAX {
            return Err(StoredSubscriptionsError::TooMany(COUNT_MAX));
        }
        self.count += usize::from(is_new);
        let filters = self.by_client.entry(client_id.into()).or_default();
        filters.insert(subscription.filter.as_str().into(), subscription);
        Ok(is_new)
    }

    /// Takes one away, or all of a client; how many there were.
    pub fn remove(&mut self, client_id: &str, filter: Option<&str>) -> usize {
        let removed = match (filter, self.by_client.get_mut(client_id)) {
            (_, None) => 0,
            (None, Some(filters)) => std::mem::take(filters).len(),
            (Some(filter), Some(filters)) => usize::from(filters.remove(filter).is_some()),
        };
        self.count -= removed;
        if self.by_client.get(client_id).is_some_and(BTreeMap::is_empty) {
            self.by_client.remove(client_id);
        }
        removed
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Those that follow a Client Identifier and filter, in order.
    pub fn after<'s>(
        &'s self,
        place: Option<(&str, &str)>,
    ) -> impl Iterator<Item = (&'s str, &'s AutoSubscription)> {
        let from: Box<str> = place.map_or("", |(client_id, _)| client_id).into();
        let place = place.map(|(client_id, filter)| (client_id.to_owned(), filter.to_owned()));
        self.by_client
            .range(from..)
            .flat_map(|(client_id, filters)| filters.values().map(|entry| (&**client_id, entry)))
            .filter(move |(client_id, entry)| {
                place.as_ref().is_none_or(|(id, filter)| (*client_id, &*entry.filter) > (id, filter))
            })
    }

    fn of(&self, client_id: &str) -> impl Iterator<Item = &AutoSubscription> {
        self.by_client.get(client_id).into_iter().flat_map(BTreeMap::values)
    }

    /// As a file: a JSON object a line.
    pub fn to_lines(&self) -> String {
        let line =
            |(client_id, entry): (&str, &AutoSubscription)| format!("{}\n", describe(client_id, entry));
        self.after(None).map(line).collect()
    }

    /// Back from `to_lines`.
    ///
    /// # Errors
    /// The number of the line at fault, from 1, and what is wrong with it.
    pub fn from_lines(text: &str) -> Result<Self, (usize, String)> {
        let mut all = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let stored = serde_json::from_str(line).map_err(|error| error.to_string());
            stored
                .and_then(|value: Value| read(&value))
                .and_then(|stored| all.add(stored).map_err(|error| error.to_string()))
                .map_err(|problem| (index + 1, problem))?;
        }
        Ok(all)
    }
}

/// One as a JSON object.
pub(super) fn describe(client_id: &str, entry: &AutoSubscription) -> Value {
    json!({
        "client_id": client_id,
        "filter": entry.filter,
        "qos": entry.qos,
        "no_local": entry.no_local,
        "retain_as_published": entry.retain_as_published,
        "retain_handling": entry.retain_handling,
    })
}

fn read(value: &Value) -> Result<StoredSubscription, String> {
    let text = |key: &str| {
        let text = value.get(key).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| format!("the text `{key}` is missing"))
    };
    let small = |key: &str| match value.get(key) {
        None => Ok(0),
        Some(number) => number
            .as_u64()
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| format!("`{key}`: expected 0, 1 or 2")),
    };
    let flag = |key: &str| match value.get(key) {
        None => Ok(false),
        Some(flag) => flag.as_bool().ok_or_else(|| format!("`{key}`: expected true or false")),
    };
    let subscription = AutoSubscription {
        filter: text("filter")?,
        qos: small("qos")?,
        no_local: flag("no_local")?,
        retain_as_published: flag("retain_as_published")?,
        retain_handling: small("retain_handling")?,
    };
    Ok(StoredSubscription { client_id: text("client_id")?, subscription })
}

/// The filter for one client. What kind of filter it is stands in it before any name comes in. `None`: a name is missing, can't be
/// part of a level, or would begin what begins with `$` then: `$SYS` and `$share` are no names that a client chooses for itself.
fn for_client(filter: &str, names: Names<'_>) -> Option<String> {
    let filter = topic::canonical(filter);
    let part = |part: &str| {
        let filled = filled(part, names)?;
        let first = |text: &str| text.split('/').next().map(str::to_owned);
        (!filled.starts_with('$') || first(&filled) == first(part)).then_some(filled)
    };
    match topic::parse_share(&filter).ok()? {
        None => part(&filter),
        Some(share) => Some(format!("$share/{}/{}", part(share.name)?, part(share.filter)?)),
    }
}

/// Text with its variables replaced.
fn filled(filter: &str, names: Names<'_>) -> Option<String> {
    let mut filled = String::with_capacity(filter.len() + 16);
    let mut rest = filter;
    while let Some(at) = rest.find(['$', '%']) {
        let (before, variable) = rest.split_at(at);
        filled.push_str(before);
        // Of `$`, only where it stands for a whole level: `$cluster/x` is a topic.
        let is_level = before.is_empty() && filled.is_empty() || filled.ends_with('/');
        let ends_level = |len: usize| variable.get(len..).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        let name = match variable.as_bytes() {
            [b'%', b'c', ..] => Some(names.client_id()?),
            [b'%', b'u', ..] => Some(names.username()?),
            [b'$', b'c', ..] if is_level && ends_level(2) => Some(names.client_id()?),
            [b'$', b'u', ..] if is_level && ends_level(2) => Some(names.username()?),
            _ => None,
        };
        let (sign, after) = variable.split_at(if name.is_some() { 2 } else { 1 });
        filled.push_str(name.unwrap_or(sign));
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

impl Broker {
    /// Subscribes a client that connects to what it is to have, before its CONNACK. Bridges have their own lists, and nothing
    /// else may leave by them.
    pub(in crate::broker) fn subscribe_automatically<E: Effects>(
        &mut self,
        id: ConnectionId,
        index: u32,
        client_id: &str,
        fx: &mut E,
    ) {
        let has_none = self.config().subscriptions.is_empty() && self.modules.stored.is_empty();
        if has_none || self.is_bridge(id) {
            return;
        }
        let config = std::sync::Arc::clone(&self.clients.config);
        let stored = std::sync::Arc::clone(&self.modules.stored);
        for entry in config.subscriptions.iter().chain(stored.of(client_id)) {
            let Some(full) = self.auto_filter(id, client_id, &entry.filter) else {
                self.metrics().auto_subscriptions_refused.inc();
                continue;
            };
            if self.is_subscribed(index, &full) {
                continue;
            }
            match self.subscribe_one_automatically(index, &full, entry, fx) {
                ReasonCode::Success | ReasonCode::GrantedQoS1 | ReasonCode::GrantedQoS2 => {
                    self.metrics().auto_subscriptions.inc();
                }
                _ => self.metrics().auto_subscriptions_refused.inc(),
            }
        }
    }

    fn subscribe_one_automatically<E: Effects>(
        &mut self,
        index: u32,
        full: &str,
        entry: &AutoSubscription,
        fx: &mut E,
    ) -> ReasonCode {
        let asked = Asked {
            qos: crate::packet::QoS::from_bits(entry.qos).unwrap_or_default(),
            no_local: entry.no_local,
            retain_as_published: entry.retain_as_published,
            retain_handling: match entry.retain_handling {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
        };
        let mut wanted = Vec::new();
        // Nobody waits for the home of a Shared Subscription: there is no SUBACK.
        let mut pending = Pending::new(Waiter::Nobody);
        let reason = self.subscribe_full(index, full, &asked, 0, &mut wanted, &mut pending, fx);
        self.open_cursors(index, wanted);
        reason
    }

    /// A filter as it is subscribed with for a client: variables replaced, mountpoint before it.
    fn auto_filter(&self, id: ConnectionId, client_id: &str, filter: &str) -> Option<String> {
        let filter = for_client(filter, self.names_of(id, Some(client_id))?)?;
        let config = self.config();
        let limits =
            TopicLimits { len_max: config.limits.topic_len_max, levels_max: config.limits.topic_levels_max };
        topic::check_filter(&filter, &limits).ok()?;
        topic::parse_share(&filter).ok()?;
        let connection = self.clients.connections.get(id)?;
        Some(mounted_filter(self.mount(connection), &filter).into_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(client_id: &str, filter: &str, qos: u8) -> StoredSubscription {
        let subscription = AutoSubscription { filter: filter.into(), qos, ..AutoSubscription::default() };
        StoredSubscription { client_id: client_id.into(), subscription }
    }

    #[test]
    fn variables_are_replaced_by_the_names_of_the_client() {
        let names = Names { client_id: "c1", username: Some("bob") };
        let filled = |filter| filled(filter, names);
        assert_eq!(filled("clients/%c/in").as_deref(), Some("clients/c1/in"));
        assert_eq!(filled("$c/$u/#").as_deref(), Some("c1/bob/#"));
        assert_eq!(filled("x-%u/%x/$cc/a$c").as_deref(), Some("x-bob/%x/$cc/a$c"));
        assert_eq!(filled("$queue/$u").as_deref(), Some("$queue/bob"));
        let nobody = Names { client_id: "a+b", username: None };
        assert_eq!(super::filled("a/%u", nobody), None);
        assert_eq!(super::filled("a/$c", nobody), None);
        assert_eq!(super::filled("a/b", nobody).as_deref(), Some("a/b"));
    }

    #[test]
    fn a_name_makes_no_other_kind_of_filter_than_the_one_that_is_written() {
        let filters =
            ["%c/#", "$c/#", "%c/a/b", "%u/in", "$local/%c/#", "$queue/%c/#", "$share/g/%c/#", "$share/%c/x"];
        for name in ["$SYS", "$share", "$queue", "$local", "$delayed"] {
            let names = Names { client_id: name, username: Some(name) };
            for filter in filters {
                assert_eq!(for_client(filter, names), None, "{filter} {name}");
            }
            assert_eq!(for_client("a/%c/#", names), Some(format!("a/{name}/#")));
            assert_eq!(for_client("$share/g/a/%c", names), Some(format!("$share/g/a/{name}")));
        }
        let names = Names { client_id: "SYS", username: Some("g") };
        assert_eq!(for_client("$%c/#", names), None);
        assert_eq!(for_client("$SYS/%c", names).as_deref(), Some("$SYS/SYS"));
        assert_eq!(for_client("$queue/%c", names).as_deref(), Some("$share/$queue/SYS"));
        assert_eq!(for_client("$share/%u/$c/#", names).as_deref(), Some("$share/g/SYS/#"));
        assert_eq!(for_client("$local/%c/x", names).as_deref(), Some("SYS/x"));
        assert_eq!(for_client("%c/x", names).as_deref(), Some("SYS/x"));
    }

    #[test]
    fn what_is_stored_comes_back_from_its_file_in_order() {
        let mut all = StoredSubscriptions::default();
        for (client, filter) in [("b", "x"), ("a", "y/#"), ("a", "x"), ("a\n\"", "z")] {
            assert_eq!(all.add(entry(client, filter, 1)), Ok(true));
        }
        assert_eq!(all.add(entry("a", "x", 2)), Ok(false));
        let lines = all.to_lines();
        assert_eq!((all.len(), lines.lines().count()), (4, 4));
        assert_eq!(StoredSubscriptions::from_lines(&lines), Ok(all.clone()));
        let rest: Vec<_> = all.after(Some(("a", "x"))).map(|(client, e)| (client, &*e.filter)).collect();
        assert_eq!(rest, [("a", "y/#"), ("a\n\"", "z"), ("b", "x")]);
        assert_eq!(
            (all.remove("a", Some("nothing")), all.remove("a", None), all.remove("a", None)),
            (0, 2, 0)
        );
        assert_eq!((all.len(), all.of("b").count(), all.of("a").count()), (2, 1, 0));
    }

    #[test]
    fn what_can_not_be_used_is_not_stored() {
        let mut all = StoredSubscriptions::default();
        for (client, filter, qos) in [("", "a", 0), ("c", "", 0), ("c", "a/#/b", 0), ("c", "a", 3)] {
            assert!(all.add(entry(client, filter, qos)).is_err(), "{client:?} {filter:?} {qos}");
        }
        for number in 0..PER_CLIENT_MAX {
            all.add(entry("c", &number.to_string(), 0)).unwrap();
        }
        assert_eq!(all.add(entry("c", "more", 0)), Err(StoredSubscriptionsError::TooMany(PER_CLIENT_MAX)));
        assert_eq!(all.add(entry("c", "0", 1)), Ok(false));
        let good = r#"{"client_id": "c", "filter": "a"}"#;
        assert_eq!(StoredSubscriptions::from_lines(&format!("{good}\n\n")).unwrap().len(), 1);
        assert_eq!(StoredSubscriptions::from_lines(&format!("{good}\n{{}}")).unwrap_err().0, 2);
        assert_eq!(StoredSubscriptions::from_lines("{\"client_id\": 1").unwrap_err().0, 1);
    }
}
