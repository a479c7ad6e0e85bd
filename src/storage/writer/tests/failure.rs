//! Crashes, failed syncs, a full disk: what was reported stays, what was not is never trusted, and mending ends.

use super::*;

#[test]
fn what_was_reported_is_there_after_a_crash_at_any_step() {
    for round in 0.. {
        let disk = SimulatedDisk::new(round);
        disk.lose_power_after(round);
        let mut is_over = false;
        if let Ok(mut shards) = Shards::start(&disk, options(), 1000) {
            for turn in 0..100_u16 {
                shards.write(turn % SHARDS);
                shards.commit();
                shards.write_image();
                shards.maintain();
            }
            is_over = disk.operations() < round;
            disk.crash();
            let found = shards.check();
            assert_eq!(found.lost, 0, "round {round}: nothing that was promised is missing in the middle");
        } else {
            disk.crash();
        }
        // Whatever is there, a start goes on from it.
        let mut again = Shards::start(&disk, options(), 5000).unwrap();
        again.write(0);
        again.settle();
        disk.crash();
        again.check();
        if is_over {
            assert!(round > 200, "the run should do more than {round} operations");
            return;
        }
    }
}

#[test]
fn random_faults_and_crashes_lose_nothing_that_was_reported() {
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let mut now_ms = 1000;
        for life in 0..4 {
            let mut options = options();
            options.segment_bytes = 500 + disk.random_below(3000) as u64;
            disk.set_free(None);
            let mut shards = Shards::start(&disk, options, now_ms).unwrap();
            shards.is_lazy = seed % 2 == 1;
            for _ in 0..disk.random_below(400) {
                match disk.random_below(100) {
                    0 => disk.fail_sync(SyncFault::Lost),
                    1 => disk.fail_sync(SyncFault::Kept),
                    2 => disk.fail_append(io::ErrorKind::StorageFull),
                    3 => disk.fail_append(io::ErrorKind::Other),
                    4 => disk.set_free(Some(disk.random_below(6000) as u64)),
                    5..10 => disk.set_free(None),
                    10..15 => shards.now_ms += 1 + disk.random_below(20_000) as u64,
                    15..50 => shards.write(0),
                    50..70 => shards.write(1),
                    70..80 => shards.write_image(),
                    _ => {
                        shards.commit();
                        shards.maintain();
                    }
                }
            }
            now_ms = shards.now_ms + 1;
            disk.crash();
            let found = shards.check();
            assert_eq!(found.lost, 0, "seed {seed}, life {life}");
        }
    }
}

#[test]
fn a_failed_sync_is_never_trusted_and_the_shards_memory_mends_it() {
    let (disk, mut shards) = started(5);
    shards.write(0);
    shards.commit();
    assert_eq!(shards.durable, [1, 0]);
    shards.write(0);
    shards.write(1);
    disk.fail_sync(SyncFault::Lost);
    shards.commit();
    assert!(!shards.is_up);
    assert_eq!(shards.durable, [1, 0]);
    // Later syncs would succeed: none is asked.
    let syncs = disk.syncs();
    shards.write(0);
    shards.commit();
    shards.maintain();
    assert_eq!((shards.durable.clone(), disk.syncs()), (vec![1, 0], syncs));
    assert_eq!(shards.writer.statistics().refused_frames, 1);
    shards.now_ms += 1000;
    shards.maintain();
    assert!(shards.imaging.is_some());
    shards.write_image();
    shards.commit();
    shards.maintain();
    assert!(!shards.is_up, "one shard's image is missing");
    assert_eq!(shards.durable, [1, 0]);
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(shards.durable, [5, 6]);
    disk.crash();
    let found = shards.check();
    assert_eq!(replay(&found.frames), shards.memories);
    assert_eq!(found.lost, 0);
    assert_eq!(shards.writer.statistics().failures, 1);
}

/// The last step is the header that makes the images the base: it may be on disk, though its sync failed.

#[test]
fn an_attempt_to_mend_that_fails_at_its_last_step_leaves_nothing_behind() {
    for (seed, operations) in (0..10).flat_map(|seed| (0..12).map(move |operations| (seed, operations))) {
        let (disk, mut shards) = started(seed);
        shards.write(0);
        shards.commit();
        shards.write(0);
        disk.fail_sync(SyncFault::Lost);
        shards.commit();
        shards.now_ms += 1000;
        shards.maintain();
        for _ in 0..SHARDS {
            shards.write_image();
            shards.commit();
        }
        shards.maintain();
        disk.fail_sync(SyncFault::Kept);
        disk.lose_power_after(operations);
        shards.maintain();
        assert!(!shards.is_up);
        assert_eq!(shards.durable, [1, 0]);
        disk.crash();
        assert_eq!(shards.check().lost, 0);
        Shards::start(&disk, options(), 9000).unwrap();
    }
}

