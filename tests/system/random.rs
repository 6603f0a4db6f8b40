//! The one law: whatever is done to a root, and however it is recorded, the layers of each snapshot give the tree that a
//! plain copy has. Random edits, snapshots, plans and compressions, on real files.
//!
//! 2,000 cases by default, in four parts that run side by side; `ROOTSTRATA_CASES` gives another number for each part.

use crate::common::layers::{Archive, Layout, tree_of};
use crate::common::tree::{Kind, Node, Tree, differences, name_groups, walked};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use rootstrata::layer::codec::Compression;
use rootstrata::model::names::SnapshotRef;
use rootstrata::model::policy::{MtimeRule, Profile};
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::record::{Options, Outcome, snapshot};
use rootstrata::ops::restore;
use rootstrata::ops::transfer::export::{Format, Request, export};
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Names that collide often, and odd ones. `dev` is kept empty under one profile, `x` is left out and `v` volatile under some
/// policies, `m.py` keeps its time under one.
const NAMES: [&[u8]; 12] = [
    b"a", b"b", b"c", b"dev", b"x", b"v", b"m.py", b"\xff\xfe", b"new\nline", b" -.wh", b"\xc3\xbc\\",
    b"a-name-that-is-longer-than-the-one-hundred-bytes-which-the-header-of-a-member-has-room-for-in-its-name-field-ok",
];

const EPOCH: i64 = 315_619_200;

/// Which of the paths that are there and fit, counted round.
type Pick = usize;

/// A name, new or not, in one of the directories.
type Place = (Pick, usize);

/// An edit. What cannot be done is left undone.
#[derive(Clone, Debug)]
enum Edit {
    Write(Place, u8, usize),
    Rewrite(Pick, u8),
    Append(Pick, u8),
    /// So long that it is read when it is packed, and not before.
    Lengthen(Pick, u8),
    Cut(Pick),
    Chmod(Pick, u32),
    Chown(Pick, u32, u32),
    Touch(Pick, i64, i64),
    SetXattr(Pick, usize, u8),
    RemoveXattr(Pick, usize),
    Mkdir(Place),
    Symlink(Place, Pick),
    Link(Pick, Place),
    Fifo(Place),
    Device(Place, bool, u32),
    Socket(Place),
    Rename(Pick, Place),
    Exchange(Pick, Pick),
    Copy(Pick, Place),
    Remove(Pick),
    Empty(Pick),
}

const XATTRS: [&str; 5] = [
    "user.a",
    "user.longer.b",
    "security.capability",
    "trusted.t",
    "user.Librepo.x",
];

/// How a snapshot is recorded.
#[derive(Clone, Debug)]
struct Recorded {
    stage: usize,
    run: Option<usize>,
    parent_back: Option<usize>,
    policy: usize,
    compression: usize,
    threads: usize,
}

fn edit() -> impl Strategy<Value = Edit> {
    let pick = || 0..997usize;
    let place = || (0..997usize, 0..NAMES.len());
    let mode = prop_oneof![
        Just(0o644),
        Just(0o755),
        Just(0o4755),
        Just(0o2770),
        Just(0o1777),
        Just(0)
    ];
    let id = || prop_oneof![Just(0), Just(7), Just(2_097_152), Just(4_294_967_294)];
    let seconds = prop_oneof![
        Just(-1),
        Just(0),
        Just(5),
        Just(EPOCH),
        Just(9_000_000_000),
        1_000_000_000i64..1_000_000_009
    ];
    let nanos = prop_oneof![Just(0), Just(999_999_999), Just(1)];
    let size = prop_oneof![Just(0), Just(4), Just(512), Just(70_000)];
    prop_oneof![
        8 => (place(), any::<u8>(), size).prop_map(|(at, byte, size)| Edit::Write(at, byte, size)),
        5 => (pick(), any::<u8>()).prop_map(|(at, byte)| Edit::Rewrite(at, byte)),
        2 => (pick(), any::<u8>()).prop_map(|(at, byte)| Edit::Append(at, byte)),
        1 => pick().prop_map(Edit::Cut),
        2 => (pick(), mode).prop_map(|(at, mode)| Edit::Chmod(at, mode)),
        2 => (pick(), id(), id()).prop_map(|(at, uid, gid)| Edit::Chown(at, uid, gid)),
        3 => (pick(), seconds, nanos).prop_map(|(at, seconds, nanos)| Edit::Touch(at, seconds, nanos)),
        3 => (pick(), 0..XATTRS.len(), any::<u8>()).prop_map(|(at, name, value)| Edit::SetXattr(at, name, value)),
        2 => (pick(), 0..XATTRS.len()).prop_map(|(at, name)| Edit::RemoveXattr(at, name)),
        5 => place().prop_map(Edit::Mkdir),
        3 => (place(), pick()).prop_map(|(at, target)| Edit::Symlink(at, target)),
        5 => (pick(), place()).prop_map(|(from, to)| Edit::Link(from, to)),
        1 => place().prop_map(Edit::Fifo),
        1 => (place(), any::<bool>(), 1..300u32).prop_map(|(at, is_char, minor)| Edit::Device(at, is_char, minor)),
        1 => place().prop_map(Edit::Socket),
        4 => (pick(), place()).prop_map(|(from, to)| Edit::Rename(from, to)),
        2 => (pick(), pick()).prop_map(|(from, to)| Edit::Exchange(from, to)),
        1 => (pick(), place()).prop_map(|(from, to)| Edit::Copy(from, to)),
        3 => pick().prop_map(Edit::Remove),
        1 => pick().prop_map(Edit::Empty),
    ]
}

