//! Images of others: hardlinks in any order, stores that have held such layers for long, and what else stands beside an image.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use common::image::image;
use common::{Bench, assert_same_tree, listed, sh, text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// An image whose hardlinked contents are under names that are not the first in path order, or that later members replace.
fn with_links(bench: &Bench) -> String {
    let at = bench.make("others");
    let layers = r#"[
        [("b", "file", b"hello"), ("a", "link", "b"), ("c", "link", "b"),
         ("big/z", "file", b"large" * 200000), ("big/m", "link", "big/z"),
         ("old", "file", b"one"), ("kept", "link", "old"), ("old", "file", b"two"),
         ("gone/x", "file", b"deep"), ("stays", "link", "gone/x"), ("gone", "file", b"flat")],
        [("y", "file", b"upper"), ("x", "link", "y"), (".wh.b", "file", b"")],
    ]"#;
    image(&at, layers);
    format!("oci:{}/layout", at.display())
}

/// What the files of that image hold, and which of their names are one inode.
fn expected() -> Vec<(&'static str, String, Option<&'static str>)> {
    let all =
        [("a", "hello", Some("c")), ("kept", "one", None), ("old", "two", None), ("stays", "deep", None)];
    let mut all: Vec<_> =
        all.into_iter().map(|(name, content, other)| (name, content.to_owned(), other)).collect();
    all.push(("gone", "flat".to_owned(), None));
    all.push(("big/m", "large".repeat(200_000), Some("big/z")));
    all.push(("x", "upper".to_owned(), Some("y")));
    all
}

fn assert_holds(directory: &Path) {
    use std::os::unix::fs::MetadataExt;
    for (name, content, other) in expected() {
        assert_eq!(std::fs::read_to_string(directory.join(name)).unwrap(), content, "{name}");
        if let Some(other) = other {
            let inode = |name: &str| std::fs::metadata(directory.join(name)).unwrap().ino();
            assert_eq!(inode(name), inode(other), "{name} and {other}");
        }
    }
    assert!(!directory.join("b").exists());
}

fn restored(bench: &Bench, snapshot: &str, name: &str) -> PathBuf {
    let to = bench.path(name);
    bench.json(["restore", snapshot, to.to_str().unwrap()]);
    to
}

#[test]
fn a_content_is_found_under_whatever_name_a_layer_of_others_has_it() {
    let bench = Bench::new();
    let source = with_links(&bench);
    bench.json(["import", &source, "--series", "s"]);
    for (name, content, other) in expected() {
        for name in [Some(name), other].into_iter().flatten() {
            assert!(bench.prints(0, ["cat", "s", &format!("/{name}")]) == content, "{name}");
        }
    }
    let out = restored(&bench, "s", "out");
    assert_holds(&out);
    assert_eq!(bench.compared(["s".to_owned(), source.clone()])["different"], false);
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    let sha256 =
        text(&std::process::Command::new("sha256sum").arg(out.join("kept")).output().unwrap().stdout);
    let found = bench.json(["find", "--read-layers", "--sha256", sha256.split(' ').next().unwrap()]);
    assert!(found.to_string().contains("/kept"), "{found}");
    // Recorded again, nothing differs and nothing was read.
    let again = bench.snapshot(&out, "--profile plain --stage bootstrap");
    assert_eq!(again["files_read"], 0);
    assert!(common::layers(&again).iter().all(|layer| layer.ends_with("reused")), "{again}");
}

#[test]
fn what_differs_within_hardlinked_files_of_others_is_shown() {
    let bench = Bench::new();
    let source = with_links(&bench);
    bench.json(["import", &source, "--series", "s"]);
    let out = restored(&bench, "s", "out");
    sh(&out, "for f in a kept stays x; do echo other > new; cat new > $f; done; rm new");
    for side in ["s", &source] {
        let shown = bench.prints(1, ["diff", side, &format!("dir:{}", out.display()), "--content", "/*"]);
        for line in ["-hello", "-one", "-deep", "-upper", "+other"] {
            assert!(shown.contains(line), "{side}: {line}: {shown}");
        }
    }
}

