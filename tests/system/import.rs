//! Images that come back into a store, and layers that become one.

use crate::common::image::image;
use crate::common::{Bench, install_with_python, rootstrata, sh, store, succeeds, text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A root with packages, two runs of two stages.
fn two_runs(bench: &Bench, more: &str) -> PathBuf {
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin usr/lib/sysimage/rpm etc var/log; head -c 60000 /dev/urandom > usr/bin/tool; ln usr/bin/tool usr/bin/hard
         ln -s tool usr/bin/soft; echo root:x:0:0::/:/bin/sh > etc/passwd; echo log > var/log/a; setfattr -n user.a -v b etc/passwd",
    );
    let packages = json!([{"name": "tool", "version": "1", "release": "1", "arch": "x86_64", "files": ["/usr/bin/tool"]}]);
    install_with_python(&root, &packages);
    for run in ["one", "two"] {
        sh(&root, &format!("rm -rf deps; echo {run} > etc/run"));
        bench.snapshot(
            &root,
            &format!("--series S+1 --stage bootstrap --run {run} {more}"),
        );
        sh(
            &root,
            &format!("mkdir deps; head -c 9000 /dev/urandom > deps/{run}; rm -f usr/bin/soft"),
        );
        bench.snapshot(
            &root,
            &format!("--series S+1 --stage deps-installed --run {run} {more}"),
        );
        sh(&root, "ln -s tool usr/bin/soft");
    }
    root
}

fn other() -> Bench {
    Bench::new()
}

/// What is recorded of a snapshot, without what a store alone has.
fn shown(bench: &Bench, snapshot: &str) -> Value {
    let mut shown = bench.json(["show", snapshot]);
    for field in ["id", "time", "parent", "run"] {
        shown.as_object_mut().unwrap().remove(field);
    }
    for layer in shown["layers"].as_array_mut().unwrap() {
        layer.as_object_mut().unwrap().remove("reused");
    }
    shown
}

fn listed(bench: &Bench, snapshot: &str) -> String {
    bench.prints(0, ["ls", snapshot])
}

