//! The router against a plain list of subscriptions, under a seeded generator.

use super::*;
