//! The snapshots and layers below a new snapshot, as rows: no item of a layer is read here.

use crate::error::{Error, Result};
use crate::model::digest::PolicyKey;
use crate::model::names::{BOOTSTRAP, SnapshotRef};
use crate::model::plan::deferrable::Expected;
use crate::model::plan::layer::Role;
use crate::model::plan::{Absence, PriorLayers};
use crate::model::stamp::Stat;
use crate::model::tree::path::EntryPath;
use crate::ops::layers::{have_same_keys, inherited_len, known_of, own_layers};
use crate::ops::record::slot::StageSlot;
use crate::store::{LayerUse, Snapshot, Store};

/// The layers below a new snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    /// The stage before.
    parent: Option<Snapshot>,
    /// Layers of the stage before, without its state.
    inherited: Vec<LayerUse>,
    /// Layers of the stage itself: a base or a delta, and the updates over the base or delta.
    own: Vec<LayerUse>,
    /// Why `inherited` or `own` is empty, or shorter than it was.
    absence: Absence,
}

impl Lineage {
    /// Finds the stage before in the same run, else the newest first stage of the series, unless there is a `parent`; and the
    /// stage's own layers of the last time. Layers under another policy are of no use: the same files are other
    /// entries there.
    ///
    /// Fails with [`Error::UnfitParent`] if `parent` has another policy, and if `parent` is missing or the store cannot be
    /// read.
    pub(super) fn find(
        store: &Store,
        slot: &StageSlot,
        parent: Option<&SnapshotRef>,
        policy: &PolicyKey,
    ) -> Result<Self> {
        let mut lineage = match parent {
            Some(reference) => {
                let parent = store.find(reference)?;
                if parent.policy_key != *policy {
                    let reason = "it was recorded under another policy";
                    return Err(Error::UnfitParent {
                        parent: parent.id,
                        reason,
                    });
                }
                Self::over(store, parent)?
            }
            None => Self::over_stage_before(store, slot, policy)?,
        };
        let is_first = lineage.inherited.is_empty();
        if let Some(last) = store.latest_planned(&slot.series, &slot.stage, policy, is_first)? {
            for layer in own_layers(store.layers(last.id)?) {
                // Over a layer whose blob is lost no image can be made, but from the root it can.
                if !store.has_layer(layer.layer.id)? {
                    lineage.absence = Absence::LostBlob;
                    break;
                }
                lineage.own.push(layer);
            }
        } else if is_first && lineage.absence == Absence::None {
            lineage.absence = other_policy(store, slot)?;
        }
        Ok(lineage)
    }

    /// Empty if there is no stage before, or none of use.
    fn over_stage_before(store: &Store, slot: &StageSlot, policy: &PolicyKey) -> Result<Self> {
        if slot.stage == BOOTSTRAP {
            return Ok(Self::default());
        }
        let of_run = match &slot.run {
            Some(run) => store.snapshots_of_run(&slot.series, run)?,
            None => Vec::new(),
        };
        let before = match stage_before(&of_run, &slot.stage) {
            None => store.latest_first_stage(&slot.series, &slot.stage)?,
            before => before.cloned(),
        };
        let Some(parent) = before else {
            return Ok(Self::default());
        };
        if parent.policy_key != *policy {
            return Ok(Self::without(Absence::OtherPolicy(parent.id)));
        }
        let lineage = Self::over(store, parent)?;
        for layer in &lineage.inherited {
            if !store.has_layer(layer.layer.id)? {
                return Ok(Self::without(Absence::LostBlob));
            }
        }
        Ok(lineage)
    }

    fn without(absence: Absence) -> Self {
        Self {
            absence,
            ..Self::default()
        }
    }

    fn over(store: &Store, parent: Snapshot) -> Result<Self> {
        let mut inherited = store.layers(parent.id)?;
        inherited.retain(|layer| layer.role != Role::State);
        Ok(Self {
            parent: Some(parent),
            inherited,
            ..Self::default()
        })
    }

    /// Returns the stage before.
    pub(super) fn parent_id(&self) -> Option<i64> {
        self.parent.as_ref().map(|parent| parent.id)
    }

    /// Tells whether a snapshot that has `layers` lies over the same layers, and its base or delta is still the stage's.
    pub(super) fn is_of(&self, layers: &[LayerUse]) -> bool {
        let (inherited, own) = layers.split_at(inherited_len(layers));
        let is_same = match own.first().filter(|first| first.role != Role::State) {
            None => !inherited.is_empty(),
            Some(first) => {
                let base = self.own.first();
                base.is_some_and(|base| base.layer.key == first.layer.key)
            }
        };
        is_same && have_same_keys(&self.inherited, inherited)
    }

    /// Returns the updates of the stage's base or delta, if the first of `own` is the same, or both are missing, and lies
    /// over `inherited`.
    pub(super) fn updates_over(
        &self,
        inherited: &[LayerUse],
        own: &[LayerUse],
    ) -> Option<&[LayerUse]> {
        let first = |own: &[LayerUse]| own.first().map(|first| first.layer.key);
        let is_same = have_same_keys(&self.inherited, inherited) && first(&self.own) == first(own);
        is_same.then(|| self.own.get(1..).unwrap_or_default())
    }

    /// Tells whether a file differs from the entries of all layers at its path. Fails if SQLite cannot look the path up.
    pub(super) fn differs(
        &self,
        store: &Store,
        file: (&EntryPath, &Stat),
        expected: &Expected,
    ) -> Result<bool> {
        let (path, stat) = file;
        for layer in self.layers() {
            let recorded = store.topmost(std::iter::once(layer.layer.id), path)?;
            if !expected.differs(recorded.as_ref(), stat) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether to read all items of the layers costs no more than to look up so many paths.
    pub(super) fn is_read_sooner_than(&self, paths: usize) -> bool {
        let items: u64 = self
            .layers()
            .map(|layer| layer.layer.entries + layer.layer.whiteouts)
            .sum();
        paths as u64 * self.layers().count() as u64 > items / 8
    }

    /// Reads the items of all layers. Fails if the rows of an inherited or own layer do not give the layer's key.
    pub(super) fn load(&self, store: &Store) -> Result<PriorLayers> {
        Ok(PriorLayers {
            inherited: known_of(store, &self.inherited)?,
            own: known_of(store, &self.own)?,
            absence: self.absence,
            ..PriorLayers::default()
        })
    }

    fn layers(&self) -> impl Iterator<Item = &LayerUse> {
        self.inherited.iter().chain(&self.own)
    }
}

/// The newest snapshot of the stage that was planned over no other: none of it has the policy of the new one.
fn other_policy(store: &Store, slot: &StageSlot) -> Result<Absence> {
    let last = store.latest_based(&slot.series, &slot.stage)?;
    Ok(last.map_or(Absence::None, |last| Absence::OtherPolicy(last.id)))
}

/// The newest snapshot of the stage that came right before `stage` when the run first had each. `of_run` has the newest
/// first.
fn stage_before<'s>(of_run: &'s [Snapshot], stage: &str) -> Option<&'s Snapshot> {
    let first_id = |stage: &str| {
        of_run
            .iter()
            .rev()
            .find(|snapshot| snapshot.stage == stage)
            .map(|first| first.id)
    };
    let limit = first_id(stage).unwrap_or(i64::MAX);
    let earlier = of_run
        .iter()
        .filter(|snapshot| first_id(&snapshot.stage).is_some_and(|first| first < limit));
    earlier.max_by_key(|snapshot| (first_id(&snapshot.stage), snapshot.id))
}
