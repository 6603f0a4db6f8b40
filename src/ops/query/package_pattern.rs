//! The names by which packages are asked for, as dnf takes them.

use crate::error::Result;
use crate::model::packages::package::Package;
use crate::model::policy::globs::NameGlob;
use crate::store::Store;

/// A name, a glob, or one of `NAME.ARCH`, `NAME-VERSION`, `NAME-VERSION-RELEASE` and `NAME-VERSION-RELEASE.ARCH`, the version perhaps
/// after `EPOCH:` (dnf(8), "Specifying Packages").
pub(super) struct PackagePattern {
    glob: NameGlob,
}

impl PackagePattern {
    /// Reads a pattern. Fails with [`crate::error::Error::BadGlob`] for a bad glob.
    pub(super) fn new(text: &str) -> Result<Self> {
        Ok(Self {
            glob: NameGlob::new(text)?,
        })
    }

    /// Returns the packages of a set that match, in order. Fails if a row is not as recorded.
    pub(super) fn packages(&self, store: &Store, set: i64) -> Result<Vec<Package>> {
        let mut packages = store.packages(set)?;
        packages.retain(|package| self.matches(package));
        Ok(packages)
    }

    fn matches(&self, package: &Package) -> bool {
        forms(package).iter().any(|form| self.glob.matches(form))
    }
}

/// Returns the names by which a package may be asked for.
fn forms(package: &Package) -> Vec<String> {
    let Package {
        name,
        version,
        release,
        arch,
        ..
    } = package;
    let epoch = package.epoch.unwrap_or_default();
    let mut forms = vec![name.clone(), format!("{name}.{arch}")];
    for version in [version.clone(), format!("{epoch}:{version}")] {
        forms.push(format!("{name}-{version}"));
        forms.push(format!("{name}-{version}-{release}"));
        forms.push(format!("{name}-{version}-{release}.{arch}"));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_the_names_that_dnf_takes() {
        let package = Package {
            name: "gcc-c++".to_owned(),
            epoch: Some(2),
            version: "15.1".to_owned(),
            release: "3.fc44".to_owned(),
            arch: "x86_64".to_owned(),
            source_rpm: String::new(),
            build_time_s: 0,
        };
        for (text, matches) in [
            ("gcc-c++", true),
            ("gcc-c++.x86_64", true),
            ("gcc-c++-15.1", true),
            ("gcc-c++-15.1-3.fc44", true),
            ("gcc-c++-15.1-3.fc44.x86_64", true),
            ("gcc-c++-2:15.1-3.fc44.x86_64", true),
            ("gcc-c++-0:15.1-3.fc44", false),
            ("gcc-*", true),
            ("gcc-c++-15.*", true),
            ("*.x86_64", true),
            ("gcc", false),
            ("gcc-c++.i686", false),
        ] {
            let pattern = PackagePattern::new(text).unwrap();
            assert_eq!(pattern.matches(&package), matches, "{text}");
        }
        assert!(PackagePattern::new("gcc[").is_err());
    }
}
