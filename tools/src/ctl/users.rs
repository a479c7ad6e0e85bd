//! `myriadctl users` and `acl`: who may use the admin side of a broker; what its clients may do.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use crate::api::route;
use crate::passwd::{check_user, prompt};
use crate::print::{Console, Form, column, say};

/// Of `myriadctl users`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The names of the admin users. (Those of MQTT clients: `myriadctl passwd`.)
    List,
    /// Adds an admin user, or gives one a new password.
    Add {
        /// The user.
        name: String,
        /// Take the password from the first line of standard input and ask nothing.
        #[arg(long)]
        batch: bool,
    },
    /// Deletes an admin user.
    Del {
        /// The user.
        name: String,
    },
}

/// Of `myriadctl acl`.
#[derive(Debug, clap::Args)]
pub(crate) struct AclArguments {
    #[command(subcommand)]
    command: AclCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AclCommand {
    /// Reads acl.file and the other files of rules again.
    Reload,
    /// Says whether somebody may publish or subscribe, and which rule says so. Exit status 1: it may not.
    Check {
        /// What it wants to do.
        #[arg(value_enum)]
        access: Access,
        /// Topic Name, or Topic Filter for subscribing.
        topic: String,
        /// Its Client Identifier.
        #[arg(long, value_name = "ID")]
        client_id: String,
        /// Its User Name, as one that was verified.
        #[arg(long, value_name = "NAME")]
        username: Option<String>,
        /// Where it comes from.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
        address: IpAddr,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Access {
    Publish,
    Subscribe,
}

/// `users`.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    match &arguments.command {
        Command::List => {
            let mut users = api.get(&route(&["users"]), &[])?;
            // Names alone or objects: both are a column.
            for user in users["items"].as_array_mut().into_iter().flatten() {
                if user.is_string() {
                    *user = json!({ "username": user.take() });
                }
            }
            console.items(&users, &[column("user", "username", Form::Text)])
        }
        Command::Add { name, batch } => {
            check_user(name)?;
            let password = prompt::password(name, *batch)?;
            let password = std::str::from_utf8(&password).context("the password is not UTF-8")?;
            let body = json!({ "username": name, "password": password });
            let answer = api.post(&route(&["users"]), &body)?;
            console.done(&answer, format_args!("admin user {name} can log in"))
        }
        Command::Del { name } => {
            let answer = api.delete(&route(&["users", name]), &[])?;
            console.done(&answer, format_args!("admin user {name} is deleted"))
        }
    }
}

/// `acl`.
pub(crate) fn acl(arguments: &AclArguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    match &arguments.command {
        AclCommand::Reload => {
            let answer = api.post(&route(&["acl", "reload"]), &json!({}))?;
            console.done(&answer, "the rules were read again")
        }
        AclCommand::Check { access, topic, client_id, username, address } => {
            let access = match access {
                Access::Publish => "publish",
                Access::Subscribe => "subscribe",
            };
            let body = json!({
                "client_id": client_id, "username": username, "address": address, "access": access, "topic": topic,
            });
            let answer = api.post(&route(&["acl", "check"]), &body)?;
            let is_allowed = answer["allowed"] == true;
            if console.json {
                console.done(&answer, "")?;
            } else {
                let rule = answer["rule"].as_str().unwrap_or("no rule speaks of it: acl.no_match");
                say(format_args!("{}: {rule}", if is_allowed { "allowed" } else { "denied" }))?;
            }
            Ok(if is_allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
