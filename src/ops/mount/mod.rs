//! `mount`: a snapshot, or all snapshots of a store, as a filesystem that is read only. The entries come from the database at the
//! start, the contents from the layers when somebody reads them.
//!
//! The store is open only while entries are read. A mount holds open files of the layers, so layers stay readable after a
//! prune has removed them.

mod ahead;
mod aside;
mod cache;
mod contents;
mod doors;
mod filesystem;
mod framed;
mod frames;
mod library;
mod listener;
mod nodes;
mod pieces;
mod session;
mod views;

pub(crate) use listener::Listener;

use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::ops::mount::contents::Contents;
use crate::ops::mount::session::{Access, Signals};
use crate::ops::mount::views::Views;
use crate::ops::remote::ranged::Ranged;
use crate::registry::Access as RegistryAccess;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A request to mount.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The snapshot; `None` for all.
    pub snapshot: Option<SnapshotRef>,
    /// An empty directory.
    pub directory: PathBuf,
    /// How registries are reached, for layers that are not here.
    pub access: RegistryAccess,
    /// Whether other users may read what their permissions allow.
    pub allow_other: bool,
}

/// Mounts, and returns when the mount is gone: by umount(8), or by SIGINT, SIGTERM or SIGHUP, which the calling thread blocks from
/// now on. Fails with [`Error::NotEmpty`] for a directory with something in it, if the snapshot is unknown or damaged, and if the kernel
/// or fusermount3 refuses.
pub(crate) fn mount(
    store_path: &Path,
    request: &Request,
    listener: Arc<dyn Listener>,
) -> Result<()> {
    check_empty(&request.directory)?;
    raise_limit();
    // Before any thread begins, since threads inherit the mask.
    let signals = Signals::block(&request.directory)?;
    let registries = Ranged::new(request.access.clone(), &store_path.join("tmp"));
    let contents = Contents::new(registries);
    let views = match &request.snapshot {
        Some(reference) => Views::one(store_path, reference, contents)?,
        None => Views::all(store_path, contents)?,
    };
    let access = if request.allow_other {
        Access::Everybody
    } else {
        Access::Owner
    };
    session::serve(views, &request.directory, access, signals, listener)
}

/// Refuses a directory that is not empty.
fn check_empty(directory: &Path) -> Result<()> {
    let metadata = std::fs::metadata(directory).map_err(Error::io("open", directory))?;
    if !metadata.is_dir() {
        return Err(Error::NotADirectory(directory.to_owned()));
    }
    let mut entries = std::fs::read_dir(directory).map_err(Error::io("read", directory))?;
    match entries.next() {
        Some(_) => Err(Error::NotEmpty(directory.to_owned())),
        None => Ok(()),
    }
}

/// Lets the process have as many open files as it may: each layer is one. Without success, the file too many says so.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
