//! Resumes a turn's stream at the position that a client shows, on any node: exactly the rest, or the whole text so far.
//!
//! A position counts as long as no run of the turn was cut short. Once a turn has been taken over, a number may mean other
//! text, so the client gets the whole text again rather than a part that does not fit.

use std::sync::Arc;

use crate::store::{Session, StoreError, Turn};

use super::Turns;
use super::follow;
use super::inbox::{Inbox, Reader, View};
use super::stream::{Resume, ToldBy};

/// What a client that resumes gets.
pub struct Resumed {
    /// The turn, as the store has it.
    pub turn: Turn,
    /// The epoch and the number of the newest frame on this node.
    pub position: (i64, u64),
    /// The reader begins at the client's position; else at the beginning.
    pub exact: bool,
    /// The frames that follow.
    pub reader: Reader,
}

/// Why a stream cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The conversation has no such turn.
    #[error("there is no such turn")]
    NoTurn,
    /// The turn has not come so far.
    #[error("the position is ahead of the turn's newest frame, number {newest}")]
    Ahead {
        /// The number of the newest frame.
        newest: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Turns {
    /// Resumes the conversation's newest turn (or the one of this request) after frame number `after`.
    pub async fn resume(
        &self,
        session: &Session,
        request_id: Option<&str>,
        after: u64,
        inbox: &Arc<Inbox>,
        view: View,
    ) -> Result<Resumed, ResumeError> {
        let turn = self.0.store.newest_turn(session.conversation, request_id).await?.ok_or(ResumeError::NoTurn)?;
        self.0.streams.know(&turn);
        let stream = self.stream_of(&turn);
        let told_by = if self.0.holdings.holds(turn.id) {
            ToldBy::Holder
        } else if stream.has_ended() {
            ToldBy::Store
        } else {
            follow::ask(&self.0.streams, &stream).await
        };
        let (verdict, (epoch, newest)) = stream.resume(&turn, after, told_by);
        let (exact, begin) = match verdict {
            Resume::Exactly => (true, after),
            Resume::Anew => (false, 0),
            Resume::Ahead => return Err(ResumeError::Ahead { newest }),
        };
        let reader = Reader::from(stream, inbox.clone(), view, epoch, begin);
        Ok(Resumed { turn, position: (epoch, newest), exact, reader })
    }
}
