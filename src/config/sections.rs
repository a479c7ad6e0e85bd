//! One struct a section of the file, with every default in one place (`Default`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::{
    AccessRules, Auth, AutoSubscription, Bridge, Delayed, ListenerTls, ListenerUrl, Networks, OnError,
    Rewrite,
};

/// The whole configuration in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[limits]`
    pub limits: Limits,
    /// `[session]`
    pub session: Session,
    /// `[mqtt]`
    pub mqtt: Mqtt,
    /// `[retained]`
    pub retained: Retained,
    /// `[delayed]`
    pub delayed: Delayed,
    /// `[[subscription]]`
    pub subscriptions: Vec<AutoSubscription>,
    /// `[[rewrite]]`
    pub rewrites: Vec<Rewrite>,
    /// `[[bridge]]`
    pub bridges: Vec<Bridge>,
    /// `[auth]`
    pub auth: Auth,
    /// `[storage]`
    pub storage: Storage,
    /// `[sys]`
    pub sys: Sys,
    /// `[quota]`
    pub quota: Quota,
    /// `[acl]`
    pub acl: Acl,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: Node::default(),
            listeners: vec![Listener::default()],
            limits: Limits::default(),
            session: Session::default(),
            mqtt: Mqtt::default(),
            retained: Retained::default(),
            delayed: Delayed::default(),
            subscriptions: Vec::new(),
            rewrites: Vec::new(),
            bridges: Vec::new(),
            auth: Auth::default(),
            storage: Storage::default(),
            sys: Sys::default(),
            quota: Quota::default(),
            acl: Acl::default(),
            admin: Admin::default(),
            log: Log::default(),
        }
    }
}

/// How many shards to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShardCount {
    /// One for each CPU that the process may use.
    #[default]
    Auto,
    /// Exactly so many.
    Count(u16),
}

/// `[node]`
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Name of this node in `$SYS/brokers/<name>/`.
    pub name: String,
    /// Where files are kept. State is in memory only in this version: the control socket is all that is there.
    pub data_dir: PathBuf,
    /// Shards to run.
    pub shards: ShardCount,
    /// Pin each shard to a CPU of its own.
    pub cpu_pinning: bool,
    /// `myriadctl` may ask things of the broker, over `<data_dir>/control.sock`.
    pub control_socket: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: "myriad@localhost".into(),
            data_dir: "./data".into(),
            shards: ShardCount::Auto,
            cpu_pinning: true,
            control_socket: true,
        }
    }
}

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where.
    pub url: ListenerUrl,
    /// Connections at the same time; never more than `limits.max_connections`.
    pub max_connections: u32,
    /// Admit clients that give no credentials. Without authentication that is always so on loopback (but for listeners
    /// with `proxy_protocol`), where the default stays false.
    pub allow_anonymous: bool,
    /// Length of the kernel's accept queue.
    pub backlog: u32,
    /// Connections admitted a second, over all shards; 0: any number.
    pub connect_rate: u32,
    /// Bytes a second from one of its clients, in place of `limits.bytes_rate`; 0: that holds.
    pub bytes_rate: u32,
    /// Prefix of every topic of its clients, `%u` and `%c` replaced, and `%CN`, `%O` and `%OU` by names in their
    /// certificates; empty: none.
    pub mountpoint: String,
    /// Which addresses may connect.
    pub access: AccessRules,
    /// A PROXY header comes before everything else.
    pub proxy_protocol: bool,
    /// Where PROXY headers may come from.
    pub trusted: Networks,
    /// Origins of pages that may open a WebSocket; empty: any.
    pub origins: Vec<String>,
    /// Permissions of a Unix socket's file.
    pub unix_mode: FileMode,
    /// `tls`: of mqtts:// and wss://.
    pub tls: ListenerTls,
    /// The node's own door for its bridges, which no file names.
    pub is_internal: bool,
}

/// Permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FileMode {
    /// Up to four octal digits, nothing beyond 0777.
    pub fn parse(text: &str) -> Option<Self> {
        let is_octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal)?;
        (mode <= 0o777).then_some(Self(mode))
    }
}

