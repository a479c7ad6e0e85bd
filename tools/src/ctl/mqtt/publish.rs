//! `myriadctl publish`: one message, or each line of standard input; ends when all are acknowledged.

use std::collections::HashMap;
use std::io::{BufRead, Read, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use myriad::packet::{
    Forwarded, ForwardedProperties, Packet, PacketId, PublishHead, QoS, ReasonCode, encode_publish_head,
    encode_pubrel,
};
use myriad::topic::{TopicLimits, check_name};

use super::client::{Client, Wanted};
use super::{Options, quality};
use crate::failure::{Failure, Status};

/// Messages under way at a time.
const WINDOW: usize = 100;

/// Of `myriadctl publish`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Topic Name.
    #[arg(short, long)]
    topic: String,
    /// QoS: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = quality)]
    qos: QoS,
    /// Retain it.
    #[arg(short, long)]
    retain: bool,
    #[command(flatten)]
    payload: Payload,
    /// Seconds after which subscribers do not want it any more (5.0).
    #[arg(long, value_name = "SECONDS")]
    expiry: Option<u32>,
    /// Content Type (5.0).
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Response Topic (5.0).
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,
    /// A User Property (5.0); may be repeated.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = pair)]
    properties: Vec<(String, String)>,
    #[command(flatten)]
    options: Options,
}

/// What is published: exactly one of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Payload {
    /// The payload.
    #[arg(short, long)]
    message: Option<String>,
    /// What is in a file.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// All of standard input.
    #[arg(short, long)]
    stdin: bool,
    /// A message for each line of standard input.
    #[arg(short, long)]
    lines: bool,
    /// An empty payload; with --retain it deletes what is retained.
    #[arg(short, long)]
    null: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts.map(|(name, value)| (name.into(), value.into())).ok_or_else(|| "expected NAME=VALUE".into())
}

/// Does it. Exit status 5: the broker does not let this client publish there.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Err(error) = check_name(&arguments.topic, &TopicLimits::default()) {
        return Err(Failure::new(Status::Usage, format!("--topic {:?}: {error}", arguments.topic)).into());
    }
    let first = first_payload(&arguments.payload)?;
    let mut sender = Sender::new(arguments)?;
    match first {
        Some(payload) => sender.publish(&payload)?,
        None => {
            for line in stdin().lock().split(b'\n') {
                sender.publish(&line.context("standard input")?)?;
            }
        }
    }
    sender.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The only payload; `None`: there are lines.
fn first_payload(payload: &Payload) -> Result<Option<Vec<u8>>> {
    Ok(Some(match payload {
        Payload { message: Some(text), .. } => text.clone().into_bytes(),
        Payload { file: Some(path), .. } => {
            std::fs::read(path).with_context(|| path.display().to_string())?
        }
        Payload { stdin: true, .. } => {
            let mut all = Vec::new();
            stdin().lock().read_to_end(&mut all).context("standard input")?;
            all
        }
        Payload { lines: true, .. } => return Ok(None),
        _ => Vec::new(),
    }))
}

/// A client with messages under way.
struct Sender<'a> {
    arguments: &'a Arguments,
    client: Client,
    /// Encoded properties of each message.
    properties: Vec<u8>,
    /// Those that are not done, and whether PUBREL was sent.
    waiting: HashMap<PacketId, bool>,
    refused: Option<ReasonCode>,
}

impl<'a> Sender<'a> {
    fn new(arguments: &'a Arguments) -> Result<Self> {
        let user: Vec<(&str, &str)> =
            arguments.properties.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let properties = ForwardedProperties {
            content_type: arguments.content_type.as_deref(),
            response_topic: arguments.response_topic.as_deref(),
            user_properties: &user,
            ..ForwardedProperties::default()
        };
        let mut encoded = Vec::new();
        Forwarded::encode(&properties, &mut encoded);
        let is_v5 = arguments.options.mqtt_version.is_v5();
        if !is_v5 && (!encoded.is_empty() || arguments.expiry.is_some()) {
            let line = "--expiry, --content-type, --response-topic and --property need --mqtt-version 5";
            return Err(Failure::new(Status::Usage, line).into());
        }
        let wanted = Wanted { clean_start: true, session_expiry_s: None };
        let client = Client::connect(&arguments.options, &wanted)?;
        Ok(Self { arguments, client, properties: encoded, waiting: HashMap::new(), refused: None })
    }

    fn publish(&mut self, payload: &[u8]) -> Result<()> {
        let arguments = self.arguments;
        let window = WINDOW.min(usize::from(self.client.receive_max));
        while self.waiting.len() >= window {
            self.receive()?;
        }
        let packet_id = (arguments.qos != QoS::AtMostOnce).then(|| self.client.next_id());
        let head = PublishHead {
            version: self.client.version,
            dup: false,
            qos: arguments.qos,
            retain: arguments.retain,
            topic: &arguments.topic,
            packet_id,
            expiry_s: arguments.expiry,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: &self.properties,
            payload_len: payload.len(),
        };
        let mut packet = Vec::new();
        encode_publish_head(&head, &mut packet).context("the payload is too large for MQTT")?;
        packet.extend_from_slice(payload);
        self.client.send(&packet)?;
        self.waiting.extend(packet_id.map(|id| (id, false)));
        Ok(())
    }

    /// Waits for an acknowledgement.
    fn receive(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(self.arguments.options.patience);
        let Some(packet) = self.client.receive(Some(deadline))? else {
            bail!("the broker did not acknowledge {} messages in time", self.waiting.len());
        };
        match self.client.read(&packet)? {
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                self.waiting.remove(&ack.packet_id);
                self.note(ack.reason);
            }
            Packet::PubRec(ack) if ack.reason.is_failure() => {
                self.waiting.remove(&ack.packet_id);
                self.note(ack.reason);
            }
            Packet::PubRec(ack) => {
                self.waiting.insert(ack.packet_id, true);
                let mut release = Vec::new();
                encode_pubrel(self.client.version, ack.packet_id, ReasonCode::Success, &mut release);
                self.client.send(&release)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, reason: ReasonCode) {
        if reason.is_failure() {
            self.refused.get_or_insert(reason);
        }
    }

    /// Waits for all acknowledgements and disconnects.
    fn finish(mut self) -> Result<()> {
        while !self.waiting.is_empty() {
            self.receive()?;
        }
        self.client.disconnect()?;
        let Some(reason) = self.refused else { return Ok(()) };
        let status = if reason == ReasonCode::NotAuthorized { Status::Refused } else { Status::Failed };
        let line = format!("the broker does not take this message: {reason}");
        Err(Failure::new(status, line).into())
    }
}
