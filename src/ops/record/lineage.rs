//! The snapshots and layers below a new snapshot, as rows: no item of a layer is read here.

use crate::error::{Error, Result};
use crate::model::digest::{LayerKey, PolicyKey};
use crate::model::names::BOOTSTRAP;
use crate::model::plan::deferrable::Expected;
use crate::model::plan::layer::Role;
use crate::model::plan::{Absence, LayerPurpose, LayerRule, PriorLayers, PriorPackage, Reason};
use crate::model::stamp::Stat;
use crate::model::tree::path::EntryPath;
use crate::ops::layers::{Stack, have_same_keys, known_of};
use crate::ops::record::options::Options;
use crate::ops::record::slot::StageSlot;
use crate::store::{LayerUse, Snapshot, Store};
use std::collections::HashMap;

/// The layers below a new snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    /// The stage before.
    parent: Option<Snapshot>,
    /// Layers of the stage before, without its state.
    inherited: Vec<LayerUse>,
    /// Layers of the stage itself: a base or a delta, and the updates over the base or delta.
    own: Vec<LayerUse>,
    /// Package layers of the stage before, and of the stage the last time.
    packages: Vec<PriorPackage>,
    /// Package layers that the stage had the last time in the place of those of the stage before.
    replaced: Vec<PriorPackage>,
    /// Why `inherited` or `own` is empty, or shorter than it was.
    absence: Absence,
}

/// What the layers below must share with a new snapshot.
pub(super) struct Manner {
    /// The keys of the policies whose layers, but the state, have the keys of those of the recording.
    pub policies: [PolicyKey; 2],
    /// How the tree is cut into layers.
    pub rule: LayerRule,
}

impl Manner {
    /// Tells whether a snapshot is cut into layers by the same rule, whatever the rule's number. A snapshot from before rules
    /// were recorded, or of an image, counts as cut into stages.
    fn cuts_like(&self, snapshot: &Snapshot) -> bool {
        rule_of(snapshot).is_like(self.rule)
    }

    /// Tells whether a snapshot was recorded in this manner.
    pub(super) fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.policies.contains(&snapshot.policy_key) && self.cuts_like(snapshot)
    }

    /// Tells whether a snapshot is cut into layers just so.
    pub(super) fn cuts_as(&self, snapshot: &Snapshot) -> bool {
        rule_of(snapshot) == self.rule
    }
}

/// Returns the rule that has cut a snapshot. One from before rules were recorded, of an image, or squashed counts as cut into
/// stages: by stages alone it can be built upon.
pub(super) fn rule_of(snapshot: &Snapshot) -> LayerRule {
    let planner = snapshot.planning.as_ref();
    let rule = planner.and_then(|planning| LayerRule::parse(&planning.planner));
    rule.unwrap_or_default()
}

impl Lineage {
    /// Finds the stage before in the same run, else the newest first stage of the series, unless there is a parent in `options`, or
    /// was a parent of another series the last time; and the stage's own layers of the last time. A fresh plan has neither. Layers under
    /// another policy are of no use: the same files are other entries there.
    ///
    /// Fails with [`Error::UnfitParent`] if the parent has another policy, and if the parent is missing or the store cannot be
    /// read.
    pub(super) fn find(
        store: &Store,
        slot: &StageSlot,
        options: &Options,
        manner: &Manner,
    ) -> Result<Self> {
        if options.fresh {
            return Ok(Self::without(Absence::Fresh));
        }
        let parent = options.parent.as_ref();
        let mut lineage = match parent {
            Some(reference) => {
                let parent = store.find(reference)?;
                if !manner.policies.contains(&parent.policy_key) {
                    let reason = "it was recorded under another policy";
                    return Err(Error::UnfitParent {
                        parent: parent.id,
                        reason,
                    });
                }
                if !manner.cuts_like(&parent) {
                    let reason = "its layers are cut by another rule (--layers)";
                    return Err(Error::UnfitParent {
                        parent: parent.id,
                        reason,
                    });
                }
                Self::over(store, parent)?
            }
            None => match other_series(store, slot, manner)? {
                Some(parent) => Self::over(store, parent)?,
                None => Self::over_stage_before(store, slot, manner)?,
            },
        };
        let is_first = lineage.inherited.is_empty();
        let last = store.latest_planned(
            (&slot.series, &slot.stage),
            &manner.policies,
            manner.rule,
            is_first,
        )?;
        if let Some(last) = last {
            let stack = Stack::of(store.layers(last.id)?);
            let packages = lineage.packages_of(&stack);
            let (own, replaced): (Vec<_>, Vec<_>) = packages
                .into_iter()
                .partition(|layer| layer.height.is_none());
            lineage.packages.extend(own);
            lineage.replaced = replaced;
            for layer in stack.own {
                // Over a layer whose blob is lost no image can be made, but from the root it can.
                if !store.has_layer(layer.layer.id)? {
                    lineage.absence = Absence::LostBlob;
                    break;
                }
                lineage.own.push(layer);
            }
        } else if is_first && lineage.absence == Absence::None {
            lineage.absence = unlike_last(store, slot, manner)?;
        }
        Ok(lineage)
    }

