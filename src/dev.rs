//! Real Postgres and NATS for tests and for `switchboard dev`, fetched, started and ended by this process alone.
//!
//! Rust drops no static and nothing at all after SIGKILL, so no server here is ended by a `Drop`: each one stands under a
//! supervising shell that reads a pipe, and when this process ends, however it does, the kernel closes the pipe and the
//! shell kills the server and removes its data. Nothing here is meant for production.

mod account;
mod cluster;
mod error;
mod folder;
mod nats;
mod ports;
mod postgres;
mod supervisor;
mod tools;
mod wheel;

pub use cluster::DevCluster;
pub use error::DevError;
pub use nats::Nats;
pub use postgres::{Postgres, PostgresConfig, Shutdown};
pub use tools::Tools;
