//! The files of TLS listeners: reads them when the broker starts, at SIGHUP, and when they have changed on disk. What can't
//! serve leaves in effect what does.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

use crate::config::{Config, Listener, ListenerTls};
use crate::metrics::datetime_utc;
use crate::transport::tls::{Acceptor, FileError, NamedFile, TlsFiles};

/// A certificate that is good for less than this is worth an alarm: 14 days.
const EXPIRES_SOON_S: i64 = 14 * 86_400;
/// Between two looks at when certificates expire.
const EXPIRY_LOOK: Duration = Duration::from_secs(3600);

/// Bytes of the largest file that is read: revocation lists of large authorities have some megabytes.
const FILE_LEN_MAX: u64 = 64 * 1024 * 1024;

/// The protocol that listeners of MQTT offer (ALPN; registered with IANA).
const ALPN_MQTT: &[u8] = b"mqtt";
/// The protocol that browsers ask for when they open a WebSocket (RFC 7301, 6; RFC 6455, 4.1 is over HTTP/1.1).
const ALPN_HTTP: &[u8] = b"http/1.1";

/// The acceptors of all listeners in their order; `None`: a listener without TLS.
pub(super) type Acceptors = Arc<[Option<Arc<Acceptor>>]>;

/// A listener's files did not serve.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {error}")]
pub(super) struct Unusable {
    url: String,
    error: FileError,
}

/// The TLS listeners and what their files held.
pub(super) struct Certificates {
    /// In the order of the configuration.
    listeners: Vec<Option<Watched>>,
}

/// One listener's files.
struct Watched {
    url: String,
    tls: ListenerTls,
    alpn: &'static [u8],
    acceptor: Arc<Acceptor>,
    /// What the files in effect held.
    digests: Digests,
    /// The files when they were read last, whether they served or not.
    stamps: Vec<Option<Stamp>>,
    looked_at: Instant,
}

/// Tells a file that was written since from one that was not.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: (i64, i64),
    /// A changed mode shows here: a key that could not be read may be readable now.
    changed: (i64, i64),
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What files held, in short.
#[derive(Debug, PartialEq, Eq)]
struct Digests {
    all: Vec<u8>,
    /// Of those that say which clients are believed.
    trust: Vec<u8>,
}

/// A listener's files, read.
struct Loaded {
    files: TlsFiles,
    digests: Digests,
    warnings: Vec<String>,
}

impl Certificates {
    /// Reads the files of all TLS listeners. Warnings go to `warn`, a line each.
    ///
    /// # Errors
    /// The first listener whose files can't serve.
    pub(super) fn load(config: &Config, mut warn: impl FnMut(String)) -> Result<Self, Unusable> {
        let mut watch = |listener: &Listener| {
            let Some(scheme) = listener.url.scheme().filter(|scheme| scheme.is_tls()) else {
                return Ok(None);
            };
            let alpn = if scheme.is_websocket() { ALPN_HTTP } else { ALPN_MQTT };
            let (watched, warnings) = Watched::new(listener.url.to_string(), &listener.tls, alpn)?;
            warnings.into_iter().for_each(&mut warn);
            Ok(Some(watched))
        };
        let listeners = config.listeners.iter().map(&mut watch).collect::<Result<_, _>>()?;
        Ok(Self { listeners })
    }

    /// What is in effect.
    pub(super) fn acceptors(&self) -> Acceptors {
        let of = |watched: &Option<Watched>| watched.as_ref().map(|watched| Arc::clone(&watched.acceptor));
        self.listeners.iter().map(of).collect()
    }

    /// Watches the files on a thread of its own; `apply` gets the acceptors whenever some are new. `None`: there is no
    /// TLS listener, or no thread, which is logged.
    /// `tell` gets what is to be said of certificates that expire, whenever that is new; `None`: nothing any more.
    pub(super) fn watch(
        self,
        apply: impl Fn(Acceptors) + Send + 'static,
        tell: impl Fn(Option<String>) + Send + 'static,
    ) -> Option<Watcher> {
        if self.listeners.iter().all(Option::is_none) {
            return None;
        }
        let (ask, asked) = channel();
        let spawned =
            thread::Builder::new().name("certificates".into()).spawn(move || self.run(&asked, apply, tell));
        match spawned {
            Ok(_) => Some(Watcher { ask }),
            Err(error) => {
                tracing::error!(%error, "certificates are not reloaded: there is no thread for it");
                None
            }
        }
    }

    fn run(mut self, asked: &Receiver<()>, apply: impl Fn(Acceptors), tell: impl Fn(Option<String>)) {
        let mut told = None;
        loop {
            let expiring = self.expiring();
            if expiring != told {
                tell(expiring.clone());
                told = expiring;
            }
            let wait = self.next_look().unwrap_or(EXPIRY_LOOK).min(EXPIRY_LOOK);
            let must = match asked.recv_timeout(wait) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.refresh(must) {
                apply(self.acceptors());
            }
        }
    }

