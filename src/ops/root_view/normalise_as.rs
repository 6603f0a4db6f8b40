//! The view of a root under a policy, shared by recording, comparing and restoring.

use crate::error::{Error, Result};
use crate::model::packages::owners::Installed;
use crate::model::policy::normalise::{Context, Home, StableVolatile, normalise};
use crate::model::policy::package_mtimes::{Gathering, PackageMtimes};
use crate::model::policy::{MtimeRule, Policy, Rules};
use crate::model::tree::Tree;
use crate::model::tree::entry::FileContent;
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::ops::root_view::facts::{NamedRoot, RootFacts, in_root};

/// A policy, and the rules of the policy for a stage.
#[derive(Clone, Copy)]
pub(crate) struct Manner<'a> {
    pub policy: &'a Policy,
    pub rules: &'a Rules,
}

/// Returns the entries of a root under a policy, given the packages and the home of the build user. Fails at the first entry that
/// no layer can hold.
pub(crate) fn normalise_as(
    manner: Manner,
    facts: &impl RootFacts,
    packages: &[Installed],
    home: Option<&Home>,
) -> Result<StableVolatile<FileContent>> {
    let Manner { policy, rules } = manner;
    let vouched = match policy.mtime {
        MtimeRule::Package if !packages.is_empty() => package_mtimes(facts, packages),
        _ => PackageMtimes::default(),
    };
    let context = Context {
        policy,
        rules,
        home,
        vouched: &vouched,
    };
    normalise(facts.seen(), &context).map_err(|error| in_root(error, facts.name()))
}

/// Returns the entries of a root whose files were all read. Fails as [`normalise_as`] does, and with [`Error::Changed`] if the
/// content of a file is unknown.
pub(crate) fn normalise_all_read(
    manner: Manner,
    facts: &impl RootFacts,
    packages: &[Installed],
    home: Option<&Home>,
) -> Result<StableVolatile> {
    all_read(normalise_as(manner, facts, packages, home)?, facts)
}

/// Returns the entries of a root whose files were all read. Fails with [`Error::Changed`] if the content of a file is unknown.
pub(crate) fn all_read(
    sides: StableVolatile<FileContent>,
    root: &impl NamedRoot,
) -> Result<StableVolatile> {
    let known = sides.into_known();
    known.map_err(|path| Error::Changed(root.shown(&path)))
}

/// Gathers the files with the time that a package gives.
fn package_mtimes(facts: &impl RootFacts, packages: &[Installed]) -> PackageMtimes {
    let links = facts.links();
    let mut gathering = Gathering::new(&links);
    for files in packages
        .iter()
        .filter_map(|installed| installed.files.as_ref())
    {
        let directories: Vec<&[u8]> = files.directories().collect();
        let all = files
            .files()
            .map(|file| (file.directory, file.name, i64::from(file.mtime_s)));
        gathering.add(&directories, all, |path, mtime_s| {
            facts.mtime_s(path) == Some(mtime_s)
        });
    }
    gathering.finish()
}

/// Returns both sides of a root in one tree. No hardlink crosses the sides.
pub(crate) fn united(sides: StableVolatile) -> Tree {
    let mut overlay = Overlay::new();
    for side in [sides.stable, sides.volatile] {
        overlay.apply(side.into_entries().into_iter().map(LayerItem::Entry));
    }
    overlay.into_tree()
}
