//! Images of others: hardlinks in any order, stores that have held such layers for long, and what else stands beside an image.

use crate::common::image::image;
use crate::common::{Bench, assert_same_tree, listed, sh, text};
use crate::shared::images::old_store;
use serde_json::Value;
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
    let all = [
        ("a", "hello", Some("c")),
        ("kept", "one", None),
        ("old", "two", None),
        ("stays", "deep", None),
    ];
    let mut all: Vec<_> = all
        .into_iter()
        .map(|(name, content, other)| (name, content.to_owned(), other))
        .collect();
    all.push(("gone", "flat".to_owned(), None));
    all.push(("big/m", "large".repeat(200_000), Some("big/z")));
    all.push(("x", "upper".to_owned(), Some("y")));
    all
}

fn assert_holds(directory: &Path) {
    use std::os::unix::fs::MetadataExt;
    for (name, content, other) in expected() {
        assert_eq!(
            std::fs::read_to_string(directory.join(name)).unwrap(),
            content,
            "{name}"
        );
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
            assert!(
                bench.prints(0, ["cat", "s", &format!("/{name}")]) == content,
                "{name}"
            );
        }
    }
    let out = restored(&bench, "s", "out");
    assert_holds(&out);
    assert_eq!(
        bench.compared(["s".to_owned(), source.clone()])["different"],
        false
    );
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    let sha256 = text(
        &std::process::Command::new("sha256sum")
            .arg(out.join("kept"))
            .output()
            .unwrap()
            .stdout,
    );
    let found = bench.json([
        "find",
        "--read-layers",
        "--sha256",
        sha256.split(' ').next().unwrap(),
    ]);
    assert!(found.to_string().contains("/kept"), "{found}");
    // Recorded again, nothing differs and nothing was read.
    let again = bench.snapshot(&out, "--profile plain --stage bootstrap");
    assert_eq!(again["files_read"], 0);
    assert!(
        crate::common::layers(&again)
            .iter()
            .all(|layer| layer.ends_with("reused")),
        "{again}"
    );
}

#[test]
fn what_differs_within_hardlinked_files_of_others_is_shown() {
    let bench = Bench::new();
    let source = with_links(&bench);
    bench.json(["import", &source, "--series", "s"]);
    let out = restored(&bench, "s", "out");
    sh(
        &out,
        "for f in a kept stays x; do echo other > new; cat new > $f; done; rm new",
    );
    for side in ["s", &source] {
        let shown = bench.prints(
            1,
            [
                "diff",
                side,
                &format!("dir:{}", out.display()),
                "--content",
                "/*",
            ],
        );
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
    other.json([
        "import",
        &format!("oci-archive:{}", archive.display()),
        "--series",
        "t",
    ]);
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
        sh(
            &root,
            "echo own > own; rm c; ln a another; touch -d @1700000000 own",
        );
        let options = format!("--profile plain --stage built --run r1 --compression {compression}");
        let made = bench.snapshot(&root, &options);
        assert!(
            crate::common::layers(&made)[0].ends_with("reused"),
            "{made}"
        );
        let out = restored(&bench, "s", "out");
        assert_same_tree(&listed(&out), &listed(&root));
        assert_eq!(bench.prints(0, ["cat", "s", "/kept"]), "one");
        bench.json(["squash", "s"]);
        assert_same_tree(&listed(&restored(&bench, "s", "squashed")), &listed(&root));
        assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    }
}

#[test]
fn a_store_that_has_held_layers_of_others_for_long_is_read_without_importing_again() {
    let bench = old_store();
    let fixture = Path::new(crate::common::REPOSITORY).join("fixtures/stores/of-others.json");
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
            assert!(
                bench.prints(0, ["cat", snapshot, path]) == content,
                "{path} of {snapshot}"
            );
        }
    }
    let before = listed(&restored(&bench, "2", "before"));
    bench.json(["squash", "2"]);
    assert_same_tree(&listed(&restored(&bench, "3", "after")), &before);
    let next = bench.snapshot(
        &bench.path("before"),
        "--series others --stage built --profile plain",
    );
    assert_eq!(next["files_read"], 0);
}

