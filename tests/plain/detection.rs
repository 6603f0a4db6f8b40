//! What counts as a change, where layered snapshots are known to miss one or to see one that is none.

use crate::common::PLAIN;
use crate::common::case::Case;
use crate::common::layers::members;
use crate::common::{layers, settle, sh};
use rootstrata::error::Error;
use rootstrata::layer::codec::Compression;
use rootstrata::layer::pack::{Contents, Opened, pack};
use rootstrata::model::digest::ContentHash;
use rootstrata::model::plan::layer::LayerContent;
use rootstrata::model::tree::Tree;
use rootstrata::model::tree::entry::{Entry, Kind, Xattrs};
use rootstrata::model::tree::path::EntryPath;
use rootstrata::ops::monitor::{Monitor, Phase};
use rootstrata::ops::record::{Options, snapshot};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn the_newest_file_is_read_no_more_once_the_clock_has_passed_it() {
    let case = Case::new("echo x > f; truncate -s 200M huge; printf end >> huge");
    let read = |_| {
        case.bench.snapshot(&case.root, PLAIN)["bytes_read"]
            .as_u64()
            .unwrap()
    };
    assert!(read(()) > 200 << 20);
    settle(&case.root);
    read(());
    assert_eq!([read(()), read(())], [0, 0]);
}

#[test]
fn a_file_is_read_once_whatever_its_names() {
    // Hashed first, as a copy of what is known, and packed first, since nothing is.
    for (bytes, is_late) in [(300_000, false), (20_000_000, true)] {
        let case = Case::new(&format!(
            "head -c {bytes} /dev/urandom > b; mkdir d; for n in 1 2 3 4 5 6 7 8 9; do ln b d/$n; ln b a$n; done
            find . -exec touch -d @1000000000 {{}} +"
        ));
        settle(&case.root);
        let read = |root: &Path| {
            case.bench.snapshot(root, PLAIN)["bytes_read"]
                .as_u64()
                .unwrap()
        };
        assert_eq!(read(&case.root), if is_late { bytes } else { 2 * bytes });
        let copy = case.bench.path("copy");
        sh(&case.bench.path(""), "cp -a root copy");
        settle(&copy);
        assert_eq!(read(&copy), bytes);
        // A name that has become another file since is one.
        sh(&copy, "rm d/5; echo 5 > d/5");
        settle(&copy);
        let snapshot = case.bench.snapshot(&copy, PLAIN);
        // The inode that lost a name once, and the new file once to hash and once to pack it, or once for both.
        let read = (
            snapshot["files_read"].as_u64(),
            snapshot["bytes_read"].as_u64(),
        );
        let of_new = if is_late { 1 } else { 2 };
        assert_eq!(
            read,
            (Some(1 + of_new), Some(bytes + 2 * of_new)),
            "{snapshot}"
        );
    }
}

#[test]
fn an_inode_that_another_path_has_now_vouches_for_nothing() {
    let case = Case::new("echo aaa > a; echo bbb > b; echo ccc > c; touch -d @5 a b c");
    case.after("", PLAIN);
    // Same sizes and times all round; the number of a removed inode is soon given again.
    let change = "mv a x; mv b a; mv x b; rm c; echo ddd > d; touch -d @5 d .";
    let snapshot = case.after(change, "--stage next --profile plain");
    assert_eq!(case.names(&snapshot), ["./", "a", "b", ".wh.c", "d"]);
}

/// Adds a file to the root before its directories are looked at once more.
struct Meddler {
    root: PathBuf,
    scans: AtomicUsize,
}

impl Monitor for Meddler {
    fn begin(&self, phase: Phase, _: Option<u64>) {
        if phase == Phase::Scan && self.scans.fetch_add(1, Ordering::Relaxed) == 1 {
            std::fs::write(self.root.join("d/new"), "new\n").unwrap();
        }
    }

    fn advance(&self, _: u64) {}
    fn end(&self, _: Phase) {}
    fn note(&self, _: &str) {}
}

#[test]
fn files_that_a_vain_attempt_has_read_are_counted() {
    let case = Case::new("mkdir d; echo a > d/a; echo b > d/b");
    settle(&case.root);
    let meddler = Meddler {
        root: case.root.clone(),
        scans: AtomicUsize::new(0),
    };
    let options = Options {
        series: Some("s".to_owned()),
        stage: Some("bootstrap".to_owned()),
        ..Options::default()
    };
    let outcome = snapshot(&case.bench.store(), &case.root, &options, &meddler).unwrap();
    // Two files are hashed in vain, then the new one, and all three are packed.
    assert_eq!((outcome.files_read, outcome.bytes_read), (6, 16));
}

/// A file that is another when it is packed than when it was hashed.
struct Elusive(&'static [u8]);

impl Contents for Elusive {
    fn open(&self, entry: &Entry, content: &ContentHash) -> rootstrata::error::Result<Opened<'_>> {
        if self.0.is_empty() {
            Err(Error::Changed(self.full_path(&entry.path)))
        } else {
            Ok(Opened::Hashed(Box::new(self.0), *content))
        }
    }

    fn full_path(&self, _: &EntryPath) -> PathBuf {
        PathBuf::from("/chroot/file")
    }

    fn was_read(&self, _: u64) {}
}

#[test]
fn a_file_that_changes_before_it_is_packed_is_never_padded_cut_or_mixed() {
    let hashed = b"the content as it was hashed";
    let file = Entry {
        path: EntryPath::from_slashed(b"file").unwrap(),
        kind: Kind::File {
            size_bytes: hashed.len() as u64,
            content: ContentHash(*blake3::hash(hashed).as_bytes()),
        },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        xattrs: Xattrs::default(),
        group: None,
    };
    let tree = Tree::new(vec![file]);
    let packed = |now: &'static [u8]| {
        let mut out = Vec::new();
        let content = LayerContent::whole(&tree);
        let done = pack(
            &content,
            &Elusive(now),
            Compression::None,
            NonZeroUsize::MIN,
            &mut out,
            Path::new("out"),
        );
        done.map(|_| members(&out)[0].content.clone())
    };
    // What was hashed is what is packed, also of a file that has grown since.
    assert_eq!(packed(hashed).unwrap(), hashed);
    assert_eq!(
        packed(b"the content as it was hashed, and more").unwrap(),
        hashed
    );
    for now in [
        &b"the content as it was"[..],
        b"",
        b"the content as it was HASHED",
    ] {
        let error = packed(now).unwrap_err().to_string();
        assert_eq!(error, "/chroot/file changed while it was read");
    }
}

#[test]
fn under_mock_a_directory_whose_time_alone_changed_is_no_layer() {
    let case = Case::new("mkdir -p d/e; echo x > d/e/f");
    case.bench
        .snapshot(&case.root, "--profile mock --stage bootstrap");
    sh(&case.root, "touch -d @77 d . d/e");
    assert_eq!(
        layers(
            &case
                .bench
                .snapshot(&case.root, "--profile mock --stage next")
        ),
        ["base reused"]
    );
}
