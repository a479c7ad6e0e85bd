//! A restored state as text: what tests compare.

use std::fmt::Write;
use std::sync::Arc;

use crate::session::{Delivery, Message, Will};
use crate::storage::{Restored, RestoredSlot};

pub(crate) fn describe(restored: &Restored) -> String {
    let mut out = String::new();
    for session in &restored.sessions {
        let _ = writeln!(
            out,
            "session {} {} v{} expiry {} user {} last {} at {} was_connected {} will {}",
            session.serial,
            session.client_id,
            session.version as u8,
            session.expiry_s,
            session.user,
            session.last_packet_id,
            session.disconnected_at.0,
            session.was_connected,
            session.will.as_deref().map_or("none".into(), will),
        );
        for subscription in &session.subscriptions {
            let _ = writeln!(
                out,
                "  filter {} {} {}",
                subscription.filter, subscription.options, subscription.id
            );
        }
        let _ = writeln!(out, "  inbound {:?}", session.inbound);
        for (packet_id, slot) in &session.inflight {
            let slot = match slot {
                RestoredSlot::Publish(sent) => delivery(sent),
                RestoredSlot::Release => "release".into(),
            };
            let _ = writeln!(out, "  inflight {packet_id} {slot}");
        }
        for queued in &session.mqueue {
            let _ = writeln!(out, "  queued {}", delivery(queued));
        }
    }
    let mut retained: Vec<_> = restored.retained.iter().map(message).collect();
    retained.sort();
    retained.iter().for_each(|kept| writeln!(out, "retained {kept}").unwrap_or_default());
    restored.wills.iter().for_each(|due| writeln!(out, "will {}", will(due)).unwrap_or_default());
    out
}

fn delivery(delivery: &Delivery) -> String {
    let share =
        delivery.share.as_ref().map_or(String::new(), |share| format!("{}/{}", share.name, share.filter));
    let ids = delivery.subscription_ids.as_deref().map_or(&[][..], Vec::as_slice);
    let (qos, retain) = (delivery.qos as u8, delivery.retain);
    format!("qos {qos} retain {retain} ids {ids:?} share [{share}] of {}", message(&delivery.message))
}

fn message(message: &Arc<Message>) -> String {
    let head = message.head();
    format!(
        "{} by {} qos {} retain {} expires {:?} {} {:?} {:?}",
        head.number,
        head.publisher.0,
        head.qos as u8,
        head.retain,
        head.expires_at.map(|at| at.0),
        message.topic(),
        message.forwarded(),
        String::from_utf8_lossy(message.payload()),
    )
}

fn will(will: &Will) -> String {
    format!("{} after {} s for {:?} s", message(&will.message), will.delay_s, will.expiry_s)
}
