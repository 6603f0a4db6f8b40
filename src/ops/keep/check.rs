//! Looks at the parts of a store in turn, and notes faults.

use crate::error::{Error, Result, show};
use crate::layer::read::{LayerItems, Unpacked, read_exactly};
use crate::model::digest::{Digest, PolicyKey};
use crate::model::names::SnapshotRef;
use crate::model::plan::difference::delta;
use crate::model::plan::layer::key_of;
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::oci::read::Opened;
use crate::ops::keep::finding::{Finding, Subject};
use crate::ops::monitor::Monitor;
use crate::ops::root_view::image::applied_over;
use crate::ops::root_view::recorded::{apply, tree_of};
use crate::ops::store_index::image_blob;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The findings and counts so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) findings: Vec<Finding>,
    pub(crate) snapshots: u64,
    pub(crate) layers: u64,
    pub(crate) blobs_read: u64,
    pub(crate) bytes_read: u64,
    /// Number and bytes of blobs without a reference, of a look at the whole store.
    pub(crate) dead: Option<(u64, u64)>,
}

/// A form of a layer.
pub(crate) struct Used {
    pub(crate) layer: LayerUse,
    /// The snapshots with the layer.
    by: Vec<i64>,
    /// The layers below in the first snapshot.
    below: Vec<i64>,
}

/// The layers of the snapshots, by number and form.
type AllUsed = BTreeMap<(i64, Digest), Used>;

/// A look at a store.
pub(crate) struct Check<'a> {
    store: &'a Store,
    pub(crate) found: Found,
}

