//! Removes names below a root, directories with their content.

use super::root::Root;
use super::write::Writer;
use crate::error::{Error, Result};
use crate::model::tree::path::EntryPath;
use rustix::fs::{AtFlags, OFlags, RawDir};
use rustix::io::Errno;
use std::mem::MaybeUninit;

impl Writer<'_> {
    /// Removes `path`, a directory with all content. Fails with [`Error::MountPoint`] if a mount point is at or below the
    /// path.
    pub(crate) fn remove(&mut self, path: &EntryPath) -> Result<()> {
        // A list instead of recursion: the root decides how deep directories are nested.
        let mut left = vec![(path.clone(), false)];
        while let Some((path, is_emptied)) = left.pop() {
            self.enter(&path)?;
            let flags = if is_emptied {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            match rustix::fs::unlinkat(self.entered(), path.name(), flags) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) if !is_emptied => {
                    let names = names_in(self.root, &path)?;
                    left.push((path.clone(), true));
                    left.extend(names.iter().map(|name| (path.join(name), false)));
                }
                Err(Errno::BUSY) => return Err(Error::MountPoint(self.root.full_path(&path))),
                Err(e) => return Err(Error::io("remove", self.root.full_path(&path))(e)),
            }
        }
        Ok(())
    }
}

fn names_in(root: &Root, path: &EntryPath) -> Result<Vec<Vec<u8>>> {
    let failed = |e: Errno| match e {
        Errno::XDEV => Error::MountPoint(root.full_path(path)),
        e => Error::io("list", root.full_path(path))(e),
    };
    let handle = root
        .open_raw(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)
        .map_err(failed)?;
    let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
    let mut listing = RawDir::new(&handle, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = listing.next() {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}
