//! Quotas of a user.