#[test]
fn squashing_and_exporting_layers_of_others_keep_their_links() {
    let bench = Bench::new();
    let source = with_links(&bench);
    bench.json(["import", &source, "--series", "s"]);
    let other = Bench::new();
    let archive = bench.path("image.tar");
    bench.json(["export", "1", "-o", archive.to_str().unwrap()]);
    other.json(["import", &format!("oci-archive:{}", archive.display()), "--series", "t"]);
    assert_holds(&restored(&other, "t", "out"));
    assert_eq!(other.json(["verify", "--deep"])["sound"], true);
    let before = listed(&restored(&bench, "1", "before"));
    bench.json(["squash", "1", "--compression", "gzip"]);
    let after = restored(&bench, "s", "after");
    assert_holds(&after);
    assert_same_tree(&listed(&after), &before);
    assert_same_tree(&bench.unpacked("s"), &before);
}

#[test]
fn one_s_own_snapshots_lie_over_layers_of_others() {
    for compression in ["zstd", "gzip", "none"] {
        let bench = Bench::new();
        bench.json(["import", &with_links(&bench), "--series", "s"]);
        let root = restored(&bench, "1", "root");
        sh(&root, "echo own > own; rm c; ln a another; touch -d @1700000000 own");
        let options = format!("--profile plain --stage built --run r1 --compression {compression}");
        let made = bench.snapshot(&root, &options);
        assert!(common::layers(&made)[0].ends_with("reused"), "{made}");
        let out = restored(&bench, "s", "out");
        assert_same_tree(&listed(&out), &listed(&root));
        assert_eq!(bench.prints(0, ["cat", "s", "/kept"]), "one");
        bench.json(["squash", "s"]);
        assert_same_tree(&listed(&restored(&bench, "s", "squashed")), &listed(&root));
        assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    }
}

/// A store that holds such layers since before anything could read them.
fn old_store() -> Bench {
    let bench = Bench::new();
    let fixture = Path::new(common::REPOSITORY).join("fixtures/stores/of-others.tar.gz");
    sh(&bench.path(""), &format!("tar -xzf {}", fixture.display()));
    bench
}

#[test]
fn a_store_that_has_held_layers_of_others_for_long_is_read_without_importing_again() {
    let bench = old_store();
    let fixture = Path::new(common::REPOSITORY).join("fixtures/stores/of-others.json");
    let expected: Value = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    assert_eq!(bench.json(["ls", "others"]), expected);
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    let large = "large\n".repeat(50_000);
    for snapshot in ["1", "2"] {
        for (path, content) in [
            ("/a", "hello\n"),
            ("/b", "hello\n"),
            ("/dir/m", &large),
            ("/kept", "one\n"),
            ("/old", "two\n"),
            ("/stays", "deep\n"),
            ("/w", "upper\n"),
        ] {
            assert!(bench.prints(0, ["cat", snapshot, path]) == content, "{path} of {snapshot}");
        }
    }
    let before = listed(&restored(&bench, "2", "before"));
    bench.json(["squash", "2"]);
    assert_same_tree(&listed(&restored(&bench, "3", "after")), &before);
    let next = bench.snapshot(&bench.path("before"), "--series others --stage built --profile plain");
    assert_eq!(next["files_read"], 0);
}

#[test]
fn damage_to_a_layer_of_others_is_named_and_nothing_else_is() {
    let bench = old_store();
    let base = bench.json(["show", "1"])["layers"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    let blob = bench.store().join("blobs/sha256").join(&base);
    let mut bytes = std::fs::read(&blob).unwrap();
    let at = bytes.windows(4).position(|four| four == b"deep").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let output = bench.command(["verify", "--deep", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["findings"].as_array().unwrap().len(), 1, "{found}");
    assert!(found["findings"][0].to_string().contains(&base), "{found}");
    assert_eq!(found["findings"][0]["snapshots"], json!([1]));
}
