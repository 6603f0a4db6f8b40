//! The packages of a snapshot as a bill of materials: SPDX or CycloneDX.
//!
//! Everything follows from the snapshot: one snapshot gives the same bytes whenever and wherever it is asked.

mod cyclonedx;
mod material;
mod os_release;
mod purl;
mod spdx;

use crate::error::{Error, Result};
use crate::layer::partial::PartialBlobs;
use crate::model::names::SnapshotRef;
use crate::model::tree::entry::Kind;
use crate::model::tree::path::EntryPath;
use crate::ops::query::cat::cat;
use crate::ops::query::recorded_path::entry_of;
use crate::store::{Snapshot, Store};
use material::Material;
use os_release::OsRelease;
use serde_json::Value;
use std::path::Path;

/// The form of a bill of materials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// SPDX 2.3 in JSON.
    Spdx,
    /// CycloneDX 1.5 in JSON.
    CycloneDx,
}

/// Where os-release(5) is looked for.
const OS_RELEASE: [&str; 2] = ["usr/lib/os-release", "etc/os-release"];
/// A longer os-release is none.
const LONGEST_OS_RELEASE: u64 = 64 << 10;

/// The paths that a bill of materials is made of, beside the packages.
pub(crate) fn is_needed(path: &EntryPath) -> bool {
    let path = path.slashed();
    OS_RELEASE.iter().any(|needed| needed.as_bytes() == &*path)
}

/// Returns the bill of materials of a snapshot; `parts` has contents of layers that are not in the store. Fails with
/// [`Error::UnknownPackages`] if the packages are unknown, and with [`Error::OnlyRemote`] if os-release is in a layer that only a registry
/// has.
pub(crate) fn sbom(
    store_path: &Path,
    reference: &SnapshotRef,
    parts: &PartialBlobs,
    format: Format,
) -> Result<Value> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let Some(set) = snapshot.package_set_id else {
        return Err(Error::UnknownPackages {
            of: reference.to_string(),
        });
    };
    let packages = store.described_packages(set)?;
    let Snapshot {
        series,
        stage,
        manifest,
        created_s,
        ..
    } = &snapshot;
    let material = Material {
        name: format!("{series}@{stage}"),
        manifest: manifest.digest,
        created_s: *created_s,
        os: os_release_of(&store, &snapshot, parts)?,
        packages: &packages,
    };
    Ok(match format {
        Format::Spdx => spdx::document(&material),
        Format::CycloneDx => cyclonedx::document(&material),
    })
}

/// Reads os-release; a root without the file has no name.
fn os_release_of(store: &Store, snapshot: &Snapshot, parts: &PartialBlobs) -> Result<OsRelease> {
    for place in OS_RELEASE {
        let path = EntryPath::from_slashed(place.as_bytes()).unwrap_or_default();
        let entry = match entry_of(store, snapshot, &path) {
            Ok(found) => found.entry,
            Err(Error::UnknownPath { .. }) => continue,
            Err(error) => return Err(error),
        };
        let is_file = matches!(entry.kind, Kind::File { .. });
        if is_file && entry.size_bytes() <= LONGEST_OS_RELEASE {
            let mut text = Vec::new();
            let snapshot = SnapshotRef::Id(snapshot.id);
            cat(store.path(), &snapshot, &path, parts, &mut text)?;
            return Ok(OsRelease::parse(&text));
        }
    }
    Ok(OsRelease::default())
}
