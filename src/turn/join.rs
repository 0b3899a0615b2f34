//! Lets a socket join a turn that was there before it: after a reconnect, on any node.

use std::sync::Arc;

use crate::store::{Session, StoreError, Turn, TurnState};

use super::Turns;
use super::ending;
use super::follow::Follow;
use super::inbox::{Inbox, Reader, View};
use super::stream::About;

impl Turns {
    /// A reader of how the session's active turn ends, if there is one that the socket may see.
    pub async fn join(&self, session: &Session, inbox: &Arc<Inbox>, view: View) -> Result<Option<Reader>, StoreError> {
        let Some(newest) = self.0.store.newest_turn(session.conversation, None).await? else { return Ok(None) };
        self.0.streams.know(&newest);
        Ok(Some(newest)
            .filter(|turn| !turn.state.is_final() && (turn.session == session.id || view.follow))
            .map(|turn| Reader::only_end(self.stream_of(&turn), inbox.clone(), view)))
    }

    /// A reader of a turn that a client names again: all of it when its frames are numbered, else only its end.
    pub(super) fn reader(&self, turn: &Turn, inbox: &Arc<Inbox>, view: View) -> Reader {
        let stream = self.stream_of(turn);
        if view.numbered {
            Reader::whole(stream, inbox.clone(), view)
        } else {
            Reader::only_end(stream, inbox.clone(), view)
        }
    }

    /// The stream of a turn that the store knows: the one that is here, one that follows its holder, or its ending alone.
    pub(super) fn stream_of(&self, turn: &Turn) -> Arc<super::stream::TurnStream> {
        let streams = &self.0.streams;
        self.0.holdings.lose_before(turn.id, turn.epoch);
        if let Some(stream) = streams.get(turn.conversation, turn.id) {
            stream.fence(turn.epoch);
            return stream;
        }
        let how = match turn.state {
            TurnState::Queued => Follow::Patiently,
            TurnState::Running | TurnState::Parked => Follow::AtOnce,
            TurnState::Completed | TurnState::Failed | TurnState::Cancelled => {
                let stream = streams.detached(&About::of(turn));
                ending::conclude(&stream, turn);
                return stream;
            }
        };
        let stream = streams.follow(&About::of(turn), how);
        stream.fence(turn.epoch);
        stream
    }
}
