//! The files by which Mock and the package manager are told what to do: the causes of differences, where other files are effects.
//!
//! Pure.

use crate::model::tree::path::EntryPath;

/// Mock writes these into each chroot, or dnf, yum and rpm read them there.
const PATHS: &[&str] = &[
    "etc/dnf",
    "etc/hosts",
    "etc/localtime",
    "etc/resolv.conf",
    "etc/rpm",
    "etc/yum",
    "etc/yum.conf",
    "etc/yum.repos.d",
];

/// Tells whether a path is one of these files, or beneath one of these directories.
pub(crate) fn is_build_configuration(path: &EntryPath) -> bool {
    let slashed = path.slashed();
    PATHS
        .iter()
        .any(|at| match slashed.strip_prefix(at.as_bytes()) {
            Some(rest) => rest.is_empty() || rest[0] == b'/',
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::path;

    #[test]
    fn configuration_is_told_by_path() {
        for (at, is) in [
            ("etc/dnf", true),
            ("etc/dnf/dnf.conf", true),
            ("etc/yum.repos.d/a.repo", true),
            ("etc/hosts", true),
            ("etc/hosts.allow", false),
            ("etc/dnfx", false),
            ("usr/etc/dnf/dnf.conf", false),
            ("", false),
        ] {
            assert_eq!(is_build_configuration(&path(at)), is, "{at}");
        }
    }
}
