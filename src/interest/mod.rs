//! The interest table.
