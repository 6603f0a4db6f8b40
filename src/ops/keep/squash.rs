//! Makes one layer of all layers of a snapshot: a new snapshot of the same tree, whose only layer is a base.
//!
//! The root is not needed: the content of the files comes from the old layers, each read once and put aside. The old
//! snapshot stays, as the parent of the new one.

use crate::error::Result;
use crate::layer::codec::Compression;
use crate::model::digest::{DiffId, LayerKey};
use crate::model::names::SnapshotRef;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::plan::{LayerPurpose, Planning, Reason, SQUASH};
use crate::model::policy::Policy;
use crate::model::tree::Tree;
use crate::oci::image::{ImageLayer, manifest, with_layers};
use crate::ops::aside::pack_again;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::packing::Packer;
use crate::ops::root_view::recorded::{policy_of, tree_of};
use crate::ops::store_index::{image_blob, update_index};
use crate::store::Blob;
use crate::store::BlobRef;
use crate::store::LayerUse;
use crate::store::NewLayer;
use crate::store::NewSnapshot;
use crate::store::PackagesOf;
use crate::store::Snapshot;
use crate::store::SnapshotLayer;
use crate::store::StampState;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The snapshot to squash, and the way of packing.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// The compression of the layer.
    pub compression: Compression,
    /// The number of threads.
    pub threads: NonZeroUsize,
}

/// The new snapshot, and the old one.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The new snapshot.
    pub snapshot: Snapshot,
    /// The new snapshot's layer.
    pub layers: Vec<LayerUse>,
    /// The old snapshot, and its layers.
    pub of: (Snapshot, Vec<LayerUse>),
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Squashes a snapshot of the store at `store_path`. A snapshot whose only layer is a base is squashed already:
/// nothing is recorded. Fails with [`Error::UnknownSnapshot`] without such a snapshot, and if a content cannot be read
/// out of the layers.
pub(crate) fn squash(
    store_path: &Path,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let mut store = Store::open_to_change(store_path)?;
    let phases = Phases::new(monitor);
    let of = store.find(&request.snapshot)?;
    let layers = store.layers(of.id)?;
    if is_squashed(&layers) {
        return Ok(Outcome {
            snapshot: of.clone(),
            layers: layers.clone(),
            of: (of, layers),
            seconds: phases.spent(),
        });
    }
    let ids = layers.iter().map(|layer| layer.layer.id);
    let ids: Vec<i64> = ids.collect();
    let tree = phases.run(Phase::Compare, None, || tree_of(&store, &ids))?;
    let policy = policy_of(&store, &of)?;
    let content = LayerContent::whole(&tree);
    let key = content.key(&policy.of_stable_layers());
    let base = match known_base(&store, &key)? {
        Some(known) => known,
        None => new_base(&store, &layers, &tree, request, &phases)?,
    };
    let snapshot = phases.run(Phase::Record, None, || {
        record(&mut store, &of, &policy, &content, key, base)
    })?;
    Ok(Outcome {
        layers: store.layers(snapshot.id)?,
        snapshot,
        of: (of, layers),
        seconds: phases.spent(),
    })
}

fn is_squashed(layers: &[LayerUse]) -> bool {
    matches!(layers, [only] if only.role == Role::Base)
}

/// The new base.
struct Base {
    blob: Blob,
    diff_id: DiffId,
    tar_bytes: u64,
    is_new: bool,
}

/// Looks for the base among recorded layers, with a form in the store.
fn known_base(store: &Store, key: &LayerKey) -> Result<Option<Base>> {
    let Some(known) = store.layer_by_key(key)? else {
        return Ok(None);
    };
    Ok(store.form_of(known.id)?.map(|blob| Base {
        blob,
        diff_id: known.diff_id,
        tar_bytes: known.tar_bytes,
        is_new: false,
    }))
}

/// Packs the tree with the contents of the layers.
fn new_base(
    store: &Store,
    layers: &[LayerUse],
    tree: &Tree,
    request: &Request,
    phases: &Phases,
) -> Result<Base> {
    let content = LayerContent::whole(tree);
    let packer = Packer {
        store,
        compression: request.compression,
        threads: request.threads,
    };
    let packed = pack_again(&packer, layers, &content, phases)?;
    Ok(Base {
        diff_id: packed.diff_id(),
        tar_bytes: packed.tar_bytes(),
        blob: packer.keep(packed)?,
        is_new: true,
    })
}

/// Records a snapshot of the same tree with the base alone.
fn record(
    store: &mut Store,
    of: &Snapshot,
    policy: &Policy,
    content: &LayerContent,
    key: LayerKey,
    base: Base,
) -> Result<Snapshot> {
    let (manifest, config) = keep_image(store, of, key, &base)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let packages = of.package_set_id;
    let layer = layer(of, content, key, base);
    let id = store.record(&NewSnapshot {
        remotes: &[],
        series: &of.series,
        stage: &of.stage,
        run: Some(&of.run),
        parent_id: Some(of.id),
        policy,
        created_s: now.unwrap_or_default().as_secs() as i64,
        planning: Some(Planning {
            planner: SQUASH.to_owned(),
            limits: None,
        }),
        labels: &of.labels,
        is_pinned: false,
        packages: packages.map_or(PackagesOf::Unknown, PackagesOf::Set),
        manifest,
        config,
        entries: of.entries,
        content_bytes: of.content_bytes,
        sockets: of.sockets,
        layers: &[layer],
        root_path: Path::new(""), // of no root here
        stamps: StampState::default(),
    })?;
    update_index(store)?;
    store.find(&SnapshotRef::Id(id))
}

/// Returns the base as the only layer of the new snapshot.
fn layer<'c>(
    of: &Snapshot,
    content: &'c LayerContent,
    key: LayerKey,
    base: Base,
) -> SnapshotLayer<'c> {
    let new = base.is_new.then_some(NewLayer {
        content,
        diff_id: base.diff_id,
        tar_bytes: base.tar_bytes,
        under: None,
    });
    let purpose = LayerPurpose {
        role: Role::Base,
        label: Some(of.stage.clone()),
        is_inherited: false,
        reason: Some(Reason::Squashed(of.id)),
    };
    SnapshotLayer {
        purpose,
        key,
        blob: base.blob,
        new,
    }
}

/// Keeps the manifest of an image with the base alone, and the old configuration for the base.
fn keep_image(
    store: &Store,
    of: &Snapshot,
    key: LayerKey,
    base: &Base,
) -> Result<(BlobRef, BlobRef)> {
    let image = [ImageLayer {
        role: Role::Base,
        key,
        diff_id: base.diff_id,
        blob: image_blob(base.blob.as_ref()),
        media_type: base.blob.media_type.clone(),
    }];
    let old = store.read_blob(&of.config)?;
    let config = store.keep_bytes(&with_layers(&old, &image)?)?;
    let manifest = manifest(&image_blob(config), &image)?;
    Ok((store.keep_bytes(&manifest)?, config))
}
