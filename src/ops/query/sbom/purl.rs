//! Package URLs of rpms (package-url/purl-spec, type `rpm`), with the qualifiers that syft writes.

use super::os_release::OsRelease;
use crate::model::packages::package::Package;
use std::fmt::Write as _;

/// Returns `pkg:rpm/ID/NAME@VERSION-RELEASE?arch=…&distro=…&epoch=…&upstream=…`.
pub(super) fn purl(package: &Package, os: &OsRelease) -> String {
    let mut purl = "pkg:rpm/".to_owned();
    if !os.id.is_empty() {
        push(&mut purl, &os.id.to_ascii_lowercase());
        purl.push('/');
    }
    push(&mut purl, &package.name);
    purl.push('@');
    push(&mut purl, &package.version);
    if !package.release.is_empty() {
        purl.push('-');
        push(&mut purl, &package.release);
    }
    let epoch = package.epoch.map(|epoch| epoch.to_string());
    // In the order of their names, as the specification has them.
    let qualifiers = [
        ("arch", package.arch.clone()),
        ("distro", os.distro().unwrap_or_default()),
        ("epoch", epoch.unwrap_or_default()),
        ("upstream", package.source_rpm.clone()),
    ];
    let mut separator = '?';
    for (name, value) in qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(purl, "{separator}{name}=");
        push(&mut purl, value);
        separator = '&';
    }
    purl
}

/// Appends text; other characters than letters, digits, `.`, `-`, `_` and `~` are percent-encoded.
fn push(purl: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~') {
            purl.push(char::from(byte));
        } else {
            let _ = write!(purl, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_the_url_that_syft_writes() {
        let text = str::to_owned;
        let mut package = Package {
            name: text("libstdc++"),
            epoch: Some(2),
            version: text("1.0~rc^1"),
            release: text("3.fc44"),
            arch: text("x86_64"),
            source_rpm: text("gcc-1.0-3.src.rpm"),
            build_time_s: 0,
        };
        let fedora = OsRelease {
            id: text("fedora"),
            version_id: text("44"),
        };
        assert_eq!(
            purl(&package, &fedora),
            "pkg:rpm/fedora/libstdc%2B%2B@1.0~rc%5E1-3.fc44?arch=x86_64&distro=fedora-44&epoch=2&upstream=gcc-1.0-3.src.rpm"
        );
        package.epoch = None;
        package.arch.clear();
        package.source_rpm.clear();
        assert_eq!(
            purl(&package, &OsRelease::default()),
            "pkg:rpm/libstdc%2B%2B@1.0~rc%5E1-3.fc44"
        );
    }
}
