//! What is mounted is what was recorded, and nothing is left behind, however a mount ends.

use crate::common::image::image;
use crate::common::registry::FaultyRegistry;
use crate::common::tree::walked;
use crate::common::{Bench, PLAIN_S, one_error, sh};
use crate::shared::restore::{Case, assert_same};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Everything that a layer can hold.
const TREE: &str = "
    mkdir -m 2775 d; mkdir -m 0700 d/private; mkdir -m 1777 tmp; mkdir -p deep/a/b/c
    echo one > d/one; echo two > d/private/two; : > empty; : > d/kept_empty; ln d/kept_empty d/hollow2
    head -c 30000000 /dev/urandom > large; truncate -s 9M holes; printf end >> holes; seq 100000 > medium
    ln d/one d/uno; ln d/one deep/a/eins; ln -s ../etc/passwd d/link; ln -s /nowhere 'dangling link'; ln d/link d/link2
    mkfifo -m 0640 fifo; mknod -m 0666 null c 1 3; mknod disk b 7 9; mknod big c 300 70000; ln null null2
    cp /bin/true suid; chown 12:34 suid; chmod 6755 suid; chown -h 56:78 d/link; chown 9:9 deep/a
    cp /bin/true capable; setcap cap_net_raw+ep capable; setfattr -n user.note -v 'a b' d/one; setfattr -n user.empty d
    printf x > \"$(printf 'new\\nline')\"; printf x > \"$(printf '\\377\\376')\"; printf x > -rf; printf x > ' '
    for i in $(seq 3000); do echo $i > deep/a/b/c/$i; done
    touch -h -d @-5 d/link; touch -d @0 empty; touch -d @4000000000.7 large; touch -d @1000000000 deep/a/b d d/private
    chmod 0444 deep/a/eins; chmod 0555 deep/a; chmod 0 d/private/two";

fn chroot(name: &str) -> PathBuf {
    let chroots = std::env::var("ROOTSTRATA_CHROOTS").unwrap_or_else(|_| {
        panic!("ROOTSTRATA_CHROOTS is not set: give the chroots of `fixtures/chroots/make OUT small`, or run scripts/test")
    });
    Path::new(&chroots).join(name)
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A mount that is there.
struct Mount {
    process: Child,
    at: PathBuf,
}

impl Mount {
    /// Mounts below a bench, and waits until the mount is there; `arguments` are split at spaces.
    fn new(bench: &Bench, arguments: &str) -> Self {
        let at = bench.make("mnt");
        let mut command = bench.command(["mount"]);
        let command = command.args(arguments.split_whitespace()).arg(&at);
        let process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut mount = Self { process, at };
        mount.wait_until("it is mounted", |mount| is_mounted(&mount.at));
        mount
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert_eq!(self.process.try_wait().unwrap(), None, "{what}");
            assert!(begun.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).unwrap();
    }

    /// Wants the process to end with success and nothing mounted, and returns what was said.
    fn ended(mut self) -> String {
        let begun = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the process stays");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        let stderr = self.process.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: {said}");
        assert!(!is_mounted(&self.at), "{said}");
        assert_eq!(std::fs::read_dir(&self.at).unwrap().count(), 0);
        said
    }

    fn interrupted(self) -> String {
        self.signal(Signal::INT);
        self.ended()
    }
}

impl Drop for Mount {
    /// A failed test leaves nothing mounted either.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
        let _ = self.process.wait();
    }
}

fn is_mounted(at: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let name = format!(" {} ", at.canonicalize().unwrap_or(at.to_owned()).display());
    mounts.lines().any(|line| line.contains(&name))
}

/// The blobs of a store, the longest first.
fn blobs(bench: &Bench) -> Vec<PathBuf> {
    let files = std::fs::read_dir(bench.store().join("blobs/sha256")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.metadata().unwrap().len()));
    files
}

#[test]
fn a_mounted_snapshot_is_what_was_recorded_in_every_compression() {
    for compression in ["zstd:1", "zstd:9", "gzip", "none"] {
        let case = Case::new("mkdir below; echo 1 > below/1; echo 2 > below/2; ln below/2 below/3");
        sh(&case.root, TREE);
        sh(&case.root, "rm below/1; echo 4 > below/4");
        case.record(&format!("{PLAIN_S} --compression {compression}"));
        let mount = Mount::new(&case.bench, "s");
        assert_same(&walked(&mount.at), &case.expected());
        for (name, links) in [
            ("d/one", 3),
            ("empty", 1),
            ("", 6),
            ("deep/a", 3),
            ("d/link2", 2),
        ] {
            let found = std::fs::symlink_metadata(mount.at.join(name)).unwrap();
            assert_eq!(found.nlink(), links, "{name}");
            assert_eq!(found.mtime_nsec(), 0);
        }
        sh(
            &mount.at,
            "test $(stat -f -c %l .) = 255; ! touch new 2> /dev/null; ! chmod 7 suid 2> /dev/null",
        );
        let from_the_middle = format!(
            "tail -c 7000001 large | cmp - <(tail -c 7000001 '{}/large')",
            case.root.display()
        );
        sh(&mount.at, &from_the_middle);
        mount.interrupted();
    }
}

