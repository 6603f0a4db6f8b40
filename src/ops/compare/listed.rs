//! A list of packages as a side of a comparison: no files, and of each package what the list tells.

use crate::error::{Error, Result};
use crate::model::packages::listing::{BadListing, Listing, Told};
use crate::model::packages::owners::Installed;
use crate::model::packages::upgrade::{KEYS, PackageChange, compare_packages};
use crate::model::packages::version::Manager;
use crate::ops::compare::side::Side;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A longer list is none.
const LARGEST_BYTES: u64 = 64 << 20;

/// Reads the list at `path`; `-` is stdin. Fails with [`Error::BadPackageList`] if the file is no list.
pub(super) fn read_list(path: &Path) -> Result<Listing> {
    let bytes = if path == Path::new("-") {
        bytes_of(io::stdin().lock())
    } else {
        File::open(path).and_then(bytes_of)
    };
    let bytes = bytes.map_err(Error::io("read", path))?;
    let fault = |BadListing { line, reason }| Error::BadPackageList {
        path: path.to_owned(),
        line,
        reason,
    };
    if bytes.len() as u64 > LARGEST_BYTES {
        let reason = "it is longer than any list of packages".to_owned();
        return Err(fault(BadListing { line: None, reason }));
    }
    Listing::parse(&bytes).map_err(fault)
}

fn bytes_of(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LARGEST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Compares the packages of two sides, of which one is a list, as far as both tell.
pub(super) fn compare_told(manager: Manager, old: &Side, new: &Side) -> Vec<PackageChange> {
    let told = old.told().and(new.told());
    let by_md5 = has_md5s(old) && has_md5s(new);
    let masked = |side: &Side| Masked::of(side.installed(), told, by_md5);
    let (old, new) = (masked(old), masked(new));
    let changes = compare_packages(manager, &old.packages, &new.packages);
    let changes = changes.into_iter().map(|change| PackageChange {
        old: change.old.map(|at| old.places[at]),
        new: change.new.map(|at| new.places[at]),
        ..change
    });
    changes.collect()
}

/// Tells whether the checksum of each package is known.
fn has_md5s(side: &Side) -> bool {
    let has = |one: &Installed| {
        one.details
            .as_ref()
            .is_some_and(|known| !known.md5.is_empty())
    };
    let mut packages = side.installed().iter();
    packages.all(|one| one.package.name == KEYS || has(one))
}

/// Packages without what one of the sides does not tell, sorted, with the place of each.
struct Masked {
    packages: Vec<Installed>,
    places: Vec<usize>,
}

impl Masked {
    fn of(installed: &[Installed], told: Told, by_md5: bool) -> Self {
        let all = installed.iter().enumerate();
        let kept = all.filter(|(_, one)| told.keys || one.package.name != KEYS);
        let masked = kept.map(|(place, one)| (masked(one, told, by_md5), place));
        let mut masked: Vec<(Installed, usize)> = masked.collect();
        masked.sort_by(|(a, _), (b, _)| a.package.cmp(&b.package));
        let (packages, places) = masked.into_iter().unzip();
        Self { packages, places }
    }
}

fn masked(one: &Installed, told: Told, by_md5: bool) -> Installed {
    let mut package = one.package.clone();
    // rpm counts no epoch as 0, and so do lists.
    package.epoch = package.epoch.filter(|epoch| told.epochs && *epoch != 0);
    if !told.build_times {
        package.build_time_s = 0;
    }
    if !told.source_rpms {
        package.source_rpm.clear();
    }
    if by_md5 {
        // Any field will do that tells two builds of one version apart.
        package.source_rpm = one
            .details
            .as_ref()
            .map_or(String::new(), |known| known.md5.clone());
    }
    Installed {
        package,
        files: None,
        details: None,
    }
}
