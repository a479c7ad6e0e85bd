//! The model against histories that are wrong on purpose: every check must be able to fail.
