//! How turns reach a socket: the streams it reads, and a bell that rings when one of them has more.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::ids::{SocketId, TurnId};
use crate::protocol::Event;

use super::place::{Place, Told};
use super::stream::TurnStream;

/// A socket's side of the turns it reads. Bounded: one reader per conversation that it watches.
pub struct Inbox {
    /// The socket.
    pub socket: SocketId,
    bell: Notify,
    arrived: Mutex<Vec<Reader>>,
}

impl Inbox {
    /// The inbox of a new socket.
    pub fn new(socket: SocketId) -> Arc<Self> {
        Arc::new(Self { socket, bell: Notify::new(), arrived: Mutex::new(Vec::new()) })
    }

    /// Waits until there may be something to read.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes the readers of turns that others started.
    pub fn take_arrived(&self) -> Vec<Reader> {
        std::mem::take(&mut self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn wake(&self) {
        self.bell.notify_one();
    }
}

/// How a socket wants a turn's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Frames carry `seq` and `epoch`, and a restart is told.
    pub numbered: bool,
    /// Turns that another device of the conversation started are wanted too.
    pub follow: bool,
}

/// A socket's place in a turn's stream.
pub struct Reader {
    stream: Arc<TurnStream>,
    inbox: Arc<Inbox>,
    view: View,
    place: Place,
    /// The client was sent a frame of it.
    spoken: bool,
}

/// A frame for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The bytes of a text frame.
    pub frame: Utf8Bytes,
    /// It carries the text of several frames, because the client was slow.
    pub collapsed: bool,
}

impl Reader {
    /// Reads from the beginning.
    pub(super) fn whole(stream: Arc<TurnStream>, inbox: Arc<Inbox>, view: View) -> Self {
        let (epoch, _) = stream.position();
        Self::from(stream, inbox, view, epoch, 0)
    }

    /// Reads what follows a position, for a client that shows which one it has.
    pub(super) fn from(stream: Arc<TurnStream>, inbox: Arc<Inbox>, view: View, epoch: i64, seq: u64) -> Self {
        stream.wake_on_push(&inbox);
        Self { stream, inbox, view, place: Place::at(epoch, seq, view.numbered), spoken: false }
    }

    /// Reads only how the turn ends: for a client that may have seen part of the text on a connection it lost.
    pub(super) fn only_end(stream: Arc<TurnStream>, inbox: Arc<Inbox>, view: View) -> Self {
        let (epoch, _) = stream.position();
        let mut reader = Self::from(stream, inbox, view, epoch, 0);
        reader.place = Place::only_end(epoch, view.numbered);
        reader
    }

    /// Hands this reader to its socket.
    pub(super) fn deliver(self) {
        let inbox = self.inbox.clone();
        inbox.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        inbox.wake();
    }

    /// The turn that it reads.
    pub fn turn(&self) -> TurnId {
        self.stream.about.turn
    }

    /// The client's name for that turn's request.
    pub fn request_id(&self) -> &str {
        &self.stream.about.request_id
    }

    /// The client was sent a frame of it.
    pub fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// The terminal frame was taken; nothing follows.
    pub fn has_ended(&self) -> bool {
        self.place.has_ended()
    }

    /// Takes the next frame, with as much text as is there; `None` until the bell rings again.
    pub fn take(&mut self) -> Option<Outbound> {
        let (stream, numbered) = (&self.stream, self.view.numbered);
        let outbound = match self.place.next(|epoch, seq| stream.read(epoch, seq, numbered)) {
            Told::Nothing => return None,
            Told::Frame(outbound) => outbound,
            Told::Restarted(epoch) => {
                let frame = Event::turn_restarted(&stream.about.request_id, stream.now_ms(), epoch).encode();
                Outbound { frame, collapsed: false }
            }
        };
        self.spoken = true;
        Some(outbound)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stream.forget(&self.inbox);
    }
}
