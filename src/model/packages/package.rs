//! An installed package, as the rpm database of a root names it.

use std::fmt;

/// One installed package (rpm tags 1000 to 1003, 1022, 1044 and 1006).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Epoch; `None` where the package has none, which rpm counts as 0.
    pub epoch: Option<u32>,
    /// Version.
    pub version: String,
    /// Release; empty for a package of dpkg's without one.
    pub release: String,
    /// Architecture; empty for what has none, such as `gpg-pubkey`.
    pub arch: String,
    /// File name of the source package; empty where it is not known.
    pub source_rpm: String,
    /// When it was built, in seconds since 1970.
    pub build_time_s: i64,
}

impl Package {
    /// Returns `[EPOCH:]VERSION[-RELEASE]`.
    pub(crate) fn evr(&self) -> String {
        let mut text = self
            .epoch
            .map_or(String::new(), |epoch| format!("{epoch}:"));
        text.push_str(&self.version);
        if !self.release.is_empty() {
            text.push('-');
            text.push_str(&self.release);
        }
        text
    }
}

impl fmt::Display for Package {
    /// Writes `NAME-[EPOCH:]VERSION-RELEASE[.ARCH]`, as `rpm -q` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.evr())?;
        if self.arch.is_empty() {
            Ok(())
        } else {
            write!(f, ".{}", self.arch)
        }
    }
}
