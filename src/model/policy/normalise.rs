//! From what was seen in a root to the entries that its policy records.
//!
//! Pure: the same inodes, policy and packages give the same entries on any machine. Refuses what no layer can
//! hold, with the path.

use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::limits::LARGEST_ENTRIES_BYTES;
use crate::model::policy::package_mtimes::Vouched;
use crate::model::policy::{MtimeRule, Policy, Profile, Rules};
use crate::model::stamp::{Facts, Stat, StatKind};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Device, Entry, FileContent, Group, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A path of a root with all that was found out about it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where it is.
    pub path: &'a EntryPath,
    /// Its stat data.
    pub stat: &'a Stat,
    /// The rest.
    pub facts: &'a Facts,
    /// Whether something is mounted on it, so that what it holds cannot be seen.
    pub is_mount: bool,
}

/// The home of the build user, and who owns it in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The directory.
    pub path: EntryPath,
    /// Its owner's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
}

/// The two sides of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides<C = ContentHash> {
    /// What two installs of the same packages have alike.
    pub stable: Tree<C>,
    /// What the policy counts as volatile.
    pub volatile: Tree<C>,
    /// Stable paths on which something is mounted, in path order; they stand in `stable` as empty.
    pub mounts: Vec<EntryPath>,
}

/// What the entries depend on beyond what was seen.
#[derive(Debug)]
pub struct Context<'a> {
    /// The declared policy.
    pub policy: &'a Policy,
    /// Its globs.
    pub rules: &'a Rules,
    /// The build user's home, where the root has one.
    pub home: Option<&'a Home>,
    /// The times that packages account for.
    pub vouched: &'a Vouched,
}

/// Turns `seen`, in path order, into the entries of both sides. Names of one inode that lie on both sides become
/// two groups, since links never cross layers.
pub fn normalise<'a>(
    seen: impl ExactSizeIterator<Item = Seen<'a>>,
    context: &Context,
) -> Result<Sides<FileContent>> {
    let mut groups = Groups::default();
    let (mut stable, mut volatile) = (Vec::with_capacity(seen.len()), Vec::new());
    let mut mounts = Vec::new();
    let mut volatility = context.rules.volatility();
    let home = context.home.filter(|_| context.rules.leaves_build());
    let build = home.map(|home| home.path.join(b"build"));
    let mut memory_bytes = 0_usize;
    for Seen {
        path,
        stat,
        facts,
        is_mount,
    } in seen
    {
        if build
            .as_ref()
            .is_some_and(|build| path == build || path.is_beneath(build))
        {
            continue;
        }
        refuse_unrecordable(path, stat)?;
        let is_volatile = volatility.holds(path);
        if is_mount && !is_volatile {
            mounts.push(path.clone());
        }
        let mut entry = entry_of(path, stat, facts, groups.of(stat), context);
        if path.is_root() && context.policy.profile == Profile::Mock {
            // A chroot's own root is as the directory was made, setgid from the one above or not.
            entry = Entry {
                mode: 0o755,
                uid: 0,
                gid: 0,
                xattrs: Xattrs::default(),
                ..entry
            };
        }
        memory_bytes = memory_bytes.saturating_add(entry.memory_bytes());
        if memory_bytes > LARGEST_ENTRIES_BYTES {
            let reason = "what comes before has all the names and attributes that a tree may have";
            return Err(Error::Unpackable {
                path: shown_path(path),
                reason,
            });
        }
        if is_volatile {
            &mut volatile
        } else {
            &mut stable
        }
        .push(entry);
    }
    unify_groups(&mut stable);
    unify_groups(&mut volatile);
    Ok(Sides {
        stable: Tree::new(stable),
        volatile: Tree::new(volatile),
        mounts,
    })
}

/// Gives all names of an inode the owner and time that the first one has: what a policy says of paths, an inode cannot
/// have twice. `entries` are in path order.
fn unify_groups<C>(entries: &mut [Entry<C>]) {
    let mut of_group: HashMap<Group, (u32, u32, i64)> = HashMap::new();
    for entry in entries {
        if let Some(group) = entry.group {
            let first = *of_group
                .entry(group)
                .or_insert((entry.uid, entry.gid, entry.mtime_s));
            (entry.uid, entry.gid, entry.mtime_s) = first;
        }
    }
}

/// The content and the extended attributes of a file that was pending.
#[derive(Debug)]
pub struct Resolved<'f> {
    /// The file.
    pub path: &'f EntryPath,
    /// The hash of its content.
    pub content: ContentHash,
    /// The extended attributes that its entry gets.
    pub xattrs: Xattrs,
}

