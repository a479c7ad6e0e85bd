//! The journal: any bytes are refused or are entries that mean the same when they are written again; whatever entries come to
//! holds together; and no damage of a journal that was written makes its reader fail in another way than by one line.

use std::collections::BTreeSet;

use myriad::clock::Timestamp;
use myriad::storage::marks::{Clocks, Mark};
use myriad::storage::segment::{JournalEnd, segment_seq};
use myriad::storage::simulated_disk::SimulatedDisk;
use myriad::storage::writer::{JournalWriter, WriterOptions};
use myriad::storage::{Disk, Entry, RecoverError, RecoverOptions, Replay, Restored, RestoredSlot, recover};

/// Ends a frame's body in the inputs of `check_damaged`.
const END_OF_BODY: u8 = 0xee;

/// The first byte says what the rest is: entries, or the bodies of frames behind what happens to them.
pub fn check(data: &[u8]) {
    match data.split_first() {
        Some((kind, rest)) if kind % 2 == 0 => check_entries(rest),
        Some((_, rest)) => check_damaged(rest),
        None => {}
    }
}

fn check_entries(mut rest: &[u8]) {
    let mut replay = Replay::default();
    let mut time = 1;
    while !rest.is_empty() {
        let Ok(entry) = Entry::decode(&mut rest) else { break };
        let mut written = Vec::new();
        entry.encode(&mut written);
        let mut again = written.as_slice();
        assert_eq!(Entry::decode(&mut again), Ok(entry));
        assert!(again.is_empty(), "{entry:?}");
        replay.apply(Timestamp(time), &entry);
        time += 1;
    }
    let (restored, _) = replay.finish(Timestamp(time + 5000), Timestamp(time));
    check_state(&restored);
}

fn check_state(restored: &Restored) {
    let clients: BTreeSet<&str> = restored.sessions.iter().map(|session| &*session.client_id).collect();
    assert_eq!(clients.len(), restored.sessions.len(), "a Client Identifier has two sessions");
    let topics: BTreeSet<&str> = restored.retained.iter().map(|message| message.topic()).collect();
    assert_eq!(topics.len(), restored.retained.len(), "a topic has two Retained Messages");
    for session in &restored.sessions {
        assert!(session.serial < restored.first_serial || session.serial == u64::MAX);
        let ids: BTreeSet<u16> = session.inflight.iter().map(|(packet_id, _)| *packet_id).collect();
        assert!(ids.len() == session.inflight.len() && !ids.contains(&0), "{ids:?}");
        let filters: BTreeSet<&str> = session.subscriptions.iter().map(|s| &*s.filter).collect();
        assert_eq!(filters.len(), session.subscriptions.len());
        assert!(session.inbound.is_sorted() && !session.inbound.contains(&0));
        let sent = session.inflight.iter().filter_map(|(_, slot)| match slot {
            RestoredSlot::Publish(delivery) => Some(delivery),
            RestoredSlot::Release => None,
        });
        for delivery in sent.chain(&session.mqueue) {
            let number = delivery.message.head().number;
            assert!(number < restored.first_number || number == u64::MAX);
        }
    }
}

fn check_damaged(data: &[u8]) {
    let Some((harm, bodies)) = data.split_first_chunk::<12>() else { return };
    let mut disk = SimulatedDisk::new(u64::from(harm[0]));
    let options =
        WriterOptions { shards: 1, segment_bytes: 400, interval_ms: None, checkpoint_bytes_min: 4000 };
    let mark = Mark { journal: Timestamp(1), ..Mark::default() };
    let Ok((mut writer, _)) = JournalWriter::open(disk.clone(), JournalEnd::fresh(1, 2), options, mark)
    else {
        return;
    };
    for (ticket, body) in (1..).zip(bodies.split(|byte| *byte == END_OF_BODY)) {
        writer.append(0, ticket, body.to_vec());
        if harm[1] & 1 == 0 || ticket % 3 == 0 {
            writer.commit(mark);
            if writer.maintain(mark).checkpoint.is_some() && harm[1] & 2 == 0 {
                writer.imaged(0, writer.statistics().generation);
            }
        }
    }
    drop(writer);
    if harm[1] & 4 == 0 {
        disk.crash();
    }
    for harm in harm[2..].chunks_exact(5) {
        let mut names = disk.list().unwrap_or_default();
        names.retain(|name| segment_seq(name).is_some());
        let Some(name) = names.get(usize::from(harm[0]) % names.len().max(1)) else { break };
        let place = usize::from(harm[2]) << 8 | usize::from(harm[3]);
        let len = disk.len(name).unwrap_or_default() as usize;
        match harm[1] % 4 {
            0 => disk.cut_existing(name, place % (len + 1)),
            1 => drop(disk.remove(name)),
            _ => disk.flip_bit(name, place * 8 + usize::from(harm[4] % 8)),
        }
    }
    check_recovery(&disk);
}

fn check_recovery(disk: &SimulatedDisk) {
    let clocks = Clocks::default();
    let accepting = RecoverOptions { accept_damage: true, ..RecoverOptions::default() };
    match recover(disk, clocks, &RecoverOptions::default(), &mut |_| {}) {
        Ok((restored, _, report)) => {
            check_state(&restored);
            assert!(report.findings.iter().all(|finding| finding.to_string().lines().count() == 1));
        }
        Err(error) => {
            assert_eq!(error.to_string().lines().count(), 1);
            match recover(disk, clocks, &accepting, &mut |_| {}) {
                Ok((restored, _, report)) => {
                    check_state(&restored);
                    assert!(report.is_damaged(), "{error}");
                }
                Err(again) => assert!(matches!(again, RecoverError::Newer { .. }), "{again}"),
            }
        }
    }
}
