//! Whether a store holds what was recorded: rows against rows, files against rows, and, where asked for, every byte.
//!
//! Names everything that is wrong, each with the snapshots that it touches; one finding does not keep others from being
//! found. Repairing looks again afterwards: what is not found any more was repaired.

use crate::error::{Error, Result, show};
use crate::layer::read::{LayerItems, Unpacked, read_exactly};
use crate::model::digest::{Digest, PolicyKey};
use crate::model::names::SnapshotRef;
use crate::model::plan::difference::delta;
use crate::model::plan::layer::key_of;
use crate::model::tree::overlay::{Laid, Overlay};
use crate::oci::read::Opened;
use crate::oci::{self};
use crate::ops::keep::prune::dead_blobs;
use crate::ops::keep::repair::repair;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::root_view::image::laid_over;
use crate::ops::root_view::recorded::{lay, tree_of};
use crate::store::LayerUse;
use crate::store::Patience;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

/// What is verified.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// All snapshots of a series, or one snapshot; `None` for the whole store.
    pub of: Option<SnapshotRef>,
    /// Also read every blob.
    pub deep: bool,
    /// Put right what can be.
    pub repair: bool,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The database, or rows of it.
    Database,
    /// `index.json`.
    Index,
    /// `oci-layout`.
    LayoutFile,
    /// Manifest or configuration of a snapshot.
    Image(Box<Snapshot>),
    /// The blob of a layer.
    Blob(Box<LayerUse>),
}

impl Part {
    /// Returns the name that JSON uses.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Index => "index",
            Self::LayoutFile => "layout",
            Self::Image(_) => "image",
            Self::Blob(_) => "blob",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// With what.
    pub part: Part,
    /// What it is, with the path.
    pub what: String,
    /// The numbers of the snapshots that it touches, in their order; none where it touches all or none.
    pub snapshots: Vec<i64>,
}

/// What was verified, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was, and is put right.
    pub repaired: Vec<Finding>,
    /// How many snapshots were looked at.
    pub snapshots: u64,
    /// How many of their layers.
    pub layers: u64,
    /// How many blobs were read whole.
    pub blobs_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Number and bytes of the blobs that nothing refers to: no harm, prune removes them. Of the whole store alone.
    pub dead: Option<(u64, u64)>,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Verifies the store at `store_path`. What is wrong with it is no error of this function.
pub fn verify(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    let opened = match request.repair {
        true => Store::open_alone_unchecked(store_path, Patience::Usual),
        false => Store::open_unchecked(store_path),
    };
    let mut store = match opened {
        Err(error) if is_damage(&error) => {
            let findings = vec![Finding {
                part: Part::Database,
                what: said(&error),
                snapshots: Vec::new(),
            }];
            return Ok(Outcome {
                findings,
                ..Outcome::default()
            });
        }
        opened => opened?,
    };
    let phases = Phases::new(monitor);
    let mut outcome = Check::of(&store, request, &phases)?;
    if request.repair {
        repair(&mut store, &outcome.findings, monitor)?;
        let before = std::mem::take(&mut outcome.findings);
        outcome = Check::of(&store, request, &phases)?;
        outcome.repaired = before
            .into_iter()
            .filter(|was| !outcome.findings.contains(was))
            .collect();
    }
    outcome.seconds = phases.spent();
    Ok(outcome)
}

/// Tells whether an error says that something in the store is not what it was.
pub(crate) fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } | Error::BadLayer { .. } | Error::BadImage { .. } => true,
        Error::Database { .. } => !error.is_of_machine(),
        _ => false,
    }
}

/// An error and its causes in one line.
pub(crate) fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// A layer in one of its forms.
struct Used {
    layer: LayerUse,
    /// The snapshots that have it.
    by: Vec<i64>,
    /// The layers that are below it in the first of them.
    below: Vec<i64>,
}

struct Check<'a> {
    store: &'a Store,
    outcome: Outcome,
}

