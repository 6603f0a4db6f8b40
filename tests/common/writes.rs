//! A disk that keeps a log of what is written to it, and what the disk holds if the power is lost anywhere in it.
//!
//! qemu-storage-daemon serves an image as a file (FUSE), logs each write and flush in the form of the kernel's dm-log-writes, and
//! a loop device makes it a disk.

use super::{Path, PathBuf, succeeds};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// An image that is a disk, until it is closed.
pub struct Logged {
    /// As it was at first.
    base: PathBuf,
    log: File,
    daemon: Child,
    /// The loop device.
    pub device: PathBuf,
}

/// A write, or a flush.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    at: u64,
    bytes: u64,
    flags: u64,
    /// Where the log has the bytes.
    data: u64,
}

impl Logged {
    /// Serves a copy of `image`.
    pub fn new(directory: &Path, image: &Path) -> Self {
        let [disk, log, served] =
            ["logged.disk", "logged.log", "logged.served"].map(|name| directory.join(name));
        std::fs::copy(image, &disk).unwrap();
        let made = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&log)
            .unwrap();
        made.set_len(4 << 30).unwrap(); // without blocks
        File::create(&served).unwrap();
        let file = |node: &str, path: &Path| {
            format!("driver=file,node-name={node},filename={}", path.display())
        };
        let mut daemon = Command::new("qemu-storage-daemon");
        daemon.args([
            "--blockdev",
            &file("disk", &disk),
            "--blockdev",
            &file("log", &log),
            "--blockdev",
        ]);
        daemon.arg("driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512");
        let export = format!(
            "fuse,id=served,node-name=logged,writable=on,mountpoint={}",
            served.display()
        );
        let daemon = daemon.args(["--export", &export]).spawn().unwrap();
        let bytes = image.metadata().unwrap().len();
        let begun = Instant::now();
        while served.metadata().map_or(0, |served| served.len()) != bytes {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "qemu-storage-daemon serves nothing"
            );
            std::thread::yield_now();
        }
        let device = succeeds(Command::new("losetup").args(["-f", "--show"]).arg(&served));
        Self {
            base: image.to_owned(),
            log: made,
            daemon,
            device: device.trim().into(),
        }
    }

    /// Returns what was logged so far.
    pub fn entries(&self) -> Vec<Entry> {
        let (mut entries, mut offset) = (Vec::new(), SECTOR);
        loop {
            let mut header = [0; 32];
            self.log.read_exact_at(&mut header, offset).unwrap();
            let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
            let (at, bytes, flags) = (number(0) * SECTOR, number(8) * SECTOR, number(16));
            if (bytes, flags) == (0, 0) {
                return entries;
            }
            offset += SECTOR;
            entries.push(Entry {
                at,
                bytes,
                flags,
                data: offset,
            });
            if flags & DISCARD == 0 {
                offset += bytes;
            }
        }
    }

    /// Writes what the disk holds after the first `count` entries to `image`: all before the last flush, and of the others those that
    /// `keeps` says.
    pub fn replay(
        &self,
        entries: &[Entry],
        count: usize,
        image: &Path,
        mut keeps: impl FnMut() -> bool,
    ) {
        std::fs::copy(&self.base, image).unwrap();
        let disk = File::options().write(true).open(image).unwrap();
        let entries = &entries[..count];
        let flushed = entries
            .iter()
            .rposition(|entry| entry.flags & FLUSH != 0)
            .unwrap_or(0);
        for (number, entry) in entries.iter().enumerate() {
            let is_there = number < flushed || entry.flags & FUA != 0 || keeps();
            if is_there && entry.flags & DISCARD == 0 {
                let mut bytes = vec![0; entry.bytes as usize];
                self.log.read_exact_at(&mut bytes, entry.data).unwrap();
                disk.write_all_at(&bytes, entry.at).unwrap();
            }
        }
    }

    /// Ends the disk; the log stays.
    pub fn close(&mut self) {
        succeeds(Command::new("losetup").arg("-d").arg(&self.device));
        // By its id: it is a child of this process.
        succeeds(Command::new("kill").arg(self.daemon.id().to_string()));
        self.daemon.wait().unwrap();
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.daemon.kill(); // a test that failed has not closed it
        let _ = self.daemon.wait();
    }
}
