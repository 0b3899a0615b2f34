//! The wire, against frames that were written down by hand from its description, and against its schemas.

mod actions;
mod events;
mod recorded;
mod schemas;
