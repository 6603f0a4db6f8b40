//! Power cuts: filesystems that are shut down, so that what was not synced is lost, and machines that are booted again. What
//! was acknowledged is there, and what the next run says agrees with the root.
//!
//! `ROOTSTRATA_CUTS` is the number of cuts at random moments on each filesystem.

use crate::common::disk::{Cut, Disk, alone};
use crate::common::layers::{Layout, tree_of};
use crate::common::tree::{Tree, differences, walked};
use crate::common::writes::Logged;
use crate::common::{Bench, settle, sh, store, text};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const FILESYSTEMS: [&str; 2] = ["ext4", "xfs"];

/// Some files whose blocks are on the disk, and then others' content in them that is not. By size and times, a power cut leaves the
/// inodes as they are.
fn rewrite_in_place(root: &Path) -> Tree {
    sh(
        root,
        "mkdir d; for n in a d/b d/c; do head -c 100000 /dev/zero | tr '\\0' o > $n; done; ln d/b e; sync -f .",
    );
    sh(
        root,
        "for n in a d/b; do head -c 100000 /dev/zero | tr '\\0' n | dd of=$n bs=100000 conv=notrunc status=none; done",
    );
    settle(root);
    walked(root)
}

/// What stat tells of each file.
fn stats(root: &Path) -> Vec<[i64; 4]> {
    let of = |name| {
        let found = std::fs::symlink_metadata(root.join(name)).unwrap();
        [
            found.ino() as i64,
            found.size() as i64,
            found.mtime_nsec(),
            found.ctime_nsec(),
        ]
    };
    ["a", "d/b", "d/c", "e"].map(of).to_vec()
}

fn assert_same(found: &Tree, expected: &Tree, what: &str) {
    let wrong = differences(found, expected);
    assert!(wrong.is_empty(), "{what}\n{}", wrong.join("\n"));
}

fn snapshot(disk: &Disk, store: &Path, root: &Path, more: &str) -> Option<(i64, Tree)> {
    let mut arguments = vec![
        "snapshot",
        root.to_str().unwrap(),
        "--series",
        "s",
        "--profile",
        "plain",
    ];
    arguments.extend(more.split_whitespace());
    let json = disk.json(store, &arguments)?;
    let tree = tree_of(json["manifest_digest"].as_str().unwrap(), &Layout(store));
    Some((json["id"].as_i64().unwrap(), tree))
}

/// Records the root of a disk, cuts the power, and wants the files to have other contents than what was recorded although nothing
/// tells. `None` where the cut took nothing: somebody has synced the whole machine meanwhile.
fn recorded_and_lost(disk: &mut Disk, store: &Path) -> Option<PathBuf> {
    let root = disk.path("root");
    std::fs::create_dir(&root).unwrap();
    let before = rewrite_in_place(&root);
    let (_, tree) = snapshot(disk, store, &root, "").unwrap();
    assert_same(&tree, &before, "before the cut");
    let (_, again) = snapshot(disk, store, &root, "").unwrap();
    assert_same(&again, &before, "before the cut, by the stamps");
    let told = stats(&root);
    disk.cut(Cut::Contents);
    assert_eq!(stats(&root), told, "the cut shows");
    (!differences(&walked(&root), &before).is_empty()).then_some(root)
}

/// On each filesystem, with the store on it as well and elsewhere, after a cut that took something.
fn everywhere(prepare: &str, check: impl Fn(&mut Disk, &Path, &Path, &str)) {
    for kind in FILESYSTEMS {
        for place in ["there", "elsewhere"] {
            let lost = (0..20).any(|_| {
                let bench = Bench::new();
                let mut disk = Disk::new(&bench.path(""), kind);
                let store = if place == "there" {
                    disk.path("store")
                } else {
                    bench.store()
                };
                sh(disk.at(), prepare);
                let root = recorded_and_lost(&mut disk, &store);
                root.iter().for_each(|root| {
                    check(
                        &mut disk,
                        &store,
                        root,
                        &format!("{kind}, the store is {place}"),
                    )
                });
                root.is_some()
            });
            assert!(lost, "{kind}: no cut took anything");
        }
    }
}

#[test]
fn a_snapshot_after_a_power_cut_has_what_came_to_the_disk() {
    alone(
        "power::a_snapshot_after_a_power_cut_has_what_came_to_the_disk",
        || {
            everywhere("", |disk, store, root, what| {
                // The same stage, so that nothing seems to have changed; then by the stamps that this one has left.
                for _ in 0..2 {
                    let (_, tree) = snapshot(disk, store, root, "").unwrap();
                    assert_same(&tree, &walked(root), what);
                }
                disk.run(store, ["verify", "--deep"]);
            });
        },
    );
}