impl Sides<FileContent> {
    /// Gives the pending files what was read, `resolved` in path order. Fails with the path of a file that is pending still.
    pub fn resolve<'f>(
        self,
        resolved: impl Iterator<Item = Resolved<'f>>,
    ) -> std::result::Result<Sides, EntryPath> {
        let mut resolved = resolved.peekable();
        let stable = self.stable.try_map(|mut entry| {
            if entry.is_pending() {
                while resolved.next_if(|file| *file.path < entry.path).is_some() {}
                if let Some(file) = resolved.next_if(|file| *file.path == entry.path) {
                    entry.resolve(file.content, file.xattrs);
                }
            }
            entry.into_known()
        })?;
        Ok(Sides {
            stable,
            volatile: self.volatile.try_map(Entry::into_known)?,
            mounts: self.mounts,
        })
    }

    /// Returns the sides where every file has been read. Fails with the path of a pending file.
    pub fn into_known(self) -> std::result::Result<Sides, EntryPath> {
        self.resolve(std::iter::empty())
    }
}

impl<C> Sides<C>
where
    Entry<C>: From<Entry>,
{
    /// Takes what `below` has at each mount point, and beneath it, for what is under the mount: what cannot be seen
    /// has left the scope, and counts as unchanged and not as deleted.
    pub fn keep_below_mounts(&mut self, below: &Tree) {
        let is_kept = |at: &&EntryPath| below.position(at).is_some();
        let kept: Vec<&EntryPath> = self.mounts.iter().filter(is_kept).collect();
        if kept.is_empty() {
            return;
        }
        let mut entries = std::mem::take(&mut self.stable).into_entries();
        entries.retain(|entry| kept.binary_search(&&entry.path).is_err());
        let next_group = entries
            .iter()
            .filter_map(|entry| entry.group)
            .map(|Group(number)| number + 1)
            .max();
        for mount in kept {
            let hidden = below
                .entries()
                .iter()
                .filter(|entry| entry.path == *mount || entry.path.is_beneath(mount));
            let regroup = |Group(number): Group| Group(number + next_group.unwrap_or(0));
            entries.extend(hidden.map(|entry| {
                let mut entry = Entry::<C>::from(entry.clone());
                entry.group = entry.group.map(regroup);
                entry
            }));
        }
        self.stable = Tree::new(entries);
    }
}

fn refuse_unrecordable(path: &EntryPath, stat: &Stat) -> Result<()> {
    if path.name().starts_with(b".wh.") {
        return Err(Error::ReservedName(shown_path(path)));
    }
    match stat.kind {
        StatKind::CharDevice(Device { major: 0, minor: 0 }) => {
            Err(Error::WhiteoutDevice(shown_path(path)))
        }
        _ => Ok(()),
    }
}

fn entry_of(
    path: &EntryPath,
    stat: &Stat,
    facts: &Facts,
    group: Option<Group>,
    context: &Context,
) -> Entry<FileContent> {
    let kind = match stat.kind {
        StatKind::Directory => Kind::Directory,
        StatKind::File => Kind::File {
            size_bytes: stat.size_bytes,
            content: facts
                .content
                .map_or(FileContent::Pending, FileContent::Known),
        },
        StatKind::Symlink => Kind::Symlink(facts.target.clone()),
        StatKind::Fifo => Kind::Fifo,
        StatKind::CharDevice(device) => Kind::CharDevice(device),
        StatKind::BlockDevice(device) => Kind::BlockDevice(device),
    };
    let at_home = context
        .home
        .filter(|home| *path == home.path || path.is_beneath(&home.path));
    let mtime_s = mtime_of(path, stat, context);
    Entry {
        mode: if stat.kind == StatKind::Symlink {
            0o777
        } else {
            stat.mode
        },
        uid: at_home.map_or(stat.uid, |home| home.uid),
        gid: at_home.map_or(stat.gid, |home| home.gid),
        mtime_s,
        xattrs: recorded_xattrs(facts.xattrs.clone(), context.policy.profile),
        group,
        kind,
        path: path.clone(),
    }
}

/// Leaves out what is no part of the tree under this profile.
pub fn recorded_xattrs(xattrs: Xattrs, profile: Profile) -> Xattrs {
    xattrs.without(|name| profile.is_cache_xattr(name))
}

fn mtime_of(path: &EntryPath, stat: &Stat, context: &Context) -> i64 {
    let own = stat.mtime.seconds;
    let keeps = match context.policy.mtime {
        MtimeRule::Keep => return context.policy.epoch_s.map_or(own, |epoch| own.min(epoch)),
        MtimeRule::Package => {
            stat.kind != StatKind::Directory && context.vouched.vouches_for(path, own)
        }
        MtimeRule::Fixed => stat.kind == StatKind::File && path.name().ends_with(b".py"),
    };
    if keeps { own } else { context.policy.epoch_s() }
}

