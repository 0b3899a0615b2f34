//! What tests stand on.

pub mod gateway;
pub mod services;
