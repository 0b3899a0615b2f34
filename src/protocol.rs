//! The wire protocol: what a client may ask and what it is told, as types; no IO, no clock, no store.
//!
//! A shipped client drops every event that carries a key it does not know. No event gets a new field here; what a client
//! asked for with `supports` is an event of its own, or spliced in for that client alone by [`numbered`].

mod action;
mod capability;
mod close_code;
mod error_code;
mod event;
mod fields;
mod frame;
mod request;
pub mod schema;

pub use action::{Action, AuthContext, CreateConversationSession, InteractionAnswer, SendMessage, SubmitInteraction};
pub use action::{DEFAULT_PAGE, MAX_PAGE, MAX_TITLE_CHARS};
pub use capability::Capability;
pub use close_code::CloseCode;
pub use error_code::ErrorCode;
pub use event::*;
pub use fields::MAX_REQUEST_ID_BYTES;
pub use frame::{StreamText, asks_for_approval, numbered, token_text};
pub use request::{Refusal, Request, parse};
