//! Lists that lie on several shards: one shard after another is asked, a bounded part at a time, until the page is full. Where the next
//! page begins is a text without meaning to others: which list, which shard, which place there.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::failure::Failure;
use super::page::Paging;
use crate::admin::desk::Desk;
use crate::broker::inspect::{Page, SubscriptionPlace};
use crate::broker::{Answer, Question};
use crate::interest::ShardId;

/// A page that took so long ends where it is: it may be shorter than asked for, even empty, and not the last.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which list a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Clients = 1,
    Sessions,
    Subscriptions,
    Topics,
    Retained,
}

/// A place in a shard's part of a list, as bytes of a cursor.
pub(super) trait Place: Sized {
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
    /// Back again; `None`: it is none.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Place for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl Place for SubscriptionPlace {
    fn write(&self, out: &mut Vec<u8>) {
        self.session.write(out);
        if let Some((is_shared, filter)) = self.after {
            out.push(u8::from(is_shared));
            filter.write(out);
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (session, rest) = bytes.split_at_checked(4)?;
        let after = match rest.split_first() {
            None => None,
            Some((is_shared @ 0..=1, filter)) => Some((*is_shared == 1, u32::read(filter)?)),
            Some(_) => return None,
        };
        Some(Self { session: u32::read(session)?, after })
    }
}

impl Place for Box<str> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(Into::into)
    }
}

/// Where a list goes on.
#[derive(Debug, PartialEq, Eq)]
struct Cursor<P> {
    shard: ShardId,
    from: Option<P>,
}

impl<P: Place> Cursor<P> {
    fn text(&self, kind: Kind) -> String {
        let mut bytes = vec![kind as u8];
        bytes.extend_from_slice(&self.shard.0.to_be_bytes());
        if let Some(from) = &self.from {
            bytes.push(0);
            from.write(&mut bytes);
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn parse(text: &str, kind: Kind, shards: u16) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, rest) = bytes.split_first_chunk::<3>()?;
        let [of, high, low] = *head;
        let shard = u16::from_be_bytes([high, low]);
        let from = match rest.split_first() {
            None => None,
            Some((0, place)) => Some(P::read(place)?),
            Some(_) => return None,
        };
        (of == kind as u8 && shard < shards).then_some(Self { shard: ShardId(shard), from })
    }
}

/// What was found, each with its shard, and the cursor of the next page.
pub(super) type Found<T> = (Vec<(ShardId, T)>, Option<String>);

/// A page of a list. `question` asks for so many items from a place on, `answer` takes the answer apart.
///
/// # Errors
/// The cursor or the limit is none, or a shard does not answer.
pub(super) async fn list<T, P: Place>(
    desk: &Desk,
    kind: Kind,
    paging: &Paging,
    question: impl Fn(Option<P>, usize) -> Question,
    answer: impl Fn(Answer) -> Option<Page<T, P>>,
) -> Result<Found<T>, Failure> {
    let limit = paging.limit()?;
    let mut cursor = match &paging.cursor {
        None => Cursor { shard: ShardId(0), from: None },
        Some(text) => Cursor::parse(text, kind, desk.shards()).ok_or_else(|| {
            Failure::bad_request(
                "cursor: it is none of this list; take `next` of the page before, or leave it out",
            )
        })?,
    };
    let until = Instant::now() + PATIENCE;
    let mut items = Vec::new();
    while items.len() < limit && Instant::now() < until {
        let shard = cursor.shard;
        let asked = desk.ask(shard, question(cursor.from.take(), limit - items.len())).await?;
        let page = answer(asked).ok_or_else(unexpected)?;
        items.extend(page.items.into_iter().map(|item| (shard, item)));
        cursor = match page.next {
            Some(next) => Cursor { shard, from: Some(next) },
            None if shard.0 + 1 < desk.shards() => Cursor { shard: ShardId(shard.0 + 1), from: None },
            None => return Ok((items, None)),
        };
    }
    Ok((items, Some(cursor.text(kind))))
}

/// A shard answered another question.
pub(super) fn unexpected() -> Failure {
    Failure::unavailable(
        "a shard gave an answer to another question; this is a defect of the broker, please report it",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn round<P: Place + PartialEq + std::fmt::Debug>(shard: u16, from: Option<P>) {
        let cursor = Cursor { shard: ShardId(shard), from };
        let text = cursor.text(Kind::Topics);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(Cursor::parse(&text, Kind::Topics, shard + 1), Some(cursor));
        assert_eq!(Cursor::<P>::parse(&text, Kind::Topics, shard), None, "there is no such shard");
        assert_eq!(Cursor::<P>::parse(&text, Kind::Clients, shard + 1), None, "it is of another list");
    }

    #[test]
    fn cursors_come_back_as_they_were() {
        round::<u32>(0, None);
        round(2, Some(u32::MAX));
        for after in [None, Some((false, 0)), Some((true, u32::MAX))] {
            round(1, Some(SubscriptionPlace { session: 7, after }));
        }
        for topic in ["", "a/ü", "\0"] {
            round::<Box<str>>(255, Some(topic.into()));
        }
    }

    #[test]
    fn nonsense_is_no_cursor() {
        for text in ["", "x", "AA", "====", "ä", "BAAAAQ", "AgAA AAAAAAA", "BAAAAAAAAAAAAAAA"] {
            assert_eq!(Cursor::<u32>::parse(text, Kind::Topics, 64), None, "{text}");
        }
        for bytes in [&[4, 0, 0, 0][..], &[4, 0, 0, 0, 1, 2, 3, 4, 5], &[4, 0, 0, 1, 0, 0, 0, 0]] {
            assert_eq!(Cursor::<u32>::parse(&URL_SAFE_NO_PAD.encode(bytes), Kind::Topics, 64), None);
        }
        let mut random = 3_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let text = URL_SAFE_NO_PAD.encode(&random.to_be_bytes()[..(random % 9) as usize]);
            // Whatever comes of it, it names a shard that there is.
            let cursor = Cursor::<SubscriptionPlace>::parse(&text, Kind::Subscriptions, 3);
            assert!(cursor.is_none_or(|cursor| cursor.shard.0 < 3));
        }
    }
}
