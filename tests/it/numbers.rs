//! The broker's numbers, as `$SYS` tells them: a test waits until one is what it should be. Needs `sys.interval_s=1`.

use std::collections::HashMap;
use std::time::Instant;

use crate::broker::Broker;
use crate::client::TIMEOUT;
use crate::wire::Connect;

/// Waits until the number below `$SYS/brokers/<node>/` satisfies `wanted`, and gives it.
pub fn wait_for(broker: &Broker, name: &str, wanted: impl Fn(u64) -> bool) -> u64 {
    let mut watcher = broker.connect(Connect::v311("watcher-of-numbers"));
    watcher.subscribe("$SYS/#", 0);
    let mut numbers = HashMap::new();
    let deadline = Instant::now() + TIMEOUT;
    loop {
        assert!(Instant::now() < deadline, "{name} is {:?}", numbers.get(name));
        let publish = watcher.recv_publish();
        let of = publish.topic.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        numbers.insert(of, publish.text());
        if let Some(number) = numbers.get(name).and_then(|number| number.parse().ok())
            && wanted(number)
        {
            return number;
        }
    }
}
