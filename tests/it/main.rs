//! The integration suite: the real broker as a process, clients over real sockets, one test a normative statement.
//! Names start with the statement: `mqtt3_…` of 3.1.1 (and 3.1), `mqtt5_…` of 5.0; `tidy` checks the code's shape.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod sharded;

mod auth;
mod broker;
mod client;
mod numbers;
mod wire;

mod acl;
mod admin;
mod clients;
mod limits;
mod modules;
mod mqtt3;
mod mqtt5;
mod observe;
mod packaging;
mod process;
mod storage;
mod tenants;
mod tidy;
mod tls;
mod transport;
