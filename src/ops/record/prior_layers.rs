//! The items of the layers below a new snapshot, read beside the scan, beside hashing, or at once.

use crate::error::Result;
use crate::model::plan::PriorLayers;
use crate::ops::record::lineage::Lineage;
use crate::ops::record::session::Session;
use crate::store::Store;
use crate::threads::joined;
use std::thread::JoinHandle;

/// The layers below, read or not.
pub(super) enum PriorReading {
    /// No reading has begun.
    Unread,
    /// A thread reads the layers.
    Loading(Loading),
    /// All items, or the items of a changed subset.
    Read(PriorLayers),
}

impl PriorReading {
    /// Begins a thread that reads the layers, unless read already or restricted to a single thread.
    pub(super) fn begin(self, session: &Session) -> Self {
        match self {
            Self::Unread if session.options.threads.get() > 1 => {
                Loading::begin(&session.store, &session.lineage).map_or(Self::Unread, Self::Loading)
            }
            prior => prior,
        }
    }

    /// Waits for the items. Fails if the thread could not open the store, or a layer's rows do not give the layer's key.
    pub(super) fn finish(self, session: &Session) -> Result<PriorLayers> {
        match self {
            Self::Read(below) => Ok(below),
            Self::Loading(loading) => loading.finish(),
            Self::Unread => session.lineage.load(&session.store),
        }
    }
}

/// A thread reading the layers. SQLite's connections belong to a single thread each, so the thread opens another. A failed
/// attempt joins the thread too, so no open store stays behind.
pub(super) struct Loading(Option<JoinHandle<Result<PriorLayers>>>);

impl Loading {
    /// `None` if there can be no thread.
    fn begin(store: &Store, lineage: &Lineage) -> Option<Self> {
        let (store, lineage) = (store.path().to_owned(), lineage.clone());
        // The index was looked at when the store was opened first.
        let load = move || lineage.load(&Store::open_unchecked(&store)?);
        let thread = std::thread::Builder::new().spawn(load);
        thread.ok().map(|thread| Self(Some(thread)))
    }

    fn finish(mut self) -> Result<PriorLayers> {
        let thread = self.0.take();
        joined(thread.expect("a thread is joined once").join())
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join(); // the error of the attempt is told
        }
    }
}