impl Listener {
    /// A listener at `url` with the defaults of its other keys.
    pub fn at(url: ListenerUrl) -> Self {
        Self {
            url,
            max_connections: Limits::default().max_connections,
            allow_anonymous: false,
            backlog: 1024,
            connect_rate: 0,
            bytes_rate: 0,
            mountpoint: String::new(),
            access: AccessRules::default(),
            proxy_protocol: false,
            trusted: Networks::default(),
            origins: Vec::new(),
            unix_mode: FileMode(0o660),
            tls: ListenerTls::default(),
            is_internal: false,
        }
    }
}

impl Listener {
    /// Only programs of this machine are its clients. What sends PROXY headers brings those of others.
    pub fn is_local(&self) -> bool {
        self.url.is_loopback() && !self.proxy_protocol
    }
}

impl Listener {
    /// Its mountpoint is made of names in certificates.
    pub fn mounts_by_certificate(&self) -> bool {
        ["%CN", "%O"].iter().any(|name| self.mountpoint.contains(name))
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::at(ListenerUrl::mqtt(SocketAddr::from((Ipv4Addr::LOCALHOST, 1883))))
    }
}

/// `[limits]`: what one client may cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of the largest packet accepted, fixed header included; sent as Maximum Packet Size.
    pub packet_bytes_max: u32,
    /// Bytes of the longest Client Identifier.
    pub client_id_len_max: u16,
    /// Levels of the deepest topic or filter.
    pub topic_levels_max: u16,
    /// Bytes of the longest topic or filter.
    pub topic_len_max: u16,
    /// Seconds from accept to a complete CONNECT.
    pub connect_timeout_s: u32,
    /// Longest Keep Alive granted, in seconds; 0: any. A longer one (or none) becomes this (5.0: Server Keep Alive).
    pub keep_alive_s_max: u16,
    /// A silent client is closed after Keep Alive times this.
    pub keep_alive_factor: f32,
    /// QoS 1 and 2 PUBLISHes that a client may have unacknowledged; sent as Receive Maximum.
    pub receive_max: u16,
    /// Topic Aliases that a connection may use, each way; sent as Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// Subscriptions of one session.
    pub subscriptions_per_session_max: u32,
    /// Distinct filters expected on the node: sizes the interest table.
    pub subscriptions_expected: u32,
    /// Bytes that may wait for a slow client; past it QoS 0 is dropped and QoS 1/2 waits in its mqueue.
    pub outbound_bytes: u32,
    /// Connections of the node, over all listeners.
    pub max_connections: u32,
    /// Connections of one address (IPv6: of one /64); 0: any number.
    pub connections_per_address_max: u32,
    /// PUBLISHes a second of one client; 0: any number. Past it reading from the client pauses.
    pub publish_rate: u32,
    /// PUBLISHes at once after a pause; 0: as many as `publish_rate`.
    pub publish_burst: u32,
    /// Bytes a second from one client; 0: any number. Past it reading from the client pauses.
    pub bytes_rate: u32,
    /// Bytes at once after a pause; 0: as many as the rate.
    pub bytes_burst: u32,
    /// Failed authentications of one address or Client Identifier within `ban_window_s` that ban it; 0: none does.
    pub ban_failures: u32,
    /// Connections of one Client Identifier within `ban_window_s` that ban it; 0: none does.
    pub ban_connects: u32,
    /// Seconds within which failures and connections are counted.
    pub ban_window_s: u32,
    /// Seconds that a ban lasts.
    pub ban_s: u32,
    /// Bytes of memory that the process may use; 0: any number.
    pub memory_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            client_id_len_max: 512,
            topic_levels_max: 128,
            topic_len_max: 4096,
            connect_timeout_s: 30,
            keep_alive_s_max: 0,
            keep_alive_factor: 1.5,
            receive_max: 100,
            topic_alias_max: 16,
            subscriptions_per_session_max: 10_000,
            subscriptions_expected: 131_072,
            outbound_bytes: 1024 * 1024,
            max_connections: 1_000_000,
            connections_per_address_max: 0,
            publish_rate: 0,
            publish_burst: 0,
            bytes_rate: 0,
            bytes_burst: 0,
            ban_failures: 0,
            ban_connects: 0,
            ban_window_s: 60,
            ban_s: 300,
            memory_max: 0,
        }
    }
}

