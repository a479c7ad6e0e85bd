//! Tests of the interest table: against plain sets, and (with `--cfg loom`) under every order of its steps.

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod random;