#[test]
fn a_full_disk_heals_when_space_returns() {
    let (disk, mut shards) = started(6);
    (0..20).for_each(|_| shards.write(0));
    shards.commit();
    let durable = shards.durable.clone();
    disk.set_free(Some(30));
    shards.write(1);
    let outcome = shards.writer.commit(at(shards.now_ms));
    let error = io::Error::from(io::ErrorKind::StorageFull).to_string();
    assert_eq!(outcome.state, Some(StateChange::Down { reason: DownReason::Full, error, is_again: false }));
    shards.told(outcome);
    // Too little even for a header, then for the images; each time it gives back what it took.
    for (free, waits_ms) in [(20, 1000), (200, 1000), (200, 2000), (200, 4000), (200, 8000), (200, 16_000)] {
        disk.set_free(Some(free));
        shards.now_ms += waits_ms;
        assert!(shards.writer.wake_at().unwrap() <= shards.now_ms, "after {waits_ms} ms");
        shards.settle();
        assert!(!shards.is_up);
        assert_eq!(shards.durable, durable);
    }
    assert_eq!(shards.writer.statistics().segments, 1);
    disk.set_free(Some(100_000));
    shards.now_ms += 16_000;
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(shards.durable[1], 21 + 12, "all that was issued, with the images of six attempts");
    disk.crash();
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

/// Else shards that have begun to write the images of the attempt would wait for ever for what they were told to write.

#[test]
fn shards_are_told_of_every_attempt_to_mend_that_fails() {
    let (disk, mut shards) = started(16);
    disk.fail_sync(SyncFault::Lost);
    shards.write(0);
    shards.commit();
    assert!(!shards.is_up);
    for (attempt, waits_ms) in [(1, 1000), (2, 2000), (3, 4000)] {
        shards.now_ms += waits_ms;
        shards.maintain();
        assert!(shards.imaging.is_some(), "attempt {attempt}");
        shards.write_image();
        disk.fail_append(io::ErrorKind::StorageFull);
        let outcome = shards.writer.commit(at(shards.now_ms));
        let Some(StateChange::Down { reason, is_again: true, .. }) = outcome.state else {
            panic!("{outcome:?}");
        };
        assert_eq!(reason, DownReason::Full);
        assert_eq!(shards.writer.maintain(at(shards.now_ms)), Outcome::default(), "once an attempt");
    }
    assert_eq!(shards.writer.statistics().failures, 1);
    shards.imaging = None;
    shards.now_ms += 8000;
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

/// Shards pace their images by what is not written yet.

#[test]
fn what_is_written_while_a_checkpoint_mends_is_told_and_promises_nothing() {
    let (disk, mut shards) = started(17);
    shards.write(0);
    disk.fail_sync(SyncFault::Lost);
    assert!(shards.writer.commit(at(shards.now_ms)).written.is_empty());
    shards.write(1);
    assert!(
        shards.writer.commit(at(shards.now_ms)).written.is_empty(),
        "nothing is written while it is down"
    );
    shards.now_ms += 1000;
    shards.maintain();
    shards.write(1);
    let outcome = shards.writer.commit(at(shards.now_ms));
    assert_eq!(outcome, Outcome { written: vec![(1, 3)], ..Outcome::default() });
    assert!(shards.writer.commit(at(shards.now_ms)).is_empty(), "once");
    shards.settle();
    assert_eq!(shards.durable, [4, 5]);
    shards.write(0);
    let outcome = shards.writer.commit(at(shards.now_ms));
    assert_eq!(outcome, Outcome { durable: vec![(0, 6)], ..Outcome::default() });
}

#[test]
fn images_that_never_come_make_an_attempt_to_mend_fail() {
    let (disk, mut shards) = started(18);
    shards.write(0);
    disk.fail_sync(SyncFault::Lost);
    shards.commit();
    shards.now_ms += 1000;
    shards.maintain();
    shards.write_image();
    shards.now_ms += 20_000;
    shards.commit();
    let (generation, _) = shards.imaging.unwrap();
    let due = shards.writer.wake_at().unwrap();
    assert_eq!(due, shards.now_ms + 30_000, "from the last that came");
    assert!(shards.writer.maintain(at(due - 1)).is_empty());
    let outcome = shards.writer.maintain(at(due));
    assert!(matches!(outcome.state, Some(StateChange::Down { is_again: true, .. })), "{outcome:?}");
    shards.now_ms = shards.writer.wake_at().unwrap();
    assert!(shards.now_ms > due);
    shards.maintain();
    assert!(shards.imaging.unwrap().0 > generation, "they are asked anew");
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

#[test]
fn a_failed_sync_of_what_nobody_waits_for_is_told() {
    let (disk, mut shards) = started(22);
    shards.writer.append_unawaited(0, 1, set(0, 1, 1));
    shards.commit();
    disk.fail_sync(SyncFault::Lost);
    let outcome = shards.writer.maintain(at(1010));
    assert!(matches!(outcome.state, Some(StateChange::Down { .. })) && outcome.durable.is_empty());
}

#[test]
fn a_start_on_a_full_disk_waits_for_space() {
    let (disk, mut shards) = started(7);
    shards.write(0);
    shards.commit();
    disk.set_free(Some(10));
    let mut shards = Shards::start(&disk, options(), 2000).unwrap();
    assert!(!shards.is_up);
    shards.write(1);
    shards.settle();
    assert_eq!(shards.durable, [0, 0]);
    disk.set_free(None);
    shards.now_ms += 1000;
    shards.settle();
    assert!(shards.is_up);
    assert!(shards.durable[1] > 0);
    disk.crash();
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

#[test]
fn a_disk_that_fails_at_the_start_is_an_error() {
    let disk = SimulatedDisk::new(8);
    disk.fail_sync(SyncFault::Lost);
    assert!(Shards::start(&disk, options(), 1000).is_err());
    Shards::start(&disk, options(), 1000).unwrap();
}
