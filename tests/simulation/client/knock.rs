//! Connections over capacity: accepted only to be refused after their CONNECT, with 0x97 or 0x03. They carry the
//! Client Identifier of a client that is connected, or has a session: neither may notice.

use super::{ANSWER_MS, Client};
use crate::model::Model;
use crate::socket::{ClientEnd, SocketId};
use crate::trace::{Check, broken, ensure};
use crate::wire::{self, Connect, FromServer, Unreadable, Version, next_packet};
use crate::world::World;

/// One attempt.
pub struct Knock {
    socket: SocketId,
    since: u64,
    inbox: Vec<u8>,
    is_answered: bool,
}

impl Client {
    /// Tries another connection, where there is no room for it.
    pub(super) fn knock(&mut self, world: &mut World, model: &mut Model) {
        let socket = world.connect(self.index);
        world.sockets[socket].over_capacity = true;
        model.connection_opened(self.index);
        // The model sees no CONNECT: it is nobody's rival and ends nobody's session.
        model.connections[socket].refused = true;
        let version = self.profile.version;
        let v5 = version == Version::V5;
        let connect = Connect {
            version,
            client_id: self.id.clone(),
            clean: version == Version::V31 || world.random.percent(50),
            keep_alive_s: 0,
            expiry_s: None,
            receive_max: None,
            packet_max: None,
            alias_max: v5.then_some(2),
            will: None,
        };
        world.stamp();
        let index = self.index;
        world.trace.note(|| format!("client {index} socket {socket} over capacity: {connect:?}"));
        world.write(socket, &wire::connect(&connect));
        self.knocks.push(Knock { socket, since: world.now, inbox: Vec::new(), is_answered: false });
    }

    /// Whether an attempt has an answer to be read.
    pub(super) fn hears_knock(&self, world: &World) -> bool {
        self.knocks.iter().any(|knock| world.sockets[knock.socket].is_readable())
    }

    /// Reads what came for an attempt.
    pub(super) fn read_knock(&mut self, world: &mut World, model: &mut Model) -> Check {
        let Some(at) = self.knocks.iter().position(|k| world.sockets[k.socket].is_readable()) else {
            return Ok(());
        };
        let knock = &mut self.knocks[at];
        let socket = knock.socket;
        if world.sockets[socket].arrived.is_empty() {
            let answered = knock.is_answered;
            self.knocks.swap_remove(at);
            // A shutdown does not wait for the rest of a CONNECT.
            let lost = world.sockets[socket].output_lost || model.drain_from.is_some();
            return ensure(answered || lost, "over-capacity-refused", || {
                format!("socket {socket} was closed without CONNACK")
            });
        }
        knock.inbox.extend(world.read(socket, true));
        match next_packet(self.profile.version, &knock.inbox) {
            Ok(None) => Ok(()),
            Err(Unreadable(why)) => broken("readable", format!("socket {socket} over capacity: {why}")),
            Ok(Some((packet, used))) => {
                knock.inbox.drain(..used);
                let Some(packet) = world.saboteur.heard(packet, None, false) else { return Ok(()) };
                let code = if self.profile.version == Version::V5 { 0x97 } else { 0x03 };
                let right = matches!(&packet, FromServer::Connack(connack) if connack.code == code);
                knock.is_answered = true;
                model.checked.refused += 1;
                ensure(right, "over-capacity-refused", || format!("socket {socket}: {packet:?}"))
            }
        }
    }

    /// Attempts are answered, and closed.
    pub(super) fn check_knocks(&self, now: u64) -> Check {
        let late = self.knocks.iter().find(|knock| knock.since + ANSWER_MS < now);
        ensure(late.is_none(), "over-capacity-refused", || {
            format!("socket {:?} is still open", late.map(|knock| knock.socket))
        })
    }

    /// Nobody waits for an answer any more.
    pub(super) fn drop_knocks(&mut self, world: &mut World, model: &mut Model) {
        for knock in std::mem::take(&mut self.knocks) {
            model.connections[knock.socket].cut = true;
            world.cut(knock.socket, ClientEnd::Reset);
        }
    }
}
