//! A root that changes under us: whoever runs in it swaps directories for links, files for FIFOs and devices, links for
//! files, and rewrites files, while it is recorded. Nothing outside is opened, nothing hangs, nothing is mixed, and what was
//! learnt meanwhile does not lie afterwards.

use crate::common::layers::{Layout, layers_of, tree_of};
use crate::common::tree::{Kind, differences, walked};
use crate::common::{Bench, sh, text};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What no layer may hold, and no call may read.
const SECRET: &str = "the content of the canary";

/// Length of the files that are rewritten: many blocks, so that reading takes a while.
const LONG_BYTES: usize = 3 << 20;

/// A pair of names that are exchanged, again and again.
const SWAPS: [(&str, &str); 6] = [
    ("dir", "x-link-to-outside"),
    ("file", "x-fifo"),
    ("plain", "x-zero"),
    ("link", "x-file"),
    ("deep/a", "x-link-to-deep"),
    ("content", "x-other-content"),
];

/// Canaries outside, and a root with each of the pairs. What a link leads to outside has the names that the directory has.
const MADE: &str = "mkdir -p outside/deep root/dir/below root/deep/a/b
    for f in outside/one outside/below outside/deep/b; do echo 'the content of the canary' > $f; done
    mkfifo outside/pipe; ln -s outside/one outside/two
    echo 1 > root/dir/one; echo 2 > root/dir/two; echo 3 > root/dir/below/three; echo 4 > root/dir/pipe
    ln -s ../outside root/x-link-to-outside
    echo file > root/file; mkfifo root/x-fifo; echo plain > root/plain; mknod root/x-zero c 1 5
    ln -s ../outside/one root/link; echo linked > root/x-file
    echo b > root/deep/a/b/c; ln -s ../outside/deep root/x-link-to-deep
    head -c 3145728 /dev/zero | tr '\\0' a > root/content; head -c 3145728 /dev/zero | tr '\\0' b > root/x-other-content
    cp root/content root/rewritten";

/// A root that is under attack while this is there.
struct Attack {
    root: PathBuf,
    /// Which of the swaps is made; those past them rewrite a file; `QUIET` does nothing.
    what: AtomicUsize,
    /// Whether the one who attacks pauses for a random while between two blows.
    pauses: AtomicBool,
    blows: AtomicUsize,
    idle: AtomicUsize,
    stop: AtomicBool,
}

const REWRITE: usize = SWAPS.len();
const QUIET: usize = SWAPS.len() + 1;

impl Attack {
    /// Attacks until it is told to stop.
    fn run(&self) {
        let mut random = 0x2545_f491_4f6c_dd1du64;
        let rewritten = std::fs::OpenOptions::new()
            .write(true)
            .open(self.root.join("rewritten"))
            .unwrap();
        let contents = [vec![b'a'; LONG_BYTES], vec![b'b'; LONG_BYTES]];
        while !self.stop.load(Ordering::SeqCst) {
            let what = self.what.load(Ordering::SeqCst);
            match SWAPS.get(what) {
                Some((one, other)) => {
                    let (one, other) = (self.root.join(one), self.root.join(other));
                    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                }
                None if what == REWRITE => {
                    let blow = self.blows.load(Ordering::SeqCst);
                    rewritten.write_all_at(&contents[blow % 2], 0).unwrap();
                }
                None => drop(self.idle.fetch_add(1, Ordering::SeqCst)),
            }
            self.blows
                .fetch_add(usize::from(what != QUIET), Ordering::SeqCst);
            if self.pauses.load(Ordering::SeqCst) {
                // xorshift: up to 24 milliseconds, of which a run takes a few.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let pause = Duration::from_micros(random % 24_000);
                let began = Instant::now();
                while began.elapsed() < pause && !self.stop.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            }
        }
    }

    /// Changes what is done; returns when nothing of what was done before is under way, and the new has begun.
    fn turn_to(&self, what: usize, pauses: bool) {
        self.what.store(QUIET, Ordering::SeqCst);
        let idle = self.idle.load(Ordering::SeqCst);
        while self.idle.load(Ordering::SeqCst) < idle + 2 {
            std::thread::yield_now();
        }
        self.pauses.store(pauses, Ordering::SeqCst);
        let blows = self.blows.load(Ordering::SeqCst);
        self.what.store(what, Ordering::SeqCst);
        while what != QUIET && self.blows.load(Ordering::SeqCst) == blows {
            std::thread::yield_now();
        }
    }
}

/// Sees every opening and reading of the canaries.
struct Watch(std::os::fd::OwnedFd);

impl Watch {
    /// Watches all that is outside, and the inodes in the root that nobody may open, wherever they are moved.
    fn on(directory: &Path) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        // A watch on a directory tells of what is in it, too.
        for path in ["outside", "outside/deep", "root/x-fifo", "root/x-zero"] {
            inotify::add_watch(
                &watch,
                directory.join(path),
                WatchFlags::OPEN | WatchFlags::ACCESS,
            )
            .unwrap();
        }
        Self(watch)
    }

    /// The number of events since the last time.
    fn events(&self) -> usize {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut events = 0;
        while reader.next().is_ok() {
            events += 1;
        }
        events
    }
}

