//! `sharded!`: one test that runs with 1, 2 and 5 shards, each against a broker of its own.

/// Declares a test of this name with the parts `shards_1`, `shards_2` and `shards_5`. Settings as for `--set` may stand
/// before the closure, which gets the running broker.
macro_rules! sharded {
    ($name:ident, $($setting:literal,)* |$broker:ident| $body:block $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn run(shards: u16) {
                let options = $crate::broker::Options::shards(shards)$(.set($setting))*;
                let Some(broker) = $crate::broker::Broker::start(&options) else { return };
                let $broker = &broker;
                $body
            }

            #[test]
            fn shards_1() {
                run(1);
            }

            #[test]
            fn shards_2() {
                run(2);
            }

            #[test]
            fn shards_5() {
                run(5);
            }
        }
    };
}