/// Puts other things beside the image of `of_layout`, as Python says: `m(config type, layer type, annotations)` makes a manifest,
/// `i(manifests)` an index, `add(descriptor)` lists it before the image.
fn beside(layout: &Path, python: &str) {
    let prelude = r#"
import hashlib, json
index = json.load(open("index.json"))
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open("blobs/sha256/" + digest, "wb").write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}
oci = "application/vnd.oci.image."
def m(config, layer, annotations={}):
    return dict(put(json.dumps({"schemaVersion": 2, "config": dict(put(b'{"rootfs":{"diff_ids":["sha256:%s"]}}' % (b"0" * 64)), mediaType=config),
        "layers": [dict(put(b"{}"), mediaType=layer)], "annotations": annotations}).encode()), mediaType=oci + "manifest.v1+json")
def i(manifests):
    return dict(put(json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()), mediaType=oci + "index.v1+json")
def add(descriptor): index["manifests"].insert(0, descriptor)
"#;
    let script = format!("{prelude}{python}\njson.dump(index, open('index.json', 'w'))");
    crate::common::succeeds(
        std::process::Command::new("python3")
            .args(["-c", &script])
            .current_dir(layout),
    );
}

#[test]
fn what_is_no_image_is_passed_over_with_a_note_however_it_says_so() {
    let attestation = r#"{"vnd.docker.reference.type": "attestation-manifest"}"#;
    let config = r#"oci + "config.v1+json""#;
    for other in [
        format!("add(m({config}, 'application/vnd.in-toto+json', {attestation}))"),
        format!("add(dict(m({config}, oci + 'layer.v1.tar'), annotations={attestation}))"),
        format!(
            "add(dict(m({config}, oci + 'layer.v1.tar'), platform={{'architecture': 'unknown', 'os': 'unknown'}}))"
        ),
        format!("add(m({config}, 'application/vnd.in-toto+json'))"),
        "add(m('application/vnd.oci.empty.v1+json', oci + 'layer.v1.tar'))".to_owned(),
        "add(dict(m('a', 'b'), mediaType='application/vnd.example+json'))".to_owned(),
        format!(
            "add(i([dict(m({config}, oci + 'layer.v1.tar'), platform={{'architecture': a, 'os': 'linux'}}) for a in ('s390x', 'mips')]))"
        ),
    ] {
        let bench = Bench::new();
        let source = with_links(&bench);
        beside(&bench.path("others/layout"), &other);
        let output = bench
            .command(["import", &source, "--series", "s", "-q"])
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{other}: {said}");
        assert!(
            said.contains("passed over: :@0 (") && said.lines().count() == 1,
            "{other}: {said}"
        );
        assert_eq!(bench.ids(), [1], "{other}");
        let output = bench.command(["diff", "1", &source]).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{other}: {}",
            text(&output.stderr)
        );
        assert!(
            text(&output.stderr).contains("passed over: :@0 ("),
            "{other}"
        );
        let refused = bench.fails(2, ["diff", "1", &format!("{source}:@0")]);
        assert!(refused.contains("its :@0 is none"), "{other}: {refused}");
        assert_eq!(
            bench.prints(0, ["diff", "1", &format!("{source}:@1")]),
            bench.prints(0, ["diff", "1", "1"])
        );
    }
}

