//! Authentication of a connection between its CONNECT and the rest: who is asked, what is kept meanwhile, what the
//! verdict means; and AUTH, before CONNACK and after (MQTT 5.0 section 4.12). It happens on the shard that accepted the
//! connection, before its hand-over and before any takeover: whoever fails here has disturbed nobody's session.

use std::sync::Arc;

use super::Broker;
use super::disconnect::End;
use super::effects::{Close, Effects};
use super::mount::client_id_of;
use super::receive::Flow;
use crate::auth::{
    Answer, Credentials, Exchange, ExchangeStep, Identity, Method, PeerCertificate, Question, Refusal,
    SCRAM_SHA_256, Step, Verdict,
};
use crate::clock::Timestamp;
use crate::config::{Listener, TokenFrom};
use crate::connection::{Error, Phase};
use crate::packet::{self, Auth, Connect, Disconnect, Frame, ReasonCode, UserProperties, connect};
use crate::session::ConnectionId;

/// Bytes of an unverified User Name in a log.
const USERNAME_SHOWN_MAX: usize = 64;

/// What is kept of a connection while it is not plain whether, and as whom, it may come in.
#[derive(Debug)]
pub(super) struct Handshake {
    /// Whose: the name's generation.
    generation: u32,
    /// What TLS says of it.
    certificate: Option<Box<PeerCertificate>>,
    stage: Stage,
}

/// How far it has come.
#[derive(Debug)]
enum Stage {
    /// CONNECT has not come.
    Before,
    /// The verdict is to come; CONNECT waits with the connection.
    Pending {
        /// Goes with the connection: then nobody works for its verdict any more.
        _question: Question,
    },
    /// It has come.
    Decided(Verdict),
    /// The client's next AUTH is to come; here is its CONNECT.
    Exchange { connect: Vec<u8>, exchange: Box<Exchange> },
    /// It is connected and authenticates again.
    Again(Box<Exchange>),
    /// It is let in; CONNACK says this.
    Answered(Vec<u8>),
}

/// Whether a CONNECT may be handled.
pub(super) enum Admission {
    /// It may; the connection has its identity.
    Granted,
    /// Not yet: it is to be handled again later.
    Waits,
    /// Not yet: the client has to say more. CONNECT is kept.
    GoesOn,
    /// Never.
    Refused(Refusal),
}

impl Broker {
    /// What TLS says of a client. It is kept until CONNECT has been handled.
    pub(super) fn certified(&mut self, id: ConnectionId, certificate: Box<PeerCertificate>) {
        let connection = self.clients.connections.get(id);
        if let Some(connection) = connection.filter(|connection| connection.phase == Phase::Opening) {
            let listener = self.config().listeners.get(usize::from(connection.listener));
            let names_it = listener.is_some_and(Listener::mounts_by_certificate);
            if let Some(connection) = self.clients.connections.get_mut(id).filter(|_| names_it) {
                // Its home asks for it, where the certificate does not come along.
                let subject = Some(Box::new(certificate.names.clone()));
                connection.allowance.get_or_insert_default().subject = subject;
            }
            let handshake =
                Handshake { generation: id.generation, certificate: Some(certificate), stage: Stage::Before };
            self.handshakes.insert(id.index, Box::new(handshake));
        }
    }

    /// Forgets what was kept of a connection's handshake.
    pub(super) fn end_handshake(&mut self, id: ConnectionId) {
        if !self.handshakes.is_empty() {
            self.handshakes.remove(&id.index);
        }
    }

    /// The Authentication Data for a CONNACK.
    pub(super) fn take_authentication_data(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        if self.handshakes.is_empty() {
            return None;
        }
        match self.handshakes.remove(&id.index)?.stage {
            Stage::Answered(data) => Some(data),
            _ => None,
        }
    }

