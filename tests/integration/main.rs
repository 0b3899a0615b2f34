//! Every integration test, in one binary. Real Postgres, real NATS, real nodes; only the model gateway is scripted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod actions;
mod agent;
mod architecture;
mod browser;
mod bus;
mod cancel;
mod chaos;
mod conversation;
mod dev;
mod documents;
mod gaps;
mod gateway;
mod health;
mod leases;
mod limits;
mod outages;
mod processes;
mod protocol;
mod reconnect;
mod store;
mod tools;
