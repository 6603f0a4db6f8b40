//! Package layers of recorded snapshots, as a plan continues them. Pure.

use crate::model::digest::LayerKey;
use crate::model::tree::entry::Entry;

/// A package layer of the stage before, or of the stage when it was recorded last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorPackage {
    /// The package, as rpm names it: `NAME-[EPOCH:]VERSION-RELEASE[.ARCH]`.
    pub label: String,
    /// The key of the layer.
    pub key: LayerKey,
    /// How many layers of the remainder lie below, for a package with a layer in the stage before; `None` for a layer over all
    /// of them.
    pub height: Option<usize>,
    /// Whether the layer is of the stage before.
    pub is_inherited: bool,
}

impl PriorPackage {
    /// Returns the part of the label that stays when the package is upgraded: name and architecture.
    pub(crate) fn stem(&self) -> (&str, &str) {
        stem(&self.label)
    }
}

/// An entry of a package layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageEntry {
    /// How many layers of the remainder lie below the layer; `None` for all of them.
    pub height: Option<usize>,
    /// The entry.
    pub entry: Entry,
}

/// Returns the part of a label that stays when the package is upgraded: name and architecture.
pub(crate) fn stem(label: &str) -> (&str, &str) {
    let mut parts = label.rsplitn(3, '-');
    let (release, version) = (parts.next(), parts.next());
    let Some(name) = parts.next().filter(|_| version.is_some()) else {
        return (label, "");
    };
    let arch = release.and_then(|release| release.rsplit_once('.'));
    (name, arch.map_or("", |(_, arch)| arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgraded_package_has_the_stem_that_it_had() {
        assert_eq!(stem("gcc-c++-14.2.1-3.fc41.x86_64"), ("gcc-c++", "x86_64"));
        assert_eq!(stem("gcc-c++-1:15-1.x86_64"), ("gcc-c++", "x86_64"));
        assert_eq!(stem("filesystem-3-1.noarch"), stem("filesystem-4-1.noarch"));
        assert_ne!(stem("glibc-2-1.i686"), stem("glibc-2-1.x86_64"));
        assert_eq!(stem("odd"), ("odd", ""));
    }
}