fn recorded() -> impl Strategy<Value = Recorded> {
    let policy = prop_oneof![4 => Just(0), 3 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4), 1 => Just(5)];
    let rest = (policy, 0..5usize, 1..4usize);
    (
        0..3usize,
        prop::option::of(0..2usize),
        prop::option::weighted(0.15, 0..4usize),
        rest,
    )
        .prop_map(
            |(stage, run, parent_back, (policy, compression, threads))| Recorded {
                stage,
                run,
                parent_back,
                policy,
                compression,
                threads,
            },
        )
}

/// What is done, and how what is then there is recorded.
type Round = (Vec<Edit>, Recorded);

/// In most cases, the root has a file at first that keeps small changes from being a large part of it, after which the base
/// would be made anew.
const BALLAST_BYTES: usize = 600_000;

/// A tree is made and recorded, then changed and recorded, a few times.
fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let first = (prop::collection::vec(edit(), 5..40), recorded());
    let rest = prop::collection::vec((prop::collection::vec(edit(), 0..9), recorded()), 0..6);
    let long = prop::option::weighted(0.015, (0..4usize, 0..997usize, any::<u8>()));
    // Most runs of one series are of one policy.
    (first, rest, prop::bool::weighted(0.7), long).prop_map(
        |(first, mut rest, is_one_policy, long)| {
            if is_one_policy {
                rest.iter_mut()
                    .for_each(|(_, recorded)| recorded.policy = first.1.policy);
            }
            let mut rounds: Vec<Round> = std::iter::once(first).chain(rest).collect();
            if let Some((round, at, byte)) = long {
                let round = round % rounds.len();
                rounds[round].0.push(Edit::Lengthen(at, byte));
            }
            rounds
        },
    )
}

// ---- Edits

/// All that is there, in order; the root comes first.
fn paths(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_owned()];
    let mut at = 0;
    while let Some(path) = all.get(at) {
        if is_directory(path) {
            let mut below: Vec<PathBuf> = std::fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            below.sort();
            all.extend(below);
        }
        at += 1;
    }
    all
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| there.is_dir())
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| there.is_file())
}

