//! An image of fewer layers than its snapshot has: some of the layers become one. The store keeps joined layers, so the
//! next export packs only what is not joined yet.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::layer::codec::{Codec, Compression};
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::plan::difference::delta;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::plan::{Joinable, join_layers, joined_role, policy_of_layer};
use crate::model::policy::Policy;
use crate::model::tree::Tree;
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::oci;
use crate::oci::image::{ImageLayer, manifest, with_layers};
use crate::ops::aside::pack_again;
use crate::ops::monitor::Phases;
use crate::ops::packing::Packer;
use crate::ops::root_view::recorded::{apply, policy_of, tree_of};
use crate::ops::store_index::image_blob;
use crate::store::{Blob, JoinedLayer, LayerUse, Snapshot, Store};
use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Seek, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// An image that no snapshot has.
#[derive(Debug)]
pub(crate) struct JoinedImage {
    /// The manifest, in memory.
    pub manifest: BlobSource,
    /// The configuration, in memory.
    pub config: BlobSource,
    /// The blobs of the layers, in the store.
    pub layers: Vec<oci::Blob>,
}

/// Joins layers of a snapshot until there are at most `most`, on so many threads. Fails if a layer is missing or damaged, or if the store has no room
/// for a joined layer.
pub(crate) fn joined_image(
    store: &mut Store,
    snapshot: &Snapshot,
    (most, threads): (NonZeroUsize, NonZeroUsize),
    phases: &Phases,
) -> Result<JoinedImage> {
    let policy = policy_of(store, snapshot)?;
    let layers = store.layers(snapshot.id)?;
    let mut joiner = Joiner {
        store,
        policy,
        layers: &layers,
        threads,
        phases,
    };
    let mut groups = groups(&layers, most, true);
    if is_moved(&groups) && !joiner.is_known(&groups)? && !joiner.gives_same_tree(&groups)? {
        groups = self::groups(&layers, most, false);
    }
    let mut image = Vec::with_capacity(groups.len());
    for at in 0..groups.len() {
        image.push(joiner.layer(&groups, at)?);
    }
    let config = with_layers(&store.read_blob(&snapshot.config)?, &image)?;
    let config = in_memory("the configuration", &config)?;
    let manifest = manifest(&blob_of(&config), &image)?;
    Ok(JoinedImage {
        manifest: in_memory("the manifest", &manifest)?,
        config,
        layers: image.into_iter().map(|layer| layer.blob).collect(),
    })
}

/// Returns the places of the layers that make each layer of the image.
fn groups(layers: &[LayerUse], most: NonZeroUsize, may_move: bool) -> Vec<Vec<usize>> {
    let joinable = |used: &LayerUse| Joinable {
        role: used.role,
        content_bytes: used.layer.content_bytes,
        is_movable: may_move && used.role == Role::Package && used.layer.whiteouts == 0,
    };
    let joinable: Vec<Joinable> = layers.iter().map(joinable).collect();
    join_layers(&joinable, most.get())
}

fn is_moved(groups: &[Vec<usize>]) -> bool {
    !groups.iter().flatten().is_sorted()
}

fn ids_of(layers: &[LayerUse], places: &[usize]) -> Vec<i64> {
    let ids = places.iter().map(|at| layers[*at].layer.id);
    ids.collect()
}

/// Makes the layers of an image.
struct Joiner<'a> {
    store: &'a mut Store,
    policy: Policy,
    layers: &'a [LayerUse],
    threads: NonZeroUsize,
    phases: &'a Phases<'a>,
}