fn archive(bench: &Bench, arguments: &str, name: &str) -> String {
    let path = bench.path(name);
    let words = ["export"]
        .into_iter()
        .chain(arguments.split(' '))
        .chain(["-o", path.to_str().unwrap()]);
    bench.json(words);
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_was_exported_comes_back_as_it_was() {
    let bench = Bench::new();
    two_runs(&bench, "");
    let other = other();
    let path = archive(&bench, "4 --all-stages", "all.tar");
    let taken = other.json(["import", &format!("oci-archive:{path}")]);
    let stages: Vec<&str> = taken["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["stage"].as_str().unwrap())
        .collect();
    assert_eq!(stages, ["bootstrap", "deps-installed"]);
    assert_eq!(store::check(&other.store()), [1, 2]);
    for (here, there) in [("3", "1"), ("4", "2")] {
        assert_eq!(shown(&bench, here), shown(&other, there));
        assert_eq!(listed(&bench, here), listed(&other, there));
    }
    // The later stage is over the earlier one again, in one run.
    let second = other.json(["show", "2"]);
    assert_eq!(
        (&second["parent"], &second["run"]),
        (&json!(1), &other.json(["show", "1"])["run"])
    );
    assert!(
        other
            .prints(0, ["which", "2", "/usr/bin/tool"])
            .contains("tool-1-1"),
        "whose a path is, is known"
    );
    // Exporting gives the same file, and so does the way over a layout.
    assert_eq!(
        std::fs::read(archive(&other, "2 --all-stages", "all.tar")).unwrap(),
        std::fs::read(&path).unwrap()
    );
    let again = other.json(["import", &format!("oci-archive:{path}:s--1:deps-installed")]);
    assert_eq!(
        (&again["images"][0]["was_there"], &again["bytes_written"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(other.ids().len(), 2);
    assert_eq!(other.json(["verify", "--deep"])["sound"], true);
}

#[test]
fn a_snapshot_over_an_imported_one_reuses_its_layers() {
    let bench = Bench::new();
    let root = two_runs(&bench, "");
    let other = other();
    other.json([
        "import",
        &format!(
            "oci-archive:{}",
            archive(&bench, "4 --all-stages", "all.tar")
        ),
    ]);
    sh(&root, "rm usr/bin/soft");
    let made = other.snapshot(&root, "--series S+1 --stage deps-installed");
    let layers = crate::common::layers(&made);
    assert!(
        layers
            .iter()
            .filter(|layer| layer.ends_with("reused"))
            .count()
            >= 3,
        "{layers:?}"
    );
}

#[test]
fn a_thin_archive_needs_its_base_in_the_store() {
    let bench = Bench::new();
    two_runs(&bench, "");
    let other = other();
    let thin = format!("oci-archive:{}", archive(&bench, "4 --since 2", "thin.tar"));
    let said = other.fails(2, ["import", &thin]);
    assert!(
        said.contains("is neither in it nor in the store: import the archive first"),
        "{said}"
    );
    assert_eq!(other.ids(), [0_i64; 0]);
    other.json([
        "import",
        &format!("oci-archive:{}", archive(&bench, "2", "whole.tar")),
    ]);
    let taken = other.json(["import", &thin]);
    assert_eq!(
        taken["images"][0]["manifest_digest"],
        bench.json(["show", "4"])["manifest_digest"]
    );
    assert_eq!(listed(&other, "2"), listed(&bench, "4"));
    store::check(&other.store());
}

#[test]
fn a_lost_database_is_rebuilt_from_the_layout() {
    let bench = Bench::new();
    let root = two_runs(&bench, "");
    let before: Vec<Value> = ["1", "2", "3", "4"]
        .map(|id| bench.json(["show", id]))
        .into();
    let trees: Vec<String> = ["1", "2", "3", "4"].map(|id| listed(&bench, id)).into();
    let index = std::fs::read(bench.store().join("index.json")).unwrap();
    sh(&bench.store(), "rm rootstrata.sqlite*");
    let said = bench.fails(2, ["log"]);
    let store = bench.store();
    let source = format!("oci:{}", store.to_str().unwrap());
    assert!(
        said.contains(&format!("rootstrata import {source} records again")),
        "{said}"
    );
    let taken = bench.json(["import", &source]);
    assert_eq!(
        (
            taken["images"].as_array().unwrap().len(),
            &taken["bytes_written"]
        ),
        (4, &json!(0))
    );
    assert_eq!(store::check(&store), [1, 2, 3, 4]);
    for (id, (before, tree)) in before.iter().zip(trees).enumerate() {
        let id = (id + 1).to_string();
        let mut now = bench.json(["show", &id]);
        now["sockets"] = before["sockets"].clone(); // nothing tells of them
        assert_eq!(&now, before);
        assert_eq!(listed(&bench, &id), tree);
    }
    assert_eq!(std::fs::read(store.join("index.json")).unwrap(), index);
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    sh(&root, "rm usr/bin/soft");
    let next = bench.snapshot(&root, "--series S+1 --stage deps-installed --run two");
    assert!(
        crate::common::layers(&next)
            .iter()
            .filter(|layer| layer.ends_with("reused"))
            .count()
            >= 3
    );
}

#[test]
fn a_rebuild_takes_what_is_whole_and_names_what_is_not() {
    let bench = Bench::new();
    two_runs(&bench, "");
    let delta = crate::common::layer(&bench.json(["show", "4"]), "delta")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    sh(
        &bench.store(),
        &format!("rm rootstrata.sqlite*; echo other > blobs/sha256/{delta}"),
    );
    let source = format!("oci:{}", bench.store().display());
    let output = bench.command(["import", &source]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("left out: S+1@deps-installed"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(bench.ids(), [3, 2, 1]);
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    bench.json(["import", &source]);
}

#[test]
fn an_image_that_the_database_has_lost_is_recorded_again() {
    let bench = Bench::new();
    two_runs(&bench, "");
    let source = format!("oci:{}", bench.store().display());
    sh(&bench.path(""), "cp -a store/rootstrata.sqlite old");
    let root = bench.path("root");
    sh(&root, "echo more > etc/more");
    let lost = bench.snapshot(&root, "--series S+1 --stage bootstrap --run three");
    sh(
        &bench.path(""),
        "rm store/rootstrata.sqlite*; mv old store/rootstrata.sqlite",
    );
    assert!(bench.fails(2, ["log"]).contains("it lacks the image"));
    bench.json(["import", &source]);
    assert_eq!(
        bench.json(["show", "S+1@bootstrap"])["manifest_digest"],
        lost["manifest_digest"]
    );
    store::check(&bench.store());
}

/// An image as others make them: opaque directories, whiteouts, and no parents. One of its layers has `member` alone, a tuple
/// of Python.
fn of_others(bench: &Bench, member: &str) -> String {
    let at = bench.make("others");
    let layers = r#"[
        [("z/late", "file", b"late"), ("d", "dir", None), ("d/a", "file", b"a" * 3000), ("d/b", "file", b"b"),
         ("deep/er/file", "file", b"no parents"), ("lib", "soft", "usr/lib"), ("h", "file", b"hard")],
        [("d/.wh..wh..opq", "file", b""), ("d/c", "file", b"c"), (".wh.z", "file", b"")],
        [MEMBER],
        [(".wh.d", "file", b""), ("d", "dir", None), ("d/new", "file", b"new")],
    ]"#;
    image(&at, &layers.replace("MEMBER", member));
    format!("oci:{}/layout", at.display())
}

#[test]
fn an_image_of_others_is_recorded_by_what_its_layers_do() {
    let bench = Bench::new();
    let source = of_others(&bench, "");
    let said = bench.fails(2, ["import", &source]);
    assert!(said.contains("give --series and --stage"), "{said}");
    let taken = bench.json(["import", &source, "--series", "fedora", "--stage", "base"]);
    let paths: Vec<String> = bench.json(["ls", "1"])["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        [
            "/",
            "/d",
            "/d/new",
            "/deep",
            "/deep/er",
            "/deep/er/file",
            "/h",
            "/lib"
        ]
    );
    assert_eq!(bench.prints(0, ["cat", "1", "/d/new"]), "new");
    assert_eq!(bench.prints(0, ["cat", "1", "/deep/er/file"]), "no parents");
    let same = bench.compared(["1".to_owned(), source]);
    assert_eq!(same["different"], false, "as diff reads it: {same}");
    assert_eq!(taken["images"][0]["layers"].as_array().unwrap().len(), 4);
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    let exported = bench.path("again.tar");
    let out = bench.json(["export", "1", "-o", exported.to_str().unwrap()]);
    assert_eq!(
        out["manifest_digest"],
        taken["images"][0]["manifest_digest"]
    );
}

#[test]
fn a_link_across_layers_is_refused_as_no_layer_of_a_store_holds_one() {
    let bench = Bench::new();
    let source = of_others(&bench, "('e/copy', 'link', 'h')");
    let said = bench.fails(2, ["import", &source, "--series", "x"]);
    assert!(
        said.ends_with("/e/copy: is a link to a file of a layer below"),
        "{said}"
    );
    assert_eq!(bench.ids(), [0_i64; 0]);
}

#[test]
fn squashing_gives_one_layer_with_the_same_tree_on_which_others_build() {
    let bench = Bench::new();
    // By packages, none would build on it.
    let root = two_runs(&bench, "--compression gzip --layers stages");
    let tree = listed(&bench, "3");
    let before = bench.unpacked("3");
    let made = bench.json(["squash", "3", "--compression", "gzip"]);
    assert_eq!(
        (&made["id"], &made["parent"], &made["squashed"]),
        (&json!(5), &json!(3), &json!(3))
    );
    assert_eq!(crate::common::layers(&made), ["base new"]);
    assert_eq!(listed(&bench, "5"), tree);
    crate::common::assert_same_tree(&bench.unpacked("5"), &before);
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    assert!(
        bench
            .prints(0, ["explain", "5"])
            .contains("squashed from the layers of snapshot 3")
    );
    assert_eq!(
        bench.json(["show", "5"])["packages"],
        bench.json(["show", "3"])["packages"]
    );
    sh(&root, "rm -rf deps; echo three > etc/run");
    let next = bench.snapshot(
        &root,
        "--series S+1 --stage bootstrap --run three --compression gzip",
    );
    assert_eq!(next["layers"][0]["digest"], made["layers"][0]["digest"]);
    assert!(crate::common::layers(&next)[0] == "base reused", "{next}");
    assert_eq!(bench.prints(0, ["cat", "6", "/etc/run"]), "three\n");
    assert!(
        bench
            .prints(0, ["squash", "5"])
            .contains("nothing to squash")
    );
    store::check(&bench.store());
}

#[test]
fn squashing_an_image_of_others_keeps_what_it_says() {
    let bench = Bench::new();
    let source = of_others(&bench, "");
    bench.json(["import", &source, "--series", "fedora"]);
    let tree = listed(&bench, "1");
    bench.json(["squash", "fedora", "--compression", "none"]);
    assert_eq!(listed(&bench, "2"), tree);
    let name = format!("oci:{}:fedora:bootstrap", bench.store().display());
    let config = succeeds(
        Command::new("skopeo")
            .args(["inspect", "--config"])
            .arg(&name)
            .env("TMPDIR", bench.path("")),
    );
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["config"]["Env"], json!(["A=b"]));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
}

#[test]
fn a_lying_archive_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    two_runs(&bench, "");
    let path = archive(&bench, "3", "image.tar");
    let bytes = std::fs::read(&path).unwrap();
    let other = other();
    let refused = |bytes: &[u8]| -> String {
        let bad = other.path("bad.tar");
        std::fs::write(&bad, bytes).unwrap();
        let said = other.fails(
            2,
            [
                "import".to_owned(),
                format!("oci-archive:{}", bad.display()),
            ],
        );
        assert_eq!(other.ids(), [0_i64; 0]);
        said
    };
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1; // in the base, which is most of it
    assert!(refused(&flipped).contains("bad.tar"));
    assert!(refused(&bytes[..bytes.len() / 2]).contains("bad.tar"));
    assert!(!refused(b"nonsense").is_empty());
    let sources = ["dir:/tmp", "s@t", "docker://x"];
    for source in sources {
        let output = rootstrata()
            .arg("--store")
            .arg(other.store())
            .args(["import", source])
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{source}: {}",
            text(&output.stderr)
        );
    }
    assert!(Path::new(&path).exists());
}

#[test]
fn a_layer_that_claims_another_diff_id_is_refused() {
    let bench = Bench::new();
    let source = of_others(&bench, "");
    sh(
        &bench.path("others/layout"),
        r#"python3 - <<'PYTHON'
import hashlib, json
index = json.load(open("index.json"))
def blob(digest): return "blobs/sha256/" + digest.split(":")[1]
manifest = json.load(open(blob(index["manifests"][0]["digest"])))
config = json.load(open(blob(manifest["config"]["digest"])))
config["rootfs"]["diff_ids"][1] = "sha256:" + "12" * 32
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open("blobs/sha256/" + digest, "wb").write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}
manifest["config"].update(put(json.dumps(config).encode()))
index["manifests"][0].update(put(json.dumps(manifest).encode()))
json.dump(index, open("index.json", "w"))
PYTHON"#,
    );
    let said = bench.fails(2, ["import", &source, "--series", "x"]);
    assert!(
        said.contains(&format!("and not sha256:{}", "12".repeat(32))),
        "{said}"
    );
    assert_eq!(bench.ids(), [0_i64; 0]);
}

/// Changes what the index of a layout says of its first image.
fn claim(layout: &Path, annotations: &Value) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let there = index["manifests"][0]["annotations"]
        .as_object_mut()
        .unwrap();
    there.extend(annotations.as_object().unwrap().clone());
    std::fs::write(&path, index.to_string()).unwrap();
}

