//! Makes, changes and removes what is below a root.
//!
//! Invariants: nothing outside the root and nothing beyond a mount point is touched, even where the root changes
//! meanwhile: a parent is opened without following a link, and a new name is made by a call that fails on an existing
//! name. An existing file is never written into, since the inode may have a name elsewhere.

use super::attributes::{self, ACCESS_ACL, Before, Inode, Lack, Made, stat_of};
use super::root::Root;
use super::xattrs::{handle_xattrs, hands_on_attributes};
use crate::error::{Error, Result};
use crate::model::stamp::{Stat, StatKind};
use crate::model::tree::entry::{Device, Entry, Kind};
use crate::model::tree::path::EntryPath;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// No other user sees an unfinished directory.
const UNFINISHED: Mode = Mode::RWXU;

/// Errors of a filesystem that cannot have a name.
const BAD_NAMES: &[Errno] = &[
    Errno::NAMETOOLONG,
    Errno::INVAL,
    Errno::ILSEQ,
    Errno::NOTSUP,
    Errno::NOSYS,
    Errno::MLINK,
];

/// One thread's way into a root, with the directory entered last.
#[derive(Debug)]
pub(crate) struct Writer<'r> {
    pub root: &'r Root,
    /// Owner and group of new inodes.
    pub own: (u32, u32),
    directory: Option<Entered>,
    /// Whether the filesystem makes files without a name; `true` until a call fails.
    pub makes_unnamed: bool,
}

/// A directory in which names are made.
#[derive(Debug)]
struct Entered {
    path: EntryPath,
    handle: OwnedFd,
    /// New inodes get an access list, or another attribute of a tree.
    hands_on_attributes: bool,
    /// New inodes get the group: the directory is setgid.
    hands_on_group: bool,
}

impl<'r> Writer<'r> {
    /// Begins at no directory.
    pub(crate) fn new(root: &'r Root) -> Self {
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Self {
            root,
            own,
            directory: None,
            makes_unnamed: true,
        }
    }

    /// Makes a directory that only the owner may enter until [`Self::finish_directory`]. Tells whether the filesystem can
    /// have the name.
    ///
    /// Fails if a directory or mount point has the name already, and if mkdirat(2) fails otherwise.
    pub(crate) fn make_directory(&mut self, path: &EntryPath) -> Result<bool> {
        let call =
            |directory: BorrowedFd, name: &[u8]| rustix::fs::mkdirat(directory, name, UNFINISHED);
        if self.make("create", path, BAD_NAMES, call)?.is_none() {
            return Ok(false);
        }
        if self.hands_on_attributes() {
            let handle = self.handle(path)?;
            attributes::strip(self.root, &Inode::Named(&handle), path)?;
        }
        Ok(true)
    }

    /// Takes the attributes from a new root that the directory above has handed on. Fails if the attributes of the root
    /// cannot be listed or removed.
    pub(crate) fn strip_root(&self) -> Result<()> {
        let handle = self.handle(&EntryPath::root())?;
        attributes::strip(self.root, &Inode::Named(&handle), &EntryPath::root()).map(drop)
    }

    /// Returns the mode of a new inode: without rights for others while the owner is not the final owner, or while
    /// attributes of the directory are handed on.
    pub(super) fn first_mode(&self, entry: &Entry) -> u16 {
        let is_handed_on = self
            .directory
            .as_ref()
            .is_none_or(|at| at.hands_on_attributes || at.hands_on_group);
        if is_handed_on || (entry.uid, entry.gid) != self.own {
            0o600
        } else {
            entry.mode & 0o777
        }
    }

    pub(super) fn hands_on_attributes(&self) -> bool {
        self.directory
            .as_ref()
            .is_some_and(|at| at.hands_on_attributes)
    }

    /// Makes a symlink, FIFO or device with all names; `None` where the process may not make such an inode or the
    /// filesystem cannot have the name.
    ///
    /// Fails with [`Error::Changed`] if somebody replaced the new inode, and if a directory has the name already.
    pub(crate) fn make_node(&mut self, names: &[&Entry]) -> Result<Option<Made>> {
        let entry = names[0];
        self.enter(&entry.path)?;
        let first_mode = self.first_mode(entry);
        if !self.make_unfinished_node(entry, first_mode)? {
            return Ok(None);
        }
        let handle = self.handle(&entry.path)?;
        self.check_new(&handle, entry)?;
        let inode = Inode::Named(&handle);
        let is_bare =
            !self.hands_on_attributes() || attributes::strip(self.root, &inode, &entry.path)?;
        let mut has_names = true;
        for other in &names[1..] {
            has_names &= self.link(&handle, other)?;
        }
        let mut made = attributes::give(self.root, &inode, entry, &self.of_new(first_mode), &[])?;
        made.lack_if(!has_names, Lack::Names);
        made.lack_if(!is_bare, Lack::Xattr);
        Ok(Some(made))
    }

