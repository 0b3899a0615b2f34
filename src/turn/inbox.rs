//! How turns reach a socket: the streams it reads, and a bell that rings when one of them has more.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::ids::{SocketId, TurnId};
use crate::protocol::Event;

use super::stream::{Read, TurnStream};

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
    epoch: i64,
    seq: u64,
    /// Only the terminal frame is wanted, and a request for approval that nobody has answered: text was shown before that
    /// this client cannot tell from new text.
    only_end: bool,
    /// The client was sent a frame of it.
    spoken: bool,
    ended: bool,
}

/// A frame for a client.
pub struct Outbound {
    /// The bytes of a text frame.
    pub frame: Utf8Bytes,
    /// It carries the text of several frames, because the client was slow.
    pub collapsed: bool,
}

impl Reader {
    /// Reads from the beginning.
    pub(super) fn whole(stream: Arc<TurnStream>, inbox: Arc<Inbox>, view: View) -> Self {
        stream.wake_on_push(&inbox);
        let (epoch, _) = stream.position();
        Self { stream, inbox, view, epoch, seq: 0, only_end: false, spoken: false, ended: false }
    }

    /// Reads what follows a position, for a client that shows which one it has.
    pub(super) fn from(stream: Arc<TurnStream>, inbox: Arc<Inbox>, view: View, epoch: i64, seq: u64) -> Self {
        let mut reader = Self::whole(stream, inbox, view);
        (reader.epoch, reader.seq) = (epoch, seq);
        reader
    }

    /// Reads only how the turn ends: for a client that may have seen part of the text on a connection it lost.
    pub(super) fn only_end(stream: Arc<TurnStream>, inbox: Arc<Inbox>, view: View) -> Self {
        let mut reader = Self::whole(stream, inbox, view);
        reader.only_end = true;
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
        self.ended
    }

    /// Takes the next frame, with as much text as is there; `None` until the bell rings again.
    pub fn take(&mut self) -> Option<Outbound> {
        let outbound = self.next();
        self.spoken |= outbound.is_some();
        outbound
    }

    fn next(&mut self) -> Option<Outbound> {
        while !self.ended {
            match self.stream.read(self.epoch, self.seq, self.view.numbered) {
                Read::Nothing => return None,
                Read::Skip { seq } => self.seq = seq,
                Read::Restarted { epoch } => {
                    let told = self.seq > 0;
                    (self.epoch, self.seq) = (epoch, 0);
                    if told && self.view.numbered {
                        let about = &self.stream.about;
                        let frame = Event::turn_restarted(&about.request_id, self.stream.now_ms(), epoch).encode();
                        return Some(Outbound { frame, collapsed: false });
                    }
                    self.only_end |= told;
                }
                Read::WentOn { epoch } => self.epoch = epoch,
                Read::Frame { seq, frame, collapsed, ended, asks } => {
                    self.seq = seq;
                    self.ended = ended;
                    if ended || asks || !self.only_end {
                        return Some(Outbound { frame, collapsed });
                    }
                }
            }
        }
        None
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stream.forget(&self.inbox);
    }
}