/// Numbers the inodes that have more than one name.
#[derive(Default)]
struct Groups(HashMap<(u64, u64), u32>);

impl Groups {
    fn of(&mut self, stat: &Stat) -> Option<Group> {
        if stat.nlink < 2 || stat.kind == StatKind::Directory {
            return None;
        }
        let next = self.0.len() as u32;
        Some(Group(
            *self.0.entry((stat.device, stat.inode)).or_insert(next),
        ))
    }
}

/// Returns the path as an error shows it: absolute inside the root.
pub(crate) fn shown_path(path: &EntryPath) -> PathBuf {
    let mut bytes = vec![b'/'];
    bytes.extend_from_slice(&path.slashed());
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::ContentHash;
    use crate::model::policy::package_mtimes::Gathering;
    use crate::model::stamp::Time;
    use crate::model::testing::{directory, file, linked, path};

    #[derive(Clone)]
    struct Owned {
        path: EntryPath,
        stat: Stat,
        facts: Facts,
        is_mount: bool,
    }

    fn seen(at: &str, kind: StatKind, mtime_s: i64) -> Owned {
        let stat = Stat {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            nlink: 1,
            device: 1,
            inode: 0,
            size_bytes: 0,
            mtime: Time {
                seconds: mtime_s,
                nanos: 999_999_999,
            },
            ctime: Time::default(),
        };
        let content = (kind == StatKind::File).then_some(ContentHash([0; 32]));
        Owned {
            path: path(at),
            stat,
            facts: Facts {
                content,
                ..Facts::default()
            },
            is_mount: false,
        }
    }

    fn sides(
        seen: Vec<Owned>,
        policy: &Policy,
        home: Option<&Home>,
        vouched: &Vouched,
    ) -> Result<Sides<FileContent>> {
        let seen = seen.iter().map(
            |Owned {
                 path,
                 stat,
                 facts,
                 is_mount,
             }| {
                let is_mount = *is_mount;
                Seen {
                    path,
                    stat,
                    facts,
                    is_mount,
                }
            },
        );
        normalise(
            seen,
            &Context {
                policy,
                rules: &policy.rules("bootstrap")?,
                home,
                vouched,
            },
        )
    }

    fn mtimes(policy: &Policy, seen: Vec<Owned>) -> Vec<i64> {
        let links = HashMap::new();
        let mut gathering = Gathering::new(&links);
        gathering.add(&[b"/"], [(0, &b"v"[..], 500)].into_iter(), |_, _| true);
        let vouched = gathering.finish();
        let sides = sides(seen, policy, None, &vouched).unwrap();
        sides
            .stable
            .entries()
            .iter()
            .map(|entry| entry.mtime_s)
            .collect()
    }

    fn four() -> Vec<Owned> {
        vec![
            seen("d", StatKind::Directory, 500),
            seen("m.py", StatKind::File, -1),
            seen("v", StatKind::File, 500),
            seen("w", StatKind::File, 500),
        ]
    }

    #[test]
    fn package_keeps_the_times_that_the_database_vouches_for() {
        let epoch = DEFAULT;
        assert_eq!(mtimes(&Policy::mock(), four()), [epoch, epoch, 500, epoch]);
    }

    #[test]
    fn fixed_keeps_the_times_of_python_sources() {
        let policy = Policy {
            mtime: MtimeRule::Fixed,
            epoch_s: Some(9),
            ..Policy::mock()
        };
        assert_eq!(mtimes(&policy, four()), [9, -1, 9, 9]);
    }

    #[test]
    fn keep_cuts_to_the_second_and_an_epoch_clamps_what_is_newer() {
        assert_eq!(mtimes(&Policy::plain(), four()), [500, -1, 500, 500]);
        let policy = Policy {
            epoch_s: Some(100),
            ..Policy::plain()
        };
        assert_eq!(mtimes(&policy, four()), [100, -1, 100, 100]);
    }

    const DEFAULT: i64 = crate::model::policy::DEFAULT_EPOCH_S;

    #[test]
    fn whiteout_names_and_whiteout_devices_are_refused_with_their_path() {
        let none = Vouched::default();
        for name in ["d/.wh.x", ".wh.", ".wh..wh..opq"] {
            let error = sides(
                vec![seen(name, StatKind::File, 0)],
                &Policy::plain(),
                None,
                &none,
            )
            .unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let device = StatKind::CharDevice(Device { major: 0, minor: 0 });
        assert!(sides(vec![seen("dev0", device, 0)], &Policy::plain(), None, &none).is_err());
    }

    #[test]
    fn the_home_goes_to_the_build_user_and_its_build_directory_is_left_out() {
        let home = Home {
            path: path("home/b"),
            uid: 1000,
            gid: 135,
        };
        let all = vec![
            seen("home", StatKind::Directory, 0),
            seen("home/b", StatKind::Directory, 0),
            seen("home/b/build", StatKind::Directory, 0),
            seen("home/b/build/x", StatKind::File, 0),
            seen("home/b/x", StatKind::File, 0),
        ];
        let sides = sides(all, &Policy::mock(), Some(&home), &Vouched::default()).unwrap();
        let owners: Vec<_> = sides
            .stable
            .entries()
            .iter()
            .map(|e| (e.path.to_string(), e.uid))
            .collect();
        assert_eq!(
            owners,
            [
                ("/home".into(), 1),
                ("/home/b".into(), 1000),
                ("/home/b/x".into(), 1000)
            ]
        );
    }

    #[test]
    fn what_the_package_manager_notes_on_its_files_is_left_out_under_mock() {
        let pair = |name: &str| (name.as_bytes().into(), b"v".as_slice().into());
        let mut fetched = seen("f", StatKind::File, 0);
        fetched.facts.xattrs =
            Xattrs::new(vec![pair("user.Librepo.checksum.mtime"), pair("user.mine")]);
        let names = |policy: &Policy| -> Vec<Vec<u8>> {
            let sides = sides(vec![fetched.clone()], policy, None, &Vouched::default()).unwrap();
            sides.stable.entries()[0]
                .xattrs
                .iter()
                .map(|(name, _)| name.to_vec())
                .collect()
        };
        assert_eq!(names(&Policy::mock()), [b"user.mine"]);
        assert_eq!(names(&Policy::plain()).len(), 2);
    }

    #[test]
    fn all_names_of_an_inode_have_the_owner_and_time_of_the_first() {
        let home = Home {
            path: path("home/b"),
            uid: 1000,
            gid: 135,
        };
        let mut all = vec![
            seen("a", StatKind::File, 500),
            seen("b.py", StatKind::File, 500),
            seen("home/b/x", StatKind::File, 500),
        ];
        all.iter_mut().for_each(|seen| seen.stat.nlink = 3);
        let policy = Policy {
            mtime: MtimeRule::Fixed,
            ..Policy::mock()
        };
        let sides = sides(all, &policy, Some(&home), &Vouched::default()).unwrap();
        let shown: Vec<_> = sides
            .stable
            .entries()
            .iter()
            .map(|e| (e.uid, e.gid, e.mtime_s))
            .collect();
        assert_eq!(shown, [(1, 2, DEFAULT); 3]);
    }

    #[test]
    fn what_a_mount_hides_stays_as_it_was_below() {
        let mut all = vec![
            seen("a", StatKind::Directory, 0),
            seen("b", StatKind::File, 0),
            seen("n", StatKind::Directory, 0),
        ];
        all.iter_mut()
            .filter(|seen| seen.path != path("b"))
            .for_each(|seen| seen.is_mount = true);
        let mut sides = sides(all, &Policy::plain(), None, &Vouched::default()).unwrap();
        let below = Tree::new(vec![
            Entry {
                mode: 0o1777,
                ..directory("a")
            },
            linked("a/x", 3),
            linked("a/y", 3),
            file("b", 7),
        ]);
        sides.keep_below_mounts(&below);
        let shown = |e: &Entry<FileContent>| (e.path.to_string(), e.mode, e.group.map(|g| g.0));
        let expected = [
            ("/a", 0o1777, None),
            ("/a/x", 0o644, Some(0)),
            ("/a/y", 0o644, Some(0)),
            ("/b", 0o644, None),
            ("/n", 0o644, None),
        ];
        assert_eq!(
            sides.stable.entries().iter().map(shown).collect::<Vec<_>>(),
            expected.map(|(p, m, g)| (p.to_owned(), m, g))
        );
    }

    #[test]
    fn what_is_beneath_a_volatile_path_is_volatile_and_links_do_not_cross() {
        let policy = Policy {
            volatile: vec!["/log".to_owned()],
            ..Policy::plain()
        };
        let mut all = vec![
            seen("log", StatKind::Directory, 0),
            seen("log/a", StatKind::File, 0),
            seen("log/b", StatKind::File, 0),
            seen("z", StatKind::File, 0),
        ];
        all[1..].iter_mut().for_each(|seen| seen.stat.nlink = 3);
        let sides = sides(all, &policy, None, &Vouched::default()).unwrap();
        let groups =
            |tree: &Tree<FileContent>| tree.entries().iter().map(|e| e.group).collect::<Vec<_>>();
        assert_eq!(
            groups(&sides.volatile),
            [None, Some(Group(0)), Some(Group(0))]
        );
        assert_eq!(groups(&sides.stable), [None]);
    }
}