#[test]
fn what_an_archive_claims_of_number_run_and_time_does_not_count() {
    let (bench, other) = (Bench::new(), other());
    let (root, another) = (bench.make("root"), other.make("root"));
    sh(&root, "echo 1 > f");
    sh(&another, "echo other > f");
    for content in ["2", "3"] {
        bench.snapshot(&root, "--profile plain");
        sh(&root, &format!("echo {content} > f"));
    }
    other.snapshot(&another, "--profile plain");
    let layout = bench.path("layout");
    other.json([
        "export",
        "s",
        "--format",
        "oci-dir",
        "-o",
        layout.to_str().unwrap(),
    ]);
    claim(
        &layout,
        &json!({"org.rootstrata.snapshot": "9", "org.rootstrata.run": "r9", "org.rootstrata.created": "32503680000"}),
    );
    let taken = bench.json(["import", &format!("oci:{}", layout.display())]);
    assert_eq!(
        (&taken["images"][0]["id"], &taken["images"][0]["run"]),
        (&json!(3), &json!("r3"))
    );
    assert!(bench.json(["show", "3"])["time"].as_i64().unwrap() < 32_503_680_000 / 4);
    bench.snapshot(&root, "--profile plain");
    assert_eq!(
        bench.json(["prune", "--keep-within", "14d"])["removed"],
        json!([])
    );
    assert_eq!(bench.ids(), [4, 3, 2, 1]);
    assert_eq!(bench.prints(0, ["cat", "s", "/f"]), "3\n");
    assert_eq!(bench.prints(0, ["cat", "s~1", "/f"]), "other\n");
}

