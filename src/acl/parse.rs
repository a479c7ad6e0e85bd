//! From terms to rules.

use std::net::IpAddr;

use ipnet::IpNet;

use super::error::AclError;
use super::rule::{Access, Permission, Rule, Topic, Who};
use super::term::{Kind, Term};

/// The rules of a file, in its order.
///
/// # Errors
/// Line and column of the first thing that is no rule.
pub(super) fn rules(terms: &[Term]) -> Result<Vec<Rule>, AclError> {
    terms.iter().map(rule).collect()
}

fn rule(term: &Term) -> Result<Rule, AclError> {
    let wanted = "{allow | deny, Who, publish | subscribe | pubsub, [Topic, …]} or {allow | deny, all}";
    let Kind::Tuple(parts) = &term.kind else { return Err(wrong(term, wanted)) };
    match parts.as_slice() {
        [permission, all] if atom(all) == Some("all") => Ok(Rule {
            permission: permission_of(permission)?,
            who: Who::All,
            access: Access::PubSub,
            topics: None,
            is_own: false,
        }),
        [permission, who, access, topics] => Ok(Rule {
            permission: permission_of(permission)?,
            who: who_of(who)?,
            access: access_of(access)?,
            topics: Some(topics_of(topics)?),
            is_own: false,
        }),
        _ => Err(wrong(term, wanted)),
    }
}

fn permission_of(term: &Term) -> Result<Permission, AclError> {
    match atom(term) {
        Some("allow") => Ok(Permission::Allow),
        Some("deny") => Ok(Permission::Deny),
        _ => Err(wrong(term, "allow or deny")),
    }
}

fn access_of(term: &Term) -> Result<Access, AclError> {
    match atom(term) {
        Some("publish") => Ok(Access::Publish),
        Some("subscribe") => Ok(Access::Subscribe),
        Some("pubsub") => Ok(Access::PubSub),
        _ => Err(wrong(term, "publish, subscribe or pubsub")),
    }
}

fn who_of(term: &Term) -> Result<Who, AclError> {
    let wanted = "all, {user, Name}, {client, Id}, {ipaddr, Address}, {'and', [Who, …]} or {'or', [Who, …]}";
    match &term.kind {
        Kind::Atom(name) if name == "all" => Ok(Who::All),
        Kind::Tuple(parts) => {
            let [name, value] = parts.as_slice() else { return Err(wrong(term, wanted)) };
            match atom(name) {
                Some("user") => Ok(all_or(value)?.map_or(Who::AnyUser, Who::User)),
                Some("client") => Ok(all_or(value)?.map_or(Who::All, Who::Client)),
                Some("ipaddr") => Ok(Who::Address(network(value)?)),
                Some("and") => Ok(Who::And(whos(value)?)),
                Some("or") => Ok(Who::Or(whos(value)?)),
                _ => Err(wrong(name, wanted)),
            }
        }
        _ => Err(wrong(term, wanted)),
    }
}

fn whos(term: &Term) -> Result<Vec<Who>, AclError> {
    match &term.kind {
        Kind::List(terms) if !terms.is_empty() => terms.iter().map(who_of).collect(),
        _ => Err(wrong(term, "a list of at least one Who")),
    }
}

/// A text, or `None` for the atom `all`.
fn all_or(term: &Term) -> Result<Option<String>, AclError> {
    match &term.kind {
        Kind::Text(text) => Ok(Some(text.clone())),
        Kind::Atom(name) if name == "all" => Ok(None),
        _ => Err(wrong(term, "a \"text\" or all")),
    }
}

fn network(term: &Term) -> Result<IpNet, AclError> {
    let Kind::Text(text) = &term.kind else { return Err(wrong(term, "an \"address\"")) };
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| wrong(term, "an address such as \"10.0.0.1\", \"10.0.0.0/8\" or \"fd00::/8\""))
}

fn topics_of(term: &Term) -> Result<Vec<Topic>, AclError> {
    match &term.kind {
        Kind::List(terms) => terms.iter().map(topic_of).collect(),
        Kind::Text(_) => Ok(vec![topic_of(term)?]),
        _ => Err(wrong(term, "a list of topics")),
    }
}

fn topic_of(term: &Term) -> Result<Topic, AclError> {
    match &term.kind {
        Kind::Text(text) => Ok(Topic::new(text, false)),
        Kind::Tuple(parts) => match parts.as_slice() {
            [eq, Term { kind: Kind::Text(text), .. }] if atom(eq) == Some("eq") => Ok(Topic::new(text, true)),
            _ => Err(wrong(term, "{eq, \"topic\"}")),
        },
        _ => Err(wrong(term, "a \"topic\" or {eq, \"topic\"}")),
    }
}

fn atom(term: &Term) -> Option<&str> {
    match &term.kind {
        Kind::Atom(name) => Some(name),
        _ => None,
    }
}

fn wrong(term: &Term, wanted: &str) -> AclError {
    let found = match &term.kind {
        Kind::Atom(name) => format!("the atom `{name}`"),
        Kind::Text(text) => format!("the text \"{text}\""),
        Kind::Tuple(parts) => format!("a tuple of {}", parts.len()),
        Kind::List(parts) => format!("a list of {}", parts.len()),
    };
    AclError::new(term.at, format!("found {found}, expected {wanted}"))
}
