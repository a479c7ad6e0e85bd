//! What the users of a password file may do, in the form that Mosquitto's users know: `user NAME`, and below it
//! `topic [read|write|readwrite|deny] FILTER`, `superuser`, `mountpoint PREFIX` and `quota RESOURCE NUMBER`. As in
//! Mosquitto's file, `deny` wins wherever it stands.

use std::sync::Arc;

use hashbrown::HashMap;

use super::file_error::lines;
use super::{Access, FileError, Identity, IdentityRule};
use crate::limits::{OwnQuota, Resource};
use crate::topic::{TopicLimits, check_filter, check_name};

/// What users may do.
#[derive(Debug, Clone, Default)]
pub struct UserRules {
    users: HashMap<Box<str>, User, ahash::RandomState>,
}

#[derive(Debug, Clone, Default)]
struct User {
    is_superuser: bool,
    mountpoint: Option<Box<str>>,
    quota: OwnQuota,
    rules: Option<Arc<[IdentityRule]>>,
}

/// What a line about a quota has to be.
const QUOTA_LINE: &str =
    "expected quota connections|sessions|subscriptions|retained|publish_rate NUMBER, 0 for any number";

impl UserRules {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut users: HashMap<Box<str>, User, ahash::RandomState> = HashMap::default();
        let mut current: Option<(Box<str>, User, Vec<IdentityRule>)> = None;
        for (number, line) in lines(text) {
            let line = line.trim_start();
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim_start();
            if word == "user" {
                finish(&mut users, current.take());
                if rest.is_empty() {
                    return Err(FileError::at(number, "expected user NAME"));
                }
                if users.contains_key(rest) {
                    return Err(FileError::at(number, format!("a second part about user {rest:?}")));
                }
                current = Some((rest.into(), User::default(), Vec::new()));
                continue;
            }
            let Some((_, user, rules)) = &mut current else {
                let problem = "expected user NAME first: rules for everyone are in the file of [acl]";
                return Err(FileError::at(number, problem));
            };
            user_line(user, rules, word, rest).map_err(|problem| FileError::at(number, problem))?;
        }
        finish(&mut users, current);
        Ok(Self { users })
    }

    /// Gives an identity what the file says of its user.
    pub fn apply(&self, identity: &mut Identity) {
        let Some(user) = identity.username.as_deref().and_then(|name| self.users.get(name)) else { return };
        identity.is_superuser = user.is_superuser;
        identity.mountpoint.clone_from(&user.mountpoint);
        identity.quota = user.quota;
        identity.rules.clone_from(&user.rules);
    }
}

fn finish(
    users: &mut HashMap<Box<str>, User, ahash::RandomState>,
    current: Option<(Box<str>, User, Vec<IdentityRule>)>,
) {
    if let Some((name, mut user, mut rules)) = current {
        // The first that fits decides; the order of the others stays.
        rules.sort_by_key(|rule| rule.allow);
        user.rules = (!rules.is_empty()).then(|| rules.into());
        users.insert(name, user);
    }
}

fn user_line(
    user: &mut User,
    rules: &mut Vec<IdentityRule>,
    word: &str,
    rest: &str,
) -> Result<(), &'static str> {
    match word {
        "superuser" if rest.is_empty() => user.is_superuser = true,
        "mountpoint" => {
            check_name(rest, &TopicLimits::default())
                .map_err(|_| "expected mountpoint PREFIX, without wildcards")?;
            user.mountpoint = Some(rest.into());
        }
        "quota" => {
            let (name, max) = rest.split_once(char::is_whitespace).ok_or(QUOTA_LINE)?;
            let resource = Resource::named(name).ok_or(QUOTA_LINE)?;
            let max = max.trim_start().parse().map_err(|_| QUOTA_LINE)?;
            if user.quota.find(resource).is_some() {
                return Err("a second quota of the same resource");
            }
            user.quota.set(resource, max);
        }
        "topic" => {
            let (kind, filter) = rest.split_once(char::is_whitespace).unwrap_or(("", rest));
            let (access, allow, filter) = match kind {
                "read" => (Access::Subscribe, true, filter),
                "write" => (Access::Publish, true, filter),
                "readwrite" => (Access::Both, true, filter),
                "deny" => (Access::Both, false, filter),
                // A filter may have blanks.
                _ => (Access::Both, true, rest),
            };
            let filter = filter.trim_start();
            check_filter(filter, &TopicLimits::default())
                .map_err(|_| "expected topic [read|write|readwrite|deny] FILTER")?;
            rules.push(IdentityRule { access, allow, filter: filter.into() });
        }
        _ => {
            return Err("expected user NAME, topic …, superuser, mountpoint PREFIX or quota RESOURCE NUMBER");
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::Method;

    #[test]
    fn users_have_their_rules() {
        let text = "# rules\nuser alice\ntopic read a/#\n  topic write b\ntopic deny c d\ntopic e\n\nuser bob\nsuperuser\n\
                    mountpoint tenants/%u/\nquota connections 7\nquota  publish_rate  0\n";
        let file = UserRules::parse(text).unwrap();
        let of = |name: &str| {
            let mut identity = Identity::new(Method::File).named(name);
            file.apply(&mut identity);
            identity
        };
        let alice = of("alice");
        let rule = |access, allow, filter: &str| IdentityRule { access, allow, filter: filter.into() };
        let expected = [
            rule(Access::Both, false, "c d"),
            rule(Access::Subscribe, true, "a/#"),
            rule(Access::Publish, true, "b"),
            rule(Access::Both, true, "e"),
        ];
        assert_eq!((&*alice.rules.unwrap(), alice.is_superuser), (&expected[..], false));
        let bob = of("bob");
        assert_eq!((bob.is_superuser, bob.mountpoint.as_deref()), (true, Some("tenants/%u/")));
        let quota = |resource| bob.quota.find(resource);
        assert_eq!((quota(Resource::Connections), quota(Resource::PublishRate)), (Some(7), Some(0)));
        assert_eq!((quota(Resource::Sessions), alice.quota), (None, OwnQuota::NONE));
        assert_eq!(of("carol"), Identity::new(Method::File).named("carol"));
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text: &str| UserRules::parse(text).unwrap_err().of("rules").to_string();
        assert!(error("topic a").starts_with("rules line 1: expected user NAME first"));
        assert!(error("user a\nuser b\nuser a").contains("line 3: a second part about user \"a\""));
        assert!(error("user").contains("expected user NAME"));
        assert!(error("user a\ntopic read a/#/b").contains("line 2: expected topic"));
        assert!(error("user a\npattern read %u/#").contains("line 2: expected"));
        assert!(error("user a\nmountpoint a/#").contains("without wildcards"));
        for quota in ["", "sessions", "sessions many", "sessions -1", "sessions 4294967296", "messages 1"] {
            assert!(error(&format!("user a\nquota {quota}")).contains("line 2: expected quota"), "{quota}");
        }
        assert!(error("user a\nquota sessions 1\nquota sessions 1").contains("line 3: a second quota"));
    }
}