    /// The certificate that expires first, if that is soon, for people.
    fn expiring(&self) -> Option<String> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let all = self.listeners.iter().flatten();
        let soonest = all.filter_map(|watched| Some((watched.acceptor.soonest_expiry()?, &watched.url)));
        let ((file, at_s), url) = soonest.min_by_key(|((_, at_s), _)| *at_s)?;
        let date = datetime_utc(u64::try_from(at_s).unwrap_or(0));
        let verb = if at_s < now_s { "has expired" } else { "expires" };
        (at_s - now_s < EXPIRES_SOON_S)
            .then(|| format!("{file}: a certificate of {url} {verb} on {date} UTC: replace the file"))
    }

    /// How long until some listener's files are to be looked at; `None`: only when asked.
    fn next_look(&self) -> Option<Duration> {
        let watched = self.listeners.iter().flatten().filter(|watched| watched.tls.reload_s > 0);
        watched.map(|watched| watched.interval().saturating_sub(watched.looked_at.elapsed())).min()
    }

    /// Looks at the files: at all where it `must`, else where it is time. Whether any acceptor is new.
    fn refresh(&mut self, must: bool) -> bool {
        let mut is_new = false;
        for watched in self.listeners.iter_mut().flatten() {
            let is_time = watched.tls.reload_s > 0 && watched.looked_at.elapsed() >= watched.interval();
            if must || is_time {
                is_new |= watched.refresh(must);
            }
        }
        is_new
    }
}

/// The thread that looks after the files.
pub(super) struct Watcher {
    ask: Sender<()>,
}

impl Watcher {
    /// Reads all files again soon (SIGHUP).
    pub(super) fn refresh(&self) {
        // The thread ends only with this sender.
        let _ = self.ask.send(());
    }
}

impl Watched {
    fn new(url: String, tls: &ListenerTls, alpn: &'static [u8]) -> Result<(Self, Vec<String>), Unusable> {
        let blame = |error| Unusable { url: url.clone(), error };
        let stamps = stamps(tls);
        let loaded = load(tls).map_err(blame)?;
        let (acceptor, more) = Acceptor::new(tls, &[alpn], &loaded.files, None).map_err(blame)?;
        let mut warnings = loaded.warnings;
        warnings.extend(more);
        let watched = Self {
            url,
            tls: tls.clone(),
            alpn,
            acceptor: Arc::new(acceptor),
            digests: loaded.digests,
            stamps,
            looked_at: Instant::now(),
        };
        Ok((watched, warnings))
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.tls.reload_s))
    }

    /// Reads the files if it `must` or they have changed. Whether the acceptor is new.
    fn refresh(&mut self, must: bool) -> bool {
        self.looked_at = Instant::now();
        // Before the files are read: what is written meanwhile is seen the next time.
        let stamps = stamps(&self.tls);
        if !must && stamps == self.stamps {
            return false;
        }
        self.stamps = stamps;
        match self.replace() {
            Ok(is_new) => is_new,
            Err(error) => {
                tracing::error!(
                    listener = self.url,
                    "{error}; the certificates that were read before stay in effect"
                );
                false
            }
        }
    }

    fn replace(&mut self) -> Result<bool, FileError> {
        let loaded = load(&self.tls)?;
        if loaded.digests == self.digests {
            return Ok(false);
        }
        // Tickets of clients that were believed before must not outlive that.
        let heir_of = (loaded.digests.trust == self.digests.trust).then_some(&*self.acceptor);
        let (acceptor, more) = Acceptor::new(&self.tls, &[self.alpn], &loaded.files, heir_of)?;
        for warning in loaded.warnings.iter().chain(&more) {
            tracing::warn!(listener = self.url, "{warning}");
        }
        self.acceptor = Arc::new(acceptor);
        self.digests = loaded.digests;
        tracing::info!(listener = self.url, "certificates reloaded: new connections get them");
        Ok(true)
    }
}

/// All paths of a table: pairs first, then what says which clients are believed.
fn paths(tls: &ListenerTls) -> impl Iterator<Item = &String> {
    tls.cert.iter().chain(&tls.key).chain(&tls.ca).chain(&tls.crl)
}

fn stamps(tls: &ListenerTls) -> Vec<Option<Stamp>> {
    paths(tls).map(|path| std::fs::metadata(path).ok().map(|metadata| Stamp::new(&metadata))).collect()
}

/// Reads a listener's files.
fn load(tls: &ListenerTls) -> Result<Loaded, FileError> {
    let mut warnings = Vec::new();
    let read_all = |paths: &[String]| paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>();
    let certs = read_all(&tls.cert)?;
    let keys = read_all(&tls.key)?;
    for path in &tls.key {
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o007 != 0) {
            warnings.push(format!(
                "{path}: every user of this machine may read or write this private key: chmod o= {path}"
            ));
        }
    }
    let (authorities, revocations) = (read_all(&tls.ca)?, read_all(&tls.crl)?);
    let trust = digest(authorities.iter().chain(&revocations));
    let all = digest(certs.iter().chain(&keys).chain(&authorities).chain(&revocations));
    let pairs = certs.into_iter().zip(keys).collect();
    Ok(Loaded {
        files: TlsFiles { pairs, authorities, revocations },
        digests: Digests { all, trust },
        warnings,
    })
}

fn digest<'f>(files: impl Iterator<Item = &'f NamedFile>) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for file in files {
        context.update(&(file.bytes.len() as u64).to_le_bytes());
        context.update(&file.bytes);
    }
    context.finish().as_ref().to_vec()
}

fn read(path: &str) -> Result<NamedFile, FileError> {
    let problem = |problem: String| FileError { file: path.into(), problem };
    let bytes = read_bytes(path).map_err(|error| problem(format!("can't be read: {error}")))?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(problem(format!(
            "has more than {FILE_LEN_MAX} bytes, which no file of certificates needs"
        )));
    }
    Ok(NamedFile { name: path.into(), bytes })
}

fn read_bytes(path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    // At once, so that no part of a key is left in a buffer that was too small.
    let len = metadata.len().min(FILE_LEN_MAX) as usize;
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
