//! The server's ends of the admin side: the way of a question to a shard, and what the main thread waits for: signals and orders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use shards::Handle;
use signal_hook::iterator::Signals;

use super::access::Access;
use super::application::{Application, ServerMessage};
use crate::admin::{Asked, Listeners, Order, ShardLine};
use crate::config::{Config, ListenerUrl};
use crate::interest::ShardId;

/// What the main thread waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal came.
    Signal(i32),
    /// An operator wants something.
    Order(Order),
}

/// Starts the thread that waits for signals; what it hears, and what is sent besides, comes out of the receiver.
///
/// # Errors
/// The thread can't be started.
pub(super) fn events(mut signals: Signals) -> std::io::Result<(Sender<Event>, Receiver<Event>)> {
    let (sender, receiver) = mpsc::channel();
    let heard = sender.clone();
    let listen = move || {
        for signal in signals.forever() {
            // The main thread is there until the process ends.
            let _ = heard.send(Event::Signal(signal));
        }
    };
    thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok((sender, receiver))
}

/// The mailboxes.
pub(super) struct Line(pub(super) Handle<Application>);

impl ShardLine for Line {
    fn shards(&self) -> u16 {
        self.0.shards()
    }

    fn ask(&self, to: ShardId, asked: Box<Asked>) -> bool {
        self.0.send(shards::ShardId(to.0), ServerMessage::Admin(asked))
    }
}

/// The listeners.
pub(super) struct Doormen {
    bound: Vec<ListenerUrl>,
    access: Arc<Access>,
    handle: Handle<Application>,
}

impl Doormen {
    /// Those of the configuration, bound to these addresses.
    pub(super) fn new(
        config: &Config,
        addresses: &[SocketAddr],
        access: &Arc<Access>,
        handle: Handle<Application>,
    ) -> Self {
        let bound =
            config.listeners.iter().zip(addresses).map(|(listener, address)| listener.url.at(*address));
        Self { bound: bound.collect(), access: Arc::clone(access), handle }
    }
}

impl Listeners for Doormen {
    fn bound(&self) -> &[ListenerUrl] {
        &self.bound
    }

    fn connections(&self, listener: usize) -> u32 {
        self.handle.listener_connections(listener)
    }

    fn is_stopped(&self, listener: usize) -> bool {
        self.access.is_stopped(listener)
    }

    fn stop(&self, listener: usize, is_stopped: bool) -> bool {
        self.access.stop(listener, is_stopped) && self.handle.pause_listener(listener, is_stopped)
    }
}
