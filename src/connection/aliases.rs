//! Topic Aliases of one connection, both directions [MQTT-3.3.2-8 to 3.3.2-12]. They live as long as it does.

use std::num::NonZeroU16;

use hashbrown::HashMap;

/// How an outgoing PUBLISH names its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasUse {
    /// No alias is free: by name only.
    None,
    /// By name, and the alias is introduced.
    Introduce(u16),
    /// By alias only.
    Known(u16),
}

/// Both tables.
#[derive(Debug, Default)]
pub struct Aliases {
    /// Client to server: alias - 1 is the index.
    incoming: Vec<Option<Box<str>>>,
    /// Server to client: the first topics that came get an alias.
    outgoing: HashMap<Box<str>, u16, ahash::RandomState>,
}

impl Aliases {
    /// The client gives `alias` a meaning (a new one perhaps). The caller has checked it against the maximum.
    pub fn learn(&mut self, alias: NonZeroU16, topic: &str) {
        let index = usize::from(alias.get()) - 1;
        if self.incoming.len() <= index {
            self.incoming.resize(index + 1, None);
        }
        if let Some(slot) = self.incoming.get_mut(index) {
            *slot = Some(topic.into());
        }
    }

    /// What the client means by `alias`.
    pub fn resolve(&self, alias: NonZeroU16) -> Option<&str> {
        self.incoming.get(usize::from(alias.get()) - 1)?.as_deref()
    }

    /// How to name `topic` to a client that takes `max` aliases.
    pub fn name(&mut self, topic: &str, max: u16) -> AliasUse {
        if let Some(alias) = self.outgoing.get(topic) {
            return AliasUse::Known(*alias);
        }
        if self.outgoing.len() >= usize::from(max) {
            return AliasUse::None;
        }
        let alias = self.outgoing.len() as u16 + 1;
        self.outgoing.insert(topic.into(), alias);
        AliasUse::Introduce(alias)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_3_3_2_12_an_alias_may_get_a_new_meaning() {
        let mut aliases = Aliases::default();
        let two = NonZeroU16::new(2).unwrap();
        assert_eq!(aliases.resolve(two), None);
        aliases.learn(two, "a");
        aliases.learn(two, "b");
        assert_eq!(aliases.resolve(two), Some("b"));
        assert_eq!(aliases.resolve(NonZeroU16::MIN), None);
    }

    #[test]
    fn mqtt_3_1_2_26_no_more_aliases_than_the_client_takes() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.name("a", 1), AliasUse::Introduce(1));
        assert_eq!(aliases.name("b", 1), AliasUse::None);
        assert_eq!(aliases.name("a", 1), AliasUse::Known(1));
    }
}
