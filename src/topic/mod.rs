//! Placeholder of the module under construction.
