//! What reaches a shard from the others and from the main thread: messages, hand-overs, signals.

use myriad::broker::{Input, ShardMessage};
use myriad::interest::ShardId;

use crate::defect::Fate;
use crate::effects::{Delays, Order};
use crate::link::Mail;
use crate::socket::Place;
use crate::trace::{Check, broken};
use crate::world::{News, World};

impl World {
    /// The next piece of mail of shard `from` arrives at shard `at`.
    pub(super) fn mail(&mut self, at: usize, from: usize) -> Check {
        let delay = Delays::some(&mut self.random, self.weather.delays.mail_max);
        let link = &mut self.links[from][at];
        if link.queue.len() > 1 && self.saboteur.overtakes() {
            link.queue.swap(0, 1);
        }
        let Some(mail) = link.queue.pop_front() else { return Ok(()) };
        link.ready_at = self.now + delay;
        match mail {
            Mail::Message(message) => self.message(at, from, message),
            Mail::HandOver { socket, hand_over } => {
                let Place::Moving { from, name, .. } = self.sockets[socket].place else {
                    return broken("simulator", format!("socket {socket} arrives and does not move"));
                };
                if self.random.percent(self.weather.hand_over_fails) {
                    self.trace.note(|| format!("shard {at} has no room for socket {socket}"));
                    self.sockets[socket].hand_over_failed = true;
                    let back = self.now + Delays::some(&mut self.random, self.weather.delays.mail_max);
                    self.states[from].failed.push((back, socket, hand_over));
                    return Ok(());
                }
                self.release_name(from, name);
                let connection = self.name(at, socket);
                self.sockets[socket].place = Place::At(at, connection);
                self.trace.note(|| format!("shard {at} takes socket {socket} over"));
                let origin = hand_over.origin;
                self.input(at, Input::HandedOver { connection, origin, hand_over })
            }
        }
    }

    fn message(&mut self, at: usize, from: usize, message: ShardMessage) -> Check {
        let sender = ShardId(from as u16);
        match self.saboteur.mail(message) {
            Fate::Arrives(message) => self.input(at, Input::Message { from: sender, message }),
            Fate::ArrivesTwice(message, again) => {
                self.input(at, Input::Message { from: sender, message })?;
                self.input(at, Input::Message { from: sender, message: again })
            }
            Fate::Answered(answer, credit) => {
                self.links[from][at].on_loan -= u32::from(credit);
                self.links[from][at].credits += u32::from(credit);
                self.links[at][from].queue.extend(answer.map(Mail::Message));
                Ok(())
            }
            Fate::Vanishes => Ok(()),
        }
    }

    /// A signal reaches shard `at`.
    pub(super) fn order(&mut self, at: usize) -> Check {
        let Some((_, order)) = self.states[at].orders.pop_front() else { return Ok(()) };
        match order {
            Order::Reload(number, config) => {
                self.states[at].config = number;
                self.news.push(News::Reloaded(at, number));
                if self.saboteur.is_deaf_to_reload() {
                    return Ok(());
                }
                self.input(at, Input::Reload(config))
            }
            Order::Generation(generation) => {
                self.states[at].imaging = true;
                self.input(at, Input::Generation(generation))
            }
            Order::Drain if self.saboteur.is_deaf_to_drain() => Ok(()),
            Order::Drain => self.input(at, Input::Drain),
        }
    }
}
