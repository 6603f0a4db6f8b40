//! Which snapshot a new one is planned over, and which run it belongs to.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::digest::PolicyKey;
use crate::model::names::{BOOTSTRAP, STAGES, check_name, check_series, series_from};
use crate::model::plan::deferrable::Expected;
use crate::model::plan::layer::Role;
use crate::model::plan::{Below, Known};
use crate::model::stamp::Stat;
use crate::model::tree::path::EntryPath;
use crate::ops::record::Options;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::{Scope, ScopedJoinHandle};

/// Where a new snapshot stands among the others.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) series: String,
    pub(crate) stage: String,
    /// `None` for a run of its own.
    pub(crate) run: Option<String>,
}

impl Place {
    /// Finds it from what was asked for and what is recorded.
    pub(crate) fn find(store: &Store, series: &str, options: &Options) -> Result<Self> {
        let series = series.to_owned();
        let run = options.run.clone();
        let of_run = match &run {
            Some(run) => store.snapshots_of_run(&series, run)?,
            None => Vec::new(),
        };
        let stage = match &options.stage {
            Some(stage) => stage.clone(),
            None => next_stage(&series, run.as_deref(), &of_run)?,
        };
        let run = match run {
            None if stage != BOOTSTRAP => open_run(store, &series, &stage)?,
            run => run,
        };
        Ok(Self { series, stage, run })
    }

    /// Tells whether `snapshot` is of this stage, recorded under this policy.
    pub(crate) fn is_of(&self, snapshot: &Snapshot, policy: &PolicyKey) -> bool {
        snapshot.policy_key == *policy
            && snapshot.series == self.series
            && snapshot.stage == self.stage
    }
}

/// Checks the names that were given before anything is opened.
pub(crate) fn check_names(options: &Options) -> Result<()> {
    options.series.as_deref().map_or(Ok(()), check_series)?;
    options
        .stage
        .as_deref()
        .map_or(Ok(()), |stage| check_name("stage", stage))?;
    options
        .run
        .as_deref()
        .map_or(Ok(()), |run| check_name("run", run))
}

/// Returns the series that was asked for, or the one that the root is named after: Mock's chroots are at `…/CONFIGURATION/root`.
pub(crate) fn series_of(root: &Root, options: &Options) -> Result<String> {
    if let Some(series) = &options.series {
        return Ok(series.clone());
    }
    let path = root.path();
    let named = if path.file_name().is_some_and(|name| name == "root") {
        path.parent()
    } else {
        Some(path)
    };
    let name = named
        .and_then(|path| path.file_name())
        .and_then(|name| series_from(&name.to_string_lossy()));
    name.ok_or_else(|| Error::NoSeriesName(path.to_owned()))
}

/// The first of the usual stages that the run does not have.
fn next_stage(series: &str, run: Option<&str>, of_run: &[Snapshot]) -> Result<String> {
    let is_new = |stage: &&&str| !of_run.iter().any(|snapshot| snapshot.stage == ***stage);
    let next = STAGES.iter().find(is_new).map(|stage| (*stage).to_owned());
    next.ok_or_else(|| Error::NoStageName {
        series: series.to_owned(),
        run: run.unwrap_or_default().to_owned(),
    })
}

/// The newest run of the series, where it does not have this stage yet.
fn open_run(store: &Store, series: &str, stage: &str) -> Result<Option<String>> {
    let Some(newest) = store.latest(series)? else {
        return Ok(None);
    };
    let has_stage = store
        .snapshots_of_run(series, &newest.run)?
        .iter()
        .any(|snapshot| snapshot.stage == stage);
    Ok((!has_stage).then_some(newest.run))
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

/// What a new snapshot is planned over: what [`Below`] has, before it is read.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    /// The stage before.
    parent: Option<Snapshot>,
    /// Its layers, without its state.
    inherited: Vec<LayerUse>,
    /// What the stage itself had: a base or a delta, and the updates of it.
    own: Vec<LayerUse>,
}

impl Ground {
    /// Finds it: the stage before in the same run, else the newest first stage of the series; and what the stage itself had
    /// when it was recorded last. What was recorded under another policy is of no use, since the same files are other
    /// entries there.
    pub(crate) fn find(
        store: &Store,
        place: &Place,
        options: &Options,
        policy: &PolicyKey,
    ) -> Result<Self> {
        let mut ground = match &options.parent {
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
            None => Self::over_stage_before(store, place, policy)?.unwrap_or_default(),
        };
        let is_first = ground.inherited.is_empty();
        if let Some(last) = store.latest_planned(&place.series, &place.stage, policy, is_first)? {
            for layer in own_layers(store.layers(last.id)?, &last) {
                // Over a layer whose blob is lost no image can be made, but from the root it can.
                if !store.has_layer(layer.layer.id)? {
                    break;
                }
                ground.own.push(layer);
            }
        }
        Ok(ground)
    }

    /// `None` where there is no such stage, or none of use.
    fn over_stage_before(store: &Store, place: &Place, policy: &PolicyKey) -> Result<Option<Self>> {
        if place.stage == BOOTSTRAP {
            return Ok(None);
        }
        let of_run = match &place.run {
            Some(run) => store.snapshots_of_run(&place.series, run)?,
            None => Vec::new(),
        };
        let before = match stage_before(&of_run, &place.stage) {
            None => store.latest_first_stage(&place.series, &place.stage)?,
            before => before.cloned(),
        };
        let Some(parent) = before.filter(|parent| parent.policy_key == *policy) else {
            return Ok(None);
        };
        let ground = Self::over(store, parent)?;
        for layer in &ground.inherited {
            if !store.has_layer(layer.layer.id)? {
                return Ok(None);
            }
        }
        Ok(Some(ground))
    }

