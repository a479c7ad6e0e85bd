//! Loom models of the two lock-free protocols: no wake-up is lost, no credit is lost.
