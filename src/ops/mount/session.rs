//! The life of a mount: from mount(2) or fusermount3 until somebody unmounts, or a signal comes. Nothing is left mounted.

use crate::error::{Error, Result};
use crate::ops::mount::filesystem::Mounted;
use crate::ops::mount::listener::Listener;
use crate::ops::mount::views::Views;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use nix::sys::signal::{SigSet, Signal};
use rustix::mount::{UnmountFlags, unmount};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Some threads decompress, or wait for a registry, while others answer.
const THREADS: usize = 8;

/// Who may read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The user who mounts reads all.
    Owner,
    /// Everybody reads what the recorded permissions allow.
    Everybody,
}

/// Signals that end a mount.
pub(super) struct Signals(SigSet);

impl Signals {
    /// Keeps the signals from ending the process; threads that begin later are kept as well. Fails if the kernel refuses.
    pub(super) fn block(directory: &Path) -> Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        let blocked = signals.thread_block();
        blocked.map_err(Error::io("block signals for", directory))?;
        Ok(Self(signals))
    }

    /// Tells `events` of the first signal.
    fn watch(self, events: Sender<Event>) -> io::Result<()> {
        let wait = move || {
            if self.0.wait().is_ok() {
                let _ = events.send(Event::Signal);
            }
        };
        thread::Builder::new().spawn(wait).map(drop)
    }
}

enum Event {
    /// Somebody has unmounted.
    Gone,
    Signal,
}

/// Mounts, and waits for the end. Fails with [`Error::NoMount`] if FUSE, fusermount3 or the right to mount is missing.
pub(super) fn serve(
    views: Views,
    directory: &Path,
    access: Access,
    signals: Signals,
    listener: Arc<dyn Listener>,
) -> Result<()> {
    let canonical = std::fs::canonicalize(directory);
    let directory = canonical.map_err(Error::io("find", directory))?;
    let refused = |error| refused(&directory, &error);
    let (ended, gone) = channel();
    let mounted = Mounted::new(views, Arc::clone(&listener), ended);
    let session = Session::new(mounted, &directory, &config(access)).map_err(refused)?;
    let session = session.spawn().map_err(refused)?;
    let (sender, events) = channel();
    signals.watch(sender.clone()).map_err(refused)?;
    pass_on(gone, sender).map_err(refused)?;
    listener.mounted(&directory);
    wait(session, &directory, &events);
    Ok(())
}

fn config(access: Access) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("rootstrata".to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
    ];
    if access == Access::Everybody {
        config.mount_options.push(MountOption::DefaultPermissions);
        config.acl = SessionACL::All;
    }
    config.n_threads = Some(THREADS);
    config
}

/// Tells `events` that the mount is gone.
fn pass_on(gone: Receiver<()>, events: Sender<Event>) -> io::Result<()> {
    let wait = move || {
        let _ = gone.recv();
        let _ = events.send(Event::Gone);
    };
    thread::Builder::new().spawn(wait).map(drop)
}

/// Waits for the end, and unmounts after a signal.
fn wait(session: BackgroundSession, directory: &Path, events: &Receiver<Event>) {
    if matches!(events.recv(), Ok(Event::Signal)) && !session.guard.is_finished() {
        match unmount(directory, UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Who still has a file open gets errors from now on.
            Err(rustix::io::Errno::BUSY) => {
                let _ = unmount(directory, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
            }
            // An ordinary user unmounts by fusermount3.
            Err(_) => return drop(session),
        }
    }
    // The session would unmount once more, and so what is mounted there now.
    std::mem::forget(session);
}

/// Says in one line why a directory cannot be mounted on.
fn refused(directory: &Path, error: &io::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().find(|line| !line.trim().is_empty());
    let reason = match error.kind() {
        io::ErrorKind::NotFound if !Path::new("/dev/fuse").exists() => {
            "/dev/fuse is missing (modprobe fuse)"
        }
        io::ErrorKind::NotFound => "fusermount3 is missing (package fuse3)",
        // An error of fusermount3 has no number.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => {
            "no permission to open /dev/fuse"
        }
        _ => line.unwrap_or("the kernel refuses"),
    };
    Error::NoMount {
        path: directory.to_owned(),
        reason: reason.to_owned(),
    }
}
