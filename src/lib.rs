//! Switchboard: a server for AI conversations that scales by adding identical nodes.
//!
//! The modules, in the order in which they may use each other (`architecture` in the tests holds them to it):
//! `ids`, `clock` → `protocol`, `store`, `bus`, `model` → `agent` → `turn` → `session` → `socket` → `http` → `node`.

pub mod agent;
pub mod bus;
pub mod clock;
pub mod dev;
pub mod ids;
pub mod model;
pub mod protocol;
pub mod secret;
pub mod store;