    /// Fails if the inode at the path of a new node is another by now.
    fn check_new(&self, handle: &OwnedFd, entry: &Entry) -> Result<()> {
        let stat = stat_of(self.root, handle, &entry.path)?;
        if stat.nlink != 1 || !is_kind(&entry.kind, stat.kind) {
            return Err(Error::Changed(self.root.full_path(&entry.path)));
        }
        Ok(())
    }

    /// Makes a symlink, FIFO or device with its first name. Tells whether the process may and the filesystem can.
    fn make_unfinished_node(&mut self, entry: &Entry, mode: u16) -> Result<bool> {
        let mode = Mode::from_raw_mode(u32::from(mode));
        let (file_type, device) = match &entry.kind {
            Kind::CharDevice(device) => (FileType::CharacterDevice, *device),
            Kind::BlockDevice(device) => (FileType::BlockDevice, *device),
            _ => (FileType::Fifo, Device { major: 0, minor: 0 }),
        };
        let device = rustix::fs::makedev(device.major, device.minor);
        let call = |directory: BorrowedFd, name: &[u8]| match &entry.kind {
            Kind::Symlink(target) => rustix::fs::symlinkat(&**target, directory, name),
            _ => rustix::fs::mknodat(directory, name, file_type, mode, device),
        };
        let refusals = [BAD_NAMES, &[Errno::PERM]].concat();
        let made = self.make("create", &entry.path, &refusals, call)?;
        Ok(made.is_some())
    }

    /// Gives a new directory the metadata of `entry`. Fails if the directory is gone.
    pub(crate) fn finish_directory(&mut self, entry: &Entry) -> Result<Made> {
        let handle = self.handle(&entry.path)?;
        attributes::give(
            self.root,
            &Inode::Named(&handle),
            entry,
            &self.of_new(0o700),
            &[],
        )
    }

    pub(super) fn of_new(&self, mode: u16) -> Before {
        Before {
            owner: self.own,
            mode,
            has_list: false,
        }
    }

    /// Gives an existing inode of the same type the metadata of `entry`. Superfluous extended attributes go where
    /// `of_tree` is true of the name. Fails with [`Error::Changed`] if a file has several names.
    pub(crate) fn adjust(
        &mut self,
        entry: &Entry,
        of_tree: impl Fn(&[u8]) -> bool,
    ) -> Result<Made> {
        let handle = self.handle(&entry.path)?;
        let was = stat_of(self.root, &handle, &entry.path)?;
        if was.kind != StatKind::Directory && was.nlink > 1 {
            return Err(Error::Changed(self.root.full_path(&entry.path)));
        }
        let has = handle_xattrs(self.root, &handle, &entry.path)?;
        let is_kept = |name: &[u8]| entry.xattrs.get(name).is_some();
        let names = has.iter().map(|(name, _)| name);
        // An outdated access list goes first: a new mask would change the rights of the old list.
        let is_replaced =
            |name: &[u8]| name == ACCESS_ACL && has.get(name) != entry.xattrs.get(name);
        let is_gone = |name: &&[u8]| of_tree(name) && !is_kept(name) || is_replaced(name);
        let removed: Vec<&[u8]> = names.filter(is_gone).collect();
        let has_list = removed.contains(&ACCESS_ACL);
        let before = Before {
            owner: (was.uid, was.gid),
            mode: was.mode,
            has_list,
        };
        attributes::give(self.root, &Inode::Named(&handle), entry, &before, &removed)
    }

    /// Gives an existing directory the time of `entry`, after names in the directory have changed. Fails if the directory
    /// is gone or the time cannot be set.
    pub(crate) fn date(&mut self, entry: &Entry) -> Result<Stat> {
        let handle = self.handle(&entry.path)?;
        attributes::set_time(self.root, &Inode::Named(&handle), entry)?;
        stat_of(self.root, &handle, &entry.path)
    }

    /// Lets the process make and remove names in an existing directory. Tells whether the mode was changed and has to be
    /// restored. Fails if the directory cannot be opened.
    pub(crate) fn open_up(&mut self, path: &EntryPath) -> Result<bool> {
        let handle = self.handle(path)?;
        let was = stat_of(self.root, &handle, path)?;
        attributes::unlock(self.root, &handle, &was, path)
    }

