//! Which entries a root gives under its policy.

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
    vouched: &PackageMtimes,
) -> Result<StableVolatile<FileContent>> {
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
    let none = PackageMtimes::default();
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
    let sides = sides(all, &Policy::mock(), Some(&home), &PackageMtimes::default()).unwrap();
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
        let sides = sides(
            vec![fetched.clone()],
            policy,
            None,
            &PackageMtimes::default(),
        )
        .unwrap();
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
    let sides = sides(all, &policy, Some(&home), &PackageMtimes::default()).unwrap();
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
    let mut sides = sides(all, &Policy::plain(), None, &PackageMtimes::default()).unwrap();
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
    let sides = sides(all, &policy, None, &PackageMtimes::default()).unwrap();
    let groups =
        |tree: &Tree<FileContent>| tree.entries().iter().map(|e| e.group).collect::<Vec<_>>();
    assert_eq!(
        groups(&sides.volatile),
        [None, Some(Group(0)), Some(Group(0))]
    );
    assert_eq!(groups(&sides.stable), [None]);
}
