//! Switchboard: a server for AI conversations that scales by adding identical nodes.
//!
//! The modules, in the order in which they may use each other (`architecture` in the tests holds them to it):
//! `ids`, `clock`, `secret`, `limits` → `protocol`, `store`, `bus`, `model` → `agent` → `agents` → `turn` → `session` →
//! `socket` → `http` → `node` → `config` → `dev` → `chaos`.

pub mod agent;
pub mod agents;
pub mod bus;
pub mod chaos;
pub mod clock;
pub mod config;
pub mod dev;
pub mod http;
pub mod ids;
pub mod limits;
pub mod model;
pub mod node;
pub mod protocol;
pub mod secret;
pub mod session;
pub mod shutdown;
pub mod socket;
pub mod store;
pub mod telemetry;
pub mod turn;
