//! Counters and gauges of one shard: plain words that only their shard writes and anyone may read.
//! No read-modify-write instruction is on the path of a packet: a counter has one writer.
//! `Totals` sums them over the shards, `SysTree` is their form in `$SYS`. Reads no clock, does no I/O.

mod datetime;
mod latency;
mod sys_tree;
mod totals;

pub use datetime::{datetime_utc, rfc3339, uptime};
pub use latency::{Latency, LatencySnapshot};
pub use sys_tree::SysTree;
pub use totals::Totals;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only the owning shard calls this.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`. Only the owning shard calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes one away (gauges). Only the owning shard calls this.
    #[inline]
    pub fn dec(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// Replaces the value (gauges). Only the owning shard calls this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident => $kind:ident $path:literal),+ $(,)?) => {
        /// All numbers of one shard. Aligned so that no other shard writes to a cache line of theirs, nor to the one
        /// that the processor fetches along with it.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Metrics {
            /// What the numbers are, in the order of `values`.
            pub const ALL: &'static [Metric] =
                &[$(Metric { name: stringify!($name), path: $path, kind: Kind::$kind, doc: concat!($($doc),+) }),+];

            /// Every number now, in the order of `ALL`.
            pub fn values(&self) -> [u64; Self::ALL.len()] {
                [$(self.$name.load()),+]
            }

            /// Every number with its place below `$SYS/brokers/<node>/`, its kind and its value.
            pub fn each(&self, mut f: impl FnMut(Metric, u64)) {
                for (metric, value) in Self::ALL.iter().zip(self.values()) {
                    f(*metric, value);
                }
            }
        }
    };
}

/// Whether a number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down; `$SYS` has its `count` and `max`.
    Gauge,
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The field's name.
    pub name: &'static str,
    /// The place below `$SYS/brokers/<node>/`.
    pub path: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What it means, in a sentence; a space before it.
    pub doc: &'static str,
}

metrics! {
    /// Connections that completed CONNECT.
    clients => Gauge "stats/clients",
    /// Sessions, with and without a connection.
    sessions => Gauge "stats/sessions",
    /// Sessions that outlive their connection.
    sessions_persistent => Gauge "stats/sessions/persistent",
    /// Subscriptions of all sessions.
    subscriptions => Gauge "stats/subscriptions",
    /// Shared Subscriptions of all sessions.
    subscriptions_shared => Gauge "stats/subscriptions/shared",
    /// Sessions with at least one subscription.
    subscribers => Gauge "stats/subscribers",
    /// Distinct Topic Filters.
    topics => Gauge "stats/topics",
    /// Distinct filters in the interest table's view.
    routes => Gauge "stats/routes",
    /// Messages in all mqueues.
    queues => Gauge "stats/queues",
    /// Sessions whose mqueue is beyond session.queue_high_watermark.
    queues_high => Gauge "stats/queues/high",
    /// Messages sent and not yet acknowledged.
    inflight => Gauge "stats/inflight",
    /// Alarms that are active.
    alarms => Gauge "stats/alarms",
    /// Retained messages.
    retained => Gauge "stats/retained",

    /// Bytes received.
    bytes_received => Counter "metrics/bytes/received",
    /// Bytes sent.
    bytes_sent => Counter "metrics/bytes/sent",
    /// Control Packets received.
    packets_received => Counter "metrics/packets/received",
    /// Control Packets sent.
    packets_sent => Counter "metrics/packets/sent",
    /// CONNECT received.
    packets_connect => Counter "metrics/packets/connect",
    /// CONNACK sent.
    packets_connack => Counter "metrics/packets/connack",
    /// PUBLISH received.
    packets_publish_received => Counter "metrics/packets/publish/received",
    /// PUBLISH sent.
    packets_publish_sent => Counter "metrics/packets/publish/sent",
    /// PUBACK received.
    packets_puback_received => Counter "metrics/packets/puback/received",
    /// PUBACK sent.
    packets_puback_sent => Counter "metrics/packets/puback/sent",
    /// PUBACK for a Packet Identifier not in use.
    packets_puback_missed => Counter "metrics/packets/puback/missed",
    /// PUBREC received.
    packets_pubrec_received => Counter "metrics/packets/pubrec/received",
    /// PUBREC sent.
    packets_pubrec_sent => Counter "metrics/packets/pubrec/sent",
    /// PUBREC for a Packet Identifier not in use.
    packets_pubrec_missed => Counter "metrics/packets/pubrec/missed",
    /// PUBREL received.
    packets_pubrel_received => Counter "metrics/packets/pubrel/received",
    /// PUBREL sent.
    packets_pubrel_sent => Counter "metrics/packets/pubrel/sent",
    /// PUBREL for a Packet Identifier not in use.
    packets_pubrel_missed => Counter "metrics/packets/pubrel/missed",
    /// PUBCOMP received.
    packets_pubcomp_received => Counter "metrics/packets/pubcomp/received",
    /// PUBCOMP sent.
    packets_pubcomp_sent => Counter "metrics/packets/pubcomp/sent",
    /// PUBCOMP for a Packet Identifier not in use.
    packets_pubcomp_missed => Counter "metrics/packets/pubcomp/missed",
    /// SUBSCRIBE received.
    packets_subscribe => Counter "metrics/packets/subscribe",
    /// SUBACK sent.
    packets_suback => Counter "metrics/packets/suback",
    /// UNSUBSCRIBE received.
    packets_unsubscribe => Counter "metrics/packets/unsubscribe",
    /// UNSUBACK sent.
    packets_unsuback => Counter "metrics/packets/unsuback",
    /// PINGREQ received.
    packets_pingreq => Counter "metrics/packets/pingreq",
    /// PINGRESP sent.
    packets_pingresp => Counter "metrics/packets/pingresp",
    /// DISCONNECT received.
    packets_disconnect_received => Counter "metrics/packets/disconnect",
    /// DISCONNECT sent.
    packets_disconnect_sent => Counter "metrics/packets/disconnect/sent",
    /// AUTH received.
    packets_auth => Counter "metrics/packets/auth",
    /// AUTH sent.
    packets_auth_sent => Counter "metrics/packets/auth/sent",

    /// Application Messages received.
    messages_received => Counter "metrics/messages/received",
    /// Application Messages sent.
    messages_sent => Counter "metrics/messages/sent",
    /// QoS 0 received.
    messages_qos0_received => Counter "metrics/messages/qos0/received",
    /// QoS 0 sent.
    messages_qos0_sent => Counter "metrics/messages/qos0/sent",
    /// QoS 1 received.
    messages_qos1_received => Counter "metrics/messages/qos1/received",
    /// QoS 1 sent.
    messages_qos1_sent => Counter "metrics/messages/qos1/sent",
    /// QoS 2 received.
    messages_qos2_received => Counter "metrics/messages/qos2/received",
    /// QoS 2 sent.
    messages_qos2_sent => Counter "metrics/messages/qos2/sent",
    /// Received with RETAIN set.
    messages_retained => Counter "metrics/messages/retained",
    /// Let go, all reasons together.
    messages_dropped => Counter "metrics/messages/dropped",
    /// Dropped: the oldest of a full mqueue.
    dropped_queue_full => Counter "metrics/messages/dropped/queue_full",
    /// Dropped: QoS 0 for a client that reads too slowly.
    dropped_slow => Counter "metrics/messages/dropped/slow_subscriber",
    /// Dropped: QoS 0 for an absent client whose session keeps none.
    dropped_offline_qos0 => Counter "metrics/messages/dropped/offline_qos0",
    /// Dropped: Message Expiry Interval passed.
    dropped_expired => Counter "metrics/messages/dropped/expired",
    /// Dropped: larger than the client's Maximum Packet Size.
    dropped_too_large => Counter "metrics/messages/dropped/packet_too_large",
    /// Dropped: QoS 0 towards a shard whose mailbox gave no credit.
    dropped_no_credit => Counter "metrics/messages/dropped/no_credit",
    /// Dropped: the session ended with messages waiting.
    dropped_session_end => Counter "metrics/messages/dropped/session_end",
    /// Dropped: messages of QoS 2, whatever the reason.
    dropped_qos2 => Counter "metrics/messages/qos2/dropped",
    /// Dropped: a delayed message beyond the limits of [delayed].
    dropped_delayed => Counter "metrics/messages/dropped/delayed",
    /// Messages that wait for their time.
    delayed => Gauge "stats/delayed",
    /// Delayed messages published.
    delayed_published => Counter "metrics/modules/delayed/published",
    /// Delayed messages refused: too many, too large together, or a topic that says no delay.
    delayed_refused => Counter "metrics/modules/delayed/refused",
    /// Automatic subscriptions made.
    auto_subscriptions => Counter "metrics/modules/subscriptions/made",
    /// Automatic subscriptions that could not be made.
    auto_subscriptions_refused => Counter "metrics/modules/subscriptions/refused",
    /// Topics and filters that became others by [[rewrite]].
    topics_rewritten => Counter "metrics/modules/rewrite/done",
    /// Topics and filters that stayed, because their rule made nothing usable of them.
    topics_not_rewritten => Counter "metrics/modules/rewrite/failed",
    /// Messages that came back to this node after its bridge had passed them on, and went nowhere.
    bridge_loops => Counter "metrics/modules/bridge/loops",
    /// Clients sent away by a drain.
    drain_sent_away => Counter "metrics/modules/drain/sent_away",
    /// Retained messages refused: too many or too large.
    retained_refused => Counter "metrics/messages/retained/refused",

    /// Network connections accepted.
    connections_accepted => Counter "metrics/connections/accepted",
    /// Network connections closed.
    connections_closed => Counter "metrics/connections/closed",
    /// CONNECTs refused.
    connections_refused => Counter "metrics/connections/refused",
    /// Connections closed unread, because the listener's rules do not let their address in.
    connections_refused_access => Counter "metrics/connections/refused/access",
    /// Requests to WebSocket listeners that were refused.
    websocket_refused => Counter "metrics/connections/refused/websocket",
    /// Connections handed to their home shard.
    connections_handed_over => Counter "metrics/connections/handed_over",
    /// Takeovers.
    takeovers => Counter "metrics/connections/takeovers",
    /// Connections closed by Keep Alive.
    keep_alive_timeouts => Counter "metrics/connections/keep_alive_timeouts",
    /// Connections closed before CONNECT came.
    connect_timeouts => Counter "metrics/connections/connect_timeouts",
    /// PUBLISHes that waited because too much waits for the disk.
    storage_waits => Counter "metrics/storage/waits",
    /// What was refused because the disk takes nothing.
    storage_refused => Counter "metrics/storage/refused",
    /// Clients that were authenticated.
    auth_success => Counter "metrics/auth/success",
    /// Clients that were refused for their credentials.
    auth_failure => Counter "metrics/auth/failure",
    /// Clients that came in without credentials where authentication is configured.
    auth_anonymous => Counter "metrics/auth/anonymous",
    /// Credentials that were known again without computing a hash, checking a signature or asking a server.
    auth_cache_hits => Counter "metrics/auth/cache_hits",
    /// Hashes, signatures and requests that verdicts took.
    auth_computed => Counter "metrics/auth/computed",
    /// Clients that were told that the server is busy: too many waited for their verdict.
    auth_queue_full => Counter "metrics/auth/queue_full",
    /// Malformed packets.
    errors_malformed => Counter "metrics/errors/malformed",
    /// Packets that break the protocol.
    errors_protocol => Counter "metrics/errors/protocol",
    /// Packets beyond a limit of ours.
    errors_limit => Counter "metrics/errors/limit",

    /// Connections refused or closed by a listener's connect_rate.
    connect_rate_refused => Counter "metrics/limits/connect_rate/refused",
    /// Connections refused because their address has its maximum.
    address_refused => Counter "metrics/limits/address/refused",
    /// Pauses of clients by limits.publish_rate.
    publish_rate_waits => Counter "metrics/limits/publish_rate/waits",
    /// Pauses of clients by a bytes_rate.
    bytes_rate_waits => Counter "metrics/limits/bytes_rate/waits",
    /// Bans by failed authentication or by flapping.
    bans_made => Counter "metrics/bans/made",
    /// CONNECTs of those who are banned.
    bans_refused => Counter "metrics/bans/refused",
    /// Connections refused for want of memory.
    memory_refused => Counter "metrics/memory/refused",
    /// Publishers paused for want of memory.
    memory_waits => Counter "metrics/memory/waits",
    /// Dropped for want of memory: QoS 0 to slow subscribers, the oldest of long mqueues.
    dropped_memory => Counter "metrics/messages/dropped/memory",
    /// Slow subscribers sent away for want of memory.
    memory_sent_away => Counter "metrics/memory/sent_away",
    /// What was refused because a user has its quota.
    quota_refused => Counter "metrics/quota/refused",
    /// Pauses of clients for their user's message rate.
    quota_rate_waits => Counter "metrics/quota/publish_rate/waits",
    /// Questions to the server of auth.http.acl_req.
    acl_asked => Counter "metrics/acl/asked",
    /// Questions to it without an answer.
    acl_unanswered => Counter "metrics/acl/unanswered",
    /// PUBLISHes and Wills that the ACL denied.
    acl_denied_publish => Counter "metrics/acl/denied/publish",
    /// Filters of SUBSCRIBEs that the ACL denied.
    acl_denied_subscribe => Counter "metrics/acl/denied/subscribe",
    /// WebSocket frames that break a rule.
    errors_websocket => Counter "metrics/errors/websocket",
    /// TLS handshakes completed.
    tls_handshakes => Counter "metrics/tls/handshakes",
    /// TLS handshakes that resumed a session.
    tls_resumed => Counter "metrics/tls/handshakes/resumed",
    /// TLS handshakes that failed.
    tls_handshake_errors => Counter "metrics/tls/handshakes/failed",
    /// TLS handshakes that failed for the client's certificate or for want of one.
    tls_client_certs_refused => Counter "metrics/tls/client_certificates/refused",
    /// Steps of TLS handshakes that waited for a later turn.
    tls_handshakes_delayed => Counter "metrics/tls/handshakes/delayed",
    /// TLS handshakes that wait for the shard's next turn.
    tls_handshakes_waiting => Gauge "stats/tls/handshakes/waiting",
    /// TLS connections that ended with a fault after their handshake.
    errors_tls => Counter "metrics/errors/tls",
    /// PROXY headers that are missing or can't be read.
    errors_proxy => Counter "metrics/errors/proxy",

    /// Messages sent to other shards.
    shard_messages_sent => Counter "metrics/shards/messages/sent",
    /// Messages from other shards.
    shard_messages_received => Counter "metrics/shards/messages/received",
    /// Publishes that came from another shard and matched nothing here.
    needless_hops => Counter "metrics/shards/needless_hops",
    /// Publishers paused for want of credit.
    credit_waits => Counter "metrics/shards/credit_waits",
    /// Messages of other shards that wait for a later turn.
    mailbox_depth => Gauge "stats/shards/mailbox",
    /// Turns of a shard's loop that took longer than 5 ms.
    slow_turns => Counter "metrics/shards/slow_turns",
    /// Presence messages that were left out: too many in a second.
    presence_left_out => Counter "metrics/presence/left_out",
    /// Events of traces that were left out: whoever writes them down was too slow.
    trace_left_out => Counter "metrics/trace/left_out",
    /// Microseconds of CPU that the shard's thread used.
    cpu_us => Counter "metrics/shards/cpu_us",
}
