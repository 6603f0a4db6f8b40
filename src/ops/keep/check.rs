//! Looks at the parts of a store in turn, and notes faults.

use crate::blob::BlobSource;
use crate::error::{Error, Result, show};
use crate::layer::read::{LayerItems, Threads, Unpacked, read_exactly};
use crate::model::digest::{Digest, PolicyKey, TreeDigest};
use crate::model::names::SnapshotRef;
use crate::model::plan::difference::delta;
use crate::model::plan::items_form::key_of;
use crate::model::plan::items_form::tree_digest;
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::oci::read::{FoundLayer, Opened};
use crate::ops::keep::finding::{Finding, Subject};
use crate::ops::monitor::Monitor;
use crate::ops::root_view::image::applied_over;
use crate::ops::root_view::recorded::{apply, tree_of};
use crate::ops::store_index::image_blob;
use crate::store::JoinedLayer;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The findings and counts so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub findings: Vec<Finding>,
    pub snapshots: u64,
    pub layers: u64,
    pub blobs_read: u64,
    pub bytes_read: u64,
    /// Number and bytes of layers that only a registry has.
    pub remote: (u64, u64),
    /// Number and bytes of blobs without a reference, of a look at the whole store.
    pub dead: Option<(u64, u64)>,
}

/// A form of a layer.
pub(crate) struct Used {
    pub layer: LayerUse,
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
    pub found: Found,
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

    /// Adds damage of the database.
    fn add_database(&mut self, snapshots: &[i64], what: &str) {
        let database = show(&self.store.path().join("rootstrata.sqlite"));
        let what = format!("{database} is damaged: {what}");
        self.add(Subject::Database, snapshots, what);
    }