/// Does one edit; `None` where it cannot be done.
fn edit_root(root: &Path, edit: &Edit) -> Option<()> {
    let all = paths(root);
    let chosen = |pick: &Pick, fits: &dyn Fn(&Path) -> bool| {
        let fitting: Vec<&PathBuf> = all.iter().filter(|path| fits(path)).collect();
        Some((*fitting.get(pick % fitting.len().max(1))?).clone())
    };
    let file = |pick: &Pick| chosen(pick, &is_file);
    let any = |pick: &Pick| chosen(pick, &|_| true);
    let below = |pick: &Pick| chosen(pick, &|path| path != root);
    let place = |(directory, name): &Place| {
        Some(chosen(directory, &is_directory)?.join(OsStr::from_bytes(NAMES[*name])))
    };
    let open = |path: &Path| std::fs::OpenOptions::new().write(true).open(path).ok();
    let fill = |byte: u8, size: usize| vec![byte; size];
    match edit {
        Edit::Write(at, byte, size) => {
            let path = place(at)?;
            (is_file(&path) || path.symlink_metadata().is_err()).then_some(())?;
            std::fs::write(path, fill(*byte, *size)).ok()
        }
        Edit::Rewrite(at, byte) => {
            // Same length, and the time put back.
            let path = file(at)?;
            let there = path.metadata().ok().filter(|there| there.len() < 100_000)?;
            let file = open(&path)?;
            rustix::io::pwrite(&file, &fill(*byte, there.len() as usize), 0).ok()?;
            file.set_modified(there.modified().ok()?).ok()
        }
        Edit::Append(at, byte) => {
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .open(file(at)?)
                .ok()?;
            std::io::Write::write_all(&mut file, &[*byte]).ok()
        }
        Edit::Lengthen(at, byte) => open(&file(at)?)?
            .set_len((17 << 20) + u64::from(*byte))
            .ok(),
        Edit::Cut(at) => {
            let path = file(at)?;
            open(&path)?.set_len(path.metadata().ok()?.len() / 2).ok()
        }
        Edit::Chmod(at, mode) => {
            let path = chosen(at, &|path| !path.is_symlink())?;
            std::fs::set_permissions(path, PermissionsExt::from_mode(*mode)).ok()
        }
        Edit::Chown(at, uid, gid) => lchown(any(at)?, Some(*uid), Some(*gid)).ok(),
        Edit::Touch(at, seconds, nanos) => {
            let time = Timespec {
                tv_sec: *seconds,
                tv_nsec: *nanos,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            rustix::fs::utimensat(CWD, any(at)?, &times, AtFlags::SYMLINK_NOFOLLOW).ok()
        }
        Edit::SetXattr(at, name, value) => {
            let is_capability = XATTRS[*name] == "security.capability";
            let path = if is_capability { file(at)? } else { any(at)? };
            let value = match is_capability {
                // VFS_CAP_REVISION_2 with one capability or another (linux/capability.h).
                true => [
                    &[1, 0, 0, 2][..],
                    &(1u32 << (value % 8)).to_le_bytes(),
                    &[0; 12],
                ]
                .concat(),
                false => vec![*value; usize::from(*value % 3)],
            };
            rustix::fs::lsetxattr(path, XATTRS[*name], &value, XattrFlags::empty()).ok()
        }
        Edit::RemoveXattr(at, name) => {
            let mut names = [0; 4096];
            let has = |path: &Path| {
                let length = rustix::fs::llistxattr(path, &mut [0; 4096][..]).unwrap_or(0);
                length > 0
            };
            let path = chosen(at, &has)?;
            let length = rustix::fs::llistxattr(&path, &mut names[..]).ok()?;
            let all: Vec<&[u8]> = names[..length]
                .split(|b| *b == 0)
                .filter(|name| !name.is_empty())
                .collect();
            rustix::fs::lremovexattr(path, all[name % all.len()]).ok()
        }
        Edit::Mkdir(at) => std::fs::create_dir(place(at)?).ok(),
        Edit::Symlink(at, target) => {
            let path = place(at)?;
            std::fs::remove_file(&path).ok();
            symlink(
                any(target)?
                    .strip_prefix(root)
                    .ok()
                    .filter(|target| *target != Path::new(""))?,
                path,
            )
            .ok()
        }
        Edit::Link(from, to) => {
            std::fs::hard_link(chosen(from, &|path| !is_directory(path))?, place(to)?).ok()
        }
        Edit::Fifo(at) => node(place(at)?, FileType::Fifo, 0),
        Edit::Device(at, true, minor) => node(
            place(at)?,
            FileType::CharacterDevice,
            rustix::fs::makedev(1, *minor),
        ),
        Edit::Device(at, false, minor) => node(
            place(at)?,
            FileType::BlockDevice,
            rustix::fs::makedev(1, *minor),
        ),
        Edit::Socket(at) => node(place(at)?, FileType::Socket, 0),
        Edit::Rename(from, to) => std::fs::rename(below(from)?, place(to)?).ok(),
        Edit::Exchange(from, to) => {
            rustix::fs::renameat_with(CWD, below(from)?, CWD, below(to)?, RenameFlags::EXCHANGE)
                .ok()
        }
        Edit::Copy(from, to) => {
            let (from, to) = (below(from)?, place(to)?);
            (all.len() < 100 && !to.starts_with(&from) && to.symlink_metadata().is_err())
                .then_some(())?;
            succeeds(Command::new("cp").arg("-aT").arg(from).arg(to))
        }
        Edit::Remove(at) => remove(&below(at)?),
        Edit::Empty(at) => {
            let entries = std::fs::read_dir(chosen(at, &is_directory)?).ok()?;
            entries.map(|entry| remove(&entry.ok()?.path())).collect()
        }
    }
}

fn node(path: PathBuf, kind: FileType, device: rustix::fs::Dev) -> Option<()> {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device).ok()
}

