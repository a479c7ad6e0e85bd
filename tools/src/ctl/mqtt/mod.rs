//! `myriadctl publish` and `subscribe`: an MQTT client of 3.1, 3.1.1 and 5.0, with the options that mosquitto_pub and
//! mosquitto_sub have. `link` is the socket, `client` the protocol, `publish` and `subscribe` what is done with it.

mod client;
mod link;
mod publish;
mod subscribe;

use std::path::PathBuf;

use myriad::packet::{ProtocolVersion, QoS};

pub(crate) use publish::{Arguments as PublishArguments, run as publish};
pub(crate) use subscribe::{Arguments as SubscribeArguments, run as subscribe};

/// Where to connect to, and as who.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Options {
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Host of the broker.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// Its port [default: 1883, with --tls 8883].
    #[arg(short, long)]
    port: Option<u16>,
    /// Client Identifier; without one the broker makes one (3.1: it is made here).
    #[arg(short = 'i', long = "id", value_name = "ID")]
    client_id: Option<String>,
    /// User Name.
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password; MYRIAD_MQTT_PASSWORD keeps it out of the list of processes.
    #[arg(short = 'P', long)]
    password: Option<String>,
    /// Version of the protocol.
    #[arg(short = 'V', long, value_name = "3.1|3.1.1|5", default_value = "5", value_parser = version)]
    mqtt_version: ProtocolVersion,
    /// Keep Alive in seconds; 0: none.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keep_alive: u16,
    /// Longest wait for the broker, in seconds.
    #[arg(long = "connect-timeout", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Use TLS; the system's authorities are believed, or those of --cafile.
    #[arg(long)]
    tls: bool,
    /// PEM file of the authorities that are believed; implies --tls.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// PEM file of the client's own certificates; implies --tls.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of their private key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Topic of the Will.
    #[arg(long, value_name = "TOPIC")]
    will_topic: Option<String>,
    /// Payload of the Will.
    #[arg(long, value_name = "TEXT", requires = "will_topic", default_value = "", hide_default_value = true)]
    will_payload: String,
    /// QoS of the Will.
    #[arg(long, value_name = "QOS", requires = "will_topic", default_value = "0", value_parser = quality)]
    will_qos: QoS,
    /// Retain the Will.
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
}

impl Options {
    fn is_tls(&self) -> bool {
        self.tls || self.cafile.is_some() || self.cert.is_some()
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_tls() { 8883 } else { 1883 })
    }
}

fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "3.1" | "31" | "mqttv31" => Ok(ProtocolVersion::V31),
        "3.1.1" | "311" | "4" | "mqttv311" => Ok(ProtocolVersion::V311),
        "5" | "5.0" | "mqttv5" => Ok(ProtocolVersion::V5),
        _ => Err("expected 3.1, 3.1.1 or 5".into()),
    }
}

fn quality(text: &str) -> Result<QoS, String> {
    let qos = text.parse().ok().filter(|n| *n <= 2).and_then(QoS::from_bits);
    qos.ok_or_else(|| "expected 0, 1 or 2".into())
}