impl<'a> Check<'a> {
    fn of(store: &'a Store, request: &Request, phases: &Phases) -> Result<Outcome> {
        let mut check = Self {
            store,
            outcome: Outcome::default(),
        };
        let used = phases.run(Phase::Compare, None, || check.rows(request))?;
        let Some(used) = used else {
            return Ok(check.outcome);
        };
        let total = request
            .deep
            .then(|| used.iter().map(|used| used.layer.blob.size_bytes).sum());
        phases.run(Phase::Read, total, || {
            for used in &used {
                let found = match request.deep {
                    true => check.read_blob(used, &|bytes| phases.monitor.advance(bytes)),
                    false => check.has_blob(used),
                };
                check.note(Part::Blob(Box::new(used.layer.clone())), &used.by, found)?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(check.outcome)
    }

    /// Notes what is wrong; what is no damage is an error.
    fn note<T>(&mut self, part: Part, snapshots: &[i64], found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(sound) => Ok(Some(sound)),
            Err(error) if is_damage(&error) => {
                self.add(part, snapshots, said(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, part: Part, snapshots: &[i64], what: String) {
        // One row may be wrong for many snapshots.
        let known = self
            .outcome
            .findings
            .iter_mut()
            .find(|finding| finding.what == what);
        match known {
            Some(finding) => {
                finding.snapshots.extend(snapshots);
                finding.snapshots.sort_unstable();
                finding.snapshots.dedup();
            }
            None => self.outcome.findings.push(Finding {
                part,
                what,
                snapshots: snapshots.to_vec(),
            }),
        }
    }

    /// All but the blobs of layers, which it returns; `None` where the database cannot be read.
    fn rows(&mut self, request: &Request) -> Result<Option<Vec<Used>>> {
        let store = self.store;
        let Some(wrong) = self.note(Part::Database, &[], store.database_findings())? else {
            return Ok(None);
        };
        let database = show(&store.path().join("rootstrata.sqlite"));
        for what in wrong {
            self.add(
                Part::Database,
                &[],
                format!("{database} is damaged: {what}"),
            );
        }
        let chosen = match &request.of {
            Some(SnapshotRef::Latest {
                series,
                stage: None,
                back: 0,
            }) => store.snapshots(Some(series)),
            Some(reference) => store.find(reference).map(|one| vec![one]),
            None => store.snapshots(None),
        };
        let Some(mut snapshots) = self.note(Part::Database, &[], chosen)? else {
            return Ok(None);
        };
        snapshots.reverse();
        self.outcome.snapshots = snapshots.len() as u64;
        if request.of.is_none() {
            self.layout(&snapshots)?;
        }
        let mut used: BTreeMap<(i64, Digest), Used> = BTreeMap::new();
        for snapshot in &snapshots {
            self.snapshot(snapshot, &mut used)?;
        }
        self.layers(&snapshots, &used)?;
        self.packages(&snapshots)?;
        self.outcome.layers = used.len() as u64;
        Ok(Some(used.into_values().collect()))
    }

    fn layout(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let path = self.store.path();
        if !self.store.has_layout_file() {
            let what = format!(
                "{} is damaged: it is missing or another",
                show(&path.join("oci-layout"))
            );
            self.add(Part::LayoutFile, &[], what);
        }
        if let Some(Some(what)) = self.note(Part::Database, &[], self.store.index_finding())? {
            self.add(
                Part::Index,
                &[],
                format!("{} is damaged: {what}", show(&path.join("index.json"))),
            );
        }
        let dead = match self.store.needed_by(snapshots) {
            Ok(needed) => dead_blobs(self.store, &needed)?,
            Err(_) => return Ok(()), // told where the snapshot is looked at
        };
        self.outcome.dead = Some((
            dead.len() as u64,
            dead.iter().map(|blob| blob.size_bytes).sum(),
        ));
        Ok(())
    }

    fn snapshot(
        &mut self,
        snapshot: &Snapshot,
        used: &mut BTreeMap<(i64, Digest), Used>,
    ) -> Result<()> {
        let id = snapshot.id;
        let layers = self.store.layers(id);
        let Some(layers) = self.note(Part::Database, &[id], layers)? else {
            return Ok(());
        };
        self.note(
            Part::Database,
            &[id],
            self.store.policy(&snapshot.policy_key),
        )?;
        let part = || Part::Image(Box::new(snapshot.clone()));
        let image = image_finding(self.store, snapshot, &layers);
        if let Some(Some(what)) = self.note(part(), &[id], image)? {
            self.add(part(), &[id], what);
        }
        let mut below = Vec::new();
        for layer in layers {
            let layer_id = layer.layer.id;
            let entry = used.entry((layer_id, layer.blob.digest));
            let one = entry.or_insert_with(|| Used {
                layer,
                by: Vec::new(),
                below: below.clone(),
            });
            one.by.push(id);
            below.push(layer_id);
        }
        Ok(())
    }

    /// What layers hold, and the trees that they give.
    fn layers(
        &mut self,
        snapshots: &[Snapshot],
        used: &BTreeMap<(i64, Digest), Used>,
    ) -> Result<()> {
        let mut wrong = Vec::new();
        for Used {
            layer: LayerUse { layer, .. },
            by,
            ..
        } in used.values()
        {
            let found = self.note(Part::Database, by, self.store.layer_finding(layer))?;
            match found {
                Some(None) => continue,
                Some(Some(what)) => {
                    let database = show(&self.store.path().join("rootstrata.sqlite"));
                    self.add(
                        Part::Database,
                        by,
                        format!("{database} is damaged: layer {}: {what}", layer.key),
                    );
                }
                None => {}
            }
            wrong.extend(by);
        }
        // Snapshots with the same layers have the same tree.
        let mut known: HashMap<Vec<i64>, (u64, u64)> = HashMap::new();
        for snapshot in snapshots
            .iter()
            .filter(|snapshot| !wrong.contains(&snapshot.id))
        {
            let Ok(layers) = self.store.layers(snapshot.id) else {
                continue;
            };
            let ids: Vec<i64> = layers.iter().map(|layer| layer.layer.id).collect();
            let found = match known.get(&ids) {
                Some(found) => *found,
                None => {
                    let tree = tree_of(self.store, &ids)?;
                    *known
                        .entry(ids)
                        .or_insert((tree.entries().len() as u64, tree.content_bytes()))
                }
            };
            if found != (snapshot.entries, snapshot.content_bytes) {
                let what = format!(
                    "the layers of snapshot {} give {} entries with {} bytes, and not {} with {}",
                    snapshot.id, found.0, found.1, snapshot.entries, snapshot.content_bytes
                );
                self.add(Part::Database, &[snapshot.id], what);
            }
        }
        Ok(())
    }

    fn packages(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let mut sets: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for snapshot in snapshots {
            if let Some(set) = snapshot.package_set_id {
                sets.entry(set).or_default().push(snapshot.id);
            }
        }
        for (set, by) in sets {
            let found = self.note(Part::Database, &by, self.store.packages_finding(set))?;
            if let Some(Some(what)) = found {
                let database = show(&self.store.path().join("rootstrata.sqlite"));
                self.add(
                    Part::Database,
                    &by,
                    format!("{database} is damaged: package set {set}: {what}"),
                );
            }
        }
        Ok(())
    }

    fn has_blob(&self, used: &Used) -> Result<()> {
        let blob = &used.layer.blob;
        self.store
            .find_blob(&blob.digest, blob.size_bytes)
            .map(drop)
    }

    /// Reads a blob whole: both digests, and what it holds.
    fn read_blob(&mut self, used: &Used, advance: &dyn Fn(u64)) -> Result<()> {
        let LayerUse { layer, blob, .. } = &used.layer;
        let source = self.store.find_blob(&blob.digest, blob.size_bytes)?;
        let expected = Unpacked {
            diff_id: layer.diff_id,
            most_bytes: layer.tar_bytes,
        };
        let (items, _) = read_exactly((&source).into(), expected, &mut |_, _| Ok(None))?;
        self.outcome.blobs_read += 1;
        self.outcome.bytes_read += blob.size_bytes;
        advance(blob.size_bytes);
        if gives_key(self.store, used, items, source.path())? {
            return Ok(());
        }
        let what = format!("it does not hold what layer {} has", layer.key);
        Err(Error::damaged(source.path(), what))
    }
}

/// Compares the blobs of an image with the rows of its snapshot.
fn image_finding(
    store: &Store,
    snapshot: &Snapshot,
    layers: &[LayerUse],
) -> Result<Option<String>> {
    let manifest = oci::Blob {
        digest: snapshot.manifest.digest,
        size_bytes: snapshot.manifest.size_bytes,
    };
    store.find_blob(&manifest.digest, manifest.size_bytes)?;
    store.find_blob(&snapshot.config.digest, snapshot.config.size_bytes)?;
    let image = Opened::layout(store.path())?.image_of(manifest)?;
    let same_layers = image.layers.len() == layers.len()
        && image.layers.iter().zip(layers).all(|(found, recorded)| {
            found.blob.digest == recorded.blob.digest
                && found.blob.size_bytes == recorded.blob.size_bytes
                && found.diff_id == recorded.layer.diff_id
        });
    let is_same = same_layers && image.config.digest == snapshot.config.digest;
    Ok((!is_same).then(|| {
        format!(
            "the image of snapshot {} has other layers than its rows",
            snapshot.id
        )
    }))
}

/// Tells whether what a blob holds is what the layer's key names. What others wrote is known by what it does to the layers
/// below it.
fn gives_key(store: &Store, used: &Used, items: LayerItems, path: &Path) -> Result<bool> {
    let layer = &used.layer.layer;
    let policy: PolicyKey = store.policy_of_layer(layer.id)?;
    if items.links_below.is_empty()
        && items.items.iter().all(|item| item.as_item().is_some())
        && key_of(&policy, items.items.iter().filter_map(Laid::as_item)) == layer.key
    {
        return Ok(true);
    }
    let mut below = Overlay::new();
    lay(store, &used.below, &mut below)?;
    let after = laid_over(&below, items, path)?;
    Ok(key_of(&policy, delta(below.entries(), &after).items()) == layer.key)
}
