//! Repairs a store, as far as the rest of the store tells how a file was.
//!
//! Nothing that may be good is removed. Files derived from the database are made again. A lost or damaged blob is made
//! again: an image's from the rows, a layer's from another form of the layer. Only bytes with the recorded digest are
//! put in the place of a blob.

use crate::error::Result;
use crate::layer::codec::{Codec, Compression};
use crate::layer::pack::{RepackInput, repack};
use crate::model::digest::Digest;
use crate::model::policy::{MOCK_GROUP, MOCK_USER, Policy};
use crate::oci;
use crate::oci::image::{ImageLayer, Settings, config, manifest};
use crate::ops::keep::finding::{Finding, Subject};
use crate::ops::monitor::Monitor;
use crate::ops::root_view::image_settings::image_settings;
use crate::ops::root_view::recorded::computed_tree_digest;
use crate::ops::store_index::update_index;
use crate::store::Blob;
use crate::store::BlobRef;
use crate::store::LayerUse;
use crate::store::Presence;
use crate::store::Snapshot;
use crate::store::Store;
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::num::NonZeroUsize;

/// Repairs what was found, for a caller who has the store alone. Damage beyond repair is told to the monitor. Fails if a
/// file of the store cannot be read, written or removed, or the database not be written to.
pub(crate) fn repair(store: &mut Store, findings: &[Finding], monitor: &dyn Monitor) -> Result<()> {
    let rows_are_sound = !has(findings, &Subject::Database);
    if !rows_are_sound {
        store
            .renew_derived()
            .or_else(|error| unrepaired(error, monitor))?;
    }
    for finding in findings {
        let done = repair_subject(store, &finding.subject);
        done.or_else(|error| unrepaired(error, monitor))?;
    }
    // A lost row might be the need for a blob, and a damaged index might have listed the blob.
    if rows_are_sound && !has(findings, &Subject::Index) {
        remove_dead_blobs(store)?;
    }
    Ok(())
}

fn has(findings: &[Finding], subject: &Subject) -> bool {
    findings.iter().any(|finding| finding.subject == *subject)
}

fn repair_subject(store: &Store, subject: &Subject) -> Result<()> {
    match subject {
        Subject::Database => Ok(()),
        Subject::LayoutFile => store.write_layout_file(),
        Subject::Index => update_index(store),
        Subject::Image(snapshot) => repair_image(store, snapshot),
        Subject::Blob(layer) => repair_blob(store, layer),
        // The next export that needs the layer makes the layer again.
        Subject::Joined(joined) => store.forget_joined(joined),
        Subject::TreeDigest(snapshot) => {
            let digest = computed_tree_digest(store, snapshot)?;
            store.keep_tree_digest(snapshot, &digest);
            Ok(())
        }
    }
}

fn remove_dead_blobs(store: &Store) -> Result<()> {
    let kept = store.kept_for(&store.snapshots(None)?)?;
    for dead in store.dead_blobs(&kept)? {
        store.remove_blob(&dead.digest)?;
    }
    Ok(())
}

/// Damage beyond repair is noted here, and found again by the next look.
fn unrepaired(error: crate::error::Error, monitor: &dyn Monitor) -> Result<()> {
    if !error.is_damage() {
        return Err(error);
    }
    let what = error.in_one_line();
    monitor.note(&format!(
        "{what}; it cannot be repaired from what the store has"
    ));
    Ok(())
}

/// Makes manifest and configuration from the rows.
fn repair_image(store: &Store, snapshot: &Snapshot) -> Result<()> {
    let layers: Vec<ImageLayer> = store
        .layers(snapshot.id)?
        .into_iter()
        .map(image_layer)
        .collect();
    let of_config = oci::Blob {
        digest: snapshot.config.digest,
        size_bytes: snapshot.config.size_bytes,
    };
    let manifest = manifest(&of_config, &layers)?;
    keep_if(store, &manifest, &snapshot.manifest)?;
    let canonical = store.policy(&snapshot.policy_key)?;
    match Policy::from_canonical(&canonical) {
        Some(policy) => repair_config(store, snapshot, &policy, &layers),
        None => Ok(()),
    }
}

