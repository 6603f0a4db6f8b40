//! Makes one layer of all layers of a snapshot: a new snapshot of the same tree, whose only layer is a base.
//!
//! The root is not needed: the content of the files comes from the layers that there are, each read once and put aside. The
//! snapshot that was squashed stays, as the parent of the new one.

use crate::error::{Error, Result};
use crate::layer::codec::Compression;
use crate::layer::pack::{Contents, Opened, pack};
use crate::layer::read::read_files;
use crate::model::digest::ContentHash;
use crate::model::names::SnapshotRef;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::policy::Policy;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::Laid;
use crate::model::tree::path::EntryPath;
use crate::oci;
use crate::oci::image::{ImageLayer, manifest, with_layers};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::record::compose::keep_packed;
use crate::ops::root_view::recorded::tree_of;
use crate::ops::store_index::update_index;
use crate::store::LayerUse;
use crate::store::NewLayer;
use crate::store::NewSnapshot;
use crate::store::PackagesOf;
use crate::store::Snapshot;
use crate::store::SnapshotLayer;
use crate::store::StampState;
use crate::store::Store;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is squashed.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The snapshot.
    pub(crate) snapshot: SnapshotRef,
    /// How the layer is compressed.
    pub(crate) compression: Compression,
    /// How many threads work.
    pub(crate) threads: NonZeroUsize,
}

/// What was made.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The new snapshot.
    pub(crate) snapshot: Snapshot,
    /// Its layer.
    pub(crate) layers: Vec<LayerUse>,
    /// The snapshot that was squashed, and the layers that it has.
    pub(crate) of: (Snapshot, Vec<LayerUse>),
    /// The time that each phase took.
    pub(crate) seconds: Vec<(Phase, Duration)>,
}

/// Squashes a snapshot of the store at `store_path`. One that has one layer already is squashed: nothing is recorded.
pub(crate) fn squash(
    store_path: &Path,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    drop(Store::open(store_path)?); // none is made here
    let mut store = Store::open_or_create(store_path)?;
    let phases = Phases::new(monitor);
    let of = store.find(&request.snapshot)?;
    let layers = store.layers(of.id)?;
    if let [only] = layers.as_slice()
        && only.role == Role::Base
    {
        let seconds = phases.spent();
        return Ok(Outcome {
            snapshot: of.clone(),
            layers: layers.clone(),
            of: (of, layers),
            seconds,
        });
    }
    let ids: Vec<i64> = layers.iter().map(|layer| layer.layer.id).collect();
    let tree = phases.run(Phase::Compare, None, || tree_of(&store, &ids))?;
    let policy = Policy::from_canonical(&store.policy(&of.policy_key)?);
    let policy = policy.ok_or_else(|| {
        Error::damaged(
            store.path(),
            format!("policy {} is malformed", of.policy_key),
        )
    })?;
    let content = LayerContent::whole(&tree);
    let key = content.key(&policy);
    let known = store.layer_by_key(&key)?;
    let known = match known {
        Some(known) => store.form_of(known.id)?.map(|blob| (known, blob)),
        None => None,
    };
    let (blob, diff_id, tar_bytes, is_new) = match known {
        Some((known, blob)) => (blob, known.diff_id, known.tar_bytes, false),
        None => {
            let scratch = store.scratch()?;
            let total = layers.iter().map(|layer| layer.blob.size_bytes).sum();
            let files = phases.run(Phase::Read, Some(total), || {
                put_aside(&store, &layers, &tree, scratch.path(), monitor)
            })?;
            let contents = Aside { files, monitor };
            let (blob, packed) = phases.run(Phase::Pack, Some(content.content_bytes()), || {
                let mut blob = store.new_blob()?;
                let path = blob.path().to_owned();
                let packed = pack(
                    &content,
                    &contents,
                    request.compression,
                    request.threads,
                    &mut blob,
                    &path,
                )?;
                Ok::<_, Error>((blob, packed))
            })?;
            let kept = keep_packed(&store, blob, &packed, request.compression)?;
            (kept, packed.diff_id, packed.tar_bytes, true)
        }
    };
    let image = [ImageLayer {
        role: Role::Base,
        key,
        diff_id,
        blob: oci::Blob {
            digest: blob.digest,
            size_bytes: blob.size_bytes,
        },
        media_type: blob.media_type.clone(),
    }];
    let old_config = store.read_blob(&of.config)?;
    let config = store.keep_bytes(&with_layers(&old_config, &image)?)?;
    let of_config = oci::Blob {
        digest: config.digest,
        size_bytes: config.size_bytes,
    };
    let manifest = store.keep_bytes(&manifest(&of_config, &image)?)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let new = is_new.then_some(NewLayer {
        content: &content,
        diff_id,
        tar_bytes,
        under: None,
    });
    let id = phases.run(Phase::Record, None, || {
        let id = store.record(&NewSnapshot {
            series: &of.series,
            stage: &of.stage,
            run: Some(&of.run),
            parent_id: Some(of.id),
            policy: &policy,
            created_s: now.as_secs() as i64,
            inherited_layers: 0,
            packages: of
                .package_set_id
                .map_or(PackagesOf::Unknown, PackagesOf::Set),
            manifest,
            config,
            entries: of.entries,
            content_bytes: of.content_bytes,
            sockets: of.sockets,
            layers: &[SnapshotLayer {
                role: Role::Base,
                key,
                blob,
                new,
            }],
            root_path: Path::new(""), // of no root that is here
            stamps: StampState::default(),
        })?;
        update_index(&store).map(|()| id)
    })?;
    let snapshot = store.find(&SnapshotRef::Id(id))?;
    Ok(Outcome {
        layers: store.layers(id)?,
        snapshot,
        of: (of, layers),
        seconds: phases.spent(),
    })
}

