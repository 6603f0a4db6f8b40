//! A directory as a snapshot would see it, compared with the snapshot that it is to hold.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::policy::globs::Pathspec;
use crate::model::policy::normalise::{Context, Home, Seen, normalise};
use crate::model::policy::package_mtimes::{Gathering, Links};
use crate::model::policy::{MtimeRule, Policy, Profile, Rules};
use crate::model::stamp::StatKind;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Device, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::restore::plan::{Extra, Obstacle, Plan, Present, plan};
use crate::ops::restore::recorded::Recorded;
use crate::ops::root_view::build_user::{build_user_in, configuration_files};
use crate::ops::root_view::normalise_as::united;
use crate::ops::root_view::observe::Observation;

/// A directory, the snapshot that it is to hold, and what is asked for.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) root: &'a Root,
    pub(super) recorded: &'a Recorded,
    pub(super) rules: &'a Rules,
    pub(super) spec: &'a Pathspec,
    pub(super) extra: Extra,
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
    let tree = dress(root, recorded, rules, observed, &seen)?;
    let is_hollow = |seen: &Seen| seen.stat.kind == StatKind::Directory && rules.hollows(seen.path);
    let is_covered = |seen: &&Seen| seen.is_mount || is_hollow(seen);
    let covered: Vec<EntryPath> = seen
        .iter()
        .filter(is_covered)
        .map(|seen| seen.path.clone())
        .collect();
    let mounts: Vec<EntryPath> = seen
        .iter()
        .filter(|seen| seen.is_mount)
        .map(|seen| seen.path.clone())
        .collect();
    let unrecordable: Vec<EntryPath> = unrecordable.iter().map(|seen| seen.path.clone()).collect();
    let present = Present {
        tree: &tree,
        covered: &covered,
        mounts: &mounts,
        unrecordable: &unrecordable,
    };
    let links = |path: &EntryPath| observed.stat(path).map_or(1, |stat| stat.nlink);
    plan(&recorded.tree, &present, spec, extra, links).map_err(|obstacle| match obstacle {
        Obstacle::NotADirectory(path) => Error::NotADirectory(root.full_path(&path)),
        Obstacle::Mount(path) => Error::MountPoint(root.full_path(&path)),
    })
}

fn is_recordable(seen: &Seen) -> bool {
    !seen.path.name().starts_with(b".wh.")
        && seen.stat.kind != StatKind::CharDevice(Device { major: 0, minor: 0 })
}

/// Normalises what was seen as a snapshot would once the directory is restored: with the packages, links and users of the
/// recorded one.
fn dress(
    root: &Root,
    recorded: &Recorded,
    rules: &Rules,
    observed: &Observation,
    seen: &[Seen],
) -> Result<Tree> {
    let links: Links = recorded
        .tree
        .entries()
        .iter()
        .filter_map(|entry| match &entry.kind {
            Kind::Symlink(target) => Some((entry.path.clone(), target.clone())),
            _ => None,
        })
        .collect();
    let mut gathering = Gathering::new(&links);
    for files in recorded
        .installed
        .iter()
        .filter_map(|installed| installed.files.as_ref())
    {
        let directories: Vec<&[u8]> = files.directories().collect();
        let all = files
            .files()
            .map(|file| (file.directory, file.name, i64::from(file.mtime_s)));
        gathering.add(&directories, all, |at, mtime_s| {
            observed
                .stat(at)
                .is_some_and(|stat| stat.mtime.seconds == mtime_s)
        });
    }
    let vouched = gathering.finish();
    // Without the packages' files nobody knows whose times count, so all do.
    let knows_times = recorded
        .installed
        .iter()
        .any(|installed| installed.files.is_some());
    let policy = match recorded.policy.mtime {
        MtimeRule::Package if !knows_times => &Policy {
            mtime: MtimeRule::Keep,
            epoch_s: None,
            ..recorded.policy.clone()
        },
        _ => &recorded.policy,
    };
    let home = home(root, recorded, observed)?;
    let context = Context {
        policy,
        rules,
        home: home.as_ref(),
        vouched: &vouched,
    };
    let mut sides = normalise(seen.iter().copied(), &context)?;
    sides.keep_below_mounts(&recorded.tree);
    let sides = sides
        .into_known()
        .map_err(|path| Error::Changed(root.full_path(&path)))?;
    Ok(united(sides))
}

/// The build user's home, if passwd and group are those that were recorded: only then a snapshot will see it as it was.
fn home(root: &Root, recorded: &Recorded, observed: &Observation) -> Result<Option<Home>> {
    if recorded.policy.profile == Profile::Plain {
        return Ok(None);
    }
    let mut contents = Vec::new();
    for at in configuration_files() {
        let now = observed.at(&at).and_then(|(_, facts)| facts.content);
        let then = match recorded
            .tree
            .position(&at)
            .map(|at| &recorded.tree.entries()[at].kind)
        {
            Some(Kind::File { content, .. }) => Some(*content),
            _ => None,
        };
        if now != then {
            return Ok(None);
        }
        contents.push(observed.read_configuration(root, &at)?);
    }
    let user = contents[0]
        .as_ref()
        .and_then(|passwd| build_user_in(passwd, contents[1].as_deref()));
    Ok(user.and_then(|user| user.home))
}
