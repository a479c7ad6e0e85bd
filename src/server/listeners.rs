//! What the listeners of the configuration mean to the machine (`shards`) and to their connections (`transport`).

use std::net::SocketAddr;
use std::sync::Arc;

use super::access::Access;
use crate::config::{Config, Listener, ListenerUrl};
use crate::transport::{Layers, websocket};

/// The sockets to listen on.
pub(super) fn sockets(config: &Config, access: &Arc<Access>) -> Vec<shards::Listener> {
    let socket = |(index, listener): (usize, &Listener)| shards::Listener {
        address: address(config, listener),
        backlog: listener.backlog,
        connections_max: listener.max_connections,
        filter: access.filter(index),
    };
    config.listeners.iter().enumerate().map(socket).collect()
}

fn address(config: &Config, listener: &Listener) -> shards::Address {
    match &listener.url {
        ListenerUrl::Tcp { address, .. } => {
            shards::Address::Tcp { address: *address, only_v6: leaves_v4(config, *address) }
        }
        ListenerUrl::Unix(path) => shards::Address::Unix { path: path.clone(), mode: listener.unix_mode.0 },
    }
}

/// `[::]` takes IPv4 too, unless another listener has that port on an IPv4 address: then each takes its own.
fn leaves_v4(config: &Config, address: SocketAddr) -> bool {
    let is_v4 = |other: SocketAddr| other.is_ipv4() && other.port() == address.port();
    address.port() != 0 && config.listeners.iter().filter_map(|listener| listener.url.address()).any(is_v4)
}

/// The layers of each listener's connections, but for TLS.
pub(super) fn layers(config: &Config) -> Arc<[Layers]> {
    let layers = |listener: &Listener| Layers {
        proxy: listener.proxy_protocol,
        tls: None,
        websocket: websocket(config, listener),
    };
    config.listeners.iter().map(layers).collect()
}

fn websocket(config: &Config, listener: &Listener) -> Option<Arc<websocket::Service>> {
    let ListenerUrl::Tcp { scheme, path, .. } = &listener.url else { return None };
    scheme.is_websocket().then(|| {
        Arc::new(websocket::Service {
            path: path.clone(),
            origins: listener.origins.clone(),
            packet_bytes_max: config.limits.packet_bytes_max,
            scheme: scheme.name(),
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn only_v6(urls: &[&str]) -> Vec<bool> {
        let listener = |url: &&str| Listener::at(url.parse().unwrap());
        let config = Config { listeners: urls.iter().map(listener).collect(), ..Config::default() };
        let sockets = sockets(&config, &Access::new(&config));
        let only_v6 =
            |socket: shards::Listener| matches!(socket.address, shards::Address::Tcp { only_v6: true, .. });
        sockets.into_iter().map(only_v6).collect()
    }

    #[test]
    fn v6_leaves_v4_to_a_listener_of_its_own() {
        assert_eq!(
            only_v6(&["mqtt://[::]:1883", "mqtt://[::]:1884", "mqtt://127.0.0.1:1884"]),
            [false, true, true]
        );
        assert_eq!(only_v6(&["mqtt://0.0.0.0:1", "ws://[::]:1", "unix:/run/m"]), [true, true, false]);
        assert_eq!(only_v6(&["mqtt://[::]:0", "mqtt://0.0.0.0:0"]), [false, false]);
    }
}
