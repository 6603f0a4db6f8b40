//! Puts right what is wrong with a store, as far as the rest of it tells how it was.
//!
//! Nothing that may be good is removed. What is derived from the database is made anew. A lost or damaged blob is made
//! again: an image's from the rows, a layer's from another form in which the store has the layer; only where the bytes have
//! the recorded digest are they put in its place.

use crate::error::Result;
use crate::layer::codec::{Codec, Compression};
use crate::layer::pack::{Source, repack};
use crate::model::digest::Digest;
use crate::model::policy::{MOCK_GROUP, MOCK_USER, Policy};
use crate::oci;
use crate::oci::image::{ImageLayer, Settings, config, manifest};
use crate::ops::keep::finding::{Finding, Subject};
use crate::ops::monitor::Monitor;
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

/// Repairs what was found. For one who has the store alone.
pub(crate) fn repair(store: &mut Store, findings: &[Finding], monitor: &dyn Monitor) -> Result<()> {
    let rows_are_sound = !findings
        .iter()
        .any(|finding| finding.subject == Subject::Database);
    if !rows_are_sound {
        store
            .renew_derived()
            .or_else(|error| unrepaired(error, monitor))?;
    }
    for finding in findings {
        let done = match &finding.subject {
            Subject::Database => Ok(()),
            Subject::LayoutFile => store.write_layout_file(),
            Subject::Index => update_index(store),
            Subject::Image(snapshot) => repair_image(store, snapshot),
            Subject::Blob(layer) => repair_blob(store, layer),
        };
        done.or_else(|error| unrepaired(error, monitor))?;
    }
    // A row that is lost might be the one that needs a blob, and an index that was another might have listed it.
    if rows_are_sound
        && !findings
            .iter()
            .any(|finding| finding.subject == Subject::Index)
    {
        let needed = store.needed_by(&store.snapshots(None)?)?;
        for dead in store.dead_blobs(&needed)? {
            store.remove_blob(&dead.digest)?;
        }
    }
    Ok(())
}

/// What cannot be repaired is found again, and told then.
fn unrepaired(error: crate::error::Error, monitor: &dyn Monitor) -> Result<()> {
    match error.is_damage() {
        true => {
            monitor.note(&format!(
                "{}; it cannot be repaired from what the store has",
                error.in_one_line()
            ));
            Ok(())
        }
        false => Err(error),
    }
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
    keep_if(store, &manifest(&of_config, &layers)?, &snapshot.manifest)?;
    let Some(policy) = Policy::from_canonical(&store.policy(&snapshot.policy_key)?) else {
        return Ok(());
    };
    let packages = snapshot
        .package_set_id
        .map(|set| store.packages(set))
        .transpose()?;
    let settings = crate::ops::root_view::build_user::settings(None, packages.as_deref(), &policy);
    // Who the build user is stands in a layer; it is one of these.
    let users = [
        None,
        Some(MOCK_USER.to_owned()),
        Some(format!("{MOCK_USER}:{MOCK_GROUP}")),
    ];
    for user in users {
        keep_if(
            store,
            &config(
                &Settings {
                    user,
                    ..settings.clone()
                },
                &layers,
            )?,
            &snapshot.config,
        )?;
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

/// Keeps the bytes where they are what was recorded.
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

/// Packs another form of the layer again, as it was packed by default.
fn repair_blob(store: &Store, layer: &LayerUse) -> Result<()> {
    let LayerUse {
        layer, blob: lost, ..
    } = layer;
    let compressions = match Codec::of_media_type(&lost.media_type) {
        Some(Codec::None) => vec![Compression::None],
        Some(Codec::Gzip) => (1..=9).map(Compression::Gzip).collect(),
        Some(Codec::Zstd) => (1..=19).map(Compression::Zstd).collect(),
        None => return Ok(()),
    };
    // The level is not recorded: the default first, then the others.
    let (defaults, others): (Vec<Compression>, Vec<Compression>) =
        compressions.into_iter().partition(|one| {
            matches!(one, Compression::None | Compression::Gzip(6))
                || *one == Compression::default()
        });
    store.forget_blob(&BlobRef {
        digest: lost.digest,
        size_bytes: lost.size_bytes,
    })?;
    for Blob {
        digest,
        media_type,
        size_bytes,
    } in store.blobs_of(layer.id)?
    {
        let Some(codec) = Codec::of_media_type(&media_type).filter(|_| digest != lost.digest)
        else {
            continue;
        };
        let path = store.blob_path(&digest);
        for compression in defaults.iter().chain(&others) {
            let Presence::Here(input) = store.presence(&digest, size_bytes)? else {
                break;
            };
            let (diff_id, tar_bytes) = (layer.diff_id, layer.tar_bytes);
            let source = Source {
                input: Box::new(input.reader()),
                path: &path,
                codec,
                diff_id,
                tar_bytes,
            };
            let mut blob = store.new_blob()?;
            let place = blob.path().to_owned();
            let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            let packed = repack(source, *compression, threads, &mut blob, &place)?;
            if packed.digest == lost.digest {
                return store.keep_blob(blob, &lost.digest, lost.size_bytes);
            }
        }
    }
    Ok(())
}
