//! Which snapshot a new one is planned over, and which run it belongs to.

use super::snapshot::Options;
use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::digest::{LayerKey, PolicyKey};
use crate::model::entry::Entry;
use crate::model::layer::Role;
use crate::model::names::{BOOTSTRAP, STAGES, check_name, check_series, series_from};
use crate::model::overlay::Overlay;
use crate::model::path::EntryPath;
use crate::model::plan::Below;
use crate::model::tree::Tree;
use crate::store::{Layer, LayerUse, Snapshot, Store};

/// Where a new snapshot stands among the others.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) series: String,
    pub(super) stage: String,
    /// `None` for a run of its own.
    pub(super) run: Option<String>,
}

impl Place {
    /// Finds it from what was asked for and what is recorded.
    pub(super) fn find(store: &Store, series: &str, options: &Options) -> Result<Self> {
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
}

/// Checks the names that were given before anything is opened.
pub(super) fn check_names(options: &Options) -> Result<()> {
    options.series.as_deref().map_or(Ok(()), check_series)?;
    options.stage.as_deref().map_or(Ok(()), |stage| check_name("stage", stage))?;
    options.run.as_deref().map_or(Ok(()), |run| check_name("run", run))
}

/// Returns the series that was asked for, or the one that the root is named after: Mock's chroots are at `…/CONFIGURATION/root`.
pub(super) fn series_of(root: &Root, options: &Options) -> Result<String> {
    if let Some(series) = &options.series {
        return Ok(series.clone());
    }
    let path = root.path();
    let named = if path.file_name().is_some_and(|name| name == "root") { path.parent() } else { Some(path) };
    let name = named.and_then(|path| path.file_name()).and_then(|name| series_from(&name.to_string_lossy()));
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
    let Some(newest) = store.latest(series)? else { return Ok(None) };
    let has_stage =
        store.snapshots_of_run(series, &newest.run)?.iter().any(|snapshot| snapshot.stage == stage);
    Ok((!has_stage).then_some(newest.run))
}

/// The newest snapshot of the stage that came right before `stage` when the run first had each. `of_run` has the newest
/// first.
fn stage_before<'s>(of_run: &'s [Snapshot], stage: &str) -> Option<&'s Snapshot> {
    let first_id =
        |stage: &str| of_run.iter().rev().find(|snapshot| snapshot.stage == stage).map(|first| first.id);
    let limit = first_id(stage).unwrap_or(i64::MAX);
    let earlier =
        of_run.iter().filter(|snapshot| first_id(&snapshot.stage).is_some_and(|first| first < limit));
    earlier.max_by_key(|snapshot| (first_id(&snapshot.stage), snapshot.id))
}

/// What a new snapshot is laid over.
#[derive(Debug)]
pub(super) enum Ground {
    Nothing,
    Base(Layer),
    Stage { parent: Snapshot, layers: Vec<LayerUse> },
}

impl Ground {
    /// Finds it: the stage before in the same run, else the newest first stage of the series, else the series'
    /// base. What was recorded under another policy is of no use, since the same files are other entries there.
    pub(super) fn find(store: &Store, place: &Place, options: &Options, policy: &PolicyKey) -> Result<Self> {
        if let Some(reference) = &options.parent {
            let parent = store.find(reference)?;
            if parent.policy_key != *policy {
                let reason = "it was recorded under another policy";
                return Err(Error::UnfitParent { parent: parent.id, reason });
            }
            return Self::over(store, parent);
        }
        if place.stage != BOOTSTRAP {
            let of_run = match &place.run {
                Some(run) => store.snapshots_of_run(&place.series, run)?,
                None => Vec::new(),
            };
            let before = match stage_before(&of_run, &place.stage) {
                None => store.latest_first_stage(&place.series, &place.stage)?,
                before => before.cloned(),
            };
            if let Some(parent) = before.filter(|parent| parent.policy_key == *policy) {
                let ground = Self::over(store, parent)?;
                if ground.is_whole(store)? {
                    return Ok(ground);
                }
            }
        }
        let base = store.latest_base(&place.series, &place.stage, policy)?.map_or(Self::Nothing, Self::Base);
        Ok(if base.is_whole(store)? { base } else { Self::Nothing })
    }