    /// A connection from the shard that authenticated it.
    pub(super) fn admit_as(
        &mut self,
        id: ConnectionId,
        identity: Option<Arc<Identity>>,
        authentication_data: Option<Vec<u8>>,
    ) {
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.phase = Phase::Admitted;
            connection.identity = identity;
            if let Some(data) = authentication_data {
                self.set_stage(id, Stage::Answered(data));
            }
        }
    }

    /// The CONNECT that was kept for a client which has now proved who it is.
    pub(super) fn authenticate<E: Effects>(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        connect: &Connect<'_>,
        fx: &mut E,
    ) -> Admission {
        let Some(connection) = self.clients.connections.get(id) else { return Admission::Waits };
        match connection.phase {
            Phase::Admitted | Phase::Committing | Phase::Connected => return Admission::Granted,
            Phase::Authenticating => {
                return match self.take_verdict(id) {
                    Some(verdict) => self.decide(id, connect, verdict),
                    None => Admission::Waits,
                };
            }
            Phase::Opening => {}
        }
        if self.is_bridge(id) {
            return self.grant_to(id, connect, self.bridge_identity());
        }
        if !self.config().auth.is_configured() {
            return self.decide(id, connect, Verdict::Ignore);
        }
        let certificate =
            self.handshakes.get(&id.index).and_then(|handshake| handshake.certificate.as_deref());
        let credentials = Credentials {
            client_id: connect.client_id,
            username: connect.username,
            password: connect.password,
            remote: connection.remote.into(),
            listener: connection.listener,
            certificate,
        };
        if connect.authentication_method.is_some() {
            let data = connect.authentication_data.unwrap_or_default();
            let step = fx.exchange(&credentials, ExchangeStep::First(data));
            return self.step_of_connect(id, bytes.to_vec(), step, fx);
        }
        match fx.authenticate(id, &credentials) {
            Answer::Now(verdict) => self.decide(id, connect, verdict),
            Answer::Later(question) => {
                self.set_stage(id, Stage::Pending { _question: question });
                self.set_phase(id, Phase::Authenticating);
                Admission::Waits
            }
        }
    }

    /// What a verdict means for a CONNECT.
    fn decide(&mut self, id: ConnectionId, connect: &Connect<'_>, verdict: Verdict) -> Admission {
        let has_credentials = connect.username.is_some() || connect.password.is_some();
        let is_configured = self.config().auth.is_configured();
        let refusal = match verdict {
            Verdict::Allow(identity) => return self.grant_to(id, connect, identity),
            Verdict::Deny(refusal) => refusal,
            Verdict::Ignore if !is_configured && self.allows_strangers(id) => {
                // Without authentication nobody looks at what a client shows.
                self.set_phase(id, Phase::Admitted);
                return Admission::Granted;
            }
            Verdict::Ignore if !is_configured => Refusal::not_authorized(
                "authentication was configured away, and strangers can reach the listener",
            ),
            Verdict::Ignore if has_credentials => Refusal::bad_credentials("no method knows the client"),
            Verdict::Ignore if self.allows_anonymous(id) => {
                self.metrics().auth_anonymous.inc();
                self.set_phase(id, Phase::Admitted);
                return Admission::Granted;
            }
            Verdict::Ignore => {
                Refusal::not_authorized("no credentials, and the listener admits none without")
            }
        };
        self.metrics().auth_failure.inc();
        Admission::Refused(refusal)
    }

    /// Gives a connection its identity, if its Client Identifier is that of the credentials.
    fn grant_to(&mut self, id: ConnectionId, connect: &Connect<'_>, identity: Arc<Identity>) -> Admission {
        let is_other = |own: &str| !connect.client_id.is_empty() && connect.client_id != own;
        if identity.client_id.as_deref().is_some_and(is_other) {
            self.metrics().auth_failure.inc();
            let why = "the credentials belong to another Client Identifier".into();
            return Admission::Refused(Refusal { reason: ReasonCode::ClientIdentifierNotValid, why });
        }
        self.metrics().auth_success.inc();
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.identity = Some(identity);
            connection.phase = Phase::Admitted;
        }
        Admission::Granted
    }

    /// Whether everyone may come in by a listener while no authentication is configured. Such a configuration is refused
    /// at start and by `myriad check`; but a reload takes `[auth]` from the new file and keeps the old listeners.
    fn allows_strangers(&self, id: ConnectionId) -> bool {
        let listener = self.clients.connections.get(id).map(|connection| usize::from(connection.listener));
        let listener = listener.and_then(|index| self.config().listeners.get(index));
        listener.is_some_and(|listener| listener.allow_anonymous || listener.is_local())
    }

    fn allows_anonymous(&self, id: ConnectionId) -> bool {
        let listener = self.clients.connections.get(id).map(|connection| usize::from(connection.listener));
        listener.and_then(|index| self.config().listeners.get(index)).is_some_and(|l| l.allow_anonymous)
    }

    /// A verdict that took its time. Of a connection that has gone meanwhile nobody wants to know it. Where there is none
    /// (by the credentials of before a reload) its CONNECT is handled anew.
    pub(super) fn authenticated<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        verdict: Option<Verdict>,
        fx: &mut E,
    ) {
        let phase = self.clients.connections.get(id).map(|connection| connection.phase);
        if phase != Some(Phase::Authenticating) || !self.is_pending(id) {
            return;
        }
        match verdict {
            Some(verdict) => self.set_stage(id, Stage::Decided(verdict)),
            None => {
                self.set_stage(id, Stage::Before);
                self.set_phase(id, Phase::Opening);
            }
        }
        self.go_on(now, id, fx);
    }

    /// A client that waits for its verdict has closed its side: if it sent nothing but its CONNECT it is gone, and nobody has to
    /// find out who it was. One that sent more, without waiting [MQTT-3.1.4-5], may mean that.
    pub(super) fn peer_finished<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        let Some(connection) = self.clients.connections.get(id) else { return };
        if connection.phase != Phase::Authenticating || !self.is_pending(id) {
            return;
        }
        let bytes = connection.partial.as_deref().map_or(&[][..], Vec::as_slice);
        let packet_bytes_max = self.clients.grant(id).packet_bytes_max;
        if let Ok(Frame::Complete { header_len, body_len }) = packet::frame(bytes, packet_bytes_max)
            && header_len + body_len == bytes.len()
        {
            fx.close(id, Close::Abort);
            self.end_connection(now, id, End::Lost, fx);
        }
    }

    /// CONNACK with the reason, and the end.
    pub(super) fn turn_away<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        refusal: &Refusal,
        fx: &mut E,
    ) -> Flow {
        if let Some(connection) = self.clients.connections.get(id) {
            let remote: std::net::SocketAddr = connection.remote.into();
            let username = self.shown_username(connect.username.unwrap_or_default());
            let client_id = connect.client_id;
            tracing::debug!(%remote, client_id, username, why = %refusal.why, "authentication failed");
        }
        if is_fault_of_client(refusal) {
            self.authentication_failed(now, id, connect.client_id);
        }
        let who = (connect.version, connect.client_id);
        self.refuse_and_close(now, id, who, (refusal.reason, &refusal.why), fx)
    }

    /// What may stand in a log of a User Name that nobody verified: not all of a long one, nothing of what may be a token.
    fn shown_username<'u>(&self, username: &'u str) -> &'u str {
        let auth = &self.config().auth;
        if auth.asks("jwt") && auth.jwt.from == TokenFrom::Username {
            return "***";
        }
        let end = (0..=USERNAME_SHOWN_MAX).rev().find(|&end| username.is_char_boundary(end));
        username.get(..end.unwrap_or(0)).unwrap_or_default()
    }

    fn is_pending(&self, id: ConnectionId) -> bool {
        let handshake = self.handshakes.get(&id.index).filter(|h| h.generation == id.generation);
        handshake.is_some_and(|handshake| matches!(handshake.stage, Stage::Pending { .. }))
    }

    fn take_verdict(&mut self, id: ConnectionId) -> Option<Verdict> {
        let handshake = self.handshakes.get_mut(&id.index)?;
        match std::mem::replace(&mut handshake.stage, Stage::Before) {
            Stage::Decided(verdict) => Some(verdict),
            other => {
                handshake.stage = other;
                None
            }
        }
    }

    fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        let fresh =
            || Box::new(Handshake { generation: id.generation, certificate: None, stage: Stage::Before });
        self.handshakes.entry(id.index).or_insert_with(fresh).stage = stage;
    }

    fn set_phase(&mut self, id: ConnectionId, phase: Phase) {
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.phase = phase;
        }
    }
}

