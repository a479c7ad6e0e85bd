//! Group commit: what is reported when, and with how many syncs.

use super::*;

#[test]
fn one_sync_commits_what_all_shards_wrote() {
    let (disk, mut shards) = started(1);
    let syncs = disk.syncs();
    for _ in 0..5 {
        shards.write(0);
        shards.write(1);
    }
    assert_eq!(shards.durable, [0, 0]);
    shards.commit();
    assert_eq!(shards.durable, [9, 10]);
    assert_eq!(disk.syncs() - syncs, 1);
    shards.commit();
    assert_eq!(disk.syncs() - syncs, 1, "nothing new, nothing to sync");
    let statistics = shards.writer.statistics();
    assert_eq!((statistics.frames, statistics.syncs, statistics.segments), (10, 1, 1));
    disk.crash();
    assert_eq!(shards.check().frames.len(), 10);
}

#[test]
fn an_empty_frame_asks_what_is_durable() {
    let (_, mut shards) = started(1);
    shards.writer.append(1, 77, Vec::new());
    assert_eq!(shards.writer.commit(at(1000)).durable, [(1, 77)]);
    assert_eq!(shards.writer.statistics().frames, 0);
}

#[test]
fn what_no_frame_can_hold_becomes_several_and_not_a_failure() {
    let (disk, mut shards) = started(19);
    shards.writer.body_max = 20;
    let mut body = vec![1];
    (1..=20).for_each(|serial| Entry::Reset { serial }.encode(&mut body));
    assert!(body.len() > 40);
    shards.writer.append(0, 1, body.clone());
    assert_eq!(shards.writer.commit(at(1000)), Outcome { durable: vec![(0, 1)], ..Outcome::default() });
    disk.crash();
    let frames = read(&disk).frames;
    assert!(frames.len() > 2 && frames.iter().all(|frame| frame.len() <= 20 && frame[0] == 1));
    let entries: Vec<u8> = frames.iter().flat_map(|frame| frame[1..].to_vec()).collect();
    assert_eq!(entries, body[1..]);
}

#[test]
fn what_nobody_waits_for_shares_a_sync_or_has_its_own_soon() {
    let (disk, mut shards) = started(21);
    let syncs = disk.syncs();
    shards.writer.append_unawaited(0, 1, set(0, 1, 1));
    assert!(shards.writer.commit(at(1000)).is_empty());
    assert!(shards.writer.maintain(at(1000)).is_empty());
    assert_eq!((disk.syncs(), shards.writer.wake_at()), (syncs, Some(1010)));
    // The one that somebody waits for comes in time.
    shards.writer.append(1, 2, set(1, 1, 1));
    assert_eq!(shards.writer.commit(at(1005)).durable, [(0, 1), (1, 2)]);
    assert_eq!((disk.syncs(), shards.writer.wake_at()), (syncs + 1, None));
    // None comes.
    shards.writer.append_unawaited(0, 3, set(0, 1, 2));
    assert!(shards.writer.commit(at(2000)).is_empty());
    shards.writer.append_unawaited(1, 4, set(1, 1, 2));
    assert!(shards.writer.commit(at(2009)).is_empty());
    assert_eq!(shards.writer.wake_at(), Some(2010), "from the first");
    assert!(shards.writer.maintain(at(2009)).is_empty());
    assert_eq!(shards.writer.maintain(at(2010)).durable, [(0, 3), (1, 4)]);
    assert_eq!((disk.syncs(), shards.writer.wake_at()), (syncs + 2, None));
    shards.writer.append_unawaited(0, 5, set(0, 1, 3));
    assert_eq!(shards.writer.close(at(2010)).durable, [(0, 5)]);
    disk.crash();
    assert_eq!(read(&disk).frames.len(), 5);
}

/// A failed sync is a failure also where nobody waited.

#[test]
fn an_interval_reports_at_once_and_syncs_in_time() {
    let disk = SimulatedDisk::new(9);
    let mut shards =
        Shards::start(&disk, WriterOptions { interval_ms: Some(100), ..options() }, 1000).unwrap();
    let syncs = disk.syncs();
    shards.write(0);
    shards.commit();
    assert_eq!(shards.durable, [1, 0]);
    assert_eq!(disk.syncs(), syncs);
    assert_eq!(shards.writer.wake_at(), Some(1100));
    shards.now_ms = 1099;
    shards.maintain();
    assert_eq!(disk.syncs(), syncs);
    shards.now_ms = 1100;
    shards.maintain();
    assert_eq!(disk.syncs(), syncs + 1);
    assert_eq!(shards.writer.wake_at(), None);
    disk.crash();
    assert_eq!(read(&disk).frames.len(), 1);
}
