//! What a turn wrote beyond what a frame can hold, cut between entries.

use crate::storage::Entry;
use crate::storage::entry::varint;

/// The body of a frame as bodies of at most `max` bytes, each with its time. An entry that is longer than that alone, or that
/// is none, stays in one piece.
pub(super) fn split(body: &[u8], max: usize) -> Vec<Vec<u8>> {
    let mut rest = body;
    if varint(&mut rest).is_err() {
        return vec![body.to_vec()];
    }
    let time = &body[..body.len() - rest.len()];
    let (mut parts, mut part) = (Vec::new(), time.to_vec());
    while !rest.is_empty() {
        let from = rest;
        if Entry::decode(&mut rest).is_err() {
            rest = &[];
        }
        let entry = &from[..from.len() - rest.len()];
        if part.len() + entry.len() > max && part.len() > time.len() {
            parts.push(std::mem::replace(&mut part, time.to_vec()));
        }
        part.extend_from_slice(entry);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_between_entries_and_each_has_the_time() {
        let mut body = vec![0xac, 0x02];
        let entries: Vec<_> = (1..=20_u64).map(|serial| Entry::Reset { serial: serial * 100 }).collect();
        entries.iter().for_each(|entry| entry.encode(&mut body));
        for max in 1..=body.len() {
            let parts = split(&body, max);
            let mut found = Vec::new();
            for part in &parts {
                assert!(part.len() <= max || parts.len() == entries.len(), "{max}");
                let mut rest = &part[..];
                assert_eq!(varint(&mut rest), Ok(300));
                while !rest.is_empty() {
                    found.extend(Entry::decode(&mut rest));
                }
            }
            assert_eq!(found, entries, "{max}");
        }
        assert_eq!(split(&body, body.len()), [body]);
        assert_eq!(split(&[0xff], 1), [[0xff]], "no time");
        assert_eq!(split(&[1, 99, 99], 2), [[1, 99, 99]], "no entry");
    }
}