/// Reads the contents that the tree has out of the layers, each once, into files of a private directory.
fn put_aside(
    store: &Store,
    layers: &[LayerUse],
    tree: &Tree,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<HashMap<ContentHash, PathBuf>> {
    let content = |kind: &Kind| match kind {
        Kind::File {
            size_bytes,
            content,
        } if *size_bytes > 0 => Some((*content, *size_bytes)),
        _ => None,
    };
    let mut wanted: HashMap<ContentHash, Option<PathBuf>> = tree
        .entries()
        .iter()
        .filter_map(|entry| Some((content(&entry.kind)?.0, None)))
        .collect();
    let mut count = 0;
    for LayerUse { layer, blob, .. } in layers {
        let mut of_path: HashMap<EntryPath, (ContentHash, u64)> = HashMap::new();
        for item in store.items(layer.id)? {
            if let Laid::Entry(entry) = item
                && let Some(content) =
                    content(&entry.kind).filter(|(content, _)| wanted.get(content) == Some(&None))
            {
                of_path.insert(entry.path, content);
            }
        }
        let source = store.open_blob(&blob.digest, blob.size_bytes)?;
        let mut keep = |wanted: &mut HashMap<ContentHash, Option<PathBuf>>,
                        content: &mut dyn Read| {
            let place = directory.join(count.to_string());
            let mut out = Hashing {
                out: File::create(&place).map_err(Error::io("write", &place))?,
                hasher: blake3::Hasher::new(),
            };
            io::copy(content, &mut out).map_err(Error::io("write", &place))?;
            let found = ContentHash(*out.hasher.finalize().as_bytes());
            // What nobody wants is overwritten by the next.
            if let Some(missing) = wanted.get_mut(&found).filter(|place| place.is_none()) {
                *missing = Some(place);
                count += 1;
            }
            Ok(true)
        };
        read_files(
            (&source).into(),
            |at, _| of_path.contains_key(at),
            |_, _, content| keep(&mut wanted, content),
        )?;
        // Others may have a content under a name that another member has replaced.
        let left = of_path
            .values()
            .filter(|(content, _)| wanted[content].is_none());
        let sizes: HashSet<u64> = left.map(|(_, size_bytes)| *size_bytes).collect();
        if !sizes.is_empty() {
            read_files(
                (&source).into(),
                |_, size_bytes| sizes.contains(&size_bytes),
                |_, _, content| keep(&mut wanted, content),
            )?;
        }
        monitor.advance(blob.size_bytes);
    }
    let found = wanted.into_iter().map(|(hash, place)| {
        let missing = || {
            Error::damaged(
                store.path(),
                format!("the content {hash} is in no layer of the snapshot"),
            )
        };
        Ok((hash, place.ok_or_else(missing)?))
    });
    found.collect()
}

/// Hashes what is written through it.
struct Hashing {
    out: File,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The contents of a tree, put aside.
struct Aside<'a> {
    files: HashMap<ContentHash, PathBuf>,
    monitor: &'a dyn Monitor,
}

impl Contents for Aside<'_> {
    fn open(&self, entry: &Entry, content: &ContentHash) -> Result<Opened<'_>> {
        let place = self.files.get(content);
        let place = place.ok_or_else(|| Error::Changed(shown_path(&entry.path)))?;
        let file = File::open(place).map_err(Error::io("open", place))?;
        Ok(Opened::Hashed(Box::new(file), *content))
    }

    fn full_path(&self, path: &EntryPath) -> PathBuf {
        shown_path(path)
    }

    fn was_read(&self, bytes: u64) {
        self.monitor.advance(bytes);
    }
}
