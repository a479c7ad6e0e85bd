//! What outlasts the process: sessions, queues, Retained Messages, over SIGKILL, over another number of shards, over damage and
//! a disk that fails. `crash` has the long test with traffic; the others show one thing each.

mod crash;