    /// Looks at all but the blobs of layers, and returns the layers; `None` if the database cannot be read. Damage is
    /// noted. Fails if the store has no such snapshot or series, and if a file or the database cannot be opened or read.
    pub(crate) fn rows(&mut self, of: Option<&SnapshotRef>) -> Result<Option<Vec<Used>>> {
        let findings = self.store.database_findings();
        let Some(wrong) = self.note(Subject::Database, &[], findings)? else {
            return Ok(None);
        };
        for what in wrong {
            self.add_database(&[], &what);
        }
        let chosen = chosen(self.store, of);
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
        let wrong = self.layers(&used)?;
        self.trees(&snapshots, &wrong)?;
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
        let finding = self.store.index_finding();
        if let Some(Some(what)) = self.note(Subject::Database, &[], finding)? {
            self.add(
                Subject::Index,
                &[],
                format!("{} is damaged: {what}", show(&path.join("index.json"))),
            );
        }
        let dead = match self.store.kept_for(snapshots) {
            Ok(kept) => self.store.dead_blobs(&kept)?,
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
        let policy = self.store.policy(&snapshot.policy_key);
        self.note(Subject::Database, &[id], policy)?;
        let image = image_finding(self.store, snapshot, &layers);
        let subject = Subject::Image(Box::new(snapshot.clone()));
        if let Some(Some(what)) = self.note(subject.clone(), &[id], image)? {
            self.add(subject, &[id], what);
        }
        add_used(used, id, layers);
        Ok(())
    }

    /// Looks at the entries of layers. Returns the snapshots with a damaged layer.
    fn layers(&mut self, used: &AllUsed) -> Result<Vec<i64>> {
        let mut wrong = Vec::new();
        for Used { layer, by, .. } in used.values() {
            let layer = &layer.layer;
            let finding = self.store.layer_finding(layer);
            match self.note(Subject::Database, by, finding)? {
                Some(None) => continue,
                Some(Some(what)) => {
                    let what = format!("layer {}: {what}", layer.key);
                    self.add_database(by, &what);
                }
                None => {}
            }
            wrong.extend(by);
        }
        Ok(wrong)
    }

    /// Compares the trees of snapshots, except those of the damaged snapshots in `wrong`, with the recorded totals.
    fn trees(&mut self, snapshots: &[Snapshot], wrong: &[i64]) -> Result<()> {
        // Snapshots with the same layers and policy have the same tree.
        let mut known: HashMap<(Vec<i64>, PolicyKey), Totals> = HashMap::new();
        for snapshot in snapshots {
            if wrong.contains(&snapshot.id) {
                continue;
            }
            let Ok(layers) = self.store.layers(snapshot.id) else {
                continue;
            };
            let ids: Vec<i64> = layers.iter().map(|layer| layer.layer.id).collect();
            let key = (ids, snapshot.policy_key);
            let found = match known.get(&key) {
                Some(found) => *found,
                None => {
                    let found = Totals::of_tree(self.store, &key)?;
                    *known.entry(key).or_insert(found)
                }
            };
            self.compare_totals(snapshot, found);
            self.compare_digest(snapshot, &found.digest)?;
        }
        Ok(())
    }

    fn compare_totals(&mut self, snapshot: &Snapshot, found: Totals) {
        let Totals {
            entries,
            content_bytes,
            ..
        } = found;
        if entries == snapshot.entries && content_bytes == snapshot.content_bytes {
            return;
        }
        let what = format!(
            "the layers of snapshot {} give {entries} entries with {content_bytes} bytes, and not {} with {}",
            snapshot.id, snapshot.entries, snapshot.content_bytes
        );
        self.add(Subject::Database, &[snapshot.id], what);
    }

    fn compare_digest(&mut self, snapshot: &Snapshot, found: &TreeDigest) -> Result<()> {
        let known = self.store.known_tree_digest(snapshot)?;
        if known.is_some_and(|known| known != *found) {
            let what = format!(
                "the tree of snapshot {} has the digest {found}, and not the remembered one",
                snapshot.id
            );
            let subject = Subject::TreeDigest(Box::new(snapshot.clone()));
            self.add(subject, &[snapshot.id], what);
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
            let finding = self.store.packages_finding(set);
            let found = self.note(Subject::Database, &by, finding)?;
            if let Some(Some(what)) = found {
                let what = format!("package set {set}: {what}");
                self.add_database(&by, &what);
            }
        }
        Ok(())
    }

    /// Looks for a blob by its length; a missing blob or another length is noted. Fails if the blob's file is there and
    /// cannot be opened.
    pub(crate) fn find_blob(&mut self, used: &Used) -> Result<()> {
        let blob = &used.layer.blob;
        let found = self.store.find_blob(&blob.digest, blob.size_bytes);
        self.note_blob(used, found.map(drop))
    }

    /// Reads a blob whole: both digests, and the entries; damage is noted. Fails if the disk does not give the blob's
    /// bytes, or the rows of the layer cannot be read.
    pub(crate) fn read_blob(&mut self, used: &Used, monitor: &dyn Monitor) -> Result<()> {
        let found = self.try_read_blob(used, monitor);
        self.note_blob(used, found)
    }

    /// Looks for the blob of a joined layer by its length, or reads the blob whole, `deep`; damage is noted. Fails as
    /// [`Check::find_blob`] and [`Check::read_blob`] do.
    pub(crate) fn joined(&mut self, joined: &JoinedLayer, deep: bool) -> Result<()> {
        let JoinedLayer { blob, .. } = joined;
        let found = self.store.find_blob(&blob.digest, blob.size_bytes);
        let found = found.and_then(|source| {
            if deep {
                self.read_joined(joined, &source)
            } else {
                Ok(())
            }
        });
        let subject = Subject::Joined(Box::new(joined.clone()));
        self.note(subject, &[], found).map(drop)
    }

    fn read_joined(&mut self, joined: &JoinedLayer, source: &BlobSource) -> Result<()> {
        let expected = Unpacked {
            diff_id: joined.diff_id,
            most_bytes: joined.tar_bytes,
        };
        read_exactly(source.into(), (expected, Threads::Several), &mut |_, _| {
            Ok(None)
        })?;
        self.found.blobs_read += 1;
        self.found.bytes_read += joined.blob.size_bytes;
        Ok(())
    }

    fn note_blob(&mut self, used: &Used, found: Result<()>) -> Result<()> {
        if let Err(Error::OnlyRemote { .. }) = found {
            self.found.remote.0 += 1;
            self.found.remote.1 += used.layer.blob.size_bytes;
            return Ok(());
        }
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
        let input = (&source).into();
        let (items, _) = read_exactly(input, (expected, Threads::Several), &mut |_, _| Ok(None))?;
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

/// Returns the chosen snapshots, the newest first: of a series, a snapshot, or all.
fn chosen(store: &Store, of: Option<&SnapshotRef>) -> Result<Vec<Snapshot>> {
    match of {
        Some(SnapshotRef::Latest {
            series,
            stage: None,
            at: None,
            back: 0,
        }) => store.snapshots(Some(series)),
        Some(reference) => {
            let snapshot = store.find(reference)?;
            Ok(vec![snapshot])
        }
        None => store.snapshots(None),
    }
}

/// Adds a snapshot's layers.
fn add_used(used: &mut AllUsed, snapshot_id: i64, layers: Vec<LayerUse>) {
    let mut below = Vec::new();
    for layer in layers {
        let layer_id = layer.layer.id;
        let form = used
            .entry((layer_id, layer.blob.digest))
            .or_insert_with(|| Used {
                layer,
                by: Vec::new(),
                below: below.clone(),
            });
        form.by.push(snapshot_id);
        below.push(layer_id);
    }
}

/// The totals of a tree, as the row of a snapshot has them, and the digest.
#[derive(Clone, Copy)]
struct Totals {
    entries: u64,
    content_bytes: u64,
    digest: TreeDigest,
}

impl Totals {
    fn of_tree(store: &Store, (layer_ids, policy): &(Vec<i64>, PolicyKey)) -> Result<Self> {
        let tree = tree_of(store, layer_ids)?;
        Ok(Self {
            digest: tree_digest(policy, &tree),
            entries: tree.entries().len() as u64,
            content_bytes: tree.content_bytes(),
        })
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
    let config = &snapshot.config;
    store.find_blob(&config.digest, config.size_bytes)?;
    let opened = Opened::layout(store.path())?;
    let image = opened.image_of(manifest)?;
    let has_layers = image.layers.len() == layers.len()
        && image
            .layers
            .iter()
            .zip(layers)
            .all(|(found, recorded)| is_recorded_layer(found, recorded));
    if has_layers && image.config.digest == config.digest {
        return Ok(None);
    }
    let id = snapshot.id;
    Ok(Some(format!(
        "the image of snapshot {id} has other layers than its rows"
    )))
}

fn is_recorded_layer(found: &FoundLayer, recorded: &LayerUse) -> bool {
    found.blob.digest == recorded.blob.digest
        && found.blob.size_bytes == recorded.blob.size_bytes
        && found.diff_id == recorded.layer.diff_id
}

/// Tells whether the items of a blob give the layer's key. A foreign layer is known by its changes to the layers
/// below.
fn gives_key(store: &Store, used: &Used, items: LayerItems, path: &Path) -> Result<bool> {
    let layer = &used.layer.layer;
    let policy: PolicyKey = store.policy_of_layer(layer.id)?;
    let all = items.items.iter();
    if items.links_below.is_empty() && all.clone().all(|item| item.as_item().is_some()) {
        let key = key_of(&policy, all.filter_map(LayerItem::as_item));
        if key == layer.key {
            return Ok(true);
        }
    }
    let mut below = Overlay::new();
    apply(store, &used.below, &mut below)?;
    let after = applied_over(&below, items, path)?;
    let delta = delta(below.entries(), &after);
    let key = key_of(&policy, delta.items());
    Ok(key == layer.key)
}
