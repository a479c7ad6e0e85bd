//! Retained.