/// `[session]`
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Seconds that a persistent session of 3.x outlives its connection.
    pub expiry_s: u32,
    /// Longest Session Expiry Interval granted to 5.0 clients, in seconds; `u32::MAX`: any.
    pub expiry_s_max: u32,
    /// QoS 1 and 2 messages sent to a client and not yet acknowledged.
    pub inflight_max: u16,
    /// Seconds after which an unacknowledged message is sent again to a connected 3.x client; 0: never.
    pub retry_interval_s: u32,
    /// QoS 2 messages received and not yet released, a session; 0: as many as `limits.receive_max`.
    pub await_rel_max: u16,
    /// Messages that wait in one session's mqueue; past it the oldest is dropped.
    pub queue_len_max: u32,
    /// Keep QoS 0 messages for disconnected persistent sessions.
    pub queue_qos0: bool,
    /// Part of `queue_len_max` beyond which an mqueue is long: an alarm.
    pub queue_high_watermark: f32,
    /// Part of `queue_len_max` at which a long mqueue is no longer long.
    pub queue_low_watermark: f32,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            expiry_s: 48 * 3600,
            expiry_s_max: u32::MAX,
            inflight_max: 100,
            retry_interval_s: 0,
            await_rel_max: 0,
            queue_len_max: 1000,
            queue_qos0: true,
            queue_high_watermark: 0.6,
            queue_low_watermark: 0.2,
        }
    }
}

/// Who of a Shared Subscription gets the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SharedStrategy {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Anyone.
    Random,
    /// The one with the fewest unacknowledged messages of this Shared Subscription.
    LeastInflight,
    /// The same until it leaves.
    Sticky,
    /// By the publisher's Client Identifier.
    HashPublisher,
    /// By the Topic Name.
    HashTopic,
}

/// `[mqtt]`
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    /// Highest QoS granted: 0, 1 or 2.
    pub qos_max: u8,
    /// Retained messages are kept.
    pub retain_available: bool,
    /// Filters may have wildcards.
    pub wildcard_available: bool,
    /// Shared Subscriptions may be made.
    pub shared_available: bool,
    /// Deliver at the subscription's QoS even where the message was published with a lower one.
    pub upgrade_qos: bool,
    /// Who of a Shared Subscription gets the next message.
    pub shared_strategy: SharedStrategy,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            qos_max: 2,
            retain_available: true,
            wildcard_available: true,
            shared_available: true,
            upgrade_qos: false,
            shared_strategy: SharedStrategy::RoundRobin,
        }
    }
}

/// `[retained]`
#[derive(Debug, Clone, PartialEq)]
pub struct Retained {
    /// Retained messages kept by the node.
    pub count_max: u32,
    /// Bytes of the largest payload kept.
    pub payload_bytes_max: u32,
    /// Seconds that a retained message without Message Expiry Interval is kept; 0: for ever.
    pub expiry_s: u32,
}

impl Default for Retained {
    fn default() -> Self {
        Self { count_max: 1_000_000, payload_bytes_max: 1024 * 1024, expiry_s: 0 }
    }
}

/// `[sys]`
#[derive(Debug, Clone, PartialEq)]
pub struct Sys {
    /// Seconds between two publications of the `$SYS` tree; 0: never.
    pub interval_s: u32,
    /// First levels of the tree.
    pub prefix: String,
    /// Who connects and leaves is published there.
    pub presence: bool,
    /// With which QoS: 0, 1 or 2.
    pub presence_qos: u8,
}

impl Default for Sys {
    fn default() -> Self {
        Self { interval_s: 60, prefix: "$SYS/brokers".into(), presence: true, presence_qos: 0 }
    }
}