#[test]
fn layers_of_others_and_trees_without_directories_are_mounted() {
    let bench = Bench::new();
    image(
        &bench.path(""),
        "[[('a/b/c', 'file', b'one'), ('a/b/c', 'file', b'two'), ('x', 'file', b'hidden'), ('l', 'link', 'x')],
          [('x', 'file', b'seen'), ('y/z', 'file', b'deep')]]",
    );
    let source = format!("oci:{}", bench.path("layout").display());
    bench.prints(0, ["import", &source, "--series", "s", "--stage", "s"]);
    let mount = Mount::new(&bench, "s");
    sh(
        &mount.at,
        "test $(cat a/b/c) = two; test $(cat x) = seen; test $(cat y/z) = deep; test $(cat l) = hidden",
    );
    mount.interrupted();
}

#[test]
fn a_damaged_layer_gives_an_error_and_no_wrong_bytes() {
    let case = Case::new(
        "head -c 20000000 /dev/urandom > a; head -c 20000000 /dev/urandom > b; echo small > c",
    );
    let mount = Mount::new(&case.bench, "s");
    let layer = &blobs(&case.bench)[0];
    let mut file = OpenOptions::new().write(true).open(layer).unwrap();
    file.seek(SeekFrom::Start(1_000_000)).unwrap();
    file.write_all(&[0x55; 64]).unwrap();
    let read = std::fs::read(mount.at.join("a"));
    assert_eq!(read.unwrap_err().raw_os_error(), Some(5));
    sh(
        &mount.at,
        &format!("cmp b '{0}/b'; cmp c '{0}/c'", case.root.display()),
    );
    let said = mount.interrupted();
    assert!(said.contains("/a: ") && said.contains("damaged"), "{said}");
}

#[test]
fn the_store_is_free_while_mounted_and_what_is_pruned_stays_readable() {
    let case = Case::new("head -c 9000000 /dev/urandom > a; echo 1 > b");
    let expected = case.expected();
    let mount = Mount::new(&case.bench, "1");
    sh(&case.root, "head -c 9000000 /dev/urandom > a");
    case.record(&format!("{PLAIN_S} --fresh"));
    case.bench.prints(0, ["rm", "1", "--no-wait"]);
    assert_eq!(case.bench.ids(), [2]);
    assert_same(&walked(&mount.at), &expected);
    mount.interrupted();
}

#[test]
fn a_mount_ends_with_umount_and_with_signals_even_if_somebody_has_a_file_open() {
    let case = Case::new("echo 1 > a");
    let mount = Mount::new(&case.bench, "s");
    sh(&case.root, &format!("umount '{}'", mount.at.display()));
    mount.ended();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mount = Mount::new(&case.bench, "s");
        let _open = File::open(mount.at.join("a")).unwrap();
        mount.signal(signal);
        mount.ended();
    }
    // What was mounted there before stays.
    let at = case.bench.make("mnt");
    sh(&at, "mount -t tmpfs tmpfs .");
    let mut mount = Mount::new(&case.bench, "s");
    mount.wait_until("the file is there", |mount| mount.at.join("a").exists());
    sh(&case.root, &format!("umount '{}'", at.display()));
    assert!(mount.process.wait().unwrap().success());
    assert!(is_mounted(&at));
    sh(&case.root, &format!("umount '{}'", at.display()));
}

#[test]
fn all_snapshots_are_behind_series_stage_and_time() {
    let case = Case::new("echo 1 > a; ln a b");
    let one = case.expected();
    sh(&case.root, "echo 2 > a; chmod 700 .");
    case.record("--profile plain --stage t");
    let mount = Mount::new(&case.bench, "--all");
    let list = |at: &str| sh(&mount.at, &format!("ls {at}"));
    assert_eq!(list("."), "s\n");
    assert_eq!(list("s"), "s\nt\n");
    let first = list("s/s");
    assert!(
        first.starts_with("20") && first.ends_with("Z-1\n"),
        "{first}"
    );
    let [first, second] = ["s/s/*-1", "s/t/*-2"].map(|at| sh(&mount.at, &format!("echo {at}")));
    let [first, second] = [first, second].map(|at| mount.at.join(at.trim()));
    assert_same(&walked(&second), &case.expected());
    assert_same(&walked(&first), &one);
    sh(&first, "cd ../..; test \"$(ls)\" = \"$(printf 's\\nt')\"");
    case.bench.prints(0, ["rm", "1", "--no-wait"]);
    assert_same(&walked(&first), &one);
    mount.interrupted();
}