#[test]
fn a_directory_that_is_compared_after_a_power_cut_is_what_came_to_the_disk() {
    alone(
        "power::a_directory_that_is_compared_after_a_power_cut_is_what_came_to_the_disk",
        || {
            everywhere("", |disk, store, root, what| {
                let of = format!("dir:{}", root.display());
                let output = disk
                    .command(store, ["diff", "s", &of, "--json"])
                    .output()
                    .unwrap();
                assert_eq!(
                    output.status.code(),
                    Some(1),
                    "{what}: {}",
                    text(&output.stdout)
                );
                let said = text(&output.stdout);
                assert!(
                    said.contains("d/b") && !said.contains("d/c"),
                    "{what}: {said}"
                );
            });
        },
    );
}

#[test]
fn a_restore_after_a_power_cut_makes_good_what_was_lost() {
    alone(
        "power::a_restore_after_a_power_cut_makes_good_what_was_lost",
        || {
            everywhere("", |disk, store, root, what| {
                let recorded = snapshot_tree(disk, store, 1);
                for verb in ["over what was recorded", "over what was restored"] {
                    disk.run(store, ["restore", "1", root.to_str().unwrap(), "--exact"]);
                    assert_same(&walked(root), &recorded, &format!("{what}, {verb}"));
                    disk.cut(Cut::Contents);
                }
                // A restore is not synced: the next run sees what is there, and makes it right.
                let (_, tree) = snapshot(disk, store, root, "--stage other").unwrap();
                assert_same(&tree, &walked(root), what);
                disk.run(store, ["restore", "1", root.to_str().unwrap(), "--exact"]);
                assert_same(&walked(root), &recorded, what);
                let (_, tree) = snapshot(disk, store, root, "--stage other").unwrap();
                assert_same(&tree, &recorded, what);
            });
        },
    );
}

#[test]
fn a_run_that_fails_after_a_power_cut_leaves_no_stamp_of_what_it_has_not_read() {
    alone(
        "power::a_run_that_fails_after_a_power_cut_leaves_no_stamp_of_what_it_has_not_read",
        || {
            everywhere(
                "head -c 20000000 /dev/urandom > large; sync -f .",
                |disk, store, root, what| {
                    // In a series of its own all is new, and read when it is packed; which fails.
                    let arguments = [
                        "snapshot",
                        root.to_str().unwrap(),
                        "--series",
                        "t",
                        "--profile",
                        "plain",
                    ];
                    let command = disk.command(store, arguments);
                    let mut limited = Command::new("bash");
                    limited
                        .args([
                            "-c",
                            "mv \"$0\"/large \"$0\"/root; ulimit -f 4000; exec \"$@\"",
                        ])
                        .arg(disk.at());
                    limited.arg(command.get_program()).args(command.get_args());
                    assert!(!limited.output().unwrap().status.success(), "{what}");
                    let (_, tree) = snapshot(disk, store, root, "").unwrap();
                    assert_same(&tree, &walked(root), what);
                },
            );
        },
    );
}

fn snapshot_tree(disk: &Disk, store: &Path, id: i64) -> Tree {
    let json = disk.json(store, &["show", &id.to_string()]).unwrap();
    tree_of(json["manifest_digest"].as_str().unwrap(), &Layout(store))
}