    /// Empty if there is no stage before, or none of use.
    fn over_stage_before(store: &Store, slot: &StageSlot, manner: &Manner) -> Result<Self> {
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
        if !manner.policies.contains(&parent.policy_key) {
            return Ok(Self::without(Absence::OtherPolicy(parent.id)));
        }
        if !manner.cuts_like(&parent) {
            return Ok(Self::without(Absence::OtherRule(parent.id)));
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
        let layers = store.layers(parent.id)?;
        let is_of_package = |layer: &LayerUse| layer.role == Role::Package;
        let packages = Stack::of(layers.clone()).packages;
        let packages = packages.iter().map(|(height, used)| PriorPackage {
            label: used.label.clone().unwrap_or_default(),
            key: used.layer.key,
            height: Some(*height),
            is_inherited: true,
        });
        let packages = packages.collect();
        let stable = layers.into_iter().filter(|layer| layer.role != Role::State);
        Ok(Self {
            parent: Some(parent),
            inherited: stable.filter(|layer| !is_of_package(layer)).collect(),
            packages,
            ..Self::default()
        })
    }

    /// Returns the stage before.
    pub(super) fn parent_id(&self) -> Option<i64> {
        self.parent.as_ref().map(|parent| parent.id)
    }

    /// Tells whether a snapshot that has `layers` lies over the same layers, and its base or delta is still the stage's.
    /// Fails if the store cannot be read.
    pub(super) fn is_of(
        &self,
        store: &Store,
        known: &Snapshot,
        layers: &[LayerUse],
    ) -> Result<bool> {
        if known.parent_id != self.parent_id()
            && layers.iter().any(|layer| layer.role == Role::Package)
            && !self.has_packages_of(&layers_of_parent(store, known)?)
        {
            return Ok(false);
        }
        let stack = Stack::of(layers.to_vec());
        let is_same = match (stack.own.first(), self.own.first()) {
            (None, _) => !stack.inherited.is_empty(),
            (Some(first), base) => base.is_some_and(|base| base.layer.key == first.layer.key),
        };
        Ok(is_same && have_same_keys(&self.inherited, &stack.inherited))
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
            packages: self.packages.clone(),
            absence: self.absence,
            ..PriorLayers::default()
        })
    }

    /// Returns what a package layer with this key is for: a package that has not changed may have another layer all the same, since
    /// files or directories above them differ, and one that differs from the stage before may be as it was the last time. Any other
    /// layer is for what was planned.
    pub(super) fn settled(&self, planned: &LayerPurpose, key: &LayerKey) -> LayerPurpose {
        let mut purpose = planned.clone();
        if purpose.role == Role::Package {
            let of_label = |layer: &&PriorPackage| Some(&layer.label) == purpose.label.as_ref();
            let mut known = self.packages.iter().filter(of_label);
            let same = known.find(|layer| layer.key == *key);
            purpose.is_inherited = same.is_some_and(|layer| layer.is_inherited);
            let mut again = self.replaced.iter().filter(of_label).peekable();
            let is_again = again.peek().is_some();
            if again.any(|layer| layer.key == *key) {
                purpose.reason = Some(Reason::Unchanged);
            } else if same.is_none() && (is_again || purpose.reason == Some(Reason::Unchanged)) {
                purpose.reason = Some(Reason::Touched);
            }
        }
        purpose
    }

    /// Returns the package layers of a snapshot of the stage, each over the layers of the stage before that it belongs to.
    pub(super) fn packages_of(&self, stack: &Stack) -> Vec<PriorPackage> {
        let inherited = self.packages.iter().filter(|layer| layer.is_inherited);
        let heights: HashMap<_, _> = inherited
            .map(|layer| (layer.stem(), layer.height))
            .collect();
        let packages = stack.packages.iter().map(|(_, used)| {
            let mut layer = PriorPackage {
                label: used.label.clone().unwrap_or_default(),
                key: used.layer.key,
                height: None,
                is_inherited: used.is_inherited,
            };
            layer.height = heights.get(&layer.stem()).copied().flatten();
            layer
        });
        packages.collect()
    }

    /// Tells whether `parent` has package layers for the same packages as the stage before.
    fn has_packages_of(&self, parent: &[LayerUse]) -> bool {
        let inherited = self.packages.iter().filter(|layer| layer.is_inherited);
        let packages = parent.iter().filter(|layer| layer.role == Role::Package);
        inherited
            .map(|layer| Some(&layer.label))
            .eq(packages.map(|layer| layer.label.as_ref()))
    }

    fn layers(&self) -> impl Iterator<Item = &LayerUse> {
        self.inherited.iter().chain(&self.own)
    }
}