/// Makes the configurations that the image may have had; only the recorded configuration is kept.
fn repair_config(
    store: &Store,
    snapshot: &Snapshot,
    policy: &Policy,
    layers: &[ImageLayer],
) -> Result<()> {
    let packages = snapshot
        .package_set_id
        .map(|set| store.packages(set))
        .transpose()?;
    let settings = image_settings(None, packages.iter().flatten(), policy);
    // The build user stands in a layer; these are all that a configuration may have.
    let users = [
        None,
        Some(MOCK_USER.to_owned()),
        Some(format!("{MOCK_USER}:{MOCK_GROUP}")),
    ];
    for user in users {
        let settings = Settings {
            user,
            ..settings.clone()
        };
        let config = config(&settings, layers)?;
        keep_if(store, &config, &snapshot.config)?;
    }
    Ok(())
}

fn image_layer(layer: LayerUse) -> ImageLayer {
    ImageLayer {
        role: layer.role,
        key: layer.layer.key,
        diff_id: layer.layer.diff_id,
        blob: oci::Blob {
            digest: layer.blob.digest,
            size_bytes: layer.blob.size_bytes,
        },
        media_type: layer.blob.media_type,
    }
}

/// Keeps the bytes if they have the recorded digest.
fn keep_if(store: &Store, bytes: &[u8], recorded: &BlobRef) -> Result<()> {
    if Digest(Sha256::digest(bytes).into()) != recorded.digest {
        return Ok(());
    }
    store.forget_blob(recorded)?;
    let mut blob = store.new_blob()?;
    let path = blob.path().to_owned();
    blob.write_all(bytes)
        .map_err(crate::error::Error::io("write", path))?;
    store.keep_blob(blob, &recorded.digest, recorded.size_bytes)
}

/// Packs another form of the layer again, with each compression that the lost form may have had.
fn repair_blob(store: &Store, used: &LayerUse) -> Result<()> {
    let LayerUse {
        layer, blob: lost, ..
    } = used;
    let compressions = compressions(&lost.media_type);
    store.forget_blob(&lost.as_ref())?;
    for other in store.blobs_of(layer.id)? {
        if other.digest == lost.digest {
            continue;
        }
        let Some(codec) = Codec::of_media_type(&other.media_type) else {
            continue;
        };
        for compression in &compressions {
            let presence = store.presence(&other.digest, other.size_bytes)?;
            let Presence::Here(input) = presence else {
                break;
            };
            let source = RepackInput {
                input: Box::new(input.reader()),
                path: input.path(),
                codec,
                diff_id: layer.diff_id,
                tar_bytes: layer.tar_bytes,
            };
            if keep_repacked(store, source, *compression, lost)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The level is not recorded: the default first, then the others.
fn compressions(media_type: &str) -> Vec<Compression> {
    let mut all: Vec<Compression> = match Codec::of_media_type(media_type) {
        Some(Codec::None) => vec![Compression::None],
        Some(Codec::Gzip) => (1..=9).map(Compression::Gzip).collect(),
        Some(Codec::Zstd) => (1..=19).map(Compression::Zstd).collect(),
        None => Vec::new(),
    };
    let defaults = [Compression::default(), Compression::Gzip(6)];
    all.sort_by_key(|one| {
        let is_default = defaults.contains(one);
        !is_default
    });
    all
}

/// Packs a form of a layer again, and keeps the bytes if they are the lost ones.
fn keep_repacked(
    store: &Store,
    source: RepackInput,
    compression: Compression,
    lost: &Blob,
) -> Result<bool> {
    let mut blob = store.new_blob()?;
    let place = blob.path().to_owned();
    let threads = std::thread::available_parallelism();
    let threads = threads.unwrap_or(NonZeroUsize::MIN);
    let packed = repack(source, compression, threads, &mut blob, &place)?;
    let is_lost_one = packed.digest == lost.digest;
    if is_lost_one {
        store.keep_blob(blob, &lost.digest, lost.size_bytes)?;
    }
    Ok(is_lost_one)
}
