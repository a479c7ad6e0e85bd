//! Messages that operators publish: one, many, and the form that emqttd had.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::brief;
use super::extract::{Form, Json};
use super::failure::Failure;
use crate::admin::desk::Desk;
use crate::broker::inspect::{Changed, Publishing};
use crate::broker::{Answer, Question};
use crate::packet::{Forwarded, ForwardedProperties, QoS, ReasonCode};

/// Messages of one batch.
const BATCH_MAX: usize = 1000;
/// How often a busy shard is asked again, and how long between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// How long the messages of one request may take together; less than the request may.
const BATCH_TIME: Duration = Duration::from_secs(30);

/// A message.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
struct NewMessage {
    /// Topic Name.
    #[schema(example = "sensors/1")]
    topic: String,
    /// Payload as text; left out with `payload_base64`: empty.
    payload: Option<String>,
    /// Payload as base64, in place of `payload`.
    payload_base64: Option<String>,
    /// 0, 1 or 2.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    qos: u8,
    /// Retain it; without a payload the retained message of the topic ends.
    #[serde(default)]
    retain: bool,
    /// Content Type.
    content_type: Option<String>,
    /// Seconds after which it is not delivered any more.
    message_expiry_s: Option<u32>,
    /// User Properties, names and values.
    #[serde(default)]
    user_properties: Vec<(String, String)>,
    /// Who sends it, for the audit log.
    client_id: Option<String>,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
struct Published {
    /// It is on its way. Whether it is on disk is not waited for.
    accepted: bool,
    /// How many will receive it is not known: other shards have it in a moment.
    receivers_known: bool,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
struct Batch {
    /// How many are on their way.
    accepted: usize,
    /// The others.
    errors: Vec<BatchError>,
}

/// A message of a batch that was not published.
#[derive(Debug, Serialize, ToSchema)]
struct BatchError {
    /// Its place in the batch, from 0.
    index: usize,
    /// Why not.
    error: String,
}

/// A message as emqttd's clients send it, as a form or as JSON.
#[derive(Debug, Clone, Deserialize, ToSchema)]
struct OldMessage {
    /// Who sends it.
    client: Option<String>,
    /// 0, 1 or 2; as a number or as text.
    #[serde(default)]
    #[schema(value_type = Option<u8>)]
    qos: Option<serde_json::Value>,
    /// 0 or 1, true or false; as such or as text.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    retain: Option<serde_json::Value>,
    /// Topic Name.
    topic: Option<String>,
    /// Topic Names with commas between them, in place of `topic`.
    topics: Option<String>,
    /// Payload.
    #[serde(default)]
    message: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(publish)).routes(routes!(batch)).routes(routes!(old))
}

impl NewMessage {
    fn into_publishing(self) -> Result<Publishing, Failure> {
        let payload = match (self.payload, self.payload_base64) {
            (Some(_), Some(_)) => {
                return Err(Failure::bad_request(
                    "payload and payload_base64 are two ways to say the same; give one",
                ));
            }
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map_err(|error| Failure::bad_request(format!("payload_base64: expected base64: {error}")))?,
            (None, None) => Vec::new(),
        };
        let qos = Some(self.qos)
            .filter(|qos| *qos <= 2)
            .and_then(QoS::from_bits)
            .ok_or_else(|| Failure::bad_request(format!("qos: expected 0, 1 or 2, not {}", self.qos)))?;
        let is_mqtt = |text: &str| text.len() <= usize::from(u16::MAX) && !text.contains('\0');
        let pairs: Vec<(&str, &str)> =
            self.user_properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let texts =
            pairs.iter().flat_map(|(name, value)| [*name, *value]).chain(self.content_type.as_deref());
        if !texts.into_iter().all(is_mqtt) {
            return Err(Failure::bad_request(
                "user_properties and content_type: expected texts of at most 65535 bytes without U+0000",
            ));
        }
        let properties = ForwardedProperties {
            content_type: self.content_type.as_deref(),
            user_properties: &pairs,
            ..ForwardedProperties::default()
        };
        let mut forwarded = Vec::new();
        Forwarded::encode(&properties, &mut forwarded);
        Ok(Publishing {
            topic: self.topic.into(),
            payload: payload.into(),
            forwarded: forwarded.into(),
            qos,
            retain: self.retain,
            expiry_s: self.message_expiry_s,
        })
    }
}

/// Publishes on the shard of the topic; a busy one is asked again for a while.
async fn send(desk: &Desk, publishing: Publishing) -> Result<(), Failure> {
    let shard = desk.shared.placement.slice_of(&publishing.topic);
    for _ in 0..TRIES {
        let question = Question::Publish(Box::new(publishing.clone()));
        match desk.ask(shard, question).await? {
            Answer::Changed(Changed::Unavailable) => tokio::time::sleep(PAUSE).await,
            Answer::Changed(Changed::Refused(reason)) => return Err(refused(&publishing, reason)),
            _ => return Ok(()),
        }
    }
    Err(Failure::unavailable("the broker is overloaded, or its disk takes nothing; try again later"))
}

fn refused(publishing: &Publishing, reason: ReasonCode) -> Failure {
    let topic = brief(&publishing.topic);
    match reason {
        ReasonCode::PacketTooLarge => {
            Failure::too_large("the message is larger than limits.packet_bytes_max; send less or raise that")
        }
        ReasonCode::NotAuthorized => {
            Failure::forbidden(format!("{topic:?}: only the broker speaks below $SYS/"))
        }
        ReasonCode::RetainNotSupported => {
            Failure::conflict("mqtt.retain_available is false: nothing is retained")
        }
        _ => Failure::bad_request(format!(
            "topic: expected a Topic Name without wildcards and U+0000, within limits.topic_len_max and \
             limits.topic_levels_max, not {topic:?}"
        )),
    }
}

/// Publish a message
#[utoipa::path(
    post, path = "/api/v1/publish", tag = "publish", request_body = NewMessage,
    responses((status = 200, body = Published)),
)]
async fn publish(
    State(desk): State<Arc<Desk>>,
    Json(message): Json<NewMessage>,
) -> Result<Json<Published>, Failure> {
    let client_id = message.client_id.as_deref().map(brief);
    tracing::info!(target: "audit", event = "publish", topic = brief(&message.topic), ?client_id);
    send(&desk, message.into_publishing()?).await?;
    Ok(Json(Published { accepted: true, receivers_known: false }))
}