#[test]
fn an_index_without_an_image_is_refused_and_several_are_named_with_their_places() {
    let bench = Bench::new();
    let source = with_links(&bench);
    let layout = bench.path("others/layout");
    beside(
        &layout,
        "one = index['manifests'][0]\nfor n in range(7): index['manifests'].append(dict(one, annotations={'org.opencontainers.image.ref.name': f'n{n}:t'}))",
    );
    let said = bench.fails(2, ["diff", &source, &format!("dir:{}", layout.display())]);
    assert!(
        said.contains("name one of its 8 images: :@0, :@1 (n0:t), :@2 (n1:t)"),
        "{said}"
    );
    assert!(said.ends_with("and 3 more"), "{said}");
    assert_eq!(
        bench.compared([format!("{source}:@3"), format!("{source}:n2:t")])["different"],
        false
    );
    assert!(
        bench
            .fails(2, ["diff", &format!("{source}:@8"), &source])
            .contains("no image :@8 among its 8")
    );
    beside(
        &layout,
        "index['manifests'] = [m('application/vnd.oci.empty.v1+json', 'x')]",
    );
    for verb in [
        vec!["import", &source, "--series", "s"],
        vec!["diff", &source, &source],
    ] {
        assert!(
            bench.fails(2, &verb).contains("it lists no image"),
            "{verb:?}"
        );
    }
    assert_eq!(bench.ids(), [0_i64; 0]);
}

/// A root, and an archive of it.
fn archived(bench: &Bench) -> (PathBuf, PathBuf) {
    let root = bench.make("root");
    sh(
        &root,
        "echo one > a; ln a b; head -c 100000 /dev/urandom > c; mkdir d; touch d/e",
    );
    bench.snapshot(&root, "--profile plain --compression gzip");
    let archive = bench.path("image.tar");
    bench.json(["export", "1", "-o", archive.to_str().unwrap()]);
    (root, archive)
}

#[test]
fn archives_that_are_compressed_are_read_and_cut_ones_named() {
    let bench = Bench::new();
    archived(&bench);
    for (suffix, compress) in [
        ("gz", "gzip -k"),
        ("zst", "zstd -qk"),
        ("xz", "xz -k"),
        (
            "bz2",
            "python3 -c 'import bz2; open(\"image.tar.bz2\", \"wb\").write(bz2.compress(open(\"image.tar\", \"rb\").read()))' #",
        ),
    ] {
        sh(&bench.path(""), &format!("{compress} image.tar"));
        let path = bench.path(format!("image.tar.{suffix}"));
        let source = format!("oci-archive:{}", path.display());
        if suffix == "bz2" {
            assert!(
                bench
                    .fails(2, ["diff", "1", &source])
                    .contains("bzip2 -d first")
            );
            continue;
        }
        assert_eq!(
            bench.compared(["1", &source])["different"],
            false,
            "{suffix}"
        );
        let other = Bench::new();
        other.json(["import", &source]);
        assert_eq!(other.json(["verify", "--deep"])["sound"], true);
        let whole = std::fs::read(&path).unwrap();
        let cut = whole[..whole.len() - 20].to_vec();
        for bytes in [cut, [&whole[..], b"and more than that"].concat()] {
            std::fs::write(&path, bytes).unwrap();
            let said = bench.fails(2, ["diff", "1", &source]);
            assert!(
                said.contains(&format!("image.tar.{suffix}")) && said.contains("cut or damaged"),
                "{said}"
            );
        }
    }
}

#[test]
fn an_archive_of_docker_is_a_source_and_called_so_where_it_is_given_as_another() {
    let bench = Bench::new();
    let (root, archive) = archived(&bench);
    let docker = bench.path("docker.tar");
    let source = format!("docker-archive:{}", docker.display());
    crate::common::succeeds(std::process::Command::new("skopeo").args([
        "copy",
        "-q",
        &format!("oci-archive:{}", archive.display()),
        &format!("{source}:a:b"),
    ]));
    assert_eq!(bench.compared(["1", &source])["different"], false);
    for reference in ["a:b", "docker.io/library/a:b", "@0"] {
        let source = format!("{source}:{reference}");
        assert_eq!(
            bench.compared([source, format!("dir:{}", root.display())])["different"],
            false
        );
    }
    let other = Bench::new();
    other.json(["import", &source, "--series", "d"]);
    assert_eq!(other.json(["verify", "--deep"])["sound"], true);
    assert_same_tree(&listed(&restored(&other, "d", "out")), &listed(&root));
    let said = bench.fails(2, ["import", &format!("oci-archive:{}", docker.display())]);
    assert!(
        said.contains("it is a docker-archive: write docker-archive:PATH"),
        "{said}"
    );
    let said = bench.fails(
        2,
        ["import", &format!("docker-archive:{}", archive.display())],
    );
    assert!(
        said.contains("it is an oci-archive: write oci-archive:PATH"),
        "{said}"
    );
}

