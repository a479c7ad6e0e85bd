//! The loom model of the interest table: `RUSTFLAGS="--cfg loom" cargo test --release --lib interest::model`.
//! Every interleaving of the atomic steps, and every value that the memory model allows a load to return.
