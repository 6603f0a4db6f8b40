//! The last state: a snapshot in the store, named by the index.

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::plan::Planning;
use crate::model::policy::state::StateRule;
use crate::ops::monitor::Phase;
use crate::ops::record::first::FirstOf;
use crate::ops::record::image::Image;
use crate::ops::record::nearly;
use crate::ops::record::options::Outcome;
use crate::ops::record::session::Session;
use crate::ops::record::totals::Totals;
use crate::ops::root_view::recorded::tree_digest_of;
use crate::ops::store_index::update_index;
use crate::store::{NewSnapshot, PackagesOf, SnapshotLayer, StampState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A recorded snapshot.
pub(super) struct Recorded {
    pub id: i64,
    /// How many paths the plan was made of.
    pub paths_planned: u64,
}

/// The parts of a snapshot beyond the session.
pub(super) struct Recording<'a> {
    pub image: &'a Image,
    pub layers: &'a [SnapshotLayer<'a>],
    pub packages: PackagesOf<'a>,
    pub totals: Totals,
    pub sockets: u64,
    pub stamps: StampState,
}

impl Session<'_> {
    /// Records a snapshot and returns its number. Fails if the database cannot be written; an index that cannot be written is
    /// noted, since the next snapshot writes the index again.
    pub(super) fn record(&mut self, recording: &Recording) -> Result<i64> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let image = recording.image;
        let snapshot = NewSnapshot {
            series: &self.slot.series,
            stage: &self.slot.stage,
            run: self.slot.run.as_deref(),
            parent_id: self.lineage.parent_id(),
            policy: &self.policy,
            created_s: now.as_secs() as i64,
            planning: Some(Planning {
                planner: self.manner.rule.to_string(),
                limits: Some(self.limits()),
            }),
            labels: &self.options.labels,
            is_pinned: false,
            packages: recording.packages,
            manifest: image.manifest,
            config: image.config,
            entries: recording.totals.entries,
            content_bytes: recording.totals.content_bytes,
            sockets: recording.sockets,
            layers: recording.layers,
            remotes: &image.remotes,
            root_path: self.root.path(),
            stamps: recording.stamps,
        };
        let Self { store, phases, .. } = self;
        phases.run(Phase::Record, None, || {
            let id = store.record(&snapshot)?;
            if let Err(error) = update_index(store) {
                let note = format!("{error}; index.json does not name the snapshot");
                phases.monitor.note(&note);
            }
            Ok(id)
        })
    }
}

impl Recorded {
    /// Reads the snapshot back, with the digest of a normalised tree. Fails with [`crate::error::Error::UnknownSnapshot`] if the snapshot was removed meanwhile.
    pub(super) fn outcome(self, session: Session) -> Result<Outcome> {
        let store = &session.store;
        let snapshot = store.find(&SnapshotRef::Id(self.id))?;
        let packages = match snapshot.package_set_id {
            Some(set) => Some(store.packages_len(set)?),
            None => None,
        };
        let tree_digest = match session.policy.state {
            StateRule::Normalized => Some(tree_digest_of(store, &snapshot)?),
            StateRule::Recorded => None,
        };
        let (files_read, bytes_read) = session.phases.reads.total();
        let layers = store.layers(self.id)?;
        if packages.unwrap_or(0) == 0
            && let Some(before) = &session.packages_before
            && let Some(warning) = before.warning(store, session.root.path()).unwrap_or(None)
        {
            session.phases.monitor.note(&warning);
        }
        let is_alone = session.first_of == Some(FirstOf::Series)
            && session.options.parent.is_none()
            && !session.options.fresh;
        let nearly = if is_alone {
            // Damage elsewhere is no trouble of this snapshot, which is recorded.
            let is_alike = |other: &_| session.manner.is_of(other);
            nearly::find(store, &snapshot, &layers, is_alike).unwrap_or_default()
        } else {
            None
        };
        Ok(Outcome {
            nearly,
            first_of: session.first_of.clone(),
            remote: store.remote_of(layers.iter())?,
            layers,
            packages,
            snapshot,
            tree_digest,
            files_read,
            bytes_read,
            paths_planned: self.paths_planned,
            in_use: store.in_use(),
            seconds: session.phases.spent(),
        })
    }
}
