//! Containers that the tables of a shard are made of: entries at stable 32-bit keys (`ChunkedSlab`), a map from a
//! hash to such a key (`KeyTable`), whose names live in the entries and not a second time in the map, and the short
//! texts (`ShortText`) that such names are. Tables grow in small steps: a million entries are reached without any call that copies or rehashes more than about
//! a thousand of them, so no turn of the loop is long because a table had to grow.

mod chunked;
mod key_table;
mod short_text;

pub use chunked::ChunkedSlab;
pub use key_table::KeyTable;
pub use short_text::ShortText;