    fn over(store: &Store, parent: Snapshot) -> Result<Self> {
        let mut layers = store.layers(parent.id)?;
        layers.retain(|layer| layer.role != Role::State);
        Ok(Self::Stage { parent, layers })
    }

    /// Tells whether no blob of it is lost: over one that is, no image can be made, but from the root it can.
    fn is_whole(&self, store: &Store) -> Result<bool> {
        match self {
            Self::Nothing => Ok(true),
            Self::Base(base) => store.has_layer(base.id),
            Self::Stage { layers, .. } => {
                layers.iter().try_fold(true, |whole, layer| Ok(whole && store.has_layer(layer.layer.id)?))
            }
        }
    }

    /// Returns the snapshot that the new one is planned over.
    pub(super) fn parent_id(&self) -> Option<i64> {
        match self {
            Self::Stage { parent, .. } => Some(parent.id),
            _ => None,
        }
    }

    /// Tells whether planning the tree of `snapshot`, which has `layers`, over this gives the same layers again.
    pub(super) fn is_that_of(&self, snapshot: &Snapshot, layers: &[LayerUse]) -> bool {
        let inherited = &layers[..snapshot.inherited_layers.min(layers.len())];
        match self {
            Self::Nothing => false,
            Self::Base(base) => {
                inherited.is_empty()
                    && layers
                        .first()
                        .is_some_and(|first| first.role == Role::Base && first.layer.key == base.key)
            }
            Self::Stage { layers: below, .. } => {
                !below.is_empty()
                    && below.iter().map(|l| l.layer.key).eq(inherited.iter().map(|l| l.layer.key))
            }
        }
    }

    /// Returns the entry that lies below at `path`, as far as whiteouts above it do not count.
    pub(super) fn topmost(&self, store: &Store, path: &EntryPath) -> Result<Option<Entry>> {
        match self {
            Self::Nothing => Ok(None),
            Self::Base(base) => store.topmost([base.id].into_iter(), path),
            Self::Stage { layers, .. } => store.topmost(layers.iter().rev().map(|l| l.layer.id), path),
        }
    }

    /// Reads the tree that lies below.
    pub(super) fn load(&self, store: &Store) -> Result<Loaded> {
        let (keys, ids): (Vec<(Role, LayerKey)>, Vec<i64>) = match self {
            Self::Nothing => return Ok(Loaded { keys: Vec::new(), tree: None }),
            Self::Base(base) => (vec![(Role::Base, base.key)], vec![base.id]),
            Self::Stage { layers, .. } => layers.iter().map(|l| ((l.role, l.layer.key), l.layer.id)).unzip(),
        };
        let mut overlay = Overlay::new();
        ids.into_iter().try_for_each(|id| store.lay(id, &mut overlay))?;
        Ok(Loaded { keys, tree: Some(overlay.into_tree()) })
    }

    /// Returns what the planner takes.
    pub(super) fn below<'a>(&self, loaded: &'a Loaded) -> Below<'a> {
        match (self, &loaded.tree) {
            (Self::Base(base), Some(tree)) => Below::Base { key: base.key, tree },
            (Self::Stage { .. }, Some(tree)) => Below::Stage { layers: &loaded.keys, tree },
            _ => Below::Nothing,
        }
    }
}

/// The layers below and the tree that they give.
#[derive(Debug)]
pub(super) struct Loaded {
    keys: Vec<(Role, LayerKey)>,
    pub(super) tree: Option<Tree>,
}

impl Loaded {
    /// Returns the entry at `path`.
    pub(super) fn at(&self, path: &EntryPath) -> Option<&Entry> {
        let tree = self.tree.as_ref()?;
        tree.position(path).map(|at| &tree.entries()[at])
    }
}
