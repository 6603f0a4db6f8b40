//! The packages of a snapshot without recorded packages of rpm: the layers hold the files of another package manager, or an rpm database that was not
//! read when the snapshot was recorded.

use crate::error::Result;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::compare::side::{Access, RootPackages, Side};
use crate::ops::monitor::{Phase, Phases};
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::packages::read_packages;
use crate::ops::root_view::places::{is_telling, tells_of_packages};
use crate::store::LayerUse;
use crate::store::Store;

/// Reads the packages of a side that is a snapshot without packages of rpm; `None` for another side, and without packages.
/// Fails if a layer's blob is missing or is not what its digest says, and if a file of the package database cannot be read.
pub(super) fn foreign_packages(
    store: Option<&Store>,
    side: &Side,
    phases: &Phases,
) -> Result<Option<RootPackages>> {
    if !side.installed().is_empty() {
        return Ok(None);
    }
    let (Some(store), Access::Store(layers)) = (store, &side.access) else {
        return Ok(None);
    };
    let entries = side.tree.entries();
    if !entries.iter().any(is_of_packages) {
        return Ok(None);
    }
    let kept = PackageFiles::create()?;
    for layer in layers {
        keep_of(store, layer, &kept)?;
    }
    phases.run(Phase::Packages, None, || {
        let files = kept.of_tree(entries, store.path());
        read_packages(&files, kept.directory(), phases.monitor)
    })
}

fn is_of_packages(entry: &Entry) -> bool {
    match entry.kind {
        Kind::File { size_bytes, .. } => tells_of_packages(&entry.path, size_bytes),
        _ => false,
    }
}

fn keep_of(store: &Store, layer: &LayerUse, kept: &PackageFiles) -> Result<()> {
    let source = store.open_layer(layer)?;
    let items = store.items(layer.layer.id)?;
    kept.keep_of_layer(&items, is_telling, || Ok((&source).into()))
}
