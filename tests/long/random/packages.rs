//! Random packages: an rpm database of paths that are there, some of them of several packages, and each with a file that is large enough
//! for a layer of its own.

use crate::common::rpmdb::{CONFIG, RpmFile, install};
use std::path::{Path, PathBuf};

/// A package of fewer bytes has no layer.
const LARGE_BYTES: usize = 210_000;

const PACKAGES: [&str; 3] = ["one-1", "two-1", "three-1"];

/// Makes a database in which each package has about a third of `paths`, chosen by `pick`; all of one version, or some upgraded.
pub(super) fn install_some(root: &Path, paths: &[PathBuf], pick: usize) -> Option<()> {
    let mut texts: Vec<Vec<String>> = Vec::new();
    for (package, name) in PACKAGES.iter().enumerate() {
        let large = root.join(format!("large-{name}"));
        if large.symlink_metadata().is_err() {
            std::fs::write(&large, vec![package as u8; LARGE_BYTES]).ok()?;
        }
        let mut own = vec![format!("/large-{name}")];
        for (at, path) in paths.iter().enumerate() {
            let relative = path.strip_prefix(root).ok()?.to_str();
            let is_database = relative.is_some_and(|relative| relative.starts_with("usr"));
            let is_own = (at * 31 + pick * 7) % 5 == package || (at + pick) % 9 == 0;
            if let Some(relative) = relative.filter(|_| is_own && !is_database) {
                own.push(format!("/{relative}"));
            }
        }
        own.sort();
        own.dedup();
        texts.push(own);
    }
    let mut packages = Vec::new();
    for (name, own) in PACKAGES.iter().zip(&texts) {
        let files = own.iter().enumerate().map(|(at, path)| {
            let is_usual = path.starts_with("/large");
            let is_config = !is_usual && (at + pick) % 7 == 0;
            let is_replaced = !is_usual && (at * 3 + pick) % 11 == 0;
            RpmFile {
                path,
                flags: if is_config { CONFIG } else { 0 },
                state: u8::from(is_replaced),
            }
        });
        let name = if pick % 4 == 0 {
            name.replace("-1", "-2")
        } else {
            (*name).to_owned()
        };
        packages.push((name, files.collect::<Vec<_>>()));
    }
    let kept = 1 + pick % packages.len(); // a package that is gone takes its layer with it
    let packages: Vec<(&str, Vec<RpmFile>)> = packages
        .iter()
        .take(kept)
        .map(|(name, files)| (name.as_str(), files.clone()))
        .collect();
    remove_packages(root);
    install(root, &packages);
    Some(())
}

/// Removes the database, and whatever edits have made of its place.
pub(super) fn remove_packages(root: &Path) {
    let place = root.join("usr");
    if place.symlink_metadata().is_ok_and(|there| there.is_dir()) {
        std::fs::remove_dir_all(place).unwrap();
    } else {
        let _ = std::fs::remove_file(place);
    }
}
