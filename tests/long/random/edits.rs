//! Random rounds: edits of a root, and how what is then there is recorded.

use super::packages::install_some;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names that collide often, and odd ones. `dev` is kept empty under one profile, `x` is left out and `v` volatile under some
/// policies, `m.py` keeps its time under one.
pub(super) const NAMES: [&[u8]; 12] = [
    b"a", b"b", b"c", b"dev", b"x", b"v", b"m.py", b"\xff\xfe", b"new\nline", b" -.wh", b"\xc3\xbc\\",
    b"a-name-that-is-longer-than-the-one-hundred-bytes-which-the-header-of-a-member-has-room-for-in-its-name-field-ok",
];

pub(super) const EPOCH: i64 = 315_619_200;

/// Which of the paths that are there and fit, counted round.
type Pick = usize;

/// A name, new or not, in one of the directories.
type Place = (Pick, usize);

/// An edit. What cannot be done is left undone.
#[derive(Clone, Debug)]
pub(super) enum Edit {
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
    /// Packages of what is there.
    Install(Pick),
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
pub(super) struct Recorded {
    pub(super) stage: usize,
    pub(super) run: Option<usize>,
    pub(super) parent_back: Option<usize>,
    pub(super) policy: usize,
    pub(super) compression: usize,
    /// The most package layers; 0 for stages.
    pub(super) packages: usize,
    pub(super) threads: usize,
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
        2 => pick().prop_map(Edit::Install),
    ]
}

fn recorded() -> impl Strategy<Value = Recorded> {
    let policy = prop_oneof![4 => Just(0), 3 => Just(1), 1 => Just(2), 4 => Just(3), 1 => Just(4), 1 => Just(5)];
    let packages = prop_oneof![1 => Just(0), 1 => Just(1), 3 => Just(9)];
    let rest = (policy, 0..5usize, 1..4usize, packages);
    (
        0..3usize,
        prop::option::of(0..2usize),
        prop::option::weighted(0.15, 0..4usize),
        rest,
    )
        .prop_map(
            |(stage, run, parent_back, (policy, compression, threads, packages))| Recorded {
                stage,
                run,
                parent_back,
                policy,
                compression,
                packages,
                threads,
            },
        )
}

/// What is done, and how what is then there is recorded.
pub(super) type Round = (Vec<Edit>, Recorded);

/// In most cases, the root has a file at first that keeps small changes from being a large part of it, after which the base
/// would be made anew.
pub(super) const BALLAST_BYTES: usize = 600_000;

/// A tree is made and recorded, then changed and recorded, a few times.
pub(super) fn rounds() -> impl Strategy<Value = Vec<Round>> {
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
pub(super) fn edit_root(root: &Path, edit: &Edit) -> Option<()> {
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
        Edit::Install(pick) => install_some(root, &all, *pick),
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

pub(super) fn succeeds(command: &mut Command) -> Option<()> {
    command.output().unwrap().status.success().then_some(())
}

fn remove(path: &Path) -> Option<()> {
    if is_directory(path) {
        std::fs::remove_dir_all(path).ok()
    } else {
        std::fs::remove_file(path).ok()
    }
}
