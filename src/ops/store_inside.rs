//! A root must not hold the recording store.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::names::BOOTSTRAP;
use crate::model::policy::Policy;
use crate::model::tree::path::EntryPath;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Fails with [`Error::StoreInside`] if the root holds the store: each snapshot would record another store.
pub(crate) fn refuse_store_inside(store_path: &Path, root: &Root, policy: &Policy) -> Result<()> {
    let rules = policy.rules(BOOTSTRAP)?;
    let absolute = std::path::absolute(store_path).map_err(Error::io("find", store_path))?;
    let resolved = std::fs::canonicalize(&absolute).unwrap_or(absolute);
    let Ok(inside) = resolved.strip_prefix(root.path()) else {
        return Ok(());
    };
    let mut path = entry_path(inside);
    while let Some(at) = path.filter(|at| !at.is_root()) {
        path = at.parent();
        if rules.excludes(&at) || path.as_ref().is_some_and(|above| rules.keeps_empty(above)) {
            return Ok(());
        }
    }
    Err(Error::StoreInside {
        store: resolved,
        root: root.path().to_owned(),
    })
}

/// Returns a path below the root in the form of entries; `None` for an unfit path.
pub(crate) fn entry_path(inside: &Path) -> Option<EntryPath> {
    EntryPath::from_slashed(inside.as_os_str().as_bytes())
}
