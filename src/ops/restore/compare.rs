//! A directory as a snapshot would see it, compared with the snapshot that it is to hold.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::policy::globs::Pathspec;
use crate::model::policy::normalise::{Home, Seen};
use crate::model::policy::package_mtimes::Links;
use crate::model::policy::{MtimeRule, Policy, Profile, Rules};
use crate::model::stamp::StatKind;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Device, Entry, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::restore::plan::{Extra, Obstacle, Plan, Present, plan};
use crate::ops::restore::recorded::Recorded;
use crate::ops::root_view::build_user::BuildUser;
use crate::ops::root_view::facts::{NamedRoot, RootFacts};
use crate::ops::root_view::live_root::LiveRoot;
use crate::ops::root_view::normalise_as::{Manner, normalise_all_read, united};
use crate::ops::root_view::observation::Observation;
use crate::ops::root_view::places::user_files;
use std::path::Path;

/// A directory, the snapshot that it is to hold, and the options of the restore.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub root: &'a Root,
    pub recorded: &'a Recorded,
    pub rules: &'a Rules,
    pub spec: &'a Pathspec,
    pub extra: Extra,
}

/// Compares a directory with the snapshot, and plans. Fails if a directory above a chosen path is something else, or a mount
/// lies beneath a path that is to go.
pub(super) fn compare_present(job: &Job, observed: &Observation) -> Result<Plan> {
    let Job {
        root,
        recorded,
        rules,
        spec,
        extra,
    } = *job;
    let (seen, unrecordable): (Vec<Seen>, Vec<Seen>) = observed.seen().partition(is_recordable);
    let facts = RestoredFacts {
        live: LiveRoot { root, observed },
        recordable: &seen,
        recorded: &recorded.tree,
    };
    let tree = view(&facts, recorded, rules)?;
    let is_kept_empty =
        |seen: &Seen| seen.stat.kind == StatKind::Directory && rules.keeps_empty(seen.path);
    let present = Present {
        tree: &tree,
        masked: &paths(&seen, |seen| seen.is_mount || is_kept_empty(seen)),
        mounts: &paths(&seen, |seen| seen.is_mount),
        unrecordable: &paths(&unrecordable, |_| true),
    };
    let links = |path: &EntryPath| observed.stat(path).map_or(1, |stat| stat.nlink);
    plan(&recorded.tree, &present, spec, extra, links).map_err(|obstacle| match obstacle {
        Obstacle::NotADirectory(path) => Error::NotADirectory(root.full_path(&path)),
        Obstacle::Mount(path) => Error::MountPoint(root.full_path(&path)),
    })
}

/// Returns the paths wanted, in order.
fn paths(seen: &[Seen], is_wanted: impl Fn(&Seen) -> bool) -> Vec<EntryPath> {
    seen.iter()
        .filter(|seen| is_wanted(seen))
        .map(|seen| seen.path.clone())
        .collect()
}

fn is_recordable(seen: &Seen) -> bool {
    !seen.path.name().starts_with(b".wh.")
        && seen.stat.kind != StatKind::CharDevice(Device { major: 0, minor: 0 })
}

/// A directory as far as a snapshot can have it, with the symlinks of the snapshot.
struct RestoredFacts<'a> {
    live: LiveRoot<'a>,
    recordable: &'a [Seen<'a>],
    recorded: &'a Tree,
}

impl NamedRoot for RestoredFacts<'_> {
    fn name(&self) -> &Path {
        self.live.name()
    }
}

impl RootFacts for RestoredFacts<'_> {
    fn seen(&self) -> impl ExactSizeIterator<Item = Seen<'_>> {
        self.recordable.iter().copied()
    }

    fn mtime_s(&self, path: &EntryPath) -> Option<i64> {
        self.live.mtime_s(path)
    }

    fn links(&self) -> Links {
        let link = |entry: &Entry| match &entry.kind {
            Kind::Symlink(target) => Some((entry.path.clone(), target.clone())),
            _ => None,
        };
        self.recorded.entries().iter().filter_map(link).collect()
    }
}

/// Returns the directory as a snapshot would see it after the restore: with the packages, symlinks and users of the recorded
/// tree.
fn view(facts: &RestoredFacts, recorded: &Recorded, rules: &Rules) -> Result<Tree> {
    // Without lists of the packages' files no time is known to be a package's, so all times count.
    let knows_times = recorded.installed.iter().any(|one| one.files.is_some());
    let policy = match recorded.policy.mtime {
        MtimeRule::Package if !knows_times => &Policy {
            mtime: MtimeRule::Keep,
            epoch_s: None,
            ..recorded.policy.clone()
        },
        _ => &recorded.policy,
    };
    let home = recorded_home(facts, policy.profile)?;
    let manner = Manner { policy, rules };
    let mut sides = normalise_all_read(manner, facts, &recorded.installed, home.as_ref())?;
    sides.keep_below_mounts(&recorded.tree);
    Ok(united(sides))
}

/// Returns the home of the build user, if passwd and group are the recorded ones: only then will a snapshot see the home as
/// recorded.
fn recorded_home(facts: &RestoredFacts, profile: Profile) -> Result<Option<Home>> {
    let RestoredFacts { live, recorded, .. } = facts;
    let is_recorded = |path: &EntryPath| {
        let at = recorded.position(path);
        let recorded = at.and_then(|at| match recorded.entries()[at].kind {
            Kind::File { content, .. } => Some(content),
            _ => None,
        });
        live.observed.file(path).map(|(_, content)| content) == recorded
    };
    if !user_files().iter().all(is_recorded) {
        return Ok(None);
    }
    let user = BuildUser::find(live, profile)?;
    Ok(user.and_then(|user| user.home))
}
