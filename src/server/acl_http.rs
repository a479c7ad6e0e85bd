//! Asks an HTTP server whether a client may publish or subscribe (emqttd's `acl_req`), on threads of its own with low
//! priority: a shard gives a question to a bounded queue and is told the answer; the connection waits meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::application::{Application, ServerMessage};
use super::auth_http::{HttpClient, described};
use crate::acl::Action;
use crate::auth::Request;
use crate::auth::http::Params;
use crate::broker::AclQuestion;
use crate::config::{Config, Http, shown_url};
use crate::interest::ShardId;
use crate::session::ConnectionId;

/// Threads, and so requests at a time.
const THREADS: usize = 8;
/// Questions that may wait for them.
const QUEUE_LEN_MAX: usize = 10_000;
/// Stack of a thread: what TLS and a chain of certificates need, and some.
const STACK_BYTES: usize = 1024 * 1024;

/// Who answers, and how it is asked.
#[derive(Debug)]
struct Server {
    client: HttpClient,
    request: Request,
}

#[derive(Debug, Default)]
struct State {
    questions: VecDeque<(ShardId, ConnectionId, AclQuestion)>,
    server: Option<Arc<Server>>,
    is_running: bool,
}

/// The queue before the threads.
#[derive(Debug, Default)]
pub(super) struct AclAsker {
    state: Mutex<State>,
    filled: Condvar,
}

impl AclAsker {
    /// Asks as `config` says from now on.
    ///
    /// # Errors
    /// What is wrong with the request, in one line.
    pub(super) fn replace(&self, config: &Config) -> Result<(), String> {
        let http = &config.auth.http;
        let server = if http.acl_req.url.is_empty() { None } else { Some(Arc::new(server(http)?)) };
        self.lock().server = server;
        Ok(())
    }

    /// Starts the threads, if there is somebody to ask and they do not run yet. They end with the process.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(self: &Arc<Self>, handle: &shards::Handle<Application>) -> std::io::Result<()> {
        let mut state = self.lock();
        if state.server.is_none() || state.is_running {
            return Ok(());
        }
        for _ in 0..THREADS {
            let (asker, handle) = (Arc::clone(self), handle.clone());
            thread::Builder::new().name("acl-http".into()).stack_size(STACK_BYTES).spawn(move || {
                shards::lower_priority();
                loop {
                    asker.serve(&handle);
                }
            })?;
        }
        state.is_running = true;
        Ok(())
    }

    /// Takes a question; false: too many wait.
    pub(super) fn push(&self, to: (ShardId, ConnectionId), question: AclQuestion) -> bool {
        let mut state = self.lock();
        if state.questions.len() >= QUEUE_LEN_MAX || !state.is_running {
            return false;
        }
        state.questions.push_back((to.0, to.1, question));
        drop(state);
        self.filled.notify_one();
        true
    }

    fn serve(&self, handle: &shards::Handle<Application>) {
        let mut state = self.lock();
        let (shard, connection, question) = loop {
            while state.questions.front().is_some_and(|(.., question)| !question.watch.is_open()) {
                // Its client is gone.
                state.questions.pop_front();
            }
            if let Some(question) = state.questions.pop_front() {
                break question;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let server = state.server.clone();
        drop(state);
        let answer = server.and_then(|server| ask(&server, &question));
        let key = question.key;
        handle.send(shards::ShardId(shard.0), ServerMessage::Authorized { connection, key, answer });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 200: it may; 4xx: it may not; otherwise there is no answer.
fn ask(server: &Server, question: &AclQuestion) -> Option<bool> {
    let access = match question.action {
        Action::Subscribe => "1",
        Action::Publish => "2",
    };
    match server.client.status_for(&server.request, &question.client.borrow(), &question.topic, access) {
        Ok(200) => Some(true),
        Ok(400..=499) => Some(false),
        other => {
            if let Some(left_out) = server.client.outage().failed(Instant::now()) {
                let problem = match other {
                    Ok(status) => format!("status {status}"),
                    Err(error) => described(&error),
                };
                tracing::warn!(problem, left_out, "auth.http.acl_req: no answer");
            }
            None
        }
    }
}

fn server(http: &Http) -> Result<Server, String> {
    let to = http.acl_req.clone();
    if !(to.url.starts_with("http://") || to.url.starts_with("https://")) {
        return Err(format!(
            "auth.http.acl_req.url: expected http:// or https://, not {:?}",
            shown_url(&to.url)
        ));
    }
    let params =
        Params::parse(&to.params).map_err(|problem| format!("auth.http.acl_req.params: {problem}"))?;
    let read = |file: &std::path::Path| std::fs::read(file).map_err(|error| error.to_string());
    let client = HttpClient::new(http, read).map_err(|problem| format!("auth.http.ca: {problem}"))?;
    Ok(Server { client, request: Request { to, params } })
}
