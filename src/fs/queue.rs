//! Directories that wait for listing, and the threads at work.

use crate::error::Result;
use crate::model::tree::path::EntryPath;
use crate::threads::joined;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;

/// Does the same work on several threads, and returns the result of each.
pub(super) fn on_threads<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let ended = handles.into_iter().map(ScopedJoinHandle::join);
        ended.map(joined).collect()
    })
}

/// A directory to list.
pub(super) struct Directory {
    /// The number of the listing.
    pub number: usize,
    pub path: EntryPath,
}

/// The waiting directories, shared by the threads.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<Directory>,
    working: usize,
    failed: bool,
}

impl Queue {
    /// Begins with one directory.
    pub(super) fn new(first: Directory) -> Self {
        let state = State {
            waiting: vec![first],
            working: 0,
            failed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Lists directories until none is left and no thread could add another, or until a thread failed. Fails if `list`
    /// fails.
    pub(super) fn work(
        &self,
        mut list: impl FnMut(&Directory) -> Result<Vec<Directory>>,
    ) -> Result<()> {
        while let Some(directory) = self.take() {
            let listed = catch_unwind(AssertUnwindSafe(|| list(&directory)));
            match listed {
                Ok(Ok(below)) => self.add(below),
                Ok(Err(error)) => {
                    self.fail();
                    return Err(error);
                }
                Err(panic) => {
                    self.fail(); // or the other threads would wait for ever
                    resume_unwind(panic)
                }
            }
        }
        Ok(())
    }

    /// Waits for a directory; `None` when all is listed or a thread failed.
    fn take(&self) -> Option<Directory> {
        let mut state = self.state();
        loop {
            if state.failed || state.waiting.is_empty() && state.working == 0 {
                return None;
            }
            if let Some(directory) = state.waiting.pop() {
                state.working += 1;
                return Some(directory);
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the listing of a directory. A single new directory is taken by this thread, so nobody is woken.
    fn add(&self, below: Vec<Directory>) {
        let mut state = self.state();
        state.working -= 1;
        let wakes = below.len() > 1 || state.working == 0;
        state.waiting.extend(below);
        if wakes {
            self.changed.notify_all();
        }
    }

    fn fail(&self) {
        let mut state = self.state();
        state.working -= 1;
        state.failed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
