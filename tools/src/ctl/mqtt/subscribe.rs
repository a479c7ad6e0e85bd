//! `myriadctl subscribe`: prints what is published, a line a message, until it has enough.

use std::collections::HashSet;
use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use myriad::packet::{
    Packet, PacketId, Publish, QoS, ReasonCode, Subscription, SubscriptionOptions, UserProperties,
    encode_puback, encode_pubcomp, encode_pubrec, encode_subscribe,
};
use myriad::topic::{TopicLimits, check_filter};
use serde_json::{Value, json};

use super::client::{Client, Wanted};
use super::{Options, quality};
use crate::failure::{Failure, Status};
use crate::print::{Console, visible};

/// Of `myriadctl subscribe`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Topic Filter; may be repeated.
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    topics: Vec<String>,
    /// Highest QoS wanted: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = quality)]
    qos: QoS,
    /// End after so many messages.
    #[arg(short = 'C', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds; with --count it is exit status 1 if fewer messages came.
    #[arg(short = 'W', long = "wait", value_name = "SECONDS")]
    wait_s: Option<u64>,
    /// Print the topic before the payload.
    #[arg(short, long)]
    verbose: bool,
    /// Leave out Retained Messages that were there before.
    #[arg(short = 'R', long)]
    no_retained: bool,
    /// Go on with the session that --id had, and keep it for so many seconds after the end (3.x: as long as the broker does).
    #[arg(long, value_name = "SECONDS", requires = "client_id")]
    keep_session: Option<u32>,
    #[command(flatten)]
    options: Options,
}

/// Does it. Exit status 5: the broker does not let this client subscribe.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    for filter in &arguments.topics {
        let inner =
            myriad::topic::parse_share(filter).ok().flatten().map_or(filter.as_str(), |share| share.filter);
        if let Err(error) = check_filter(inner, &TopicLimits::default()) {
            return Err(Failure::new(Status::Usage, format!("--topic {filter:?}: {error}")).into());
        }
    }
    let wanted =
        Wanted { clean_start: arguments.keep_session.is_none(), session_expiry_s: arguments.keep_session };
    let mut client = Client::connect(&arguments.options, &wanted)?;
    let mut packet = Vec::new();
    let options = SubscriptionOptions { qos: arguments.qos, ..SubscriptionOptions::default() };
    let entries = arguments.topics.iter().map(|filter| Subscription { filter, options });
    encode_subscribe(client.version, PacketId::FIRST, None, &UserProperties::default(), entries, &mut packet);
    client.send(&packet)?;
    let deadline = arguments.wait_s.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut receiver = Receiver { arguments, json: console.json, released: HashSet::new(), seen: 0 };
    while arguments.count.is_none_or(|count| receiver.seen < count) {
        let Some(packet) = client.receive(deadline)? else { break };
        receiver.handle(&mut client, &packet)?;
    }
    client.disconnect()?;
    if let Some(count) = arguments.count.filter(|count| receiver.seen < *count) {
        bail!("only {} of {count} messages came in time", receiver.seen);
    }
    Ok(ExitCode::SUCCESS)
}

struct Receiver<'a> {
    arguments: &'a Arguments,
    json: bool,
    /// Messages of QoS 2 that were printed and are not released yet: a repetition is not printed again.
    released: HashSet<PacketId>,
    seen: u64,
}

impl Receiver<'_> {
    fn handle(&mut self, client: &mut Client, packet: &[u8]) -> Result<()> {
        let mut answer = Vec::new();
        match client.read(packet)? {
            Packet::SubAck(suback) => self.check(suback.reasons.iter())?,
            Packet::Publish(publish) => {
                let is_new = match (publish.qos, publish.packet_id) {
                    (QoS::ExactlyOnce, Some(id)) => self.released.insert(id),
                    _ => true,
                };
                if is_new {
                    self.print(&publish)?;
                }
                match (publish.qos, publish.packet_id) {
                    (QoS::AtLeastOnce, Some(id)) => {
                        encode_puback(client.version, id, ReasonCode::Success, &mut answer);
                    }
                    (QoS::ExactlyOnce, Some(id)) => {
                        encode_pubrec(client.version, id, ReasonCode::Success, &mut answer);
                    }
                    _ => {}
                }
            }
            Packet::PubRel(ack) => {
                self.released.remove(&ack.packet_id);
                encode_pubcomp(client.version, ack.packet_id, ReasonCode::Success, &mut answer);
            }
            _ => {}
        }
        if answer.is_empty() { Ok(()) } else { client.send(&answer) }
    }

    fn check(&self, reasons: impl Iterator<Item = ReasonCode>) -> Result<()> {
        for (filter, reason) in self.arguments.topics.iter().zip(reasons) {
            if reason.is_failure() {
                let line = format!("the broker does not subscribe to {filter:?}: {reason}");
                return Err(Failure::new(Status::Refused, line).into());
            }
        }
        Ok(())
    }

    fn print(&mut self, publish: &Publish<'_>) -> Result<()> {
        if publish.retain && self.arguments.no_retained {
            return Ok(());
        }
        self.seen += 1;
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{}", as_json(publish))?;
        } else {
            if self.arguments.verbose {
                write!(out, "{} ", visible(publish.topic))?;
            }
            if out.is_terminal() {
                out.write_all(visible(&String::from_utf8_lossy(publish.payload)).as_bytes())?;
            } else {
                out.write_all(publish.payload)?;
            }
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }
}

fn as_json(publish: &Publish<'_>) -> Value {
    let mut message = json!({
        "topic": publish.topic,
        "qos": u8::from(publish.qos),
        "retain": publish.retain,
    });
    match std::str::from_utf8(publish.payload) {
        Ok(text) => message["payload"] = text.into(),
        Err(_) => message["payload_base64"] = STANDARD.encode(publish.payload).into(),
    }
    let properties = [
        ("content_type", publish.forwarded.content_type()),
        ("response_topic", publish.forwarded.response_topic()),
    ];
    for (name, value) in properties {
        if let Some(value) = value {
            message[name] = value.into();
        }
    }
    message
}