#[test]
fn what_is_known_to_be_on_the_disk_is_not_read_again_after_a_boot() {
    alone(
        "power::what_is_known_to_be_on_the_disk_is_not_read_again_after_a_boot",
        || {
            let bench = Bench::new();
            let mut disk = Disk::new(&bench.path(""), "ext4");
            let (root, store) = (disk.path("root"), bench.store());
            std::fs::create_dir(&root).unwrap();
            sh(&root, "for n in a b c; do echo $n > $n; done");
            // As if they had been made long ago: what is young, nobody syncs.
            let image = bench.path("ext4.image");
            disk.while_unmounted(|| {
                let fields = ["ctime", "mtime"].map(|time| {
                    let set = |name| format!("set_inode_field {name} {time} @1000000000\n");
                    ["/root", "/root/a", "/root/b", "/root/c"].map(set).concat()
                });
                std::fs::write(bench.path("fields"), fields.concat()).unwrap();
                sh(
                    &bench.path(""),
                    &format!(
                        "PATH=$PATH:/usr/sbin:/sbin debugfs -w -f fields {}",
                        image.display()
                    ),
                );
            });
            let read = |disk: &Disk, waits_kib: u32| {
                disk.memory(&format!("Dirty: {waits_kib} kB\nWriteback: 0 kB\n"));
                let arguments = [
                    "snapshot",
                    root.to_str().unwrap(),
                    "--series",
                    "s",
                    "--profile",
                    "plain",
                    "--stats",
                ];
                disk.json(&store, &arguments).unwrap()["files_read"]
                    .as_u64()
                    .unwrap()
            };
            assert_eq!(read(&disk, 0), 6, "hashed and packed");
            disk.boot();
            assert_eq!(read(&disk, 0), 3, "nothing was known to be on the disk");
            assert_eq!(read(&disk, 1 << 30), 0, "too much waits to be written");
            disk.boot();
            assert_eq!(read(&disk, 0), 3);
            assert_eq!(read(&disk, 0), 0, "and synced");
            disk.boot();
            assert_eq!(read(&disk, 0), 0);
            // What has changed since is read, and after another boot that alone.
            sh(&root, "echo changed > b");
            settle(&root);
            assert!(read(&disk, 0) > 0);
            disk.boot();
            assert_eq!(read(&disk, 0), 1);
        },
    );
}

/// What was acknowledged until the power was cut.
#[derive(Clone, Default)]
struct Acknowledged {
    snapshots: BTreeMap<i64, Tree>,
    /// Archives and layouts, with a hash of all their bytes.
    outputs: BTreeMap<PathBuf, String>,
    /// A prune was begun: what it was to remove may be gone.
    prunes: bool,
}

fn ids(disk: &Disk, store: &Path) -> Option<Vec<i64>> {
    let log = disk.json(store, &["log"])?;
    Some(
        log["snapshots"]
            .as_array()?
            .iter()
            .filter_map(|one| one["id"].as_i64())
            .collect(),
    )
}

/// A hash of all files at a path; `None` where something cannot be read.
fn hash_of(path: &Path) -> Option<String> {
    let script = "find . -type f ! -name '*.lock' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
    let (directory, script) = if path.is_dir() {
        (path, script.to_owned())
    } else {
        (
            path.parent().unwrap(),
            format!("sha256sum '{}'", path.file_name()?.to_str()?),
        )
    };
    let mut command = Command::new("bash");
    let output = command
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(directory)
        .output()
        .unwrap();
    output.status.success().then(|| text(&output.stdout))
}

impl Acknowledged {
    /// Does one thing after another until one fails, and calls `tell` whenever something is acknowledged.
    fn work(
        &mut self,
        disk: &Disk,
        bench: &Bench,
        rounds: Range<u32>,
        tell: &mut dyn FnMut(&Self),
    ) -> Option<()> {
        let (root, store) = (disk.path("root"), disk.path("store"));
        let run = |arguments: &[&str]| disk.json(&store, arguments).map(drop);
        for round in rounds {
            let change = format!(
                "mkdir -p root/d; cd root; head -c 300000 /dev/urandom > d/{round}; echo {round} > d/same; rm -f d/{}
                 printf %04d {round} | dd of=d/inplace conv=notrunc status=none; ln -f d/same linked",
                round.saturating_sub(3)
            );
            let mut shell = Command::new("bash");
            let changed = shell
                .args(["-euc", &change])
                .current_dir(disk.at())
                .output()
                .unwrap();
            changed.status.success().then_some(())?;
            let tree = std::panic::catch_unwind(|| walked(&root)).ok()?;
            let arguments = [
                "snapshot",
                root.to_str()?,
                "--series",
                "s",
                "--profile",
                "plain",
            ];
            let id = disk.json(&store, &arguments)?["id"].as_i64()?;
            self.snapshots.insert(id, tree);
            tell(self);
            let archive = disk.path(&format!("{round}.tar"));
            run(&["export", "s", "-o", archive.to_str()?])?;
            self.outputs.insert(archive.clone(), hash_of(&archive)?);
            tell(self);
            let layout = disk.path(&format!("layout-{round}"));
            run(&["export", "s", "--format", "oci-dir", "-o", layout.to_str()?])?;
            self.outputs.insert(layout.clone(), hash_of(&layout)?);
            tell(self);
            run(&["restore", "s", disk.path("restored").to_str()?, "--exact"])?;
            let imported = bench.path("imported.tar");
            let before = ids(disk, &store)?;
            run(&[
                "import",
                &format!("oci-archive:{}", imported.display()),
                "--series",
                "i",
            ])?;
            let after = ids(disk, &store)?;
            let new = after.iter().filter(|id| !before.contains(id));
            self.snapshots
                .extend(new.map(|id| (*id, walked(&bench.path("imported")))));
            self.prunes = true;
            tell(self);
            run(&["prune", "--keep-last", "2"])?;
            let left = ids(disk, &store)?;
            self.snapshots.retain(|id, _| left.contains(id));
            self.prunes = false;
            tell(self);
        }
        Some(())
    }

