//! Random histories: what is read back is what the model knows, from the beginning and from any complete checkpoint, and
//! nothing that damage leaves of a journal makes the reader fail.

use super::super::Replay;
use super::describe::describe;
use super::model::{Model, Random};
use crate::clock::Timestamp;
use crate::storage::{Entry, Restored};

/// Between the last sign of life and the start.
const AWAY_MS: u64 = 100_000;

fn read(frames: &[(Timestamp, Vec<u8>)], alive: Timestamp) -> Restored {
    let mut replay = Replay::default();
    for (time, frame) in frames {
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            replay.apply(*time, &Entry::decode(&mut rest).unwrap());
        }
    }
    replay.finish(alive.plus_ms(AWAY_MS), alive).0
}

fn assert_same(model: &Model, from: usize, what: &str) {
    let alive = model.last_alive();
    let found = describe(&read(&model.frames[from..], alive));
    let expected = describe(&model.expected(alive.plus_ms(AWAY_MS), alive));
    assert!(found == expected, "{what}\n--- read\n{found}--- the model\n{expected}");
}

#[test]
fn what_is_read_is_what_the_model_knows() {
    for seed in 0..60 {
        let mut model = Model::new(seed);
        for turn in 0..120 {
            model.turn();
            if turn % 17 == 0 || turn == 119 {
                assert_same(&model, 0, &format!("seed {seed}, turn {turn}"));
            }
        }
    }
}

#[test]
fn reading_from_a_checkpoint_is_reading_from_the_beginning() {
    let mut checkpoints = 0;
    for seed in 0..40 {
        let mut model = Model::new(seed);
        let mut base = 0;
        for turn in 0..200 {
            model.turn();
            if model.random.one_in(2) {
                model.checkpoint();
            }
            let is_new = std::mem::replace(&mut base, model.base) != model.base;
            checkpoints += usize::from(is_new);
            if is_new || turn % 23 == 0 || turn == 199 {
                assert_same(&model, model.base, &format!("seed {seed}, turn {turn}, base {base}"));
                assert_same(&model, 0, &format!("seed {seed}, turn {turn}, images over the state before"));
            }
        }
    }
    assert!(checkpoints > 100, "{checkpoints} checkpoints");
}

#[test]
fn no_loss_of_frames_makes_the_reader_fail() {
    for seed in 0..25 {
        let mut model = Model::new(seed);
        (0..80).for_each(|_| {
            model.turn();
            model.checkpoint();
        });
        let mut random = Random(seed);
        for _ in 0..8 {
            let mut frames = model.frames.clone();
            frames.retain(|_| !random.one_in(6));
            let restored = read(&frames, model.last_alive());
            for pair in restored.sessions.windows(2) {
                assert!(pair[0].serial < pair[1].serial);
            }
            let mut clients: Vec<_> = restored.sessions.iter().map(|session| &session.client_id).collect();
            clients.sort();
            clients.dedup();
            assert_eq!(clients.len(), restored.sessions.len());
            for session in &restored.sessions {
                let mut ids: Vec<_> = session.inflight.iter().map(|(id, _)| *id).collect();
                ids.sort_unstable();
                ids.dedup();
                assert_eq!(ids.len(), session.inflight.len());
                assert!(session.serial < restored.first_serial && !ids.contains(&0));
            }
        }
    }
}
