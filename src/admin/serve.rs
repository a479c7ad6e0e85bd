//! Connections of the admin side: a bounded number, with a limit of time for whoever sends or takes slowly. Past the number a stranger
//! gives way.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::guests::{Guests, Known};
use super::http::{Caller, Door, Routes, restore_dots};

/// Connections of one door at the same time. While all are of those who have shown who they are, the next ones wait.
const CONNECTIONS_MAX: usize = 64;
/// From the accept, or the last answer, to the end of the next request's headers.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is sent to it.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the longest headers.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// After an accept that failed, most likely for want of descriptors: not in a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Where connections come in.
pub(super) trait Accept: Send + 'static {
    /// One of its connections.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Waits for the next one, and says where it comes from.
    fn accept_stream(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;
    async fn accept_stream(&self) -> io::Result<(Self::Stream, Option<IpAddr>)> {
        let (stream, remote) = self.accept().await?;
        // Answers are small and someone waits for each.
        stream.set_nodelay(true)?;
        Ok((stream, Some(remote.ip().to_canonical())))
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;
    async fn accept_stream(&self) -> io::Result<(Self::Stream, Option<IpAddr>)> {
        Ok((self.accept().await?.0, None))
    }
}

/// Serves `routes` to all who connect; each request knows by which door and from where.
pub(super) async fn serve<L: Accept>(listener: L, routes: Routes, door: Door) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut guests = Guests::default();
    loop {
        let (stream, address) = match listener.accept_stream().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "the admin side can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if places.available_permits() == 0 {
            guests.make_room();
        }
        // Nobody closes it.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let routes = routes.clone();
        let known = Known::default();
        let caller = Caller { door, address, known: known.clone() };
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            restore_dots(request.uri_mut());
            TowerToHyperService::new(routes.now()).call(request)
        });
        let task = tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_TIMEOUT)
                .max_header_size(HEADERS_BYTES_MAX)
                .serve_connection(TokioIo::new(Impatient::new(stream)), service)
                .with_upgrades()
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection of the admin side ended");
            }
            drop(place);
        });
        guests.enter(address, known, task.abort_handle());
    }
}

/// A stream that fails when the other end takes nothing for too long.
struct Impatient<S> {
    stream: S,
    /// Set while a write waits.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S) -> Self {
        Self { stream, until: None }
    }

    /// `outcome` of a write, or the failure of one that has waited for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.until = None;
            return outcome;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + STALL_TIMEOUT)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