fn succeeds(command: &mut Command) -> Option<()> {
    command.output().unwrap().status.success().then_some(())
}

fn remove(path: &Path) -> Option<()> {
    if is_directory(path) {
        std::fs::remove_dir_all(path).ok()
    } else {
        std::fs::remove_file(path).ok()
    }
}

// ---- What each policy makes of a tree

fn options(recorded: &Recorded, ids: &[i64]) -> Options {
    let name = |prefix: &str, number: usize| Some(format!("{prefix}{number}"));
    let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    let plain = Options {
        series: Some("s".to_owned()),
        stage: [
            Some("bootstrap".to_owned()),
            Some("deps".to_owned()),
            Some("built".to_owned()),
        ][recorded.stage]
            .clone(),
        run: recorded.run.and_then(|run| name("r", run)),
        profile: Some(Profile::Plain),
        compression: [
            Compression::None,
            Compression::Gzip(1),
            Compression::Gzip(6),
            Compression::Zstd(1),
            Compression::Zstd(3),
        ][recorded.compression],
        threads: NonZeroUsize::new(recorded.threads).unwrap(),
        parent: recorded
            .parent_back
            .and_then(|back| ids.iter().rev().nth(back))
            .map(|id| SnapshotRef::Id(*id)),
        ..Options::default()
    };
    match recorded.policy {
        1 => Options {
            volatile: globs(&["v", "/a/b"]),
            ..plain
        },
        2 => Options {
            exclude: globs(&["x", "/b/c"]),
            volatile: globs(&["v"]),
            ..plain
        },
        3 => Options {
            mtime: Some(MtimeRule::Fixed),
            ..plain
        },
        4 => Options {
            epoch_s: Some(1_000_000_004),
            ..plain
        },
        5 => Options {
            profile: Some(Profile::Mock),
            ..plain
        },
        _ => plain,
    }
}