impl<'a> Check<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            found: Found::default(),
        }
    }

    /// Notes damage; another error is returned.
    fn note<T>(
        &mut self,
        subject: Subject,
        snapshots: &[i64],
        found: Result<T>,
    ) -> Result<Option<T>> {
        match found {
            Ok(sound) => Ok(Some(sound)),
            Err(error) if error.is_damage() => {
                self.add(subject, snapshots, error.in_one_line());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, subject: Subject, snapshots: &[i64], what: String) {
        // A row may be wrong for many snapshots.
        let known = self
            .found
            .findings
            .iter_mut()
            .find(|finding| finding.what == what);
        match known {
            Some(finding) => {
                finding.snapshots.extend(snapshots);
                finding.snapshots.sort_unstable();
                finding.snapshots.dedup();
            }
            None => self.found.findings.push(Finding {
                subject,
                what,
                snapshots: snapshots.to_vec(),
            }),
        }
    }

    /// Looks at all but the blobs of layers, and returns the layers; `None` if the database cannot be read. Fails as
    /// system calls and queries do, but not for damage.
    pub(crate) fn rows(&mut self, of: Option<&SnapshotRef>) -> Result<Option<Vec<Used>>> {
        let store = self.store;
        let Some(wrong) = self.note(Subject::Database, &[], store.database_findings())? else {
            return Ok(None);
        };
        let database = show(&store.path().join("rootstrata.sqlite"));
        for what in wrong {
            self.add(
                Subject::Database,
                &[],
                format!("{database} is damaged: {what}"),
            );
        }
        let chosen = match of {
            Some(SnapshotRef::Latest {
                series,
                stage: None,
                back: 0,
            }) => store.snapshots(Some(series)),
            Some(reference) => store.find(reference).map(|one| vec![one]),
            None => store.snapshots(None),
        };
        let Some(mut snapshots) = self.note(Subject::Database, &[], chosen)? else {
            return Ok(None);
        };
        snapshots.reverse();
        self.found.snapshots = snapshots.len() as u64;
        if of.is_none() {
            self.layout(&snapshots)?;
        }
        let mut used = AllUsed::new();
        for snapshot in &snapshots {
            self.snapshot(snapshot, &mut used)?;
        }
        self.layers(&snapshots, &used)?;
        self.packages(&snapshots)?;
        self.found.layers = used.len() as u64;
        Ok(Some(used.into_values().collect()))
    }

    fn layout(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let path = self.store.path();
        if !self.store.has_layout_file() {
            let what = format!(
                "{} is damaged: it is missing or another",
                show(&path.join("oci-layout"))
            );
            self.add(Subject::LayoutFile, &[], what);
        }
        if let Some(Some(what)) = self.note(Subject::Database, &[], self.store.index_finding())? {
            self.add(
                Subject::Index,
                &[],
                format!("{} is damaged: {what}", show(&path.join("index.json"))),
            );
        }
        let dead = match self.store.needed_by(snapshots) {
            Ok(needed) => self.store.dead_blobs(&needed)?,
            Err(_) => return Ok(()), // told where the snapshot is looked at
        };
        self.found.dead = Some((
            dead.len() as u64,
            dead.iter().map(|blob| blob.size_bytes).sum(),
        ));
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Snapshot, used: &mut AllUsed) -> Result<()> {
        let id = snapshot.id;
        let layers = self.store.layers(id);
        let Some(layers) = self.note(Subject::Database, &[id], layers)? else {
            return Ok(());
        };
        self.note(
            Subject::Database,
            &[id],
            self.store.policy(&snapshot.policy_key),
        )?;
        let part = || Subject::Image(Box::new(snapshot.clone()));
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

    /// Looks at the entries of layers, and at the trees of snapshots.
    fn layers(&mut self, snapshots: &[Snapshot], used: &AllUsed) -> Result<()> {
        let mut wrong = Vec::new();
        for Used {
            layer: LayerUse { layer, .. },
            by,
            ..
        } in used.values()
        {
            let found = self.note(Subject::Database, by, self.store.layer_finding(layer))?;
            match found {
                Some(None) => continue,
                Some(Some(what)) => {
                    let database = show(&self.store.path().join("rootstrata.sqlite"));
                    self.add(
                        Subject::Database,
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
                self.add(Subject::Database, &[snapshot.id], what);
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
            let found = self.note(Subject::Database, &by, self.store.packages_finding(set))?;
            if let Some(Some(what)) = found {
                let database = show(&self.store.path().join("rootstrata.sqlite"));
                self.add(
                    Subject::Database,
                    &by,
                    format!("{database} is damaged: package set {set}: {what}"),
                );
            }
        }
        Ok(())
    }

    /// Looks for a blob by its length. Fails if the file cannot be opened.
    pub(crate) fn find_blob(&mut self, used: &Used) -> Result<()> {
        let blob = &used.layer.blob;
        let found = self.store.find_blob(&blob.digest, blob.size_bytes);
        self.note_blob(used, found.map(drop))
    }

    /// Reads a blob whole: both digests, and the entries. Fails if the file cannot be opened or read.
    pub(crate) fn read_blob(&mut self, used: &Used, monitor: &dyn Monitor) -> Result<()> {
        let found = self.try_read_blob(used, monitor);
        self.note_blob(used, found)
    }

    fn note_blob(&mut self, used: &Used, found: Result<()>) -> Result<()> {
        let subject = Subject::Blob(Box::new(used.layer.clone()));
        self.note(subject, &used.by, found).map(drop)
    }

    fn try_read_blob(&mut self, used: &Used, monitor: &dyn Monitor) -> Result<()> {
        let LayerUse { layer, blob, .. } = &used.layer;
        let source = self.store.find_blob(&blob.digest, blob.size_bytes)?;
        let expected = Unpacked {
            diff_id: layer.diff_id,
            most_bytes: layer.tar_bytes,
        };
        let (items, _) = read_exactly((&source).into(), expected, &mut |_, _| Ok(None))?;
        self.found.blobs_read += 1;
        self.found.bytes_read += blob.size_bytes;
        monitor.advance(blob.size_bytes);
        if gives_key(self.store, used, items, source.path())? {
            return Ok(());
        }
        let what = format!("it does not hold what layer {} has", layer.key);
        Err(Error::damaged(source.path(), what))
    }
}

/// Compares an image's blobs with the rows of the snapshot.
fn image_finding(
    store: &Store,
    snapshot: &Snapshot,
    layers: &[LayerUse],
) -> Result<Option<String>> {
    let manifest = image_blob(snapshot.manifest);
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

/// Tells whether the items of a blob give the layer's key. A foreign layer is known by its changes to the layers
/// below.
fn gives_key(store: &Store, used: &Used, items: LayerItems, path: &Path) -> Result<bool> {
    let layer = &used.layer.layer;
    let policy: PolicyKey = store.policy_of_layer(layer.id)?;
    if items.links_below.is_empty()
        && items.items.iter().all(|item| item.as_item().is_some())
        && key_of(&policy, items.items.iter().filter_map(LayerItem::as_item)) == layer.key
    {
        return Ok(true);
    }
    let mut below = Overlay::new();
    apply(store, &used.below, &mut below)?;
    let after = applied_over(&below, items, path)?;
    Ok(key_of(&policy, delta(below.entries(), &after).items()) == layer.key)
}
