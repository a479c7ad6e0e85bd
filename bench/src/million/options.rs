//! The command line of `myriad-bench million`, checked before anything is started.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::size;
use super::target::Target;

/// Options of `myriad-bench million`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Connections: 1000, 100k, 1M, 1_000_000
    #[arg(long, default_value = "1M", value_parser = size::count)]
    pub(crate) connections: u32,
    /// New connections a second; 0: as fast as the broker answers
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Seconds to hold the connections idle before anything else is measured
    #[arg(long, default_value_t = 10.0)]
    pub(crate) hold: f64,
    /// Write everything that was measured as JSON to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report, one HTML file that needs no network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the report's main plots as SVG files into a folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) images: Option<PathBuf>,
    /// Fill in steps, measure at each, and print how the costs grow: 1k,10k,100k,500k,1M
    #[arg(long, value_delimiter = ',', value_parser = size::count)]
    pub(crate) steps: Vec<u32>,
    /// Messages a second of the stages ping, p2p0, p2p1, and of the PINGREQs during the storm
    #[arg(long, default_value_t = 2000.0)]
    pub(crate) message_rate: f64,
    /// Seconds of each of the stages ping, p2p0 and p2p1
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Stages to run; fill and end always are
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub(crate) stages: Vec<StageName>,
    /// Cut all clients in the storm, in place of a tenth
    #[arg(long)]
    pub(crate) storm_all: bool,
    /// Keep Alive of the clients, seconds; they ping after three quarters of it
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(10..))]
    pub(crate) keep_alive: u16,
    /// Payload of each message, bytes; at least 16
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub(crate) payload: u32,
}

/// What can be chosen with `--stages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StageName {
    /// All of them
    All,
    /// Connect and subscribe all clients
    Fill,
    /// Idle, but for due PINGREQs
    Hold,
    /// PINGREQ to PINGRESP at a fixed rate
    Ping,
    /// QoS 0 from a random client to a random client
    P2p0,
    /// QoS 1 from a random client to a random client
    P2p1,
    /// One message to a thousand clients
    Fanout,
    /// A tenth of the clients (or all) is cut and comes back at full speed
    Storm,
    /// A hundredth of the clients connects again under the same Client Identifier
    Takeover,
    /// All clients disconnect
    End,
}

impl Options {
    /// Whether `stage` is to be run.
    pub(crate) fn runs(&self, stage: StageName) -> bool {
        self.stages.iter().any(|s| [StageName::All, stage].contains(s))
    }

    /// Numbers of connections at which to measure, ascending; the last is `--connections` where no step is given.
    pub(crate) fn steps(&self) -> Vec<u32> {
        if self.steps.is_empty() { vec![self.connections] } else { self.steps.clone() }
    }

    /// The most connections that the run is to hold.
    pub(crate) fn wanted(&self) -> u32 {
        self.steps().last().copied().unwrap_or(self.connections)
    }

    /// Checks options against each other.
    ///
    /// # Errors
    /// What has to change.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (name, value, max) in [
            ("rate", self.rate, 1e7),
            ("hold", self.hold, 1e7),
            ("message-rate", self.message_rate, 1e6),
            ("duration", self.duration, 1e6),
        ] {
            if !(0.0..=max).contains(&value) {
                bail!("--{name} {value}: must be from 0 to {max}");
            }
        }
        if self.message_rate < 1.0 {
            bail!("--message-rate {}: at least 1", self.message_rate);
        }
        if !self.steps.is_sorted_by(|a, b| a < b) {
            bail!("--steps: each number must be larger than the one before");
        }
        self.target.check()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(line: &str) -> anyhow::Result<Options> {
        let line = format!("myriad-bench million {line}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Million(options) => options.check().map(|()| *options),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_a_million_clients_of_an_own_broker() {
        let o = options("").unwrap();
        assert_eq!(
            (o.connections, o.target.version, o.keep_alive, o.message_rate),
            (1_000_000, 4, 300, 2000.0)
        );
        assert!(o.target.peer().unwrap().is_none() && o.runs(StageName::Storm));
        assert_eq!((o.steps(), o.wanted()), (vec![1_000_000], 1_000_000));
    }

    #[test]
    fn steps_grow_and_stages_are_chosen() {
        let o = options("--steps 1k,10k,1_00_000 --stages ping,p2p1 --set a.b=1 --set c.d=2").unwrap();
        assert_eq!((o.steps(), o.wanted()), (vec![1_000, 10_000, 100_000], 100_000));
        assert!(o.runs(StageName::Ping) && !o.runs(StageName::Storm));
        assert_eq!(o.target.set, ["a.b=1", "c.d=2"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, part) in [
            ("--connections 1G", "1G"),
            ("--steps 10k,1k", "--steps"),
            ("--message-rate 0", "--message-rate"),
            ("--hold=-1", "--hold"),
            ("--stages fill,sleep", "sleep"),
            ("--load-shards 0", "--load-shards"),
            ("--pid 1", "--host"),
            ("--host a --netns", "--netns"),
            ("--keep-alive 5", "--keep-alive"),
        ] {
            let error = format!("{:#}", options(line).unwrap_err());
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
