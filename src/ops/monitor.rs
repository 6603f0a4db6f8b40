//! Progress of the library: told to a trait, never printed.

use crate::fs::facts::Progress;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part of the work that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Listing the root, or a repository of a registry.
    Scan,
    /// Reading files that no stamp vouches for; counted in bytes.
    Hash,
    /// Reading the packages.
    Packages,
    /// Finding the layers that give the tree, or what a repository does not need.
    Plan,
    /// Writing layers; counted in bytes of content.
    Pack,
    /// Writing the database and the index.
    Record,
    /// Writing an archive or a layout; counted in bytes.
    Export,
    /// Reading an image's layers, or files out of a layer; counted in bytes of blobs.
    Read,
    /// Reading the database and comparing.
    Compare,
    /// Writing a directory; counted in bytes of content.
    Write,
    /// Fetching layers from a registry; counted in bytes of blobs.
    Fetch,
    /// Sending layers to a registry; counted in bytes of blobs.
    Push,
    /// Removing files from the store, or manifests from a registry.
    Remove,
}

impl Phase {
    /// Returns the name that JSON and statistics use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Hash => "hash",
            Self::Packages => "packages",
            Self::Plan => "plan",
            Self::Pack => "pack",
            Self::Record => "record",
            Self::Export => "export",
            Self::Read => "read",
            Self::Compare => "compare",
            Self::Write => "write",
            Self::Fetch => "fetch",
            Self::Push => "push",
            Self::Remove => "remove",
        }
    }
}

/// A receiver of progress.
pub trait Monitor: Sync {
    /// A phase begins; `total_bytes` where the amount is known.
    fn begin(&self, phase: Phase, total_bytes: Option<u64>);

    /// So many bytes more are done. Called from any thread.
    fn advance(&self, bytes: u64);

    /// The phase begun last is over.
    fn end(&self, phase: Phase);

    /// A message for the user that is no failure.
    fn note(&self, text: &str);
}

/// A receiver that ignores all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn begin(&self, _: Phase, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self, _: Phase) {}
    fn note(&self, _: &str) {}
}

/// Files of a root that were read, counted at once, so an attempt that fails counts too.
pub(crate) struct Reads<'m> {
    monitor: &'m dyn Monitor,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Reads<'_> {
    /// Counts a file of so many bytes. Empty files have nothing to read.
    pub(crate) fn add(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.monitor.advance(bytes);
    }

    /// Counts a file whose facts have become known.
    pub(crate) fn follow(&self, progress: Progress) {
        match progress {
            Progress::Read(bytes) => self.add(bytes),
            Progress::Shared(bytes) => self.monitor.advance(bytes),
        }
    }

    /// Returns the number of files, and of bytes.
    pub(crate) fn total(&self) -> (u64, u64) {
        let [files, bytes] = [&self.files, &self.bytes].map(|sum| sum.load(Ordering::Relaxed));
        (files, bytes)
    }
}

/// Times the phases and tells the monitor of them.
pub(crate) struct Phases<'m> {
    pub monitor: &'m dyn Monitor,
    pub reads: Reads<'m>,
    spent: RefCell<Vec<(Phase, Duration)>>,
}

impl<'m> Phases<'m> {
    pub(crate) fn new(monitor: &'m dyn Monitor) -> Self {
        Self {
            monitor,
            reads: Reads {
                monitor,
                files: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
            },
            spent: RefCell::default(),
        }
    }

    /// Runs one phase.
    pub(crate) fn run<T>(
        &self,
        phase: Phase,
        total_bytes: Option<u64>,
        work: impl FnOnce() -> T,
    ) -> T {
        self.monitor.begin(phase, total_bytes);
        let start = Instant::now();
        let done = work();
        let took = start.elapsed();
        self.monitor.end(phase);
        let mut spent = self.spent.borrow_mut();
        match spent.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, sum)) => *sum += took,
            None => spent.push((phase, took)),
        }
        done
    }

    /// Returns the time that each phase took, in the order of their beginnings.
    pub(crate) fn spent(self) -> Vec<(Phase, Duration)> {
        self.spent.into_inner()
    }
}