    fn over(store: &Store, parent: Snapshot) -> Result<Self> {
        let mut inherited = store.layers(parent.id)?;
        inherited.retain(|layer| layer.role != Role::State);
        Ok(Self {
            parent: Some(parent),
            inherited,
            own: Vec::new(),
        })
    }

    /// Returns the snapshot that the new one is planned over.
    pub(crate) fn parent_id(&self) -> Option<i64> {
        self.parent.as_ref().map(|parent| parent.id)
    }

    /// Tells whether `snapshot`, which has `layers`, lies over the same layers, and its base or delta is still the stage's.
    pub(crate) fn is_that_of(&self, snapshot: &Snapshot, layers: &[LayerUse]) -> bool {
        let (inherited, own) = layers.split_at(snapshot.inherited_layers.min(layers.len()));
        let key = |layer: &LayerUse| layer.layer.key;
        let is_same = match own.first().filter(|first| first.role != Role::State) {
            None => !inherited.is_empty(),
            Some(first) => self.own.first().is_some_and(|own| key(own) == key(first)),
        };
        is_same && have_same_keys(&self.inherited, inherited)
    }

    /// Tells whether a file differs from what any of the layers has at its path.
    pub(crate) fn differs(
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

    /// Returns the updates of the stage's base or delta, if that is the first of `own`, none where there is none, and lies over
    /// `inherited`.
    pub(crate) fn updates_over(
        &self,
        inherited: &[LayerUse],
        own: &[LayerUse],
    ) -> Option<&[LayerUse]> {
        let first = |own: &[LayerUse]| own.first().map(|first| first.layer.key);
        let is_same = have_same_keys(&self.inherited, inherited) && first(&self.own) == first(own);
        is_same.then(|| self.own.get(1..).unwrap_or_default())
    }

    /// Reads what the layers hold.
    pub(crate) fn load(&self, store: &Store) -> Result<Below> {
        Ok(Below::new(
            known_of(store, &self.inherited)?,
            known_of(store, &self.own)?,
        ))
    }

    /// Tells whether to read all that the layers hold costs no more than to look up so many paths.
    pub(crate) fn is_read_sooner_than(&self, paths: usize) -> bool {
        let items: u64 = self
            .layers()
            .map(|layer| layer.layer.entries + layer.layer.whiteouts)
            .sum();
        paths as u64 * self.layers().count() as u64 > items / 8
    }

    fn layers(&self) -> impl Iterator<Item = &LayerUse> {
        self.inherited.iter().chain(&self.own)
    }
}

/// What the layers below hold, while it is read: by a thread of its own, unless there is to be one alone.
pub(crate) struct Loading<'scope> {
    pub(crate) done: Option<Below>,
    begun: Option<ScopedJoinHandle<'scope, Result<Below>>>,
}

impl<'scope> Loading<'scope> {
    /// Begins to read it, if it is not `done`.
    pub(crate) fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        done: Option<Below>,
        store: &Path,
        ground: &'scope Ground,
        threads: NonZeroUsize,
    ) -> Self {
        // A connection is of one thread. The index was looked at when the store was opened first.
        let store = store.to_owned();
        let load = move || ground.load(&Store::open_unchecked(&store)?);
        let begun = (done.is_none() && threads.get() > 1).then(|| scope.spawn(load));
        Self { done, begun }
    }

    /// Waits until it is read.
    pub(crate) fn wait(&mut self, store: &Store, ground: &Ground) -> Result<&Below> {
        let below = match (self.done.take(), self.begun.take()) {
            (Some(below), _) => below,
            (None, Some(begun)) => begun
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            (None, None) => ground.load(store)?,
        };
        Ok(self.done.insert(below))
    }

    /// Waits until it is read, and gives it away.
    pub(crate) fn finish(mut self, store: &Store, ground: &Ground) -> Result<Below> {
        self.wait(store, ground)?;
        Ok(self.done.unwrap_or_default())
    }
}

/// Tells whether these are the same layers.
pub(crate) fn have_same_keys(a: &[LayerUse], b: &[LayerUse]) -> bool {
    a.iter()
        .map(|layer| layer.layer.key)
        .eq(b.iter().map(|layer| layer.layer.key))
}

/// Of the layers of a snapshot its own base or delta, and the updates of that.
pub(crate) fn own_layers(layers: Vec<LayerUse>, of: &Snapshot) -> Vec<LayerUse> {
    let own = layers
        .into_iter()
        .skip(of.inherited_layers)
        .filter(|layer| layer.role != Role::State);
    let own = own
        .enumerate()
        .take_while(|(at, layer)| *at == 0 || layer.role == Role::Update);
    own.map(|(_, layer)| layer).collect()
}

/// Reads what layers hold.
pub(crate) fn known_of(store: &Store, layers: &[LayerUse]) -> Result<Vec<Known>> {
    layers.iter().map(|layer| known(store, layer)).collect()
}

/// Reads what a layer holds.
fn known(store: &Store, LayerUse { role, layer, .. }: &LayerUse) -> Result<Known> {
    let items = store.items(layer.id)?;
    Ok(Known {
        role: *role,
        key: layer.key,
        content_bytes: layer.content_bytes,
        items,
    })
}
