//! `mount`: the arguments, and the lines for people while a mount is there.

use crate::cli::asked::{Asked, Subject, parse_subject};
use crate::cli::context::{Answer, Context};
use crate::cli::stderr::say;
use crate::error::{Error, Result};
use crate::ops::mount::{Listener, Request, mount};
use crate::printable::printable;
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const MOUNT_USAGE: &str = concat!(
    "rootstrata mount [OPTIONS] <SNAPSHOT> <DIR>\n",
    "       rootstrata mount [OPTIONS] --all <DIR>",
);

#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Snapshot to mount, or docker://HOST/REPO[:TAG], unless --all is given
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
    /// Returns the snapshot or image, `None` for all snapshots, and the directory. Fails with [`Error::BadReference`] for any other text.
    fn parts(&self) -> Result<(Option<Subject>, &Path)> {
        match &self.second {
            Some(directory) => Ok((Some(subject(&self.first)?), directory)),
            None => Ok((None, Path::new(&self.first))),
        }
    }
}

fn subject(name: &OsStr) -> Result<Subject> {
    let bad = || Error::BadReference {
        text: name.to_string_lossy().into_owned(),
    };
    let name = name.to_str().ok_or_else(bad)?;
    parse_subject(name).map_err(|_| bad())
}

/// Mounts, and stays until the mount is gone. Fails if there is nothing to mount, or no way to.
pub(crate) fn run(context: &Context, args: &MountArgs) -> Result<Answer> {
    let people = Arc::new(People {
        is_quiet: context.quiet,
    });
    let (subject, directory) = args.parts()?;
    // The store of an image is there as long as the mount.
    let asked = subject.map(|subject| Asked::open(context, &subject, &context.progress()));
    let asked = asked.transpose()?;
    let request = Request {
        snapshot: asked.as_ref().map(|asked| asked.snapshot.clone()),
        directory: directory.to_owned(),
        access: context.access.clone(),
        allow_other: args.allow_other,
    };
    let store = asked.as_ref().map_or(&context.store, |asked| &asked.store);
    mount(store, &request, people)?;
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
