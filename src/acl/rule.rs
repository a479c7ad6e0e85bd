//! One rule: who, what, on which topics.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Action, Client};

/// What a rule, or the whole of them, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// What a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Both.
    PubSub,
}

impl Access {
    pub(super) fn has(self, action: Action) -> bool {
        matches!(
            (self, action),
            (Self::PubSub, _) | (Self::Publish, Action::Publish) | (Self::Subscribe, Action::Subscribe)
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    All,
    /// Whoever gave a User Name.
    AnyUser,
    User(String),
    Client(String),
    Address(IpNet),
    And(Vec<Who>),
    Or(Vec<Who>),
}

impl Who {
    pub(super) fn is(&self, client: &Client<'_>) -> bool {
        match self {
            Self::All => true,
            Self::AnyUser => client.username.is_some(),
            Self::User(name) => client.username == Some(name.as_str()),
            Self::Client(id) => client.client_id == id.as_str(),
            Self::Address(network) => network.contains(&canonical(client.address)),
            Self::And(all) => all.iter().all(|who| who.is(client)),
            Self::Or(any) => any.iter().any(|who| who.is(client)),
        }
    }
}

/// An IPv4 address that came in by an IPv6 socket is an IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    Username,
    ClientId,
    Plus,
    Hash,
}

/// A Topic Filter of a rule: `%u` and `%c` (`$u` and `$c` in older files) as whole levels stand for the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    /// What every topic of it begins with: most are told apart by this alone.
    prefix: Box<str>,
    levels: Vec<Level>,
}

impl Topic {
    pub(super) fn new(text: &str, literal: bool) -> Self {
        let level = |text: &str| match text {
            "%u" | "$u" => Level::Username,
            "%c" | "$c" => Level::ClientId,
            "+" if !literal => Level::Plus,
            "#" if !literal => Level::Hash,
            other => Level::Literal(other.into()),
        };
        let levels: Vec<Level> = text.split('/').map(level).collect();
        let literal: Vec<&str> = levels
            .iter()
            .map_while(|level| if let Level::Literal(text) = level { Some(text.as_str()) } else { None })
            .collect();
        Self { prefix: literal.join("/").into(), levels }
    }

    /// Whether a Topic Name, or all that a Topic Filter stands for, is within this one. To `deny` a filter it suffices
    /// that one level deeper is within: `a/+` denies `a/#` but does not allow it.
    pub(super) fn has(&self, topic: &str, client: &Client<'_>, permission: Permission) -> bool {
        if !topic.as_bytes().starts_with(self.prefix.as_bytes()) {
            return false;
        }
        let mut asked = topic.split('/').peekable();
        if topic.starts_with('$') && matches!(self.levels.first(), Some(Level::Plus | Level::Hash)) {
            // [MQTT-4.7.2-1]
            return false;
        }
        for level in &self.levels {
            let covers = match (level, asked.next()) {
                (Level::Hash, _) => return true,
                (_, None) => false,
                (Level::Plus, Some("#")) => permission == Permission::Deny,
                (Level::Plus, Some(_)) => true,
                (Level::Literal(own), Some(found)) => own == found,
                // A client that is called `+` may not have everyone's levels for its own.
                (Level::Username | Level::ClientId, Some("+" | "#")) => permission == Permission::Deny,
                (Level::Username, Some(found)) => client.username == Some(found),
                (Level::ClientId, Some(found)) => client.client_id == found,
            };
            if !covers {
                return false;
            }
        }
        asked.peek().is_none()
    }

    /// Whether there may be a Topic Name that both this one and `topic`, a name or a filter, stand for.
    pub(super) fn overlaps(&self, topic: &str, client: &Client<'_>) -> bool {
        let is_wild = |text: &str| matches!(text, "+" | "#");
        let mut asked = topic.split('/');
        for (at, level) in self.levels.iter().enumerate() {
            let found = asked.next();
            let own = match level {
                Level::Literal(text) => Some(text.as_str()),
                Level::Username => match client.username {
                    Some(name) => Some(name),
                    // It stands for nothing.
                    None => return false,
                },
                Level::ClientId => Some(client.client_id),
                Level::Plus | Level::Hash => None,
            };
            if at == 0 {
                // [MQTT-4.7.2-1]
                let is_apart = match own {
                    Some(own) => own.starts_with('$') && found.is_some_and(is_wild),
                    None => topic.starts_with('$'),
                };
                if is_apart {
                    return false;
                }
            }
            match (level, own, found) {
                (Level::Hash, ..) | (_, _, Some("#")) => return true,
                (_, _, None) => return false,
                (_, Some(own), Some(found)) if found != "+" && own != found => return false,
                _ => {}
            }
        }
        // `a/#` stands for `a` too.
        matches!(asked.next(), None | Some("#"))
    }
}

/// A rule of a file, or of a client's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) permission: Permission,
    pub(super) who: Who,
    pub(super) access: Access,
    /// `None`: all.
    pub(super) topics: Option<Vec<Topic>>,
    /// It came with the credentials: it denies every filter by which some of its topics would come.
    pub(super) is_own: bool,
}

impl Rule {
    /// A rule of one client.
    pub(super) fn of_client(permission: Permission, access: Access, topic: &str) -> Self {
        Self { permission, who: Who::All, access, topics: Some(vec![Topic::new(topic, false)]), is_own: true }
    }

    /// Whether it speaks of this.
    pub(super) fn matches(&self, client: &Client<'_>, topic: &str) -> bool {
        self.who.is(client) && self.has(client, topic)
    }

    /// Whether it speaks of this topic, by whomever it is asked for.
    pub(super) fn has(&self, client: &Client<'_>, topic: &str) -> bool {
        let has = |own: &Topic| match (self.is_own, self.permission) {
            (true, Permission::Deny) => own.overlaps(topic, client),
            _ => own.has(topic, client, self.permission),
        };
        self.topics.as_ref().is_none_or(|topics| topics.iter().any(has))
    }
}