/// What a policy is to record of a tree: rules of README.md, said once more.
fn under_policy(tree: &Tree, policy: usize) -> Tree {
    let parts = |path: &[u8]| {
        path.split(|b| *b == 0)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let is_at = |path: &[u8], top: &[u8]| path == top || path.starts_with(&[top, b"\0"].concat());
    let is_left_out = |path: &[u8]| match policy {
        2 => parts(path).contains(&b"x".to_vec()) || is_at(path, b"b\0c"),
        5 => path.starts_with(b"dev\0"),
        _ => false,
    };
    let is_volatile = |path: &[u8]| match policy {
        1 => parts(path).contains(&b"v".to_vec()) || is_at(path, b"a\0b"),
        2 => parts(path).contains(&b"v".to_vec()),
        _ => false,
    };
    let is_hollow =
        |path: &[u8], node: &Node| policy == 5 && path == b"dev" && node.kind == Kind::Directory;
    let of = |path: &[u8], node: &Node| {
        let mut node = node.clone();
        match policy {
            3 if !(matches!(node.kind, Kind::File(_)) && path.ends_with(b".py")) => {
                node.mtime = EPOCH
            }
            4 => node.mtime = node.mtime.min(1_000_000_004),
            5 => {
                node.mtime = EPOCH;
                node.xattrs
                    .retain(|name, _| !name.starts_with(b"user.Librepo."));
            }
            _ => {}
        }
        if policy == 5 && path.is_empty() || is_hollow(path, &node) {
            node = Node {
                mode: 0o755,
                uid: 0,
                gid: 0,
                xattrs: BTreeMap::new(),
                ..node
            };
        }
        node
    };
    // Under a hollow directory nothing is recorded; a file of that name is none.
    let is_kept = |path: &[u8]| {
        let is_in_hollow =
            policy == 5 && path.starts_with(b"dev\0") && tree[&b"dev"[..]].kind == Kind::Directory;
        !(is_left_out(path) && (policy != 5 || is_in_hollow))
    };
    let mut kept: Tree = tree
        .iter()
        .filter(|(path, _)| is_kept(path))
        .map(|(path, node)| (path.clone(), of(path, node)))
        .collect();
    // Links do not cross from what is volatile to what is not.
    let mut groups: BTreeMap<(Vec<u8>, bool), Vec<Vec<u8>>> = BTreeMap::new();
    for (path, node) in &mut kept {
        if let Some(first) = node.first_name.take() {
            groups
                .entry((first, is_volatile(path)))
                .or_default()
                .push(path.clone());
        }
    }
    // All names of an inode have what the first one has.
    for names in groups.values_mut() {
        names.sort();
        let first = kept[&names[0]].clone();
        names
            .iter()
            .for_each(|name| drop(kept.insert(name.clone(), first.clone())));
    }
    name_groups(&mut kept, groups.into_values());
    kept
}

// ---- The law

/// Its number, manifest, and tree, and the policy that it was recorded under.
type Snapshot = (i64, String, Tree, usize);

fn fail(reason: String) -> TestCaseError {
    TestCaseError::fail(reason)
}

fn exported(store: &Path, id: i64, to: &Path) -> Vec<u8> {
    let snapshot = SnapshotRef::Id(id);
    let request = Request {
        snapshot,
        path: to.to_owned(),
        format: Format::OciArchive,
        all_stages: false,
        since: None,
        stream: None,
    };
    export(store, &request, &Silent).unwrap();
    let bytes = std::fs::read(to).unwrap();
    std::fs::remove_file(to).unwrap();
    bytes
}

fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(place).unwrap()
}

fn holds(rounds: &[Round]) -> Result<(), TestCaseError> {
    let directory = in_memory();
    let (root, store) = (
        directory.path().join("root"),
        directory.path().join("store"),
    );
    std::fs::create_dir(&root).unwrap();
    if !rounds[0].0.len().is_multiple_of(4) {
        std::fs::write(root.join("ballast"), vec![0; BALLAST_BYTES]).unwrap();
    }
    let mut all: Vec<Snapshot> = Vec::new();
    for (edits, recorded) in rounds {
        edits
            .iter()
            .for_each(|edit| edit_root(&root, edit).unwrap_or_default());
        let ids: Vec<i64> = all.iter().map(|(id, ..)| *id).collect();
        let outcome = match snapshot(&store, &root, &options(recorded, &ids), &Silent) {
            // A parent of another policy is refused, and so is one more stage of a run that has all.
            Err(error)
                if recorded.parent_back.is_some()
                    && error.to_string().contains("cannot be the parent") =>
            {
                continue;
            }
            outcome => outcome.map_err(|error| fail(error.to_string()))?,
        };
        let expected = under_policy(&walked(&root), recorded.policy);
        let manifest = outcome.snapshot.manifest.digest.to_string();
        let wrong = differences(&tree_of(&manifest, &Layout(&store)), &expected);
        prop_assert!(wrong.is_empty(), "{recorded:?}\n{}", wrong.join("\n"));
        prop_assert_eq!(outcome.snapshot.entries, expected.len() as u64);
        all.push((outcome.snapshot.id, manifest, expected, recorded.policy));
    }
    restores(&store, directory.path(), &root, &all)?;
    let to = directory.path().join("out.tar");
    for (id, manifest, expected, _) in &all {
        let bytes = exported(&store, *id, &to);
        prop_assert!(
            bytes == exported(&store, *id, &to),
            "exporting {} twice",
            id
        );
        std::fs::write(&to, bytes).unwrap();
        let archive = Archive::read(&to);
        std::fs::remove_file(&to).unwrap();
        prop_assert_eq!(
            archive.images().into_values().collect::<Vec<_>>(),
            [manifest.clone()]
        );
        let wrong = differences(&tree_of(manifest, &archive), expected);
        prop_assert!(
            wrong.is_empty(),
            "snapshot {} later\n{}",
            id,
            wrong.join("\n")
        );
    }
    Ok(())
}

