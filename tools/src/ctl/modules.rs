//! `myriadctl drain`, `bridges`, `auto-subscriptions`, `delayed` and `webhooks`: what the broker does besides serving its clients.

use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::api::{Api, route};
use crate::failure::{Failure, Status};
use crate::print::{Column, Console, Form, Paging, column, say};

/// Of `myriadctl drain`.
#[derive(Debug, clap::Args)]
pub(crate) struct DrainArguments {
    /// Clients a second that are sent away, over all shards.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Where MQTT 5.0 clients are told to go (Server Reference), as other.example:1883
    #[arg(long, value_name = "HOST")]
    server_reference: Option<String>,
    /// Tell them that it is for good (Reason Code 0x9D instead of 0x9C).
    #[arg(long, requires = "server_reference")]
    permanent: bool,
    /// Only start it: do not wait until everybody is gone.
    #[arg(long)]
    no_wait: bool,
    /// Stop draining and admit clients again.
    #[arg(long, conflicts_with_all = ["rate", "server_reference", "no_wait"])]
    stop: bool,
    /// Say how far it is, and nothing more.
    #[arg(long, conflicts_with_all = ["rate", "server_reference", "no_wait", "stop"])]
    status: bool,
}

/// `drain`: sends clients away evenly, before a restart.
pub(crate) fn drain(arguments: &DrainArguments, console: &Console<'_>) -> Result<ExitCode> {
    let (api, path) = (console.api()?, route(&["drain"]));
    if arguments.stop {
        return console.done(&api.delete(&path, &[])?, "draining has stopped: clients are admitted again");
    }
    if !arguments.status {
        let mut body = json!({ "rate": arguments.rate });
        if let Some(reference) = &arguments.server_reference {
            body["server_reference"] = reference.as_str().into();
            body["permanent"] = arguments.permanent.into();
        }
        let started = api.post(&path, &body)?;
        if arguments.no_wait {
            let rate = arguments.rate;
            return console.done(&started, format_args!("clients are sent away, {rate} a second"));
        }
        wait(&api, &path)?;
    }
    let state = api.get(&path, &[])?;
    let (left, gone) = (state["left"].as_u64().unwrap_or(0), state["sent_away"].as_u64().unwrap_or(0));
    console.done(&state, format_args!("{gone} clients were sent away, {left} are left"))
}

/// Until nobody is left, or somebody else stopped it.
fn wait(api: &Api, path: &str) -> Result<()> {
    loop {
        let state = api.get(path, &[])?;
        let left = state["left"].as_u64().unwrap_or(0);
        if left == 0 {
            break;
        }
        if state["draining"] != true {
            let line = format!("draining was stopped with {left} clients left");
            return Err(Failure::new(Status::Failed, line).into());
        }
        if stderr().is_terminal() {
            let _ = write!(stderr(), "\r{left} clients are left \x1b[K");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    Ok(())
}

/// Of `myriadctl bridges`.
#[derive(Debug, clap::Args)]
pub(crate) struct BridgeArguments {
    #[command(subcommand)]
    command: BridgeCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BridgeCommand {
    /// The bridges of the configuration and their states.
    List,
    /// Starts one that was stopped.
    Start {
        /// Its name.
        name: String,
    },
    /// Stops one until it is started or the broker starts again; what it should forward waits.
    Stop {
        /// Its name.
        name: String,
    },
}

const BRIDGES: [Column; 7] = [
    column("bridge", "name", Form::Text),
    column("url", "url", Form::Text),
    column("state", "state", Form::Text),
    column("in", "messages_in", Form::Count),
    column("out", "messages_out", Form::Count),
    column("dropped", "dropped", Form::Count),
    column("trouble", "error", Form::Text),
];

/// `bridges`.
pub(crate) fn bridges(arguments: &BridgeArguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    let turn = |name: &str, verb: &str, state: &str| {
        let answer = api.post(&route(&["bridges", name, verb]), &json!({}))?;
        console.done(&answer, format_args!("bridge {name} {state}"))
    };
    match &arguments.command {
        BridgeCommand::List => console.items(&api.get(&route(&["bridges"]), &[])?, &BRIDGES),
        BridgeCommand::Start { name } => turn(name, "start", "is started"),
        BridgeCommand::Stop { name } => turn(name, "stop", "is stopped"),
    }
}

/// Of `myriadctl auto-subscriptions`.
#[derive(Debug, clap::Args)]
pub(crate) struct AutoArguments {
    #[command(subcommand)]
    command: AutoCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AutoCommand {
    /// What was stored for which client. What the configuration has for all of them is not among it.
    List {
        /// Only those of this client.
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Subscribes a client to a filter whenever it connects.
    Add {
        /// Client Identifier.
        client_id: String,
        /// Topic Filter; %c and %u stand for Client Identifier and User Name.
        filter: String,
        /// QoS.
        #[arg(default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
        qos: u8,
    },
    /// Does so no more; subscriptions that are there stay.
    Del {
        /// Client Identifier.
        client_id: String,
        /// Topic Filter.
        filter: String,
    },
}

const AUTO: [Column; 3] = [
    column("client", "client_id", Form::Text),
    column("filter", "filter", Form::Text),
    column("qos", "qos", Form::Count),
];

/// `auto-subscriptions`.
pub(crate) fn auto_subscriptions(arguments: &AutoArguments, console: &Console<'_>) -> Result<ExitCode> {
    let (api, path) = (console.api()?, route(&["auto-subscriptions"]));
    match &arguments.command {
        AutoCommand::List { client_id, paging } => {
            console.list(&path, &[("client_id", client_id.as_deref())], paging, &AUTO)
        }
        AutoCommand::Add { client_id, filter, qos } => {
            let body = json!({ "client_id": client_id, "filter": filter, "qos": qos });
            let answer = api.post(&path, &body)?;
            console.done(&answer, format_args!("{client_id:?} gets {filter:?} whenever it connects"))
        }
        AutoCommand::Del { client_id, filter } => {
            let query = [("client_id", Some(client_id.as_str())), ("filter", Some(filter.as_str()))];
            let answer = api.delete(&path, &query)?;
            console.done(&answer, format_args!("{client_id:?} does not get {filter:?} any more"))
        }
    }
}

const DELAYED: [Column; 5] = [
    column("topic", "topic", Form::Text),
    column("qos", "qos", Form::Count),
    column("retain", "retain", Form::Text),
    column("payload", "payload_bytes", Form::Bytes),
    column("due at", "due_at", Form::Text),
];

/// `delayed`: messages of `$delayed/…` that are still to come.
pub(crate) fn delayed(paging: &Paging, console: &Console<'_>) -> Result<ExitCode> {
    console.list(&route(&["delayed"]), &[], paging, &DELAYED)
}

const WEBHOOKS: [Column; 6] = [
    column("url", "url", Form::Text),
    column("queued", "queued", Form::Count),
    column("delivered", "delivered", Form::Count),
    column("failed", "failed", Form::Count),
    column("dropped", "dropped", Form::Count),
    column("trouble", "error", Form::Text),
];

/// `webhooks`: where events are posted to, and how that goes.
pub(crate) fn webhooks(console: &Console<'_>) -> Result<ExitCode> {
    let answer = console.api()?.get(&route(&["webhooks"]), &[])?;
    if answer["items"].as_array().is_some_and(Vec::is_empty) && !console.json {
        say("no webhook is configured")?;
        return Ok(ExitCode::SUCCESS);
    }
    console.items(&answer, &WEBHOOKS)
}