/// What an acknowledgement promises about the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What it acknowledges is on disk: it outlasts a loss of power.
    #[default]
    Sync,
    /// What it acknowledges will be on disk within `interval_ms`.
    Interval,
    /// Nothing: state is in memory only and ends with the process.
    Memory,
}

/// `[storage]`
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Longest time between two syncs for `Durability::Interval`.
    pub interval_ms: u32,
    /// Bytes of a file of the journal, after which the next one begins.
    pub segment_bytes: u32,
    /// Bytes that may wait for the disk, a shard, before publishers of durable messages are paused.
    pub backlog_bytes: u32,
    /// Seconds that clients have to come back after a crash before their Wills are published, if the Will Delay is shorter.
    pub will_grace_s: u32,
    /// Wills a second, a shard, that are published after a crash.
    pub will_rate: u32,
    /// Start although parts of the journal are missing that may still be brought back.
    pub accept_damage: bool,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            interval_ms: 1000,
            segment_bytes: 64 * 1024 * 1024,
            backlog_bytes: 16 * 1024 * 1024,
            will_grace_s: 30,
            will_rate: 1000,
            accept_damage: false,
        }
    }
}

/// `[quota]`: what one user may have, over all its clients; 0: any number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// Connections.
    pub connections_max: u32,
    /// Sessions, with and without a connection.
    pub sessions_max: u32,
    /// Subscriptions.
    pub subscriptions_max: u32,
    /// Retained messages.
    pub retained_max: u32,
    /// PUBLISHes a second.
    pub publish_rate: u32,
}

impl Quota {
    /// Whether anything is limited.
    pub fn is_configured(&self) -> bool {
        *self != Self::default()
    }
}

/// What holds where no rule speaks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoMatch {
    /// The client may.
    #[default]
    Allow,
    /// The client may not.
    Deny,
}

/// `[acl]`: who may publish and subscribe to what.
#[derive(Debug, Clone, PartialEq)]
pub struct Acl {
    /// File of the rules, in emqttd's syntax.
    pub file: Option<PathBuf>,
    /// What holds where no rule speaks of it.
    pub no_match: NoMatch,
    /// What it means that the server of `auth.http.acl_req` does not answer.
    pub on_error: OnError,
    /// Seconds that its answer holds for a connection.
    pub cache_s: u32,
}

impl Default for Acl {
    fn default() -> Self {
        Self { file: None, no_match: NoMatch::Allow, on_error: OnError::Deny, cache_s: 60 }
    }
}

/// `[admin]`: the HTTP API and the dashboard.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Address and port of HTTP; empty: none. Port 0: one that the kernel chooses.
    pub listen: String,
    /// Listen where other machines can reach it, though passwords go over it in the clear.
    pub allow_plain: bool,
    /// The operators and the hashes of their passwords; empty: `<data_dir>/admin.users`.
    pub users_file: PathBuf,
    /// Seconds that a token of a login is good for.
    pub session_s: u32,
    /// Whoever reaches the port may read `/metrics`.
    pub metrics_open: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:18083".into(),
            allow_plain: false,
            users_file: PathBuf::new(),
            session_s: 12 * 3600,
            metrics_open: true,
        }
    }
}

impl Admin {
    /// Where HTTP listens; `None`: nowhere.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// systemd's journal.
    Journald,
    /// A file that is rotated by its size.
    File,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// A level (off, error, warn, info, debug, trace), or levels by module: `info,myriad::broker=debug`.
    pub level: String,
    /// Who connects, leaves, is refused or banned is logged, target `audit`.
    pub audit: bool,
    /// Where it goes.
    pub target: LogTarget,
    /// The file of `LogTarget::File`.
    pub file: PathBuf,
    /// Bytes of the file after which the next one begins.
    pub rotate_bytes: u32,
    /// Older files that are kept.
    pub keep: u16,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            audit: false,
            target: LogTarget::Stderr,
            file: "myriad.log".into(),
            rotate_bytes: 64 * 1024 * 1024,
            keep: 7,
            format: LogFormat::Text,
        }
    }
}
