//! Which packages have a layer of their own, and where. Pure.

use super::paths::PackagePaths;
use super::prior::{PriorPackage, stem};
use std::cmp::Reverse;
use std::collections::HashMap;

/// How many package layers there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// How many the stage may add.
    pub added: usize,
    /// How many the image may have.
    pub all: usize,
    /// A package of fewer bytes has no layer.
    pub smallest_bytes: u64,
}

/// A package with a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The place of the package among all.
    pub package: usize,
    /// How many layers of the remainder lie below; `None` where all do.
    pub height: Option<usize>,
}

/// Chooses the packages as far as there is `room`: a package with a layer in the stage before keeps a layer there, and of all
/// others those with the most `new_bytes` have a layer on top. Returns the packages in their order.
pub(super) fn choose(
    paths: &[PackagePaths],
    new_bytes: &[u64],
    prior: &[PriorPackage],
    room: &Room,
) -> Vec<Chosen> {
    let mut heights = HashMap::new();
    for layer in prior {
        if let Some(height) = layer.height {
            heights.insert(layer.stem(), height);
        }
    }
    let mut kept = Vec::new();
    let mut others = Vec::new();
    for (package, of_package) in paths.iter().enumerate() {
        if of_package.places.is_empty() {
            continue;
        }
        let stem = stem(&of_package.label);
        let height = heights.get(&stem).copied();
        if height.is_some() {
            kept.push(Chosen { package, height });
        } else if new_bytes[package] >= room.smallest_bytes {
            others.push(package);
        }
    }
    // The largest first; of equal ones, the first.
    kept.sort_by_key(|chosen: &Chosen| {
        let bytes = paths[chosen.package].content_bytes;
        (Reverse(bytes), chosen.package)
    });
    kept.truncate(room.all);
    others.sort_by_key(|package| (Reverse(new_bytes[*package]), *package));
    let left = room.all - kept.len();
    others.truncate(room.added.min(left));
    let others = others.into_iter().map(|package| Chosen {
        package,
        height: None,
    });
    kept.extend(others);
    kept.sort_by_key(|chosen| chosen.package);
    kept
}