/// Records the root, which must not take longer than a minute.
fn record(bench: &Bench) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "60"]);
    command
        .arg(env!("CARGO_BIN_EXE_rootstrata"))
        .arg("--store")
        .arg(bench.store());
    command
        .args([
            "snapshot",
            "--series",
            "s",
            "--profile",
            "plain",
            "--json",
            "-q",
        ])
        .arg(bench.path("root"));
    let output = command.output().unwrap();
    let stderr = text(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(2) => {
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(
                stderr.contains(bench.path("root").to_str().unwrap()),
                "{stderr}"
            );
            assert!(stderr.contains("changed while it was read"), "{stderr}");
        }
        code => panic!("{code:?}: {stderr}"),
    }
    output
}

/// Wants each file of the image to be one that there was, whole: no secret, no mixture.
fn check_image(bench: &Bench, manifest: &str) {
    let store = bench.store();
    for layer in layers_of(manifest, &Layout(&store)) {
        assert!(
            !layer
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes()),
            "a secret is in a layer"
        );
    }
    let short: BTreeMap<&[u8], &[u8]> = [
        ("one", "1\n"),
        ("two", "2\n"),
        ("three", "3\n"),
        ("pipe", "4\n"),
        ("c", "b\n"),
    ]
    .map(|(name, content)| (name.as_bytes(), content.as_bytes()))
    .into();
    for (path, node) in tree_of(manifest, &Layout(&store)) {
        let Kind::File(content) = node.kind else {
            continue;
        };
        let name = path.rsplit(|b| *b == 0).next().unwrap();
        let shown = path.escape_ascii();
        match name {
            b"file" | b"x-fifo" => assert_eq!(content, b"file\n"),
            b"plain" | b"x-zero" => assert_eq!(content, b"plain\n"),
            b"link" | b"x-file" => assert_eq!(content, b"linked\n"),
            b"content" | b"x-other-content" => {
                assert!(
                    content.len() == LONG_BYTES && content.iter().all(|b| *b == content[0]),
                    "{shown}"
                );
            }
            // One that is rewritten in place is, at any moment, new up to a point and old from there.
            b"rewritten" => {
                let changes = content.windows(2).filter(|two| two[0] != two[1]).count();
                assert!(
                    content.len() == LONG_BYTES && changes <= 1,
                    "{changes} changes in {shown}"
                );
            }
            name => assert_eq!(content, short[name], "{shown}"),
        }
    }
}

#[test]
fn a_root_that_is_swapped_while_it_is_read_leads_nowhere_and_is_recorded_whole_or_not() {
    let bench = Bench::new();
    sh(&bench.path(""), MADE);
    let watch = Watch::on(&bench.path(""));
    // The watch works: this is an opening and a reading.
    std::fs::read(bench.path("outside/one")).unwrap();
    std::fs::File::open(bench.path("root/x-zero")).unwrap();
    assert!(watch.events() >= 3);
    let attack = Attack {
        root: bench.path("root"),
        what: QUIET.into(),
        pauses: false.into(),
        blows: 0.into(),
        idle: 0.into(),
        stop: false.into(),
    };
    let (mut recorded, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst); // also where the test fails
            }
        }
        let _stop = Stop(&attack.stop);
        scope.spawn(|| attack.run());
        for round in 0..240 {
            // Now in a tight loop, now at a moment that nobody can foresee.
            attack.turn_to(round % QUIET, round / QUIET % 2 == 1);
            let output = record(&bench);
            if output.status.success() {
                recorded += 1;
                let snapshot: Value = serde_json::from_slice(&output.stdout).unwrap();
                check_image(&bench, snapshot["manifest_digest"].as_str().unwrap());
            } else {
                refused += 1;
            }
            if round % 20 == 19 {
                // When it holds still, what was learnt under attack is no lie.
                attack.turn_to(QUIET, false);
                let output = record(&bench);
                let snapshot: Value = serde_json::from_slice(&output.stdout).unwrap();
                let tree = tree_of(
                    snapshot["manifest_digest"].as_str().unwrap(),
                    &Layout(&bench.store()),
                );
                let wrong = differences(&tree, &walked(&bench.path("root")));
                assert!(wrong.is_empty(), "round {round}\n{}", wrong.join("\n"));
            }
        }
    });
    // All of it has happened: runs that went through between the blows, and runs that did not.
    println!(
        "{recorded} recorded, {refused} refused, {} blows",
        attack.blows.load(Ordering::SeqCst)
    );
    assert!(
        recorded >= 5 && refused >= 5,
        "{recorded} recorded, {refused} refused"
    );
    assert_eq!(
        watch.events(),
        0,
        "a canary, the FIFO or the device was opened"
    );
}
