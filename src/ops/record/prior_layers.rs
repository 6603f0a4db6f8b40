//! The items of the layers below a new snapshot, and when they are read: beside the scan, beside hashing, or at once.

use crate::error::Result;
use crate::model::plan::Below;
use crate::ops::record::lineage::Lineage;
use crate::ops::record::session::Session;
use crate::store::Store;
use std::thread::JoinHandle;

/// The layers below, read or not.
pub(super) enum PriorLayers {
    /// Nobody has begun to read them.
    Unread,
    /// A thread reads them.
    Loading(Loading),
    /// They are read: all of their items, or those of a changed subset.
    Read(Below),
}

impl PriorLayers {
    /// Lets a thread read the layers, unless they are read or there is to be one thread alone.
    pub(super) fn begin(self, session: &Session) -> Self {
        match self {
            Self::Unread if session.options.threads.get() > 1 => {
                Loading::begin(&session.store, &session.lineage).map_or(Self::Unread, Self::Loading)
            }
            prior => prior,
        }
    }

    /// Returns the items once they are read. Fails if the store cannot be read.
    pub(super) fn finish(self, session: &Session) -> Result<Below> {
        match self {
            Self::Read(below) => Ok(below),
            Self::Loading(loading) => loading.finish(),
            Self::Unread => session.lineage.load(&session.store),
        }
    }
}

/// A thread that reads the layers with a connection of its own, since a connection is of one thread. Joined also where the
/// attempt fails, so that none stays behind that has the store open.
pub(super) struct Loading(Option<JoinHandle<Result<Below>>>);

impl Loading {
    /// `None` if there can be no thread.
    fn begin(store: &Store, lineage: &Lineage) -> Option<Self> {
        let (store, lineage) = (store.path().to_owned(), lineage.clone());
        // The index was looked at when the store was opened first.
        let load = move || lineage.load(&Store::open_unchecked(&store)?);
        let thread = std::thread::Builder::new().spawn(load);
        thread.ok().map(|thread| Self(Some(thread)))
    }

    fn finish(mut self) -> Result<Below> {
        let thread = self.0.take().expect("a thread is joined once");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join(); // the error of the attempt is told
        }
    }
}
