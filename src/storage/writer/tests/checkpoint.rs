//! Segments and checkpoints: when they begin, when they are complete, what is removed then.

use super::*;

#[test]
fn a_full_segment_is_followed_by_the_next_and_checkpoints_remove_the_old() {
    let (disk, mut shards) = started(2);
    let mut segments_max = 0;
    for _ in 0..400 {
        shards.write(0);
        shards.write(1);
        shards.settle();
        segments_max = segments_max.max(shards.writer.statistics().segments);
    }
    let statistics = shards.writer.statistics();
    assert!(statistics.newest > 20, "{statistics:?}");
    assert!(statistics.checkpoints > 5, "{statistics:?}");
    assert!((3..=6).contains(&segments_max), "{segments_max}");
    assert_eq!(statistics.segments, disk.list().unwrap().len() as u64);
    assert_eq!(statistics.left_files, 0);
    disk.crash();
    let found = shards.check();
    assert_eq!(found.lost, 0);
    assert_eq!(replay(&found.frames), shards.memories);
}

/// Else the header before it would name a base that is not there any more, and a start would be refused though nothing is lost.

#[test]
fn a_start_begins_with_a_checkpoint() {
    let (disk, mut shards) = started(3);
    (0..30).for_each(|_| shards.write(0));
    shards.settle();
    let before = shards.memories.clone();
    let mut shards = Shards::start(&disk, options(), 2000).unwrap();
    assert_eq!(shards.memories, before);
    assert!(shards.imaging.is_some());
    shards.write(1);
    shards.settle();
    let found = shards.check();
    assert!(found.base > 1);
    assert_eq!(found.frames.len(), 3, "two images and what was written beside them");
    assert_eq!(found.lost, 0);
}

/// An image may name a message that another shard has in the frame of a turn that has not ended.

#[test]
fn a_checkpoint_is_complete_when_every_shard_has_handed_in_what_its_images_may_name() {
    let (disk, mut shards) = started(20);
    (0..30).for_each(|_| shards.write(0));
    shards.settle();
    let mut shards = Shards::start(&disk, options(), 2000).unwrap();
    let (generation, _) = shards.imaging.unwrap();
    let base = shards.writer.statistics().base;
    shards.writer.fenced(0, generation);
    (0..SHARDS).for_each(|_| shards.write_image());
    shards.commit();
    let outcome = shards.writer.maintain(at(2000));
    assert_eq!(
        outcome,
        Outcome { fence: Some(generation), ..Outcome::default() },
        "once, when all images are there"
    );
    assert_eq!(shards.writer.wake_at(), None);
    shards.writer.fenced(0, generation);
    shards.writer.fenced(1, generation - 1);
    assert_eq!(shards.writer.wake_at(), None, "shard 1 has not answered");
    shards.write(1);
    shards.writer.fenced(1, generation);
    assert!(shards.writer.maintain(at(2000)).is_empty());
    assert_eq!(shards.writer.statistics().base, base, "what was handed in is not written");
    shards.commit();
    shards.maintain();
    let statistics = shards.writer.statistics();
    assert!(statistics.base > base && !statistics.is_checkpointing);
    disk.crash();
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

/// The same run, with the power going after each operation of the disk in turn.

#[test]
fn rotation_and_checkpoints_sync_first_where_the_interval_counts() {
    let disk = SimulatedDisk::new(10);
    let mut shards =
        Shards::start(&disk, WriterOptions { interval_ms: Some(60_000), ..options() }, 1000).unwrap();
    for _ in 0..300 {
        shards.write(0);
        shards.settle();
    }
    assert!(shards.writer.statistics().checkpoints > 1);
    shards.writer.close(at(shards.now_ms));
    disk.crash();
    let found = shards.check();
    assert_eq!((replay(&found.frames), found.lost), (shards.memories.clone(), 0));
}

#[test]
fn when_it_is_quiet_what_is_on_disk_shrinks_to_what_lives() {
    let disk = SimulatedDisk::new(11);
    let options = WriterOptions { segment_bytes: 1 << 20, checkpoint_bytes_min: 64 << 20, ..options() };
    let mut shards = Shards::start(&disk, options, 1000).unwrap();
    for _ in 0..20_000 {
        shards.write(0);
    }
    shards.settle();
    let busy = shards.writer.statistics();
    assert!(busy.disk_bytes > 1 << 20 && !busy.is_checkpointing, "{busy:?}");
    let due = shards.writer.wake_at().unwrap();
    assert!(due > shards.now_ms + 4000);
    shards.now_ms = due;
    shards.settle();
    let idle = shards.writer.statistics();
    assert!(idle.disk_bytes < 1000, "{idle:?}");
    assert_eq!(shards.writer.wake_at(), None, "and then it sleeps");
    shards.check();
}
