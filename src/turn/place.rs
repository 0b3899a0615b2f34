//! A reader's position in a turn's stream, and what it is told on its way. Pure.
//!
//! Frames without numbers cannot be told apart by their client, so a reader whose text was cut short by a new run is told
//! nothing but the ending; one whose frames are numbered is told that the text begins again.

use super::stream::Found;

/// Where a reader is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The client tells frames apart by epoch and number.
    numbered: bool,
    epoch: i64,
    seq: u64,
    /// Only the terminal frame is wanted, and a request for approval that nobody has answered: text was shown before that
    /// this client cannot tell from new text.
    only_end: bool,
    ended: bool,
}

/// What a reader is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// Nothing, for now or for good.
    Nothing,
    /// A frame.
    Frame(T),
    /// What was shown does not count any more; the text begins again, under this epoch.
    Restarted(i64),
}

impl Place {
    /// Everything that follows number `seq` of this epoch; 0 is the beginning.
    pub fn at(epoch: i64, seq: u64, numbered: bool) -> Self {
        Self { numbered, epoch, seq, only_end: false, ended: false }
    }

    /// Only how the turn ends: for a client that may have seen part of the text on a connection it lost.
    pub fn only_end(epoch: i64, numbered: bool) -> Self {
        Self { only_end: true, ..Self::at(epoch, 0, numbered) }
    }

    /// The terminal frame was told; nothing follows.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Moves to what there is next, which `read` finds for an epoch and a number.
    pub fn next<T>(&mut self, mut read: impl FnMut(i64, u64) -> Found<T>) -> Told<T> {
        while !self.ended {
            match read(self.epoch, self.seq) {
                Found::Nothing => return Told::Nothing,
                Found::Skip { seq } => self.seq = seq,
                Found::WentOn { epoch } => self.epoch = epoch,
                Found::Restarted { epoch } => {
                    let told = self.seq > 0;
                    (self.epoch, self.seq) = (epoch, 0);
                    if told && self.numbered {
                        return Told::Restarted(epoch);
                    }
                    self.only_end |= told;
                }
                Found::Frame { seq, frame, ended, asks } => {
                    self.seq = seq;
                    self.ended = ended;
                    if ended || asks || !self.only_end {
                        return Told::Frame(frame);
                    }
                }
            }
        }
        Told::Nothing
    }
}
