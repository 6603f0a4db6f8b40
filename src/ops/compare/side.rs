//! A side of a comparison: the source, the entries and the packages.

use crate::error::Result;
use crate::fs::root::Root;
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::packages::listing::{Listing, Told};
use crate::model::packages::owners::{Installed, Times};
use crate::model::packages::version::Manager;
use crate::model::plan::layer::Role;
use crate::model::policy::state::StateRule;
use crate::model::policy::{MtimeRule, Policy};
use crate::model::source::Source;
use crate::model::tree::Tree;
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::root_view::derived::Derived;
use crate::ops::root_view::image::LayerTotals;
pub use crate::ops::root_view::packages::RootPackages;
use crate::store::FileLists;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;

/// A side of a comparison.
#[derive(Debug)]
pub struct Side {
    /// The source, as the user named the side.
    pub source: Source,
    /// The snapshot; `None` for a directory and an image.
    pub snapshot: Option<Snapshot>,
    /// The layers, the lowest first; empty for a directory.
    pub layers: Vec<SideLayer>,
    /// The entries; empty if the request has no use for entries.
    pub tree: Tree,
    /// The packages; `None` for unknown packages.
    pub packages: Option<RootPackages>,
    /// The policy that has normalised the entries; `None` for entries as found.
    pub policy: Option<Policy>,
    pub(crate) access: Access,
    /// The contents of files that are not as the access has them.
    pub(crate) derived: Derived,
    /// What a list tells of packages; `None` for a side that is no list.
    pub(crate) told: Option<Told>,
}

/// The place of the contents of a side's files.
#[derive(Debug)]
pub(crate) enum Access {
    /// In blobs of the store.
    Store(Vec<LayerUse>),
    /// In blobs of an image.
    Image(Box<Opened>, Box<FoundImage>),
    /// On the disk.
    Root(Root),
    /// Nowhere: the side is a list of packages.
    Nowhere,
}

/// A layer of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideLayer {
    /// The role; `None` for a layer of another tool.
    pub role: Option<Role>,
    /// The package of a package layer; `None` for any other layer, and where nothing tells.
    pub label: Option<String>,
    /// The key; `None` for a layer of another tool.
    pub key: Option<LayerKey>,
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// The media type, which names the compression (image-spec, layer.md).
    pub media_type: String,
    /// Length of the blob.
    pub size_bytes: u64,
    /// Length of the files, an inode once; `None` for a layer that was not read.
    pub content_bytes: Option<u64>,
    /// Number of entries; likewise.
    pub entries: Option<u64>,
    /// Number of whiteouts; likewise.
    pub whiteouts: Option<u64>,
}

impl From<&LayerUse> for SideLayer {
    fn from(layer: &LayerUse) -> Self {
        Self {
            role: Some(layer.role),
            label: layer.clone().into_package(),
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
    /// Returns a layer of an image with the layer's totals.
    pub(crate) fn of_image(layer: &FoundLayer, totals: &LayerTotals) -> Self {
        Self {
            role: layer.role,
            label: None,
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
    /// Returns a snapshot without the tree. Fails if a layer's row, a package's file list or the policy is not as recorded.
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
        let policy = store.policy(&snapshot.policy_key)?;
        Ok(Self {
            source: source.clone(),
            layers: layers.iter().map(SideLayer::from).collect(),
            tree: Tree::default(),
            packages: packages.map(|all| RootPackages {
                manager: Manager::Rpm,
                all,
            }),
            policy: Policy::from_canonical(&policy),
            snapshot: Some(snapshot),
            access: Access::Store(layers),
            derived: Derived::default(),
            told: None,
        })
    }

    /// Returns a directory with the entries of `tree`, whose contents are in the directory unless they are derived.
    pub(crate) fn of_directory(
        source: &Source,
        root: Root,
        tree: Tree,
        (packages, derived): (Option<RootPackages>, Derived),
        policy: Option<Policy>,
    ) -> Self {
        Self {
            source: source.clone(),
            snapshot: None,
            layers: Vec::new(),
            tree,
            packages,
            policy,
            access: Access::Root(root),
            derived,
            told: None,
        }
    }

    /// Returns a list of packages.
    pub(crate) fn of_list(source: &Source, listing: Listing) -> Self {
        Self {
            source: source.clone(),
            snapshot: None,
            layers: Vec::new(),
            tree: Tree::default(),
            packages: Some(RootPackages {
                manager: Manager::Rpm,
                all: listing.packages,
            }),
            policy: None,
            access: Access::Nowhere,
            derived: Derived::default(),
            told: Some(listing.told),
        }
    }

    /// Tells whether the side is a list of packages.
    pub(crate) fn is_list(&self) -> bool {
        self.told.is_some()
    }

    /// Returns what is known of each package.
    pub(crate) fn told(&self) -> Told {
        self.told.unwrap_or(Told::ALL)
    }

    pub(crate) fn layer_ids(&self) -> Vec<i64> {
        match &self.access {
            Access::Store(layers) => layers.iter().map(|layer| layer.layer.id).collect(),
            _ => Vec::new(),
        }
    }

    /// Tells whether the file list of any package is known.
    pub(crate) fn has_owners(&self) -> bool {
        let mut packages = self.installed().iter();
        packages.any(|installed| installed.files.is_some())
    }

    /// Tells whether the state of the side is not as found.
    pub(crate) fn is_normalized(&self) -> bool {
        let policy = self.policy.as_ref();
        policy.is_some_and(|policy| policy.state == StateRule::Normalized)
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