#[test]
fn names_and_policies_that_an_image_claims_are_checked() {
    let bench = Bench::new();
    let root = bench.make("root");
    bench.snapshot(&root, "--profile plain");
    let layout = bench.path("layout");
    bench.json([
        "export",
        "s",
        "--format",
        "oci-dir",
        "-o",
        layout.to_str().unwrap(),
    ]);
    let source = format!("oci:{}", layout.display());
    for (name, value, said) in [
        ("series", "../../x", "bad series name"),
        ("series", "", "it is empty"),
        ("stage", &"x".repeat(500), "too long"),
        ("stage", "a\u{1b}[31m", "bad stage name"),
    ] {
        let valid = json!({"org.rootstrata.series": "s", "org.rootstrata.stage": "t"});
        claim(&layout, &valid);
        claim(&layout, &json!({ format!("org.rootstrata.{name}"): value }));
        let other = other();
        let line = other.fails(2, ["import", &source]);
        assert!(line.contains(said) && !line.contains('\u{1b}'), "{line}");
        claim(&layout, &valid);
    }
    claim(
        &layout,
        &json!({"org.rootstrata.policy": r#"{"epoch":null,"exclude":["["],"mtime":"keep","profile":"plain","version":1,"volatile":[]}"#}),
    );
    let other = other();
    let output = other.command(["import", &source, "-q"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("claims a policy"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        other.json(["restore", "s", other.path("out").to_str().unwrap()])["made"],
        0
    );
}

#[test]
fn a_layer_that_claims_to_be_ours_and_is_packed_otherwise_is_one_of_others() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo one > a; ln a b; touch -d @1700000000 a .");
    bench.snapshot(&root, "--profile plain --compression none");
    let layout = bench.path("layout");
    bench.json([
        "export",
        "s",
        "--format",
        "oci-dir",
        "-o",
        layout.to_str().unwrap(),
    ]);
    // The same entries, with the content under the second name.
    sh(
        &layout,
        r#"python3 - <<'PYTHON'
import hashlib, json
def blob(digest): return "blobs/sha256/" + digest.split(":")[1]
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open("blobs/sha256/" + digest, "wb").write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}
def named(block, name, link):
    block = bytearray(block)
    block[0:1], block[157:158] = name, link
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
index = json.load(open("index.json"))
manifest = json.load(open(blob(index["manifests"][0]["digest"])))
tar = open(blob(manifest["layers"][0]["digest"]), "rb").read()
root, a, content, b, end = tar[:512], tar[512:1024], tar[1024:1536], tar[1536:2048], tar[2048:]
layer = put(root + named(a, b"b", b"\0") + content + named(b, b"a", b"b") + end)
config = json.load(open(blob(manifest["config"]["digest"])))
config["rootfs"]["diff_ids"] = [layer["digest"]]
manifest["layers"][0].update(layer)
manifest["config"].update(put(json.dumps(config).encode()))
index["manifests"][0].update(put(json.dumps(manifest).encode()))
json.dump(index, open("index.json", "w"))
PYTHON"#,
    );
    let key = bench.json(["show", "s"])["layers"][0]["key"].clone();
    for there in [&bench, &other()] {
        there.json([
            "import",
            &format!("oci:{}", layout.display()),
            "--series",
            "t",
        ]);
        assert_ne!(there.json(["show", "t"])["layers"][0]["key"], key);
        assert_eq!(there.prints(0, ["cat", "t", "/a"]), "one\n");
        there.json(["restore", "t", there.path("out").to_str().unwrap()]);
        assert_eq!(there.json(["verify", "--deep"])["sound"], true);
        // One's own layer with that key is packed as ever.
        let made = there.snapshot(&root, "--series u --profile plain --compression none");
        assert_eq!(made["layers"][0]["key"], key);
        assert_eq!(there.json(["verify", "--deep"])["sound"], true);
    }
}
