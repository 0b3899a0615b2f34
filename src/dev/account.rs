//! The account that servers run under. Postgres refuses root, so root steps down to `nobody`.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::DevError;

/// Who a server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The user who runs this process.
    Own,
    /// An unprivileged user, because this process is root.
    Nobody { uid: u32, gid: u32 },
}

impl Account {
    /// The account for this process's servers. Asks `id`, because the user database may be anywhere.
    pub(super) fn find() -> Result<Self, DevError> {
        if ask_id(&["-u"])? != 0 {
            return Ok(Self::Own);
        }
        Ok(Self::Nobody { uid: ask_id(&["-u", "nobody"])?, gid: ask_id(&["-g", "nobody"])? })
    }

    /// Makes `command` run as this account, without any further group.
    pub(super) fn apply(self, command: &mut Command) {
        match self {
            Self::Own => {}
            Self::Nobody { uid, gid } => {
                command.uid(uid).gid(gid);
            }
        }
    }

    /// Gives `path` to this account.
    pub(super) fn own(self, path: &Path) -> Result<(), DevError> {
        match self {
            Self::Own => Ok(()),
            Self::Nobody { uid, gid } => chown(path, Some(uid), Some(gid))
                .map_err(DevError::io(format!("give {} to the user nobody", path.display()))),
        }
    }

    /// Lets this account look into `folder`, whatever mask the folder was made under.
    pub(super) fn open(self, folder: &Path) -> Result<(), DevError> {
        match self {
            Self::Own => Ok(()),
            Self::Nobody { .. } => set_permissions(folder, Permissions::from_mode(0o755))
                .map_err(DevError::io(format!("open {} to the user nobody", folder.display()))),
        }
    }

    /// Whether this account can reach what lies in `folder`, which exists: every folder on the way must be open to others.
    pub(super) fn reaches(self, folder: &Path) -> bool {
        const SEARCH_BY_OTHERS: u32 = 0o001;
        match self {
            Self::Own => true,
            Self::Nobody { .. } => folder.canonicalize().is_ok_and(|folder| {
                folder
                    .ancestors()
                    .all(|step| step.metadata().is_ok_and(|metadata| metadata.mode() & SEARCH_BY_OTHERS != 0))
            }),
        }
    }
}

fn ask_id(arguments: &[&str]) -> Result<u32, DevError> {
    let answer = Command::new("id")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(DevError::io("run `id` to learn which user this is"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    text.trim().parse().map_err(|_| DevError::Program {
        program: "id",
        detail: format!("{}{}", text, String::from_utf8_lossy(&answer.stderr)),
    })
}