/// Restores each snapshot into an empty directory, and over the root as it is after what was done to it since.
fn restores(
    store: &Path,
    beside: &Path,
    root: &Path,
    all: &[Snapshot],
) -> Result<(), TestCaseError> {
    for (id, _, expected, policy) in all {
        let fresh = beside.join(format!("restored-{id}"));
        for directory in [&fresh, root] {
            let request = restore::Request {
                snapshot: SnapshotRef::Id(*id),
                directory: directory.to_owned(),
                pathspec: Vec::new(),
                extra: restore::Extra::Removed,
                writes: restore::Writes::Done,
                threads: NonZeroUsize::new(2).unwrap(),
            };
            let outcome = restore::restore(store, &request, &Silent)
                .map_err(|error| fail(error.to_string()))?;
            prop_assert!(outcome.is_complete(), "{:?}", outcome.lacks);
            let found = walked(directory);
            let found = if directory == root {
                left_of(&found, expected, *policy)
            } else {
                found
            };
            let wrong = differences(&found, expected);
            prop_assert!(
                wrong.is_empty(),
                "{directory:?} as snapshot {id}\n{}",
                wrong.join("\n")
            );
            let again = restore::restore(store, &request, &Silent)
                .map_err(|error| fail(error.to_string()))?;
            // The root of an empty directory is given its metadata each time.
            let touched = (
                again.made,
                again
                    .adjusted
                    .saturating_sub(u64::from(expected.len() == 1)),
                again.removed,
            );
            prop_assert_eq!(
                touched,
                (0, 0, 0),
                "{:?} as snapshot {} again",
                directory,
                id
            );
        }
        std::fs::remove_dir_all(&fresh).unwrap();
    }
    Ok(())
}

/// What counts of a tree after a restore: it may have times and owners that the policy does not record, and keeps what the
/// policy does not look at, with the directories above it.
fn left_of(found: &Tree, expected: &Tree, policy: usize) -> Tree {
    let mut left = under_policy(found, policy);
    let hollow = (policy == 5).then(|| b"dev".to_vec());
    let unseen = found
        .keys()
        .filter(|path| !left.contains_key(*path))
        .cloned()
        .chain(hollow);
    let unseen: Vec<Vec<u8>> = unseen.collect();
    let holds = |path: &[u8]| {
        unseen
            .iter()
            .any(|at| at == path || at.starts_with(&[path, b"\0"].concat()))
    };
    left.retain(|path, _| expected.contains_key(path) || !holds(path));
    left
}

/// Records rounds twice, in one store that knows what it saw last and in one that does not, so that it plans all of the
/// root. Returns how many snapshots were planned from a part of it, of how many.
fn agree(rounds: &[Round], has_links: bool) -> Result<(usize, usize), TestCaseError> {
    let directory = in_memory();
    let place = |name: &str| directory.path().join(name);
    let (root, store, unknowing) = (place("root"), place("store"), place("unknowing"));
    for at in 0..100usize {
        let name = |number: usize| OsStr::from_bytes(NAMES[number]);
        let parent = root.join(name(at % 5)).join(name(at % 12));
        std::fs::create_dir_all(&parent).unwrap();
        std::fs::write(parent.join(format!("f{at}")), vec![at as u8; 6_000 + at]).unwrap();
    }
    let twin = place("twin");
    succeeds(Command::new("cp").arg("-a").args([&root, &twin])).unwrap();
    let (mut parts, mut count) = (0, 0);
    for (at, (edits, recorded)) in rounds.iter().enumerate() {
        // The second stage first over the first, then again.
        let stage = usize::from(at > 0 && rounds[0].1.stage > 0);
        let recorded = &Recorded {
            stage,
            run: None,
            parent_back: None,
            ..recorded.clone()
        };
        // What is of the future has no stamp either.
        let is_done = |edit: &&Edit| match edit {
            Edit::Link(..) => has_links,
            Edit::Touch(_, seconds, _) => *seconds < 2_000_000_000,
            _ => true,
        };
        // Another root of the same series has updates of its own.
        let root = if recorded.compression == 4 {
            &twin
        } else {
            &root
        };
        let done = edits.iter().filter(is_done);
        done.for_each(|edit| edit_root(root, edit).unwrap_or_default());
        // What was written in this tick of the clock has no stamp.
        std::thread::sleep(Duration::from_millis(12));
        let options = options(recorded, &[]);
        let known =
            snapshot(&store, root, &options, &Silent).map_err(|error| fail(error.to_string()))?;
        let database = unknowing.join("rootstrata.sqlite");
        if database.exists() {
            let connection = rusqlite::Connection::open(&database).unwrap();
            connection
                .execute("UPDATE root SET snapshot_id = NULL", [])
                .unwrap();
        }
        let whole = snapshot(&unknowing, root, &options, &Silent)
            .map_err(|error| fail(error.to_string()))?;
        prop_assert_eq!(
            known.snapshot.manifest,
            whole.snapshot.manifest,
            "{:?}",
            recorded
        );
        let totals = |outcome: &Outcome| (outcome.snapshot.entries, outcome.snapshot.content_bytes);
        prop_assert_eq!(totals(&known), totals(&whole));
        let dead = |store: &Path| -> Option<i64> {
            let connection = rusqlite::Connection::open(store.join("rootstrata.sqlite")).unwrap();
            let path = root.as_os_str().as_bytes();
            connection
                .query_row(
                    "SELECT dead_bytes FROM root WHERE path = ?",
                    [path],
                    |row| row.get(0),
                )
                .unwrap()
        };
        prop_assert_eq!(dead(&store), dead(&unknowing));
        count += 1;
        parts += usize::from((1..known.snapshot.entries).contains(&known.paths_planned));
    }
    Ok((parts, count))
}

