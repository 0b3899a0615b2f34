//! How the pieces of one run of a turn belong to those of the runs before it. Pure.
//!
//! A run that begins anew is its own beginning. One that goes on where the turn was parked has the same pieces under the same
//! numbers, so a reader stays where it is; only one that saw pieces of a run that was cut short must begin again.

use serde::{Deserialize, Serialize};

use super::transcript::Piece;

/// The epoch of the first run of a turn.
const FIRST_EPOCH: i64 = 1;

/// Where the pieces of an epoch come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lineage {
    /// The first epoch whose pieces, up to number `carried`, are the same.
    pub base: i64,
    /// How many pieces were taken over.
    pub carried: u64,
    /// Every epoch since `base` went on where the one before it was parked, so no number ever stood for two pieces.
    pub unbroken: bool,
}

/// The transcript of a run up to the moment it was parked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parked {
    /// The epoch of that run.
    pub epoch: i64,
    /// Where its pieces come from.
    pub lineage: Lineage,
    /// All of them.
    pub pieces: Vec<Piece>,
}

/// What a remote node that attaches is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attached {
    /// The holder's epoch.
    pub epoch: i64,
    /// Where its pieces come from.
    pub lineage: Lineage,
    /// The position that the pieces follow.
    pub after: u64,
    /// What the asker misses.
    pub pieces: Vec<Piece>,
    /// There is more than fitted.
    pub has_more: bool,
}

impl Lineage {
    /// A run that begins anew.
    pub(super) fn of(epoch: i64) -> Self {
        Self { base: epoch, carried: 0, unbroken: true }
    }

    /// The first pieces of that epoch, up to this number, are the first pieces here.
    pub(super) fn goes_on_from(self, epoch: i64, seq: u64) -> bool {
        epoch >= self.base && seq <= self.carried
    }

    /// A client that shows nothing but a number means the piece that has it here, whatever epoch it came by.
    pub(super) fn is_certain(self, seq: u64) -> bool {
        self.base <= FIRST_EPOCH && (self.unbroken || seq <= self.carried)
    }
}

impl Parked {
    /// The lineage of a run that goes on from here.
    pub(super) fn next_lineage(&self, epoch: i64) -> Lineage {
        let base = if self.lineage.unbroken { self.lineage.base } else { self.epoch };
        Lineage { base, carried: self.pieces.len() as u64, unbroken: epoch == self.epoch + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(epoch: i64, lineage: Lineage, count: usize) -> Parked {
        Parked { epoch, lineage, pieces: vec![Piece::Event(String::new()); count] }
    }

    #[test]
    fn a_run_that_goes_on_at_once_keeps_every_position_certain() {
        let second = parked(1, Lineage::of(1), 4).next_lineage(2);
        assert_eq!(second, Lineage { base: 1, carried: 4, unbroken: true });
        assert!(second.goes_on_from(1, 4) && !second.goes_on_from(1, 5) && second.is_certain(9));
        let third = parked(2, second, 8).next_lineage(3);
        assert!(third.goes_on_from(1, 4) && third.goes_on_from(2, 8) && third.is_certain(9));
    }

    #[test]
    fn a_run_that_was_cut_short_after_the_park_makes_only_its_own_pieces_uncertain() {
        let third = parked(1, Lineage::of(1), 4).next_lineage(3);
        assert!(third.goes_on_from(2, 4) && !third.goes_on_from(2, 5));
        assert!(third.is_certain(4) && !third.is_certain(5));
        let fourth = parked(3, third, 8).next_lineage(4);
        assert!(!fourth.goes_on_from(2, 5) && fourth.goes_on_from(3, 8) && !fourth.is_certain(1));
    }

    #[test]
    fn a_run_that_begins_anew_goes_on_from_none() {
        let anew = Lineage::of(2);
        assert!(!anew.goes_on_from(1, 0) && !anew.is_certain(0) && Lineage::of(1).is_certain(3));
    }
}