    /// Gives an inode another name. Tells whether the filesystem can have the name. Fails if linkat(2) fails otherwise.
    pub(super) fn link(&mut self, inode: &impl AsFd, entry: &Entry) -> Result<bool> {
        // By the number in /proc: the first name may lead to another inode by now.
        let number = super::root::handle_path(&inode.as_fd());
        let refusals = [BAD_NAMES, &[Errno::PERM]].concat();
        let made = self.make("link", &entry.path, &refusals, |directory, name| {
            rustix::fs::linkat(CWD, &number, directory, name, AtFlags::SYMLINK_FOLLOW)
        })?;
        Ok(made.is_some())
    }

    /// Makes a regular file; `None` where the filesystem cannot have the name. Fails if a directory has the name already.
    pub(super) fn make_file(&mut self, path: &EntryPath, mode: u16) -> Result<Option<OwnedFd>> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(u32::from(mode));
        self.make("create", path, BAD_NAMES, |directory, name| {
            rustix::fs::openat(directory, name, flags, mode)
        })
    }

    /// Makes a name by `call`, after removing an existing file of the name. `None` where `call` fails with one of
    /// `refusals`.
    fn make<T>(
        &mut self,
        action: &'static str,
        path: &EntryPath,
        refusals: &[Errno],
        call: impl Fn(BorrowedFd, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<Option<T>> {
        self.enter(path)?;
        let directory = self.entered();
        let made = match call(directory, path.name()) {
            Err(Errno::EXIST) => rustix::fs::unlinkat(directory, path.name(), AtFlags::empty())
                .and_then(|()| call(directory, path.name())),
            made => made,
        };
        match made {
            Ok(made) => Ok(Some(made)),
            Err(Errno::ISDIR) => Err(Error::IsADirectory(self.root.full_path(path))),
            Err(Errno::BUSY) => Err(Error::MountPoint(self.root.full_path(path))),
            Err(e) if refusals.contains(&e) => Ok(None),
            Err(e) => Err(Error::io(action, self.root.full_path(path))(e)),
        }
    }

    /// Opens the directory above `path`, unless open already, and asks for inherited attributes. Fails if a symlink or mount
    /// point is on the way, or the directory is gone.
    pub(super) fn enter(&mut self, path: &EntryPath) -> Result<()> {
        let parent = path.parent_key().unwrap_or_default();
        if self
            .directory
            .as_ref()
            .is_none_or(|open| open.path.key() != parent)
        {
            let parent = path.parent().unwrap_or_default();
            let handle = self
                .root
                .open_raw(&parent, OFlags::PATH | OFlags::DIRECTORY);
            let handle = handle.map_err(|e| self.unreachable(&parent, e))?;
            let hands_on_attributes = hands_on_attributes(self.root, &handle, &parent)?;
            let hands_on_group = stat_of(self.root, &handle, &parent)?.mode & 0o2000 != 0;
            self.directory = Some(Entered {
                path: parent,
                handle,
                hands_on_attributes,
                hands_on_group,
            });
        }
        Ok(())
    }

    pub(super) fn entered(&self) -> BorrowedFd<'_> {
        self.directory
            .as_ref()
            .map_or(CWD, |entered| entered.handle.as_fd())
    }

    pub(super) fn unreachable(&self, path: &EntryPath, errno: Errno) -> Error {
        let full = self.root.full_path(path);
        match errno {
            Errno::XDEV => Error::MountPoint(full),
            Errno::LOOP | Errno::NOTDIR => Error::NotADirectory(full),
            errno => Error::io("open", full)(errno),
        }
    }

    /// Opens an `O_PATH` handle. Fails if a symlink or mount point is on the way, or nothing has the path.
    pub(super) fn handle(&self, path: &EntryPath) -> Result<OwnedFd> {
        self.root
            .open_raw(path, OFlags::PATH)
            .map_err(|e| self.unreachable(path, e))
    }
}

/// Makes a root that only the owner may enter until the root is finished, and missing directories above. Returns `false`
/// if the path exists. Fails if a directory cannot be made.
pub(crate) fn make_root(path: &Path) -> Result<bool> {
    let path = path.components().as_path();
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        std::fs::create_dir_all(above).map_err(Error::io("create", above))?;
    }
    match rustix::fs::mkdir(path, UNFINISHED) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(Error::io("create", path)(e)),
    }
}

fn is_kind(kind: &Kind, found: StatKind) -> bool {
    match (kind, found) {
        (Kind::Symlink(_), StatKind::Symlink) | (Kind::Fifo, StatKind::Fifo) => true,
        (Kind::CharDevice(device), StatKind::CharDevice(found)) => *device == found,
        (Kind::BlockDevice(device), StatKind::BlockDevice(found)) => *device == found,
        _ => false,
    }
}