#[test]
fn an_archive_of_docker_holds_what_it_says_or_is_refused() {
    let bench = Bench::new();
    let at = bench.make("docker");
    let make = |change: &str| {
        let script = format!(
            r#"
import hashlib, io, json, tarfile
def tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, value in members:
            info = tarfile.TarInfo(name)
            if isinstance(value, str): info.type, info.linkname = tarfile.SYMTYPE, value
            else: info.size = len(value)
            tar.addfile(info, io.BytesIO(value) if isinstance(value, bytes) else None)
    return out.getvalue()
layer = tar([("f", b"content")])
digest = hashlib.sha256(layer).hexdigest()
config = json.dumps({{"architecture": "amd64", "os": "linux", "rootfs": {{"type": "layers", "diff_ids": ["sha256:" + digest] * 2}}}}).encode()
name = hashlib.sha256(config).hexdigest()
members = [(name + ".json", config), ("one/layer.tar", layer), ("two/layer.tar", "../one/layer.tar"), ("repositories", b"[")]
item = {{"Config": name + ".json", "RepoTags": ["x:y"], "Layers": ["one/layer.tar", "two/layer.tar"]}}
{change}
open("image.tar", "wb").write(tar(members + [("manifest.json", json.dumps([item]).encode())]))"#
        );
        crate::common::succeeds(
            std::process::Command::new("python3")
                .args(["-c", &script])
                .current_dir(&at),
        );
    };
    let source = format!("docker-archive:{}/image.tar", at.display());
    make("");
    bench.json(["import", &source, "--series", "s"]);
    assert_eq!(bench.prints(0, ["cat", "s", "/f"]), "content");
    for (change, expected) in [
        (
            "members[0] = (members[0][0], config + b' ')",
            "the content of ",
        ),
        (
            "members[1] = ('one/layer.tar', tar([('f', b'another')]))",
            "is damaged",
        ),
        ("members.pop(1)", "one/layer.tar is missing"),
        (
            "members[2] = ('two/layer.tar', 'layer.tar')",
            "two/layer.tar is missing",
        ),
        ("item['Layers'].pop()", "another number of layers"),
        (
            "item['Config'] = '../../etc/passwd'",
            "etc/passwd is missing",
        ),
        ("item = []", "manifest.json"),
    ] {
        make(change);
        for verb in ["import", "diff"] {
            let other = Bench::new();
            let more = if verb == "diff" {
                vec![source.as_str()]
            } else {
                vec!["--series", "s"]
            };
            let said = other.fails(2, [verb, &source].into_iter().chain(more));
            assert!(
                said.contains(expected) && said.contains("image.tar"),
                "{change}: {said}"
            );
            assert_eq!(other.ids(), [0_i64; 0]);
        }
    }
}

#[test]
fn what_is_wrong_with_a_layer_of_an_image_is_told_of_the_image() {
    let bench = Bench::new();
    let at = bench.make("bad");
    image(&at, r#"[[("f", "file", b""), ("f/below", "file", b"")]]"#);
    let said = bench.fails(
        2,
        [
            "import",
            &format!("oci:{}/layout", at.display()),
            "--series",
            "s",
        ],
    );
    assert!(
        said.contains("bad/layout") && !said.contains("store"),
        "{said}"
    );
}