/// AUTH.
impl Broker {
    /// What the first step of an exchange came to.
    fn step_of_connect<E: Effects>(
        &mut self,
        id: ConnectionId,
        connect: Vec<u8>,
        step: Step,
        fx: &mut E,
    ) -> Admission {
        match step {
            Step::Continue { exchange, data } => {
                self.send_auth(id, ReasonCode::ContinueAuthentication, &data, fx);
                self.set_stage(id, Stage::Exchange { connect, exchange });
                self.set_phase(id, Phase::Authenticating);
                Admission::GoesOn
            }
            Step::Done { .. } => Admission::Refused(Refusal::bad_method("an exchange of one step")),
            Step::Refused(refusal) => {
                self.metrics().auth_failure.inc();
                Admission::Refused(refusal)
            }
        }
    }

    /// Whether a connection is in the middle of an exchange, so that its packets are AUTH or DISCONNECT.
    pub(super) fn is_exchanging(&self, id: ConnectionId) -> bool {
        let handshake = self.handshakes.get(&id.index).filter(|h| h.generation == id.generation);
        handshake.is_some_and(|handshake| matches!(handshake.stage, Stage::Exchange { .. }))
    }

    /// The CONNECT of a connection that goes home after its exchange.
    pub(super) fn take_kept_connect(&mut self, id: ConnectionId) -> Vec<u8> {
        std::mem::take(&mut self.kept_connect)
            .filter(|kept| kept.0 == id)
            .map(|kept| kept.1)
            .unwrap_or_default()
    }

