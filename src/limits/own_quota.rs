//! What is said of one user's quota apart from `[quota]`: by the rules of the users, or by a token.

use crate::config::Quota;

/// What a quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Connections.
    Connections,
    /// Sessions, with and without a connection.
    Sessions,
    /// Subscriptions of all sessions.
    Subscriptions,
    /// Retained messages.
    Retained,
    /// PUBLISHes a second.
    PublishRate,
}

impl Resource {
    /// All of them, as rules and tokens name them.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("connections", Self::Connections),
        ("sessions", Self::Sessions),
        ("subscriptions", Self::Subscriptions),
        ("retained", Self::Retained),
        ("publish_rate", Self::PublishRate),
    ];

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, resource)| resource)
    }

    /// What `[quota]` says of it; 0: any number.
    pub const fn max_of(self, quota: &Quota) -> u32 {
        match self {
            Self::Connections => quota.connections_max,
            Self::Sessions => quota.sessions_max,
            Self::Subscriptions => quota.subscriptions_max,
            Self::Retained => quota.retained_max,
            Self::PublishRate => quota.publish_rate,
        }
    }
}

/// A user's own quota: of each resource a number (0: any), or nothing, so that what `[quota]` says holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnQuota([Option<u32>; Resource::NAMES.len()]);

impl OwnQuota {
    /// Nothing is said.
    pub const NONE: Self = Self([None; Resource::NAMES.len()]);

    /// Says `max` of a resource.
    pub fn set(&mut self, resource: Resource, max: u32) {
        if let Some(own) = self.0.get_mut(resource as usize) {
            *own = Some(max);
        }
    }

    /// What is said of a resource.
    pub fn find(&self, resource: Resource) -> Option<u32> {
        self.0.get(resource as usize).copied().flatten()
    }

    /// Whether nothing is said of any.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_a_name_and_a_place_of_its_own() {
        let quota = Quota {
            connections_max: 1,
            sessions_max: 2,
            subscriptions_max: 3,
            retained_max: 4,
            publish_rate: 5,
        };
        let mut own = OwnQuota::NONE;
        assert!(own.is_empty());
        for (number, (name, resource)) in (1..).zip(Resource::NAMES) {
            assert_eq!(Resource::named(name), Some(resource));
            assert_eq!((resource.max_of(&quota), own.find(resource)), (number, None));
            own.set(resource, number * 10);
            assert!(!own.is_empty());
        }
        assert_eq!(Resource::NAMES.map(|(_, resource)| own.find(resource).unwrap()), [10, 20, 30, 40, 50]);
        assert_eq!(Resource::named("messages"), None);
    }
}
