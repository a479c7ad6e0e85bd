//! Connections that may not come in: over capacity, with a wrong password, of nobody. They are refused after their
//! CONNECT, which carries the Client Identifier of a client that is connected, or has a session: neither may notice.

use super::{ANSWER_MS, Client};
use crate::guard::{UNKNOWN, WRONG};
use crate::model::Model;
use crate::socket::{ClientEnd, SocketId};
use crate::trace::{Check, broken, ensure};
use crate::wire::{self, Connect, FromServer, Unreadable, Version, next_packet};
use crate::world::World;

/// What is wrong with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// There is no room for it.
    NoRoom,
    /// Its password is wrong.
    Wrong,
    /// Nobody knows it.
    Unknown,
    /// It says nothing of itself.
    Anonymous,
}

impl Fault {
    /// The refusals that are right: in 5.0, in 3.x.
    fn codes(self, is_draining: bool) -> &'static [(u8, u8)] {
        match self {
            Self::NoRoom => &[(0x97, 0x03)],
            _ if is_draining => &[(0x86, 0x04), (0x87, 0x05), (0x89, 0x03), (0x88, 0x03)],
            Self::Wrong => &[(0x86, 0x04), (0x89, 0x03)],
            Self::Unknown => &[(0x86, 0x04)],
            Self::Anonymous => &[(0x87, 0x05)],
        }
    }

    fn invariant(self) -> &'static str {
        if self == Self::NoRoom { "over-capacity-refused" } else { "strangers-refused" }
    }
}

/// One attempt.
pub struct Knock {
    fault: Fault,
    socket: SocketId,
    since: u64,
    inbox: Vec<u8>,
    is_answered: bool,
}

impl Client {
    /// Tries another connection, which is to be refused.
    pub(super) fn knock(&mut self, world: &mut World, model: &mut Model) {
        let fault = if world.authenticates {
            world.random.pick(&[Fault::NoRoom, Fault::Wrong, Fault::Wrong, Fault::Unknown, Fault::Anonymous])
        } else {
            Fault::NoRoom
        };
        let socket = world.connect(self.index);
        world.sockets[socket].over_capacity = fault == Fault::NoRoom;
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
            password: match fault {
                Fault::Wrong => Some(WRONG),
                Fault::Unknown => Some(UNKNOWN),
                Fault::NoRoom | Fault::Anonymous => None,
            },
        };
        world.stamp();
        let index = self.index;
        world.trace.note(|| format!("client {index} socket {socket} is {fault:?}: {connect:?}"));
        world.write(socket, &wire::connect(&connect));
        self.knocks.push(Knock { fault, socket, since: world.now, inbox: Vec::new(), is_answered: false });
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
        let (socket, fault) = (knock.socket, knock.fault);
        if world.sockets[socket].arrived.is_empty() {
            let answered = knock.is_answered;
            self.knocks.swap_remove(at);
            // A shutdown does not wait for the rest of a CONNECT.
            let lost = world.sockets[socket].output_lost || model.drain_from.is_some();
            return ensure(answered || lost, fault.invariant(), || {
                format!("socket {socket} was closed without CONNACK")
            });
        }
        knock.inbox.extend(world.read(socket, true));
        match next_packet(self.profile.version, &knock.inbox) {
            Ok(None) => Ok(()),
            Err(Unreadable(why)) => broken("readable", format!("socket {socket}, which is {fault:?}: {why}")),
            Ok(Some((packet, used))) => {
                knock.inbox.drain(..used);
                let Some(packet) = world.saboteur.heard(packet, None, false) else { return Ok(()) };
                let v5 = self.profile.version == Version::V5;
                let mut codes =
                    fault.codes(model.drain_from.is_some()).iter().map(|c| if v5 { c.0 } else { c.1 });
                let code = if let FromServer::Connack(connack) = &packet { Some(connack.code) } else { None };
                let no_memory = world.sockets[socket].no_memory && code == Some(if v5 { 0x97 } else { 3 });
                let right = codes.any(|right| code == Some(right)) || no_memory;
                knock.is_answered = true;
                let checked = &mut model.checked;
                *(if fault == Fault::NoRoom { &mut checked.refused } else { &mut checked.strangers }) += 1;
                ensure(right, fault.invariant(), || {
                    format!("socket {socket}, which is {fault:?}: {packet:?}")
                })
            }
        }
    }

    /// Attempts are answered, and closed.
    pub(super) fn check_knocks(&self, now: u64) -> Check {
        let late = self.knocks.iter().find(|knock| knock.since + ANSWER_MS < now);
        ensure(late.is_none(), late.map_or("", |knock| knock.fault.invariant()), || {
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