/// Returns the newest snapshot of a stage of another series, if the last snapshot was planned over the other series, as somebody asked for; `None` also
/// where a layer of the other snapshot is not to be had.
fn other_series(store: &Store, slot: &StageSlot, manner: &Manner) -> Result<Option<Snapshot>> {
    let is_alike = |snapshot: &Snapshot| manner.is_of(snapshot);
    let last = store.latest_of_stage(&slot.series, &slot.stage)?;
    let Some(last) = last.filter(is_alike) else {
        return Ok(None);
    };
    let parent = match last.parent_id {
        Some(parent_id) => store.snapshot(parent_id)?,
        // The parent was removed, and the layers that the last snapshot had of it may be others' too.
        None => store.latest_with_layers_of(last.id, &slot.series)?,
    };
    let Some(parent) = parent.filter(|parent| parent.series != slot.series) else {
        return Ok(None);
    };
    let newest = store.latest_of_stage(&parent.series, &parent.stage)?;
    let Some(newest) = newest.filter(is_alike) else {
        return Ok(None);
    };
    for layer in store.layers(newest.id)?.iter() {
        if layer.role != Role::State && !store.has_layer(layer.layer.id)? {
            return Ok(None);
        }
    }
    Ok(Some(newest))
}

/// The layers of the snapshot below; none if that is gone.
fn layers_of_parent(store: &Store, snapshot: &Snapshot) -> Result<Vec<LayerUse>> {
    let parent = match snapshot.parent_id {
        Some(id) => store.snapshot(id)?,
        None => None,
    };
    parent.map_or(Ok(Vec::new()), |parent| store.layers(parent.id))
}

/// Why no snapshot of a first stage can be continued: the newest has another policy, or another rule.
fn unlike_last(store: &Store, slot: &StageSlot, manner: &Manner) -> Result<Absence> {
    let last = store.latest_based(&slot.series, &slot.stage)?;
    Ok(match last {
        None => Absence::None,
        Some(last) if manner.policies.contains(&last.policy_key) => Absence::OtherRule(last.id),
        Some(last) => Absence::OtherPolicy(last.id),
    })
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
