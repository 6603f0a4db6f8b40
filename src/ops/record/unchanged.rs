//! A root equal to the last snapshot: nothing is read, planned or packed.

use crate::error::Result;
use crate::fs::sync::sync_if_quick;
use crate::ops::record::image::Image;
use crate::ops::record::recorded::{Recorded, Recording};
use crate::ops::record::session::Session;
use crate::ops::record::totals::Totals;
use crate::ops::root_view::observation::free_aside;
use crate::ops::root_view::stamped_scan::StampedScan;
use crate::store::{LayerUse, PackagesOf, Snapshot, StampState};
use crate::threads::joined;

/// The snapshot equal to the root.
pub(super) struct Unchanged {
    known: Snapshot,
    layers: Vec<LayerUse>,
    stamps: StampState,
}

impl Unchanged {
    /// Finds the snapshot of the stamps, if all stamps vouch and a plan would give the same layers; `None` where
    /// anything may differ or a blob is lost. Fails if a row of the snapshot is damaged, or a blob of the image cannot be
    /// opened.
    pub(super) fn find(session: &Session, scan: &StampedScan) -> Result<Option<Self>> {
        let Some((id, stamps)) = scan.same_as() else {
            return Ok(None);
        };
        let Some(known) = session.of_stage(id)? else {
            return Ok(None);
        };
        let store = &session.store;
        let layers = store.layers(known.id)?;
        let is_same = session.lineage.is_of(store, &known, &layers)?
            && store.has_blobs(layers.iter().map(|layer| layer.blob.as_ref()))?
            && store.has_blob(&known.config.digest, known.config.size_bytes)?;
        if !is_same {
            return Ok(None);
        }
        Ok(Some(Self {
            known,
            layers,
            stamps,
        }))
    }

    /// Records the tree once more, and syncs the root's filesystem meanwhile if the stamps gain. Fails if a blob cannot
    /// be read or written, or the store cannot be written.
    pub(super) fn record(self, session: &mut Session, scan: StampedScan) -> Result<Recorded> {
        let Self {
            known,
            layers,
            mut stamps,
        } = self;
        let root = &session.root;
        let image = std::thread::scope(|scope| {
            let syncing = scan
                .wants_sync()
                .then(|| scope.spawn(|| sync_if_quick(root)));
            let image = Image::of_recorded(session, &known, &layers);
            let is_synced = syncing.is_some_and(|syncing| joined(syncing.join()));
            stamps.synced_until = is_synced.then(|| scan.scan_start());
            image
        })?;
        let sockets = scan.sockets();
        free_aside(scan);
        let id = session.record(&Recording {
            layers: &image.to_record(&[]),
            image: &image,
            packages: known
                .package_set_id
                .map_or(PackagesOf::Unknown, PackagesOf::Set),
            totals: Totals::of_snapshot(&known),
            sockets,
            stamps,
        })?;
        Ok(Recorded {
            id,
            paths_planned: 0,
        })
    }
}
