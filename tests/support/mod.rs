//! What tests stand on. To wait, await an event; where there is none, use [`eventually::assert_eventually`], never a sleep.

pub mod browser;
pub mod client;
pub mod eventually;
pub mod gateway;
pub mod line;
pub mod log;
pub mod node;
pub mod schema;
pub mod services;
pub mod tools;
