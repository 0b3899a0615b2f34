//! What can be set about SQLite.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;

/// Where the database is and how much may wait for it.
#[derive(Clone)]
pub struct Config {
    /// Where it is. A file `switchboard.db` in the working directory.
    pub location: Location,
    /// Calls that may wait for a thread, reads and writes each; one more is refused as out of reach. 1024: half a second
    /// of work on a slow disk.
    pub queue_length: usize,
    /// Threads that read, each with its own connection. 2: a long listing does not hold up a short read. None in memory.
    pub readers: usize,
    /// How long a write waits for another process that writes to the same file. 5 s.
    pub busy_timeout: Duration,
    /// The clock that leases and times go by. The machine's.
    pub clock: Clock,
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// This file, and two more beside it that end in `-wal` and `-shm`.
    File(PathBuf),
    /// Nowhere: it is gone when the store is dropped.
    Memory,
}

impl Config {
    /// The defaults, for this place.
    pub fn new(location: Location) -> Self {
        Self { location, ..Self::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            location: Location::File("switchboard.db".into()),
            queue_length: 1024,
            readers: 2,
            busy_timeout: Duration::from_secs(5),
            clock: Clock::system(),
        }
    }
}