#[test]
fn what_cannot_be_mounted_on_or_is_not_there_is_told_in_one_line() {
    let case = Case::new("echo 1 > a");
    let full = case.root.to_str().unwrap();
    let file = case.root.join("a");
    let missing = case.bench.path("missing");
    for (at, said) in [
        (full, "is not empty"),
        (file.to_str().unwrap(), "is not a directory"),
        (missing.to_str().unwrap(), "No such file"),
    ] {
        let error = case.bench.fails(2, ["mount", "s", at]);
        assert!(error.contains(said), "{error}");
    }
    let at = case.bench.make("empty");
    let at = at.to_str().unwrap();
    for snapshot in ["none", "s~5", "77"] {
        let error = case.bench.fails(2, ["mount", snapshot, at]);
        assert!(error.contains("no s"), "{error}");
    }
    let output = case.bench.command(["mount", "a@@b", at]).output().unwrap();
    assert!(one_error(output, 2).contains("bad snapshot"));
}

/// What only a registry has is read there, by ranges: little of a layer for a file, and nothing of it to look around.
#[test]
fn layers_of_a_registry_are_read_as_far_as_somebody_reads_files() {
    let case = Case::new(concat!(
        "head -c 20000000 /dev/urandom > a; head -c 20000000 /dev/urandom > b; echo small > c; ",
        "mkdir d; for i in $(seq 200); do echo $i > d/$i; done",
    ));
    let expected = case.expected();
    let registry = FaultyRegistry::start();
    let image = format!("docker://{}/r", registry.host());
    case.bench.json(["push", "s", &format!("{image}:t")]);
    let image = format!("{image}:t");
    let bench = Bench::new();
    bench.json(["pull", "--lazy", &image]);
    registry.clear_log();
    let sent = || -> u64 {
        let log = registry.log();
        let ranges = log.iter().filter_map(|one| one.range.as_deref());
        let lengths = ranges.map(|range| {
            let (first, last) = range
                .strip_prefix("bytes=")
                .unwrap()
                .split_once('-')
                .unwrap();
            last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1
        });
        lengths.sum()
    };

    let mount = Mount::new(&bench, "1");
    sh(&mount.at, "find . | wc -l; test $(readlink -f c)");
    assert_eq!(registry.requests(), [""; 0]);
    assert_eq!(sh(&mount.at, "cat c d/7"), "small\n7\n");
    assert!(sent() < 3_000_000, "{}", sent());
    assert_same(&walked(&mount.at), &expected);
    let all = sent();
    assert!((40_000_000..44_000_000).contains(&all), "{all}");
    assert_same(&walked(&mount.at), &expected);
    assert_eq!(sent(), all, "what was read once is here");
    mount.interrupted();
    // The store has got nothing of it.
    assert_eq!(bench.json(["show", "1"])["remote_layers"], 1);

    let mount = Mount::new(&Bench::new(), &image);
    assert_same(&walked(&mount.at), &expected);
    mount.interrupted();
}

#[test]
fn a_registry_that_gives_other_bytes_or_none_gives_an_error_and_no_wrong_bytes() {
    let case = Case::new("head -c 3000000 /dev/urandom > a; echo small > c");
    let registry = FaultyRegistry::start();
    let image = format!("docker://{}/r:t", registry.host());
    case.bench.json(["push", "s", &image]);
    let bench = Bench::new();
    bench.json(["pull", "--lazy", &image]);
    let layer = bench.json(["show", "1"])["layers"][0]["digest"].clone();
    let layer = layer.as_str().unwrap().to_owned();
    {
        let mut state = registry.state();
        let blob = state.repo("r").blobs.get_mut(&layer).unwrap();
        for byte in &mut blob[1_000_000..1_000_064] {
            *byte ^= 0x55;
        }
    }
    let mount = Mount::new(&bench, "1");
    let read = std::fs::read(mount.at.join("a"));
    assert_eq!(read.unwrap_err().raw_os_error(), Some(5));
    registry.state().repo("r").blobs.remove(&layer);
    let said = mount.interrupted();
    assert!(said.contains("/a: "), "{said}");
    let mount = Mount::new(&bench, "1");
    let read = std::fs::read(mount.at.join("c"));
    assert_eq!(read.unwrap_err().raw_os_error(), Some(5));
    mount.interrupted();
}

/// What people mount it for.
#[test]
fn rpm_reads_packages_out_of_a_mounted_chroot_and_diff_compares_it() {
    let chroot = chroot("boot-day0");
    let bench = Bench::new();
    let options = ["--series", "s", "--stage", "bootstrap"];
    let recorded = bench.json([&["snapshot", chroot.to_str().unwrap()][..], &options].concat());
    let mount = Mount::new(&bench, "s");
    let packages = |root: &Path| {
        let query = "rpm --root \"$PWD\" --dbpath /var/lib/rpm -qa | sort";
        sh(root, query)
    };
    let listed = packages(&mount.at);
    assert_eq!(
        listed.lines().count() as u64,
        recorded["packages"].as_u64().unwrap()
    );
    assert_eq!(listed, packages(&chroot));
    let usr = chroot.join("usr").display().to_string();
    sh(&mount.at, &format!("diff -r --no-dereference usr '{usr}'"));
    mount.interrupted();
}
