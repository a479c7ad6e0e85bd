//! All load shards, as the leader sees them: commands to all, their boards added up, their figures merged.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use shards::{Handle, ShardId, Shards};

use super::histogram::Latencies;
use super::load::{self, Board, Command, Figures, Load, Plan, Totals};

/// Longest wait for a shard to take a command: it does so within a turn.
const TAKE_MAX: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_micros(200);

/// The load shards.
pub(crate) struct Fleet {
    shards: Shards<Load>,
    handle: Handle<Load>,
    boards: Vec<Arc<Board>>,
    figures: Receiver<Box<Figures>>,
    /// Commands sent to each shard.
    sent: Vec<u64>,
    /// When the shards' clock began; theirs and this one differ by less than the time to start them.
    start: Instant,
}

impl Fleet {
    /// Starts `shards` load shards.
    ///
    /// # Errors
    /// In one line, what the machine refuses.
    pub(crate) fn start(plan: Plan, shards: u16, connections_max: u32) -> anyhow::Result<Self> {
        let boards: Vec<Arc<Board>> = (0..shards).map(|_| Arc::default()).collect();
        let (sender, figures) = channel();
        let config = shards::Config { shards, pin: false, connections_max, ..shards::Config::default() };
        let plan = Arc::new(plan);
        let all = boards.clone();
        let start = Instant::now();
        let running = Shards::<Load>::start(config, move |shard, io| {
            let board = all.get(usize::from(shard.0)).cloned().unwrap_or_default();
            Load::new(io, Arc::clone(&plan), board, sender.clone())
        })?;
        let handle = running.handle();
        Ok(Self { shards: running, handle, boards, figures, sent: vec![0; usize::from(shards)], start })
    }

    /// Number of load shards.
    pub(crate) fn shards(&self) -> u16 {
        self.handle.shards()
    }

    /// Microseconds on the shards' clock.
    pub(crate) fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Sends a command to one shard.
    fn send(&mut self, shard: u16, command: Command) -> anyhow::Result<()> {
        if !self.handle.send(ShardId(shard), command) {
            bail!("load shard {shard} has ended");
        }
        if let Some(sent) = self.sent.get_mut(usize::from(shard)) {
            *sent += 1;
        }
        Ok(())
    }

    /// Sends each shard its command and waits until all have taken them: the boards then show their effect.
    ///
    /// # Errors
    /// A shard has ended or does not answer.
    pub(crate) fn command(&mut self, make: impl Fn(u16) -> Command) -> anyhow::Result<()> {
        for shard in 0..self.shards() {
            self.send(shard, make(shard))?;
        }
        self.wait_taken()
    }

    fn wait_taken(&self) -> anyhow::Result<()> {
        let since = Instant::now();
        for (shard, (board, sent)) in self.boards.iter().zip(&self.sent).enumerate() {
            while board.read().1 < *sent {
                if since.elapsed() > TAKE_MAX {
                    bail!("load shard {shard} does not answer");
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// All boards added up.
    pub(crate) fn totals(&self) -> Totals {
        let mut all = Totals::default();
        for board in &self.boards {
            all.add(&board.read().0);
        }
        all
    }

    /// Clients with which every shard has begun: all numbers below belong to one that was.
    pub(crate) fn begun_whole(&self) -> u32 {
        let shards = u32::from(self.shards());
        let begun = self.boards.iter().enumerate().map(|(shard, board)| {
            // The first number that this shard has not begun with.
            (board.read().0.begun as u32).saturating_mul(shards).saturating_add(shard as u32)
        });
        begun.min().unwrap_or(0)
    }

    /// Merges the stage's latencies until now into `all`.
    pub(crate) fn live(&self, all: &mut Latencies) {
        load::live(&self.boards, all);
    }

    /// Ends the stage: the figures of all shards.
    ///
    /// # Errors
    /// A shard does not answer.
    pub(crate) fn collect(&mut self) -> anyhow::Result<Figures> {
        self.command(|_| Command::Collect)?;
        let mut all = Figures::default();
        for _ in 0..self.shards() {
            match self.figures.recv_timeout(TAKE_MAX) {
                Ok(figures) => all.add(&figures),
                Err(_) => bail!("a load shard does not send its figures"),
            }
        }
        Ok(all)
    }

    /// Ends all shards.
    ///
    /// # Errors
    /// A thread could not be joined.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        for shard in 0..self.handle.shards() {
            self.handle.send(ShardId(shard), Command::Exit);
        }
        Ok(self.shards.join()?)
    }
}
