//! Answers to the kernel. Nothing ever changes, so the kernel may keep all that it was told; the one exception is a snapshot behind a
//! directory that nobody has looked into.

use crate::error::Error;
use crate::model::tree::entry::{Device, Kind};
use crate::ops::mount::cache::lock;
use crate::ops::mount::listener::Listener;
use crate::ops::mount::nodes::{Node, Nodes};
use crate::ops::mount::views::{Inode, Views};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BLOCK_BYTES: u32 = 4096;
/// How long the kernel may keep an answer.
const LONG: Duration = Duration::from_secs(1 << 30);

/// The mounted filesystem.
pub(super) struct Mounted {
    views: Views,
    listener: Arc<dyn Listener>,
    /// Told at the end.
    ended: Sender<()>,
    /// The inodes of which a failure was told.
    told: Mutex<HashSet<u64>>,
    /// Whether the kernel can do without an answer to open(2) of a file and of a directory.
    is_opening_needless: (bool, bool),
}

impl Mounted {
    /// Serves views; `ended` hears when the mount is gone.
    pub(super) fn new(views: Views, listener: Arc<dyn Listener>, ended: Sender<()>) -> Self {
        Self {
            views,
            listener,
            ended,
            told: Mutex::default(),
            is_opening_needless: (false, false),
        }
    }

    /// Tells the listener about a failure, an inode once, and returns the error for the reader.
    fn failed(&self, inode: Inode, error: &Error) -> Errno {
        if lock(&self.told).insert(inode.number()) {
            let snapshot = self.views.snapshot(inode.view);
            let loaded = self.views.door(inode).is_none();
            let nodes = self.views.nodes(inode.view).ok().filter(|_| loaded);
            let path = nodes.flatten().map(|nodes| nodes.path(inode.node));
            let path = path.map_or(String::new(), |path| format!(", {path}"));
            let text = format!("snapshot {snapshot}{path}: {}", error.in_one_line());
            self.listener.trouble(&text);
        }
        if matches!(error, Error::UnknownSnapshot { .. }) {
            Errno::ENOENT
        } else {
            Errno::EIO
        }
    }

    fn nodes(&self, inode: Inode) -> Result<Arc<Nodes>, Errno> {
        let root = Inode {
            view: inode.view,
            node: 0,
        };
        let nodes = self.views.nodes(inode.view);
        nodes
            .map_err(|error| self.failed(root, &error))?
            .ok_or(Errno::ENOENT)
    }

    /// Gives an inode to `answer`.
    fn with<T>(&self, inode: Inode, answer: impl FnOnce(&Node) -> T) -> Result<T, Errno> {
        let nodes = self.nodes(inode)?;
        nodes.node(inode.node).map(answer).ok_or(Errno::ENOENT)
    }

    /// Returns the attributes of an inode, and how long they hold.
    fn attributes(&self, inode: Inode) -> Result<(FileAttr, Duration), Errno> {
        let Some(door) = self.views.door(inode) else {
            let attributes = self.with(inode, |node| attributes(inode, node))?;
            return Ok((attributes, LONG));
        };
        // A snapshot removed meanwhile must not hide the others.
        let attributes = match self.views.root(inode.view) {
            Ok(Some(root)) => attributes(inode, root),
            _ => self.with(door, |node| attributes(inode, node))?,
        };
        Ok((attributes, Duration::ZERO))
    }

    fn find(&self, directory: Inode, name: &OsStr) -> Result<(FileAttr, Duration), Errno> {
        let nodes = self.nodes(directory)?;
        let node = nodes.child(directory.node, name.as_bytes());
        let found = Inode {
            view: directory.view,
            node: node.ok_or(Errno::ENOENT)?,
        };
        self.attributes(self.views.behind(found))
    }

    /// Gives the entries of a directory to `take`, from `offset` on, until `take` returns `true`. Each has the offset of the next.
    fn list(
        &self,
        directory: Inode,
        offset: u64,
        mut take: impl FnMut(Inode, u64, &Node, &[u8]) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let nodes = self.nodes(directory)?;
        let own = nodes.node(directory.node).ok_or(Errno::ENOENT)?;
        if !own.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let above = if directory.node == 0 {
            self.views.above(directory.view)
        } else {
            Inode {
                node: own.parent,
                ..directory
            }
        };
        let dots: [(Inode, &[u8]); 2] = [(directory, b"."), (above, b"..")];
        for (at, (inode, name)) in (1..).zip(dots) {
            if at > offset && take(inode, at, own, name)? {
                return Ok(());
            }
        }
        let skipped = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        for (at, child) in own.children.iter().enumerate().skip(skipped) {
            let inode = Inode {
                view: directory.view,
                node: child.node,
            };
            let node = nodes.node(child.node).ok_or(Errno::EIO)?;
            if take(self.views.behind(inode), at as u64 + 3, node, &child.name)? {
                break;
            }
        }
        Ok(())
    }