/// Runs cases from a beginning of its own.
fn run<S: Strategy>(
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let cases = std::env::var("ROOTSTRATA_CASES").map_or(cases, |number| number.parse().unwrap());
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(strategy, test)
        .unwrap_or_else(|failed| panic!("{failed}"));
    println!("{cases} cases");
}

fn run_part() {
    run(500, &rounds(), |rounds| holds(&rounds));
}

#[test]
fn a_part_of_the_root_is_planned_as_all_of_it() {
    let (parts, count) = (Cell::new(0), Cell::new(0));
    run(
        250,
        &(rounds(), prop::bool::weighted(0.7)),
        |(rounds, has_links)| {
            let found = agree(&rounds, has_links)?;
            parts.set(parts.get() + found.0);
            count.set(count.get() + found.1);
            Ok(())
        },
    );
    let (parts, count) = (parts.get(), count.get());
    println!("{parts} of {count} snapshots of a part");
    assert!(parts * 10 > count, "{parts} of {count}");
}

#[test]
fn the_layers_of_every_snapshot_give_the_tree_that_was_there_part_1() {
    run_part();
}

#[test]
fn the_layers_of_every_snapshot_give_the_tree_that_was_there_part_2() {
    run_part();
}

#[test]
fn the_layers_of_every_snapshot_give_the_tree_that_was_there_part_3() {
    run_part();
}

#[test]
fn the_layers_of_every_snapshot_give_the_tree_that_was_there_part_4() {
    run_part();
}

/// Rounds that were found by chance: an inode has names among what is planned and elsewhere.
#[test]
fn an_inode_with_names_in_the_part_and_elsewhere_is_planned_as_all_of_it() {
    use Edit::*;
    let recorded = |stage, compression, threads| Recorded {
        stage,
        run: None,
        parent_back: None,
        policy: 1,
        compression,
        threads,
    };
    let first = vec![
        Write((6, 0), 0, 0),
        Link(0, (402, 1)),
        Link(58, (227, 0)),
        Symlink((945, 5), 727),
        Link(921, (764, 3)),
        Mkdir((474, 0)),
        Remove(454),
        Write((352, 1), 202, 512),
    ];
    let second = vec![
        Rewrite(631, 172),
        Touch(338, 315_619_200, 1),
        Touch(371, 5, 0),
        Device((138, 3), false, 267),
    ];
    let third = vec![Mkdir((841, 5)), Link(977, (341, 0)), Append(277, 38)];
    let last = vec![
        RemoveXattr(162, 0),
        Write((672, 8), 3, 4),
        Exchange(162, 550),
        Link(702, (558, 5)),
        Cut(655),
    ];
    let rounds = [
        (first, recorded(0, 3, 2)),
        (second, recorded(1, 3, 3)),
        (third, recorded(1, 4, 1)),
        (Vec::new(), recorded(0, 1, 2)),
        (last, recorded(0, 1, 3)),
    ];
    agree(&rounds, true).unwrap();
}
