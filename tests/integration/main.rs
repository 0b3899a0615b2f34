//! Every integration test, in one binary. Real Postgres, real NATS, real nodes; only the model gateway is scripted.

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod browser;
mod bus;
mod dev;
mod gateway;
mod protocol;
mod store;
