//! `myriadctl subscriptions`: who subscribed to what; adding and taking away on a client's behalf.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::api::route;
use crate::clients::Who;
use crate::print::{Column, Console, Form, Paging, column};

/// Of `myriadctl subscriptions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Subscriptions of all sessions.
    List {
        /// Client Identifiers like this; `*` and `?` stand for any text and any character.
        #[arg(long, value_name = "GLOB")]
        client_id: Option<String>,
        /// With exactly this Topic Filter.
        #[arg(long, value_name = "FILTER")]
        topic: Option<String>,
        /// Shared Subscriptions with this Share Name.
        #[arg(long, value_name = "NAME")]
        share: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// The subscriptions of one session.
    Show(Who),
    /// Subscribes a session, as if its client had; in effect when this ends.
    Add {
        #[command(flatten)]
        who: Who,
        /// Topic Filter.
        filter: String,
        /// QoS.
        #[arg(default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
        qos: u8,
    },
    /// Takes a subscription away.
    Del {
        #[command(flatten)]
        who: Who,
        /// Topic Filter, as `list` shows it.
        filter: String,
    },
}

const SUBSCRIPTIONS: [Column; 7] = [
    column("client", "client_id", Form::Text),
    column("filter", "filter", Form::Text),
    column("qos", "qos", Form::Count),
    column("share", "share", Form::Text),
    column("no local", "no_local", Form::Text),
    column("as published", "retain_as_published", Form::Text),
    column("id", "subscription_id", Form::Text),
];

/// Without the client.
pub(crate) const SUBSCRIPTIONS_OF_ONE: [Column; 6] = [
    column("filter", "filter", Form::Text),
    column("qos", "qos", Form::Count),
    column("share", "share", Form::Text),
    column("no local", "no_local", Form::Text),
    column("as published", "retain_as_published", Form::Text),
    column("id", "subscription_id", Form::Text),
];

/// Does it.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    match &arguments.command {
        Command::List { client_id, topic, share, paging } => {
            let query = [
                ("client_id", client_id.as_deref()),
                ("topic", topic.as_deref()),
                ("share", share.as_deref()),
            ];
            console.list(&route(&["subscriptions"]), &query, paging, &SUBSCRIPTIONS)
        }
        Command::Show(who) => {
            let session = console.api()?.get(&route(&["sessions", &who.client_id]), &who.query())?;
            let listed = json!({ "items": session["subscriptions_list"] });
            console.items(&listed, &SUBSCRIPTIONS_OF_ONE)
        }
        Command::Add { who, filter, qos } => {
            let body = json!({ "filter": filter, "qos": qos });
            let path = route(&["clients", &who.client_id, "subscriptions"]);
            let answer = console.api()?.post_with(&path, &who.query(), &body)?;
            console.done(&answer, format_args!("{:?} is subscribed to {filter:?}", who.client_id))
        }
        Command::Del { who, filter } => {
            let path = route(&["clients", &who.client_id, "subscriptions"]);
            let [mountpoint] = who.query();
            let answer = console.api()?.delete(&path, &[("filter", Some(filter)), mountpoint])?;
            console
                .done(&answer, format_args!("{:?} is not subscribed to {filter:?} any more", who.client_id))
        }
    }
}
