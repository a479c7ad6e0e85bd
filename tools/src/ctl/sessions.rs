//! `myriadctl sessions`: what outlives connections; looking into one, and ending it.

use std::process::ExitCode;

use anyhow::Result;

use crate::api::route;
use crate::clients::Who;
use crate::print::{Column, Console, Form, Paging, column};
use crate::subscriptions::SUBSCRIPTIONS_OF_ONE;

/// Of `myriadctl sessions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Sessions, with and without a connection.
    List {
        /// Those that outlive their connection, or those that end with it.
        #[arg(value_enum)]
        kind: Option<Kind>,
        /// Client Identifiers like this; `*` and `?` stand for any text and any character.
        #[arg(long, value_name = "GLOB")]
        client_id: Option<String>,
        /// With a connection, or without one.
        #[arg(long, value_name = "true|false")]
        connected: Option<bool>,
        #[command(flatten)]
        paging: Paging,
    },
    /// One session: its subscriptions, what waits in its queue, what is inflight.
    Show(Who),
    /// Ends a session, and its connection if there is one. What waits in it is lost.
    Discard(Who),
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Persistent,
    Transient,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Transient => "transient",
        }
    }
}

const SESSIONS: [Column; 9] = [
    column("client", "client_id", Form::Text),
    column("kind", "kind", Form::Text),
    column("connected", "connected", Form::Text),
    column("subs", "subscriptions", Form::Count),
    column("queued", "queued", Form::Count),
    column("inflight", "inflight", Form::Count),
    column("unreleased", "awaiting_rel", Form::Count),
    column("expires after", "expiry_s", Form::Seconds),
    column("expires at", "expires_at", Form::Text),
];

const SESSION: [Column; 12] = [
    column("client", "client_id", Form::Text),
    column("kind", "kind", Form::Text),
    column("connected", "connected", Form::Text),
    column("shard", "shard", Form::Count),
    column("mountpoint", "mountpoint", Form::Text),
    column("expires after", "expiry_s", Form::Seconds),
    column("expires at", "expires_at", Form::Text),
    column("subscriptions", "subscriptions", Form::Count),
    column("queued", "queued", Form::Count),
    column("inflight", "inflight", Form::Count),
    column("QoS 2 unreleased", "awaiting_rel", Form::Count),
    column("will", "will", Form::Text),
];

const QUEUE: [Column; 4] = [
    column("topic", "topic", Form::Text),
    column("qos", "qos", Form::Count),
    column("payload", "payload_bytes", Form::Bytes),
    column("expires at", "expires_at", Form::Text),
];

const INFLIGHT: [Column; 4] = [
    column("id", "packet_id", Form::Count),
    column("qos", "qos", Form::Count),
    column("state", "state", Form::Text),
    column("topic", "topic", Form::Text),
];

/// Does it.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    match &arguments.command {
        Command::List { kind, client_id, connected, paging } => {
            let connected = connected.map(|yes| yes.to_string());
            let query = [
                ("kind", kind.map(Kind::name)),
                ("client_id", client_id.as_deref()),
                ("connected", connected.as_deref()),
            ];
            console.list(&route(&["sessions"]), &query, paging, &SESSIONS)
        }
        Command::Show(who) => {
            let session = console.api()?.get(&route(&["sessions", &who.client_id]), &who.query())?;
            let lists: [(&str, &str, &[Column]); 3] = [
                ("subscriptions", "subscriptions_list", &SUBSCRIPTIONS_OF_ONE),
                ("queue", "queue", &QUEUE),
                ("inflight", "inflight_list", &INFLIGHT),
            ];
            console.show(&session, &SESSION, &lists)
        }
        Command::Discard(who) => {
            let answer = console.api()?.delete(&route(&["sessions", &who.client_id]), &who.query())?;
            console.done(&answer, format_args!("the session of {:?} is ended", who.client_id))
        }
    }
}
