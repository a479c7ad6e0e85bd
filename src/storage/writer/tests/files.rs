//! The files of the folder: damaged ones, those of a backup under way, those that nobody needs, the clock.

use super::*;

#[test]
fn one_damaged_header_never_makes_removed_segments_missing() {
    let (disk, mut shards) = started(2);
    for _ in 0..400 {
        shards.write(0);
        shards.settle();
        let newest = shards.writer.statistics().newest;
        for seq in shards.writer.statistics().base..=newest {
            let damaged = disk.copy();
            damaged.flip_bit(&segment_name(seq), 300);
            let options = RecoverOptions::default();
            match recover(&damaged, Clocks::default(), &options, &mut |_| {}) {
                Ok((_, end, _)) => assert!(end.base <= shards.writer.statistics().base),
                // The first of all has no other that knows what the journal is.
                Err(error) => assert!(newest == 1, "{seq} of {newest}: {error}"),
            }
        }
    }
    assert!(shards.writer.statistics().checkpoints > 3);
}

#[test]
fn damaged_segments_are_put_aside_and_not_removed() {
    let (disk, mut shards) = started(12);
    (0..5).for_each(|_| shards.write(0));
    shards.commit();
    disk.flip_bit(&segment_name(1), 8 * (SEGMENT_HEADER_LEN + 30));
    let mut end = read(&disk).end;
    end.damaged = vec![1];
    let (writer, outcome) = JournalWriter::open(disk.clone(), end, options(), at(2000)).unwrap();
    shards.writer = writer;
    shards.told(outcome);
    shards.settle();
    let names = disk.list().unwrap();
    assert!(names.contains(&damaged_name(1)) && !names.contains(&segment_name(1)), "{names:?}");
}

#[test]
fn files_behind_the_end_that_the_reader_found_are_cleared_away() {
    let (mut disk, mut shards) = started(13);
    shards.write(0);
    shards.commit();
    let end = read(&disk).end;
    let mut torn = disk.create(&segment_name(2)).unwrap();
    disk.append(&mut torn, &[b"MYRI"]).unwrap();
    let (writer, _) = JournalWriter::open(disk.clone(), end, options(), at(2000)).unwrap();
    assert_eq!(writer.statistics().newest, 2);
    drop(writer);
    assert_eq!(read(&disk).frames.len(), 1);
}

#[test]
fn what_a_backup_reads_stays_until_it_is_done() {
    let (disk, mut shards) = started(14);
    for _ in 0..40 {
        shards.write(0);
        shards.settle();
    }
    let files = shards.writer.pin();
    for _ in 0..200 {
        shards.write(0);
        shards.settle();
    }
    let lens: Vec<u64> = files.iter().map(|(name, _)| disk.len(name).unwrap()).collect();
    assert!(files.iter().zip(&lens).all(|((_, pinned), len)| pinned <= len));
    let before = shards.writer.statistics().segments;
    shards.writer.unpin();
    shards.settle();
    assert!(shards.writer.statistics().segments < before);
}

#[test]
fn the_clock_file_is_whole_whenever_it_is_there() {
    let (disk, mut shards) = started(15);
    for ms in [5000, 6000] {
        shards.writer.write_clock(at(ms)).unwrap();
        let bytes = disk.read(CLOCK_FILE, 0, 1000).unwrap();
        let clock = decode_clock_file(1, &bytes).unwrap();
        assert_eq!((clock.mark, clock.synced_before), (at(ms), 1));
    }
    shards.write(0);
    shards.writer.close(at(7000));
    let clock = decode_clock_file(1, &disk.read(CLOCK_FILE, 0, 1000).unwrap()).unwrap();
    assert_eq!((clock.mark, clock.synced_before), (at(7000), 2));
}