    /// Wants the archives and layouts to be there.
    fn check_outputs(&self, what: &str) {
        for (path, hash) in &self.outputs {
            assert_eq!(
                hash_of(path).as_ref(),
                Some(hash),
                "{what}: {}",
                path.display()
            );
        }
    }

    /// Wants the next export to replace what is not whole.
    fn export_again(&self, disk: &Disk) {
        let store = disk.path("store");
        for (name, format) in [("0.tar", "oci-archive"), ("layout-0", "oci-dir")] {
            let output = disk.path(name);
            disk.run(
                &store,
                [
                    "export",
                    "s",
                    "--format",
                    format,
                    "-o",
                    output.to_str().unwrap(),
                ],
            );
            let of = format!(
                "{}:{}",
                if format == "oci-dir" { "oci" } else { format },
                output.display()
            );
            disk.run(&store, ["import", &of, "--series", "again"]);
        }
    }

    /// Wants all of it to be there, and the next run to agree with the root.
    fn check(&self, disk: &Disk, bench: &Bench, what: &str) {
        let (root, store) = (disk.path("root"), disk.path("store"));
        self.check_outputs(what);
        if store.join("rootstrata.sqlite").exists() && !self.snapshots.is_empty() {
            let there = store::check(&store);
            for (id, tree) in &self.snapshots {
                if there.contains(id) {
                    assert_same(
                        &snapshot_tree(disk, &store, *id),
                        tree,
                        &format!("{what}: snapshot {id}"),
                    );
                } else {
                    assert!(
                        self.prunes,
                        "{what}: snapshot {id} is lost, {there:?} are there"
                    );
                }
            }
            disk.run(&store, ["verify", "--deep"]);
        } else {
            assert!(self.snapshots.is_empty(), "{what}: the store is lost");
        }
        std::fs::create_dir_all(&root).unwrap();
        for more in ["", "", "--stage next"] {
            let (_, tree) = snapshot(disk, &store, &root, more)
                .unwrap_or_else(|| panic!("{what}: no snapshot"));
            assert_same(&tree, &walked(&root), &format!("{what}: the next run"));
        }
        // What was not acknowledged is done again.
        let mut again = Self::default();
        assert!(
            again.work(disk, bench, 90..91, &mut |_| {}).is_some(),
            "{what}: nothing goes on"
        );
        disk.run(&store, ["verify", "--deep"]);
        store::check(&store);
    }
}

