//! `mount`: the arguments, and the lines for people while a mount is there.

use crate::cli::context::{Answer, Context};
use crate::cli::stderr::say;
use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::ops::mount::{Listener, Request, mount};
use crate::printable::printable;
use clap::Args;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const MOUNT_USAGE: &str = concat!(
    "rootstrata mount [OPTIONS] <SNAPSHOT> <DIR>\n",
    "       rootstrata mount [OPTIONS] --all <DIR>",
);

pub(crate) const MOUNT_HELP: &str = concat!(
    "DIR is an empty directory. The mount is read only, and stays until `umount DIR`\n",
    "or Ctrl-C. Contents come out of the layers when they are read, and one that is\n",
    "not as recorded gives an error. Other commands may use the store meanwhile.\n",
    "\n",
    "With --all, DIR has a directory for each series, in it one for each stage, and\n",
    "in it the snapshots by time and number.\n",
    "\n",
    "Exit status: 0 unmounted, 2 trouble, 75 the store is locked.",
);

#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Snapshot to mount, unless --all is given
    #[arg(value_name = "SNAPSHOT")]
    first: OsString,
    /// Empty directory to mount on
    #[arg(
        value_name = "DIR",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    second: Option<PathBuf>,
    /// Mount all snapshots
    #[arg(long)]
    all: bool,
    /// Let other users read what the recorded permissions allow
    #[arg(long)]
    allow_other: bool,
}

impl MountArgs {
    /// Returns the request. Fails with [`Error::BadReference`] if the snapshot is none.
    fn request(&self) -> Result<Request> {
        let (snapshot, directory) = match &self.second {
            Some(directory) => (Some(snapshot(&self.first)?), directory.clone()),
            None => (None, PathBuf::from(&self.first)),
        };
        Ok(Request {
            snapshot,
            directory,
            allow_other: self.allow_other,
        })
    }
}

fn snapshot(name: &OsString) -> Result<SnapshotRef> {
    let bad = || Error::BadReference {
        text: name.to_string_lossy().into_owned(),
    };
    SnapshotRef::parse(name.to_str().ok_or_else(bad)?)
}

/// Mounts, and stays until the mount is gone. Fails if there is nothing to mount, or no way to.
pub(crate) fn run(context: &Context, args: &MountArgs) -> Result<Answer> {
    let people = Arc::new(People {
        is_quiet: context.quiet,
    });
    mount(&context.store, &args.request()?, people)?;
    Ok(String::new().into())
}

/// People at a terminal.
struct People {
    is_quiet: bool,
}

impl Listener for People {
    fn mounted(&self, directory: &Path) {
        if !self.is_quiet {
            let directory = printable(directory.as_os_str().as_bytes());
            say(&format!(
                "{directory} is mounted: umount {directory}, or Ctrl-C, ends this"
            ));
        }
    }

    fn trouble(&self, text: &str) {
        say(&format!("rootstrata: warning: {text}"));
    }
}
