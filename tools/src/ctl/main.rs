//! `myriadctl`, the operator's command line. Each subcommand is a module; this file only says which there are, and turns errors
//! into a line and an exit status (`failure`).

mod api;
mod bans;
mod broker;
mod clients;
mod config;
mod count;
mod failure;
mod import;
mod listeners;
mod modules;
mod mqtt;
mod observe;
mod passwd;
mod print;
mod sessions;
mod shell;
mod store;
mod subscriptions;
mod top;
mod topics;
mod trace;
mod tune;
mod users;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use api::Reach;
use print::{Console, Paging};

/// Runs and looks after Myriad, the MQTT broker.
#[derive(Debug, Parser)]
#[command(name = "myriadctl", version, after_help = failure::STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON: one document, the API's own fields.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Whether a broker runs and is ready. Exit status 1: it runs and is not ready.
    Status,
    /// What the broker is, what it holds and counts.
    Broker(broker::Arguments),
    /// A live view of the broker.
    Top(top::Arguments),
    /// Who is connected: list, show, kick.
    Clients(clients::Arguments),
    /// Sessions: list, show, discard.
    Sessions(sessions::Arguments),
    /// Subscriptions: list, show, add, del.
    Subscriptions(subscriptions::Arguments),
    /// Topic Filters in use: list, show.
    Topics(topics::Arguments),
    /// Retained Messages: list, get, del.
    Retained(topics::RetainedArguments),
    /// Where the broker listens: list, stop, start.
    Listeners(listeners::Arguments),
    /// Follows a client, a topic or an address.
    Trace(trace::Arguments),
    /// Subscribers that fall behind, worst first.
    Slow,
    /// What is wrong at the moment. Exit status 1: something is.
    Alarms(observe::AlarmArguments),
    /// Counts the messages of chosen Topic Filters.
    TopicMetrics(observe::TopicArguments),
    /// Who is kept out: list, add, lift.
    Bans(bans::Arguments),
    /// The rules of who may do what: reload, check.
    Acl(users::AclArguments),
    /// The users of the admin side: list, add, del.
    Users(users::Arguments),
    /// The configuration: check, show, reload.
    Config(config::Arguments),
    /// Sends clients away evenly, before a restart.
    Drain(modules::DrainArguments),
    /// Bridges to other brokers: list, start, stop.
    Bridges(modules::BridgeArguments),
    /// What clients are subscribed to when they connect: list, add, del.
    AutoSubscriptions(modules::AutoArguments),
    /// Messages that are to be published later.
    Delayed(Paging),
    /// Where events are posted to.
    Webhooks,
    /// Publishes messages, as any MQTT client.
    Publish(mqtt::PublishArguments),
    /// Subscribes and prints messages, as any MQTT client.
    Subscribe(mqtt::SubscribeArguments),
    /// What outlasts the broker's process: check it, measure it, back it up.
    Store(store::Arguments),
    /// The users of a password file for MQTT clients: add, change, delete.
    Passwd(passwd::Arguments),
    /// The settings of the kernel and of systemd that so many connections need: compare, print or apply them.
    Tune(tune::Arguments),
    /// Makes a configuration from that of Mosquitto or emqttd.
    Import(import::Arguments),
    /// Prints a script that completes this command line.
    Completions(shell::CompletionArguments),
    /// Prints the manual page.
    Man(shell::ManArguments),
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let console = Console { reach: &cli.reach, json: cli.json };
    match &cli.command {
        Command::Status => broker::status(&console),
        Command::Broker(arguments) => broker::run(arguments, &console),
        Command::Top(arguments) => top::run(arguments, &console),
        Command::Clients(arguments) => clients::run(arguments, &console),
        Command::Sessions(arguments) => sessions::run(arguments, &console),
        Command::Subscriptions(arguments) => subscriptions::run(arguments, &console),
        Command::Topics(arguments) => topics::run(arguments, &console),
        Command::Retained(arguments) => topics::retained(arguments, &console),
        Command::Listeners(arguments) => listeners::run(arguments, &console),
        Command::Trace(arguments) => trace::run(arguments, &console),
        Command::Slow => observe::slow(&console),
        Command::Alarms(arguments) => observe::alarms(arguments, &console),
        Command::TopicMetrics(arguments) => observe::topic_metrics(arguments, &console),
        Command::Bans(arguments) => bans::run(arguments, &console),
        Command::Acl(arguments) => users::acl(arguments, &console),
        Command::Users(arguments) => users::run(arguments, &console),
        Command::Config(arguments) => config::run(arguments, &console),
        Command::Drain(arguments) => modules::drain(arguments, &console),
        Command::Bridges(arguments) => modules::bridges(arguments, &console),
        Command::AutoSubscriptions(arguments) => modules::auto_subscriptions(arguments, &console),
        Command::Delayed(paging) => modules::delayed(paging, &console),
        Command::Webhooks => modules::webhooks(&console),
        Command::Publish(arguments) => mqtt::publish(arguments),
        Command::Subscribe(arguments) => mqtt::subscribe(arguments, &console),
        Command::Store(arguments) => store::run(arguments, &console),
        Command::Passwd(arguments) => passwd::run(arguments),
        Command::Tune(arguments) => tune::run(arguments, cli.json),
        Command::Import(arguments) => import::run(arguments, &console),
        Command::Completions(arguments) => shell::completions(arguments, Cli::command()),
        Command::Man(arguments) => shell::man(arguments, Cli::command()),
    }
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| {
        if failure::is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("myriadctl: {error:#}");
        ExitCode::from(failure::status_of(&error) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
