//! Reads an answer in as few pieces as there can be without any waiting: what has arrived together is handed on together.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;

use crate::model::{Delta, Deltas, ModelError};

/// An answer that is being read.
pub(super) struct Reader {
    deltas: Deltas,
    /// Was read behind a text, and does not belong to it.
    held: Option<Item>,
}

/// What a stream yields; `None` is its end.
type Item = Option<Result<Delta, ModelError>>;

/// A piece of text stops growing here, in bytes, so that one frame stays small.
const MAX_PIECE_BYTES: usize = 16 * 1024;

impl Reader {
    pub(super) fn new(deltas: Deltas) -> Self {
        Self { deltas, held: None }
    }

    /// The next piece. Waits for its beginning only: a first token is never held back for a second.
    pub(super) async fn next(&mut self) -> Item {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Item> {
        let first = match self.held.take() {
            Some(item) => item,
            None => ready!(self.deltas.poll_next_unpin(cx)),
        };
        let Some(Ok(mut piece)) = first else { return Poll::Ready(first) };
        while piece_bytes(&piece).is_some_and(|bytes| bytes < MAX_PIECE_BYTES) {
            let Poll::Ready(item) = self.deltas.poll_next_unpin(cx) else { break };
            if let Err(item) = append(&mut piece, item) {
                self.held = Some(item);
                break;
            }
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

/// The length of a piece that can grow.
fn piece_bytes(piece: &Delta) -> Option<usize> {
    match piece {
        Delta::Text(text) | Delta::Reasoning(text) => Some(text.len()),
        Delta::ToolCalls(_) | Delta::Done(_) => None,
    }
}

/// Adds what follows to a piece of the same kind; anything else is given back.
fn append(piece: &mut Delta, item: Item) -> Result<(), Item> {
    match (piece, item) {
        (Delta::Text(text), Some(Ok(Delta::Text(more))))
        | (Delta::Reasoning(text), Some(Ok(Delta::Reasoning(more)))) => {
            text.push_str(&more);
            Ok(())
        }
        (_, item) => Err(item),
    }
}