impl Joiner<'_> {
    /// Tells whether the store has all joined layers of the image.
    fn is_known(&self, groups: &[Vec<usize>]) -> Result<bool> {
        for at in (0..groups.len()).filter(|at| groups[*at].len() > 1) {
            if self.store.joined_of(&self.stack(groups, at))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether the layers give the same tree in the order of the groups. Layers of our own do; an image from elsewhere may
    /// call anything a package.
    fn gives_same_tree(&self, groups: &[Vec<usize>]) -> Result<bool> {
        let all: Vec<usize> = (0..self.layers.len()).collect();
        let recorded = tree_of(self.store, &ids_of(self.layers, &all))?;
        let moved = tree_of(self.store, &ids_of(self.layers, &groups.concat()))?;
        Ok(delta(recorded.entries(), &moved).is_empty())
    }

    /// Returns the layer of a group: its only layer, or the joined one, which is packed unless the store has it.
    fn layer(&mut self, groups: &[Vec<usize>], at: usize) -> Result<ImageLayer> {
        if let [only] = groups[at][..] {
            let used = &self.layers[only];
            return Ok(image_layer(
                used.role,
                used.layer.key,
                used.layer.diff_id,
                &used.blob,
            ));
        }
        let joined = self.joined(groups, at)?;
        let roles = groups[at].iter().map(|place| self.layers[*place].role);
        let role = joined_role(&roles.collect::<Vec<Role>>());
        Ok(image_layer(role, joined.key, joined.diff_id, &joined.blob))
    }

    fn joined(&mut self, groups: &[Vec<usize>], at: usize) -> Result<JoinedLayer> {
        let stack = self.stack(groups, at);
        let known = self.store.joined_of(&stack)?;
        if let Some(known) = self.sound(known)? {
            return Ok(known);
        }
        let parts: Vec<LayerUse> = groups[at]
            .iter()
            .map(|place| self.layers[*place].clone())
            .collect();
        let keys: Vec<LayerKey> = parts.iter().map(|used| used.layer.key).collect();
        let mut below = Overlay::new();
        apply(
            self.store,
            &ids_of(self.layers, &groups[..at].concat()),
            &mut below,
        )?;
        let mut after = below.clone();
        let ids = ids_of(self.layers, &groups[at]);
        apply(self.store, &ids, &mut after)?;
        let after = after.into_tree();
        let packages = of_packages(self.store, &parts, &ids, &below, &after)?;
        let content = match &packages {
            Some(packages) => LayerContent::whole(packages),
            None => delta(below.entries(), &after),
        };
        let joined = self.kept(stack, &parts, keys, &content)?;
        // A cache: others may be writing for longer than an export waits.
        match self.store.keep_joined(&joined) {
            Ok(()) | Err(Error::Locked(_)) => Ok(joined),
            Err(error) => Err(error),
        }
    }

    /// Returns a joined layer with its blob in the store.
    fn kept(
        &self,
        stack: [u8; 32],
        parts: &[LayerUse],
        keys: Vec<LayerKey>,
        content: &LayerContent,
    ) -> Result<JoinedLayer> {
        let codec = Codec::of_media_type(&parts[0].blob.media_type).unwrap_or(Codec::Zstd);
        let roles = parts.iter().map(|used| used.role);
        let role = joined_role(&roles.collect::<Vec<Role>>());
        let key = content.key(&policy_of_layer(&self.policy, role));
        let known = self.store.joined_by_key(&key, codec.media_type())?;
        if let Some(known) = self.sound(known)? {
            return Ok(JoinedLayer {
                stack,
                parts: keys,
                ..known
            });
        }
        let packer = Packer {
            store: self.store,
            compression: Compression::usual(codec),
            threads: self.threads,
        };
        let packed = pack_again(&packer, parts, content, self.phases)?;
        Ok(JoinedLayer {
            stack,
            key,
            diff_id: packed.diff_id(),
            tar_bytes: packed.tar_bytes(),
            blob: packer.keep(packed)?,
            parts: keys,
        })
    }

    /// Leaves out a joined layer whose blob is missing or damaged.
    fn sound(&self, joined: Option<JoinedLayer>) -> Result<Option<JoinedLayer>> {
        let Some(joined) = joined else {
            return Ok(None);
        };
        let Blob {
            digest, size_bytes, ..
        } = &joined.blob;
        let is_sound = self.store.has_blob(digest, *size_bytes)?;
        Ok(is_sound.then_some(joined))
    }

    /// Returns what stands for a joined layer: the policy, all layers up to its topmost, in the order of the image, and which of
    /// them are joined.
    fn stack(&self, groups: &[Vec<usize>], at: usize) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(b"rootstrata joined 1\n")
            .update(&self.policy.key().0);
        for group in &groups[..=at] {
            hasher.update(&(group.len() as u64).to_le_bytes());
            for place in group {
                let used = &self.layers[*place];
                hasher
                    .update(&used.layer.key.0)
                    .update(used.role.name().as_bytes());
            }
        }
        let form = &self.layers[groups[at][0]].blob.media_type;
        *hasher.update(form.as_bytes()).finalize().as_bytes()
    }
}

/// Returns all that packages have together: a layer that does not depend on the layers below. `None` for other layers, and where
/// what is called a package hides something.
fn of_packages(
    store: &Store,
    parts: &[LayerUse],
    ids: &[i64],
    below: &Overlay,
    after: &Tree,
) -> Result<Option<Tree>> {
    if parts.iter().any(|used| used.role != Role::Package) {
        return Ok(None);
    }
    let packages = tree_of(store, ids)?;
    let mut laid = below.clone();
    laid.apply(LayerContent::whole(&packages).items().map(LayerItem::from));
    let is_same = delta(laid.entries(), after).is_empty();
    Ok(is_same.then_some(packages))
}

fn image_layer(role: Role, key: LayerKey, diff_id: DiffId, blob: &Blob) -> ImageLayer {
    ImageLayer {
        role,
        key,
        diff_id,
        blob: image_blob(blob.as_ref()),
        media_type: blob.media_type.clone(),
    }
}

/// Returns bytes as a blob in memory. Fails if the kernel has no room for the bytes.
fn in_memory(name: &str, bytes: &[u8]) -> Result<BlobSource> {
    let path = PathBuf::from(name);
    let written = || -> std::io::Result<File> {
        let mut file = File::from(memfd_create("rootstrata", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    let file = written().map_err(Error::io("write", &path))?;
    let digest = Digest(Sha256::digest(bytes).into());
    Ok(BlobSource::new(file, path, digest, bytes.len() as u64))
}

/// Returns digest and length of a blob.
pub(crate) fn blob_of(source: &BlobSource) -> oci::Blob {
    oci::Blob {
        digest: source.digest(),
        size_bytes: source.size_bytes(),
    }
}