    /// AUTH before CONNACK: the client's last step [MQTT-4.12.0-3]. Nothing but AUTH and DISCONNECT may come
    /// [MQTT-3.1.2-30].
    pub(super) fn exchange_packet<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        packet: &crate::packet::Packet<'_>,
        fx: &mut E,
    ) -> Flow {
        let auth = match packet {
            crate::packet::Packet::Auth(auth) => auth,
            crate::packet::Packet::Disconnect(Disconnect { .. }) => {
                self.metrics().packets_disconnect_received.inc();
                fx.close(id, Close::Flush);
                self.end_connection(now, id, End::Goodbye, fx);
                return Flow::Gone;
            }
            _ => {
                self.violation(now, id, "a packet other than AUTH before CONNACK [MQTT-3.1.2-30]", fx);
                return Flow::Gone;
            }
        };
        self.metrics().packets_auth.inc();
        if !continues(auth) {
            self.violation(now, id, "an AUTH that does not continue the exchange [MQTT-4.12.0-5]", fx);
            return Flow::Gone;
        }
        let Some(handshake) = self.handshakes.get_mut(&id.index) else { return Flow::Gone };
        let Stage::Exchange { connect: bytes, exchange } =
            std::mem::replace(&mut handshake.stage, Stage::Before)
        else {
            return Flow::Gone;
        };
        let Ok(connect) = connect::decode(&bytes) else { return Flow::Gone };
        let credentials = self.credentials_of(id, &connect);
        let step = fx.exchange(
            &credentials,
            ExchangeStep::Last(exchange, auth.authentication_data.unwrap_or_default()),
        );
        let refusal = match step {
            Step::Done { identity, data } => match self.grant_to(id, &connect, identity) {
                Admission::Granted => {
                    self.set_stage(id, Stage::Answered(data));
                    let flow = self.opening(now, id, &bytes, fx);
                    return match flow {
                        Flow::Leave(home) => {
                            self.kept_connect = Some((id, bytes));
                            Flow::LeaveBehind(home)
                        }
                        other => other,
                    };
                }
                Admission::Refused(refusal) => refusal,
                Admission::Waits | Admission::GoesOn => return Flow::Gone,
            },
            Step::Refused(refusal) => {
                self.metrics().auth_failure.inc();
                refusal
            }
            Step::Continue { .. } => Refusal::bad_method("an exchange of more than two steps"),
        };
        self.metrics().packets_connect.inc();
        self.turn_away(now, id, &connect, &refusal, fx)
    }

    /// AUTH of a connected client: it authenticates again (section 4.12.1), by the same method [MQTT-4.12.1-1] and as
    /// the same user. Meanwhile all goes on; if it fails the connection ends [MQTT-4.12.1-2].
    pub(super) fn reauthenticate<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        auth: &Auth<'_>,
        fx: &mut E,
    ) -> Flow {
        self.metrics().packets_auth.inc();
        let Some(connection) = self.clients.connections.get(id) else { return Flow::Gone };
        let Some(former) = connection.identity.clone().filter(|identity| identity.method == Method::Scram)
        else {
            self.violation(now, id, "AUTH without an Authentication Method in CONNECT [MQTT-4.12.0-7]", fx);
            return Flow::Gone;
        };
        if auth.authentication_method != Some(SCRAM_SHA_256) {
            self.violation(now, id, "AUTH with another Authentication Method [MQTT-4.12.1-1]", fx);
            return Flow::Gone;
        }
        let client_id = self
            .clients
            .sessions
            .get(connection.session)
            .map_or("", |s| client_id_of(&s.client_id))
            .to_owned();
        let (remote, listener) = (connection.remote.into(), connection.listener);
        let credentials = Credentials {
            client_id: &client_id,
            username: None,
            password: None,
            remote,
            listener,
            certificate: None,
        };
        let data = auth.authentication_data.unwrap_or_default();
        let stage = self.handshakes.remove(&id.index).map(|handshake| handshake.stage);
        let step = match (auth.reason, stage) {
            (ReasonCode::ReAuthenticate, None) => fx.exchange(&credentials, ExchangeStep::First(data)),
            (ReasonCode::ContinueAuthentication, Some(Stage::Again(exchange))) => {
                fx.exchange(&credentials, ExchangeStep::Last(exchange, data))
            }
            _ => {
                self.violation(now, id, "an AUTH that neither begins nor continues an exchange (4.12.1)", fx);
                return Flow::Gone;
            }
        };
        match step {
            Step::Continue { exchange, data } => {
                self.send_auth(id, ReasonCode::ContinueAuthentication, &data, fx);
                self.set_stage(id, Stage::Again(exchange));
                Flow::Next
            }
            Step::Done { identity, data } if identity.username == former.username => {
                self.metrics().auth_success.inc();
                self.send_auth(id, ReasonCode::Success, &data, fx);
                if let Some(connection) = self.clients.connections.get_mut(id) {
                    connection.identity = Some(identity);
                    if let Some(allowance) = &mut connection.allowance {
                        // They were made for the former rules of the user.
                        allowance.decisions = None;
                        allowance.answers.clear();
                    }
                }
                Flow::Next
            }
            other @ (Step::Done { .. } | Step::Refused(_)) => {
                self.metrics().auth_failure.inc();
                if !matches!(&other, Step::Refused(refusal) if !is_fault_of_client(refusal)) {
                    self.authentication_failed(now, id, &client_id);
                }
                self.fail(now, id, &Error::Reauthentication, fx);
                Flow::Gone
            }
        }
    }

    fn credentials_of<'a>(&self, id: ConnectionId, connect: &Connect<'a>) -> Credentials<'a> {
        let connection = self.clients.connections.get(id);
        let nowhere = || std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        Credentials {
            client_id: connect.client_id,
            username: connect.username,
            password: connect.password,
            remote: connection.map_or_else(nowhere, |connection| connection.remote.into()),
            listener: connection.map_or(0, |connection| connection.listener),
            certificate: None,
        }
    }

    fn send_auth<E: Effects>(&mut self, id: ConnectionId, reason: ReasonCode, data: &[u8], fx: &mut E) {
        let auth = Auth {
            reason,
            authentication_method: Some(SCRAM_SHA_256),
            authentication_data: Some(data),
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        let output = fx.output(id);
        let before = output.len();
        auth.encode(output);
        let metrics = self.metrics();
        super::deliver::count_sent(metrics, &metrics.packets_auth_sent, output.len() - before);
    }
}

/// The same method, and neither a beginning nor an end.
fn continues(auth: &Auth<'_>) -> bool {
    auth.reason == ReasonCode::ContinueAuthentication && auth.authentication_method == Some(SCRAM_SHA_256)
}

/// Whether it counts towards a ban: that we are busy, or a server is down, does not.
fn is_fault_of_client(refusal: &Refusal) -> bool {
    !matches!(refusal.reason, ReasonCode::ServerBusy | ReasonCode::ServerUnavailable)
}
