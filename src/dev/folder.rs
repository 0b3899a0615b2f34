//! The folder of one server's files, locked by the process that made it for as long as that process lives.
//!
//! The server's supervisor removes the folder. A machine that lost its power, or a supervisor that was killed itself, leaves it
//! behind without the lock, and the next process that starts a server sweeps it away.

use std::fs::{self, DirBuilder, File};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::DevError;
use super::account::Account;

/// The locked file in a folder whose server has not ended.
const LOCK: &str = "lock";

/// A folder for one server. Dropping it gives up the lock and leaves the files.
pub(super) struct ServerFolder {
    path: PathBuf,
    _lock: File,
}

impl ServerFolder {
    /// Makes an empty folder below `run` that only `account` may look into.
    pub(super) fn make(run: &Path, server: &str, account: Account) -> Result<Self, DevError> {
        let path = run.join(format!("{server}-{}", Uuid::new_v4().simple()));
        let lock = make_locked(&path).map_err(DevError::io(format!("make {}", path.display())))?;
        account.own(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder, which no supervisor knows of.
    pub(super) fn discard(self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, folder = %self.path.display(), "cannot remove a folder of a development server");
        }
    }
}

fn make_locked(path: &Path) -> Result<File, Error> {
    make_folder(path, 0o700)?;
    // Renamed when it is locked, so that nobody who sweeps finds it in between.
    let unlocked = path.join("unlocked");
    let lock = File::create_new(&unlocked)?;
    lock.lock()?;
    fs::rename(unlocked, path.join(LOCK))?;
    Ok(lock)
}

/// Makes a folder, which may exist, with the permissions `mode` as far as the process's mask lets it.
pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), Error> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the folders below `run` whose makers live no more. What another user left cannot be removed, and stays.
pub(super) fn sweep(run: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(run)? {
        let folder = entry?.path();
        if let Ok(lock) = File::open(folder.join(LOCK))
            && lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(&folder)
            // Its supervisor may be removing it right now.
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %folder.display(), "cannot remove what a killed development server left");
        }
    }
    Ok(())
}