/// Publish up to 1000 messages
///
/// In their order. One that can't be published does not stop the next; but when the broker is overloaded, or after half a minute, the
/// rest is not tried: it is in `errors` too.
#[utoipa::path(
    post, path = "/api/v1/publish/batch", tag = "publish", request_body = Vec<NewMessage>,
    responses((status = 200, body = Batch)),
)]
async fn batch(
    State(desk): State<Arc<Desk>>,
    Json(messages): Json<Vec<NewMessage>>,
) -> Result<Json<Batch>, Failure> {
    if messages.len() > BATCH_MAX {
        return Err(Failure::too_large(format!("a batch has at most {BATCH_MAX} messages")));
    }
    let deadline = Instant::now() + BATCH_TIME;
    let mut is_given_up = false;
    let mut done = Batch { accepted: 0, errors: Vec::new() };
    for (index, message) in messages.into_iter().enumerate() {
        if is_given_up || Instant::now() >= deadline {
            is_given_up = true;
            let error = "not tried: the broker was overloaded before; try again later".to_owned();
            done.errors.push(BatchError { index, error });
            continue;
        }
        let sent = match message.into_publishing() {
            Ok(publishing) => send(&desk, publishing).await,
            Err(failure) => Err(failure),
        };
        match sent {
            Ok(()) => done.accepted += 1,
            Err(failure) => {
                is_given_up = failure.is_unavailable();
                done.errors.push(BatchError { index, error: failure.to_string() });
            }
        }
    }
    Ok(Json(done))
}

/// A number, a flag or their text, as forms and emqttd's clients send them.
fn number(value: Option<&serde_json::Value>) -> Option<u8> {
    match value {
        None | Some(serde_json::Value::Null) => Some(0),
        Some(serde_json::Value::Bool(flag)) => Some(u8::from(*flag)),
        Some(serde_json::Value::Number(number)) => number.as_u64().and_then(|n| u8::try_from(n).ok()),
        Some(serde_json::Value::String(text)) => match text.as_str() {
            "" | "false" => Some(0),
            "true" => Some(1),
            text => text.parse().ok(),
        },
        Some(_) => None,
    }
}

/// Publish a message, as emqttd had it
///
/// A form or JSON; answers `ok`.
#[utoipa::path(
    post, path = "/mqtt/publish", tag = "publish",
    request_body(content(
        (OldMessage = "application/json"),
        (OldMessage = "application/x-www-form-urlencoded"),
    )),
    responses((status = 200, body = String, content_type = "text/plain", description = "It is on its way")),
)]
async fn old(State(desk): State<Arc<Desk>>, request: Request) -> Result<(StatusCode, &'static str), Failure> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_form = kind.is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let message = match is_form {
        true => {
            let Form(message) = Form::<OldMessage>::from_request(request, &()).await?;
            message
        }
        false => {
            let Json(message) = Json::<OldMessage>::from_request(request, &()).await?;
            message
        }
    };
    let qos = number(message.qos.as_ref()).filter(|qos| *qos <= 2);
    let qos = qos.ok_or_else(|| Failure::bad_request("qos: expected 0, 1 or 2"))?;
    let retain = number(message.retain.as_ref()).filter(|retain| *retain <= 1);
    let retain = retain.ok_or_else(|| Failure::bad_request("retain: expected 0 or 1"))? == 1;
    let topics: Vec<&str> = match (&message.topic, &message.topics) {
        (Some(topic), None) => vec![topic],
        (None, Some(topics)) => topics.split(',').collect(),
        _ => return Err(Failure::bad_request("expected topic, or topics with commas between them")),
    };
    if topics.len() > BATCH_MAX {
        return Err(Failure::too_large(format!("at most {BATCH_MAX} topics")));
    }
    let said = message.topic.as_deref().or(message.topics.as_deref()).map_or("", brief);
    let client_id = message.client.as_deref().map(brief);
    tracing::info!(target: "audit", event = "publish", topics = said, ?client_id);
    let deadline = Instant::now() + BATCH_TIME;
    for topic in topics {
        if Instant::now() >= deadline {
            return Err(Failure::unavailable(format!(
                "the broker is overloaded: {:?} and what follows it was not published",
                brief(topic)
            )));
        }
        let payload = Some(message.message.clone());
        let new = NewMessage { topic: topic.into(), payload, qos, retain, ..NewMessage::default() };
        send(&desk, new.into_publishing()?).await?;
    }
    Ok((StatusCode::OK, "ok"))
}