/// A bench with an archive to import.
fn bench_with_archive() -> Bench {
    let bench = Bench::new();
    let imported = bench.make("imported");
    sh(
        &imported,
        "mkdir d; for n in 1 2 3; do head -c 200000 /dev/urandom > d/$n; done; ln d/1 linked",
    );
    bench.snapshot(&imported, "--profile plain --series i");
    bench.json([
        "export",
        "i",
        "-o",
        bench.path("imported.tar").to_str().unwrap(),
    ]);
    bench
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    alone(
        "power::what_was_acknowledged_is_there_after_a_power_cut",
        || {
            for kind in FILESYSTEMS {
                for cut in [Cut::All, Cut::Contents] {
                    let bench = bench_with_archive();
                    let mut disk = Disk::new(&bench.path(""), kind);
                    let mut acknowledged = Acknowledged::default();
                    acknowledged.work(&disk, &bench, 0..3, &mut |_| {}).unwrap();
                    disk.cut(cut);
                    acknowledged.check(&disk, &bench, &format!("{kind}, {cut:?}"));
                }
            }
        },
    );
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut_at_any_moment() {
    alone(
        "power::what_was_acknowledged_is_there_after_a_power_cut_at_any_moment",
        || {
            let cuts = std::env::var("ROOTSTRATA_CUTS").map_or(2, |cuts| cuts.parse().unwrap());
            let mut found = (0, 0);
            for kind in FILESYSTEMS {
                for number in 0..cuts {
                    let bench = bench_with_archive();
                    let mut disk = Disk::new(&bench.path(""), kind);
                    let mut acknowledged = Acknowledged::default();
                    let cut = [Cut::All, Cut::Contents][number % 2];
                    let moment = Duration::from_millis(random(1500));
                    let at = disk.at().to_owned();
                    std::thread::scope(|scope| {
                        let cutter = scope.spawn(move || {
                            std::thread::park_timeout(moment); // nobody unparks it
                            Disk::lose_power(&at, cut);
                        });
                        acknowledged.work(&disk, &bench, 0..50, &mut |_| {});
                        cutter.join().unwrap();
                    });
                    disk.boot();
                    acknowledged.check(&disk, &bench, &format!("{kind}, {cut:?} after {moment:?}"));
                    found = (
                        found.0 + acknowledged.snapshots.len(),
                        found.1 + acknowledged.outputs.len(),
                    );
                }
            }
            println!(
                "{} cuts: {} snapshots and {} outputs were acknowledged",
                2 * cuts,
                found.0,
                found.1
            );
        },
    );
}

#[test]
fn what_was_acknowledged_is_there_wherever_the_writes_to_a_btrfs_are_cut() {
    alone(
        "power::what_was_acknowledged_is_there_wherever_the_writes_to_a_btrfs_are_cut",
        || {
            let cuts = std::env::var("ROOTSTRATA_CUTS").map_or(2, |cuts| cuts.parse().unwrap());
            let bench = bench_with_archive();
            let image = bench.path("empty");
            sh(
                &bench.path(""),
                "truncate -s 192M empty; PATH=$PATH:/usr/sbin:/sbin mkfs.btrfs -q empty",
            );
            let mut logged = Logged::new(&bench.path(""), &image);
            let disk = Disk::with_image(&bench.path(""), "btrfs", logged.device.clone());
            let mut told = vec![(0, Acknowledged::default())];
            let mut tell = |now: &Acknowledged| told.push((logged.entries().len(), now.clone()));
            Acknowledged::default()
                .work(&disk, &bench, 0..3, &mut tell)
                .unwrap();
            disk.unmount();
            logged.close();
            let entries = logged.entries();
            // Right after something was acknowledged, and anywhere, with some of the writes that no flush came after.
            let some = (0..cuts).map(|_| told[random(told.len() as u64) as usize].0);
            let anywhere = (0..3 * cuts).map(|_| random(entries.len() as u64 + 1) as usize);
            for count in some.chain(anywhere).collect::<Vec<_>>() {
                let (_, acknowledged) = told.iter().rev().find(|(at, _)| *at <= count).unwrap();
                let replayed = bench.path("replayed");
                let of_ten = random(11);
                logged.replay(&entries, count, &replayed, || random(10) < of_ten);
                let disk = Disk::with_image(&bench.path(""), "btrfs", replayed);
                let what = format!(
                    "btrfs after {count} of {} writes, {of_ten} of ten not flushed",
                    entries.len()
                );
                acknowledged.check(&disk, &bench, &what);
                disk.unmount();
            }
        },
    );
}

#[test]
fn a_store_of_which_a_power_cut_has_left_the_journal_alone_is_made() {
    for left in [
        "rootstrata.sqlite-journal",
        "rootstrata.sqlite-wal",
        "rootstrata.sqlite-shm",
    ] {
        for content in ["", "\0\0\0\0 not a journal"] {
            let bench = Bench::new();
            std::fs::create_dir(bench.store()).unwrap();
            std::fs::write(bench.store().join(left), content).unwrap();
            bench.snapshot(&bench.make("root"), "--profile plain");
            assert_eq!(store::check(&bench.store()), [1]);
        }
    }
}

#[test]
fn an_export_that_was_acknowledged_is_there_after_a_power_cut() {
    alone(
        "power::an_export_that_was_acknowledged_is_there_after_a_power_cut",
        || {
            for (kind, cut) in FILESYSTEMS
                .iter()
                .flat_map(|kind| [(kind, Cut::All), (kind, Cut::Contents)])
            {
                let bench = bench_with_archive();
                let mut disk = Disk::new(&bench.path(""), kind);
                let mut acknowledged = Acknowledged::default();
                acknowledged.work(&disk, &bench, 0..2, &mut |_| {}).unwrap();
                disk.cut(cut);
                acknowledged.check_outputs(&format!("{kind}, {cut:?}"));
                acknowledged.export_again(&disk);
            }
        },
    );
}
