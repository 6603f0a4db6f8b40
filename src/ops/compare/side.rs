//! One side of a comparison: where it comes from, what it holds, and what is known of its packages.

use crate::error::Result;
use crate::fs::root::Root;
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::packages::owners::{Installed, Times};
use crate::model::packages::version::Manager;
use crate::model::plan::layer::Role;
use crate::model::policy::{MtimeRule, Policy};
use crate::model::source::Source;
use crate::model::tree::Tree;
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::root_view::image::LayerTotals;
pub use crate::ops::root_view::packages::RootPackages;
use crate::store::FileLists;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;

/// One side of a comparison.
#[derive(Debug)]
pub struct Side {
    /// What the user called it.
    pub source: Source,
    /// The snapshot that it is; `None` for what is none.
    pub snapshot: Option<Snapshot>,
    /// Its layers, the lowest first; none of a directory.
    pub layers: Vec<SideLayer>,
    /// Its entries; none where they were not asked for.
    pub tree: Tree,
    /// Its packages; `None` where nobody knows.
    pub packages: Option<RootPackages>,
    /// The policy under which its entries stand; `None` for what is as it is.
    pub policy: Option<Policy>,
    pub(crate) access: Access,
}

/// Where the contents of a side's files are.
#[derive(Debug)]
pub(crate) enum Access {
    /// In blobs of the store.
    Store(Vec<LayerUse>),
    /// In blobs of an image.
    Image(Box<Opened>, Box<FoundImage>),
    /// On the disk.
    Root(Root),
}

/// A layer of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideLayer {
    /// What it is for, where rootstrata has made it.
    pub role: Option<Role>,
    /// Its key, likewise.
    pub key: Option<LayerKey>,
    /// SHA-256 of its tar.
    pub diff_id: DiffId,
    /// SHA-256 of its blob.
    pub digest: Digest,
    /// How the blob is compressed (image-spec, layer.md).
    pub media_type: String,
    /// Length of the blob.
    pub size_bytes: u64,
    /// Length of its files, an inode once; `None` where it was not read.
    pub content_bytes: Option<u64>,
    /// How many entries it has; likewise.
    pub entries: Option<u64>,
    /// How many whiteouts it has; likewise.
    pub whiteouts: Option<u64>,
}

impl From<&LayerUse> for SideLayer {
    fn from(layer: &LayerUse) -> Self {
        Self {
            role: Some(layer.role),
            key: Some(layer.layer.key),
            diff_id: layer.layer.diff_id,
            digest: layer.blob.digest,
            media_type: layer.blob.media_type.clone(),
            size_bytes: layer.blob.size_bytes,
            content_bytes: Some(layer.layer.content_bytes),
            entries: Some(layer.layer.entries),
            whiteouts: Some(layer.layer.whiteouts),
        }
    }
}

impl SideLayer {
    /// Returns a layer of an image, which holds this much.
    pub(crate) fn of_image(layer: &FoundLayer, totals: &LayerTotals) -> Self {
        Self {
            role: layer.role,
            key: layer.key,
            diff_id: layer.diff_id,
            digest: layer.blob.digest,
            media_type: layer.media_type.clone(),
            size_bytes: layer.blob.size_bytes,
            content_bytes: Some(totals.content_bytes),
            entries: Some(totals.entries),
            whiteouts: Some(totals.whiteouts),
        }
    }
}

impl Side {
    /// Returns a snapshot without its tree.
    pub(crate) fn of_snapshot(
        store: &Store,
        source: &Source,
        snapshot: Snapshot,
        lists: &mut FileLists,
    ) -> Result<Self> {
        let packages = snapshot
            .package_set_id
            .map(|set| store.installed(set, lists))
            .transpose()?;
        let layers = store.layers(snapshot.id)?;
        Ok(Self {
            source: source.clone(),
            layers: layers.iter().map(SideLayer::from).collect(),
            tree: Tree::default(),
            packages: packages.map(|all| RootPackages {
                manager: Manager::Rpm,
                all,
            }),
            policy: Policy::from_canonical(&store.policy(&snapshot.policy_key)?),
            snapshot: Some(snapshot),
            access: Access::Store(layers),
        })
    }

    /// Returns a directory, as `tree` has it.
    pub(crate) fn of_directory(
        source: &Source,
        root: Root,
        tree: Tree,
        packages: Option<RootPackages>,
        policy: Option<Policy>,
    ) -> Self {
        let (source, access) = (source.clone(), Access::Root(root));
        Self {
            source,
            snapshot: None,
            layers: Vec::new(),
            tree,
            packages,
            policy,
            access,
        }
    }

    pub(crate) fn layer_ids(&self) -> Vec<i64> {
        match &self.access {
            Access::Store(layers) => layers.iter().map(|layer| layer.layer.id).collect(),
            _ => Vec::new(),
        }
    }

    /// Tells whether it is known whose its files are.
    pub(crate) fn has_owners(&self) -> bool {
        let all = self
            .packages
            .as_ref()
            .map(|packages| packages.all.as_slice())
            .unwrap_or_default();
        all.iter().any(|installed| installed.files.is_some())
    }

    pub(crate) fn installed(&self) -> &[Installed] {
        self.packages
            .as_ref()
            .map(|packages| packages.all.as_slice())
            .unwrap_or_default()
    }

    pub(crate) fn times(&self) -> Times {
        match &self.policy {
            Some(policy) if policy.mtime == MtimeRule::Fixed => Times::Lost,
            _ => Times::Kept,
        }
    }
}