    fn read_content(&self, inode: Inode, offset: u64, length: u32) -> Result<Vec<u8>, Errno> {
        let file = self.with(inode, |node| match node.kind {
            Kind::File {
                size_bytes,
                content,
            } => Ok((size_bytes, content)),
            _ => Err(Errno::EINVAL),
        })?;
        let (size_bytes, content) = file?;
        let end = offset.saturating_add(u64::from(length)).min(size_bytes);
        if offset >= end {
            return Ok(Vec::new());
        }
        let contents = &self.views.contents;
        let read = contents.read(&content, size_bytes, offset..end);
        read.map_err(|error| self.failed(inode, &error))
    }

    /// Returns a value, or the names, of extended attributes.
    fn xattrs(
        &self,
        inode: Inode,
        answer: impl FnOnce(&Node) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Errno> {
        let found = match self.views.door(inode) {
            None => self.with(inode, answer)?,
            Some(_) => {
                let root = self.views.root(inode.view);
                let root = root.map_err(|error| self.failed(inode, &error))?;
                root.and_then(answer)
            }
        };
        found.ok_or(Errno::NO_XATTR)
    }
}

fn attributes(inode: Inode, node: &Node) -> FileAttr {
    let (kind, size, device) = match &node.kind {
        Kind::Directory => (FileType::Directory, u64::from(BLOCK_BYTES), 0),
        Kind::File { size_bytes, .. } => (FileType::RegularFile, *size_bytes, 0),
        Kind::Symlink(target) => (FileType::Symlink, target.len() as u64, 0),
        Kind::Fifo => (FileType::NamedPipe, 0, 0),
        Kind::CharDevice(device) => (FileType::CharDevice, 0, device_number(*device)),
        Kind::BlockDevice(device) => (FileType::BlockDevice, 0, device_number(*device)),
    };
    let mtime = time(node.mtime_s);
    FileAttr {
        ino: INodeNo(inode.number()),
        size,
        blocks: size.div_ceil(512),
        atime: mtime,
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind,
        perm: node.mode,
        nlink: node.links,
        uid: node.uid,
        gid: node.gid,
        rdev: device,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File { .. } => FileType::RegularFile,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::CharDevice(_) => FileType::CharDevice,
        Kind::BlockDevice(_) => FileType::BlockDevice,
    }
}

/// Returns the number that the kernel decodes (linux/kdev_t.h, `new_decode_dev`): 12 bits for the major, 20 for the minor.
fn device_number(device: Device) -> u32 {
    let Device { major, minor } = device;
    minor & 0xff | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}

fn time(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(span)
    } else {
        UNIX_EPOCH.checked_add(span)
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// Answers with bytes, or with their number to a reader without room.
fn give(bytes: Result<Vec<u8>, Errno>, room: u32, reply: ReplyXattr) {
    match bytes {
        Err(error) => reply.error(error),
        Ok(bytes) if room == 0 => reply.size(bytes.len() as u32),
        Ok(bytes) if bytes.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
    }
}

impl Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let known = config.capabilities();
        self.is_opening_needless = (
            known.contains(InitFlags::FUSE_NO_OPEN_SUPPORT),
            known.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT),
        );
        let useful = InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS;
        // Those that the kernel does not have only make a mount faster.
        let _ = config.add_capabilities(useful & known);
        Ok(())
    }

    fn destroy(&mut self) {
        // Nobody waits after a signal.
        let _ = self.ended.send(());
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(Inode::of_number(parent.0), name) {
            Ok((attributes, time)) => reply.entry(&time, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(Inode::of_number(ino.0)) {
            Ok((attributes, time)) => reply.attr(&time, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.with(Inode::of_number(ino.0), |node| match &node.kind {
            Kind::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        });
        match target.and_then(|target| target) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.is_opening_needless.0 {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), fuser::FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.is_opening_needless.1 {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), fuser::FopenFlags::empty());
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_content(Inode::of_number(ino.0), offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.list(
            Inode::of_number(ino.0),
            offset,
            |inode, next, node, name| {
                let number = INodeNo(inode.number());
                Ok(reply.add(number, next, file_type(&node.kind), OsStr::from_bytes(name)))
            },
        );
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(Inode::of_number(ino.0), offset, |inode, next, _, name| {
            let (attributes, time) = self.attributes(inode)?;
            let (number, name) = (INodeNo(inode.number()), OsStr::from_bytes(name));
            Ok(reply.add(number, next, name, &time, &attributes, Generation(0)))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let nodes = self.nodes(Inode::of_number(ino.0)).ok();
        let (bytes, files) = nodes.map_or((0, 0), |nodes| (nodes.content_bytes, nodes.len()));
        let blocks = bytes.div_ceil(u64::from(BLOCK_BYTES));
        reply.statfs(blocks, 0, 0, files as u64, 0, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.xattrs(Inode::of_number(ino.0), |node| {
            node.xattrs.get(name.as_bytes()).map(<[u8]>::to_vec)
        });
        give(value, size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.xattrs(Inode::of_number(ino.0), |node| {
            let names = node.xattrs.iter().flat_map(|(name, _)| [name, b"\0"]);
            Some(names.collect::<Vec<&[u8]>>().concat())
        });
        give(names, size, reply);
    }
}
