//! `myriadctl clients`: who is connected; and sending one away.

use std::process::ExitCode;

use anyhow::Result;

use crate::api::route;
use crate::print::{Column, Console, Form, Paging, column};
use crate::subscriptions::SUBSCRIPTIONS_OF_ONE;

/// Of `myriadctl clients`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Who is connected. All filters that are given have to fit.
    List {
        /// Client Identifiers like this; `*` and `?` stand for any text and any character.
        #[arg(long, value_name = "GLOB")]
        client_id: Option<String>,
        /// User Names like this.
        #[arg(long, value_name = "GLOB")]
        username: Option<String>,
        /// From this address or network.
        #[arg(long, value_name = "ADDRESS[/BITS]")]
        address: Option<String>,
        /// At the listener of this number, as `listeners list` has it.
        #[arg(long, value_name = "N")]
        listener: Option<u32>,
        #[command(flatten)]
        paging: Paging,
    },
    /// All about one client.
    Show(Who),
    /// Ends a client's connection; its session stays as it would at any other end.
    Kick(Who),
}

/// A client.
#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    /// Client Identifier.
    pub(crate) client_id: String,
    /// The prefix of its topics, where it has one: Client Identifiers are its own.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) mountpoint: Option<String>,
}

impl Who {
    /// What tells it from others of the same Client Identifier.
    pub(crate) fn query(&self) -> [(&'static str, Option<&str>); 1] {
        [("mountpoint", self.mountpoint.as_deref())]
    }
}

const CLIENTS: [Column; 8] = [
    column("client", "client_id", Form::Text),
    column("user", "username", Form::Text),
    column("address", "address", Form::Text),
    column("version", "protocol", Form::Text),
    column("connected at", "connected_at", Form::Text),
    column("subs", "subscriptions", Form::Count),
    column("inflight", "inflight", Form::Count),
    column("queued", "queued", Form::Count),
];

const CLIENT: [Column; 18] = [
    column("client", "client_id", Form::Text),
    column("user", "username", Form::Text),
    column("address", "address", Form::Text),
    column("listener", "listener", Form::Text),
    column("version", "protocol", Form::Text),
    column("connected at", "connected_at", Form::Text),
    column("clean start", "clean_start", Form::Text),
    column("keep alive", "keep_alive_s", Form::Seconds),
    column("session expires after", "session_expiry_s", Form::Seconds),
    column("shard", "shard", Form::Count),
    column("mountpoint", "mountpoint", Form::Text),
    column("will", "will", Form::Text),
    column("subscriptions", "subscriptions", Form::Count),
    column("inflight", "inflight", Form::Count),
    column("queued", "queued", Form::Count),
    column("QoS 2 unreleased", "inbound_qos2", Form::Count),
    column("bytes waiting", "outbound_bytes", Form::Bytes),
    column("paused", "paused", Form::Text),
];

/// Does it.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    match &arguments.command {
        Command::List { client_id, username, address, listener, paging } => {
            let listener = listener.map(|n| n.to_string());
            let query = [
                ("client_id", client_id.as_deref()),
                ("user", username.as_deref()),
                ("address", address.as_deref()),
                ("listener", listener.as_deref()),
            ];
            console.list(&route(&["clients"]), &query, paging, &CLIENTS)
        }
        Command::Show(who) => {
            let client = console.api()?.get(&route(&["clients", &who.client_id]), &who.query())?;
            console.show(&client, &CLIENT, &[("subscriptions", "subscriptions_list", &SUBSCRIPTIONS_OF_ONE)])
        }
        Command::Kick(who) => {
            let answer = console.api()?.delete(&route(&["clients", &who.client_id]), &who.query())?;
            console.done(&answer, format_args!("{:?} is disconnected", who.client_id))
        }
    }
}
