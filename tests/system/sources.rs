//! What can be compared beside snapshots: directories as they are, and images that anybody may have made.

use crate::common::{
    Bench, REPOSITORY, file_differences, install_with_python, package_differences, settle, sh,
    succeeds, text,
};
use crate::shared::sources::{export, root};
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// All that the store consists of, with the content of each file but SQLite's shared memory.
fn state_of(store: &Path) -> String {
    sh(
        store,
        "find . -type f ! -name '*-shm' | sort | xargs sha256sum",
    )
}

#[test]
fn a_directory_is_compared_as_it_would_be_recorded_and_nothing_is_written() {
    for profile in ["mock", "plain"] {
        let bench = Bench::new();
        let root = root(&bench);
        bench.snapshot(&root, &format!("--profile {profile} --stage bootstrap"));
        let before = state_of(&bench.store());
        let directory = format!("dir:{}", root.display());
        assert_eq!(
            file_differences(&bench.compared(["s", &directory])),
            [""; 0],
            "{profile}"
        );
        sh(
            &root,
            "echo more >> usr/bin/tool; mkdir -p proc; echo hidden > proc/x; rm d/tty",
        );
        let compared = bench.compared(["s", &directory]);
        // Under mock, what is in /proc is left out, and an inode whose first name is of no package has no time.
        let expected: &[&str] = match profile {
            "mock" => &[
                "/d/hard content",
                "-/d/tty",
                "+/proc",
                "/usr/bin/tool content",
            ],
            _ => &[
                "/d/hard content,mtime",
                "-/d/tty",
                "+/proc",
                "+/proc/x",
                "/usr/bin/tool content,mtime",
            ],
        };
        let is_directory_time = |line: &String| line == "/d mtime" || line == "/ mtime";
        let found: Vec<String> = file_differences(&compared)
            .into_iter()
            .filter(|line| !is_directory_time(line))
            .collect();
        assert_eq!(found, expected, "{profile}");
        assert_eq!(state_of(&bench.store()), before, "{profile}");
    }
}

#[test]
fn a_directory_that_is_as_it_was_recorded_is_compared_out_of_the_database() {
    let bench = Bench::new();
    let root = root(&bench);
    let directory = format!("dir:{}", root.display());
    let differs = |from: &str, is_read: bool| {
        let shown = bench
            .command(["diff", from, &directory, "--stats"])
            .output()
            .unwrap();
        assert_eq!(
            text(&shown.stderr).contains("\npackages "),
            is_read,
            "{}",
            text(&shown.stderr)
        );
        file_differences(&bench.compared([from, &directory]))
    };
    settle(&root);
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    assert_eq!(differs("1", false), [""; 0]);
    sh(
        &root,
        "echo more >> usr/bin/tool; rm d/tty; touch -d @1000000000 d",
    );
    settle(&root);
    assert_eq!(
        differs("1", true),
        [
            "/d/hard content,mtime",
            "-/d/tty",
            "/usr/bin/tool content,mtime"
        ]
    );
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    assert_eq!(
        differs("1", false),
        [
            "/d/hard content,mtime",
            "-/d/tty",
            "/usr/bin/tool content,mtime"
        ]
    );
    assert_eq!(differs("2", false), [""; 0]);
    assert_eq!(bench.compared([&directory, "1"])["a"]["packages"], 1);
    // What was recorded under another policy is not what this one would have.
    bench.snapshot(&root, "--profile mock --stage bootstrap");
    assert_eq!(differs("2", true), [""; 0]);
    assert_eq!(differs("3", false), [""; 0]);
    // A file that was put into the directory is no tree of a snapshot.
    sh(&root, "echo new > new; touch -d @1000000000 .");
    assert_eq!(differs("3", true), ["+/new"]);
}

#[test]
fn directories_are_compared_without_a_store() {
    let bench = Bench::new();
    let root = root(&bench);
    let copy = bench.make("copy");
    sh(
        &root,
        &format!(
            "cp -a . {0}; echo new > {0}/new; touch -r . {0}",
            copy.display()
        ),
    );
    let [a, b] = [&root, &copy].map(|path| format!("dir:{}", path.display()));
    let compared = bench.compared([&a, &b]);
    assert_eq!(file_differences(&compared), ["+/new"]);
    assert_eq!(
        (package_differences(&compared), &compared["a"]["packages"]),
        (vec![], &json!(1))
    );
    assert!(!bench.store().exists());
    // An older version, in a root without a snapshot.
    let tool = json!([{ "name": "tool", "version": "0.9", "release": "1", "arch": "noarch", "files": ["/bin/tool"] }]);
    install_with_python(&copy, &tool);
    assert_eq!(
        package_differences(&bench.compared([&a, &b])),
        ["downgraded tool 1-1 0.9-1"]
    );
}

#[test]
fn what_a_mount_hides_is_no_difference() {
    let bench = Bench::new();
    let root = root(&bench);
    sh(&root, "rm d/hard"); // whose other name is not hidden
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let script = format!(
        "mount -t tmpfs none {root}/d && {binary} --store {store} diff s dir:{root}",
        root = root.display(),
        binary = env!("CARGO_BIN_EXE_rootstrata"),
        store = bench.store().display()
    );
    let shown = succeeds(Command::new("unshare").args([
        "-m",
        "--propagation",
        "private",
        "bash",
        "-euc",
        &script,
    ]));
    assert_eq!(shown, "");
}

#[test]
fn an_export_is_the_snapshot_in_every_form_and_compression_with_and_without_the_store() {
    for compression in ["zstd", "gzip", "none"] {
        let bench = Bench::new();
        let root = root(&bench);
        bench.snapshot(
            &root,
            &format!("--profile plain --stage bootstrap --compression {compression}"),
        );
        sh(
            &root,
            "rm d/tty; rm -r d/e; mkdir d/pipe2; rm bin; mkdir bin; echo in > bin/in; ln d/hard d/third",
        );
        bench.snapshot(
            &root,
            &format!("--profile plain --stage bootstrap --compression {compression}"),
        );
        let archive = format!("oci-archive:{}", export(&bench, "a.tar", &[]));
        let layout = format!("oci:{}", export(&bench, "layout", &["--format", "oci-dir"]));
        let stranger = Bench::new();
        let directory = format!("dir:{}", root.display());
        for image in [&archive, &layout] {
            for side in ["s", &directory] {
                assert_eq!(
                    file_differences(&bench.compared([side, image])),
                    [""; 0],
                    "{compression} {image}"
                );
            }
            assert_eq!(
                file_differences(&stranger.compared([image, &directory])),
                [""; 0],
                "{compression} {image}"
            );
        }
        let compared = bench.compared(["1", &archive]);
        assert!(file_differences(&compared).contains(&"+/bin/in".to_owned()));
        let [base, update] = [0, 1].map(|at: usize| compared["b"]["layers"][at].clone());
        assert_eq!(
            (&base["role"], &base["shared"], &update["shared"]),
            (&json!("base"), &json!(true), &json!(false))
        );
        assert_eq!(
            (&base["entries"], &base["content_bytes"]),
            (
                &compared["a"]["layers"][0]["entries"],
                &compared["a"]["layers"][0]["content_bytes"]
            )
        );
        assert_eq!(compared["shared_layers"], 1);
        assert_eq!(compared["shared_bytes"], base["size_bytes"]);
    }
}

#[test]
fn of_several_images_one_is_named() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    sh(&root, "echo x > x");
    bench.snapshot(&root, "--profile plain --stage deps-installed");
    let archive = format!(
        "oci-archive:{}",
        export(&bench, "all.tar", &["--all-stages"])
    );
    let image = |name: &str| format!("{archive}:{name}");
    let compared = bench.compared([image("s:bootstrap"), image("s:deps-installed")]);
    assert_eq!(
        file_differences(&bench.compared(["1", &image("@0")])),
        [""; 0]
    );
    assert!(file_differences(&compared).contains(&"+/x".to_owned()));
    let error = bench.fails(2, ["diff", "1", &archive]);
    assert!(
        error.contains("2 images") && error.contains("s:deps-installed"),
        "{error}"
    );
    assert!(
        bench
            .fails(2, ["diff", "1", &image("none")])
            .contains("no image none")
    );
    assert!(bench.fails(2, ["diff", "1", &image("@7")]).contains("@7"));
}

#[test]
fn a_damaged_or_lying_image_is_refused() {
    let bench = Bench::new();
    let root = root(&bench);
    let snapshot = bench.snapshot(
        &root,
        "--profile plain --stage bootstrap --compression none",
    );
    let digest = snapshot["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let layout = export(&bench, "layout", &["--format", "oci-dir"]);
    let blob = Path::new(&layout).join("blobs/sha256").join(&digest);
    let image = format!("oci:{layout}");
    let whole = std::fs::read(&blob).unwrap();
    // Also where the store knows the blob: what the archive holds is hashed.
    for stranger in [false, true] {
        let other = Bench::new();
        let bench = if stranger { &other } else { &bench };
        let a = format!("dir:{}", root.display());
        let at = whole
            .windows(5)
            .position(|bytes| bytes == b"tool\n")
            .unwrap();
        for (change, text) in [
            (at..at + 1, "digest"),
            (0..1, ""),
            (whole.len() - 1..whole.len(), "digest"),
        ] {
            let mut bytes = whole.clone();
            bytes[change].iter_mut().for_each(|byte| *byte ^= 1);
            std::fs::write(&blob, &bytes).unwrap();
            let error = bench.fails(2, ["diff", &a, &image]);
            assert!(error.contains(text) && error.contains(&layout), "{error}");
        }
        std::fs::write(&blob, &whole[..whole.len() - 512]).unwrap();
        assert!(bench.fails(2, ["diff", &a, &image]).contains("bytes"));
        std::fs::remove_file(&blob).unwrap();
        assert!(bench.fails(2, ["diff", &a, &image]).contains(&digest));
        std::fs::write(&blob, &whole).unwrap();
        assert_eq!(file_differences(&bench.compared([&a, &image])), [""; 0]);
    }
    for (name, content) in [
        ("index.json", "{"),
        ("index.json", "{}"),
        ("index.json", "[]"),
    ] {
        let path = Path::new(&layout).join(name);
        let before = std::fs::read(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        assert!(
            bench
                .fails(2, ["diff", "1", &image])
                .contains("no image that can be read")
        );
        std::fs::write(&path, before).unwrap();
    }
}

/// Makes an image of layers, each of which a script makes as `layer.tar` in an empty directory; returns its name.
fn image_of(bench: &Bench, name: &str, layers: &[&str]) -> String {
    let script = r#"import hashlib, json, os, subprocess, sys, tempfile
out = sys.argv[1]
os.makedirs(out + "/blobs/sha256")
def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    open(out + "/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": media, "digest": "sha256:" + digest, "size": len(data)}
layers = []
for script in sys.argv[2:]:
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["bash", "-euc", script], cwd=work, check=True)
        layers.append(open(work + "/layer.tar", "rb").read())
config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers",
          "diff_ids": ["sha256:" + hashlib.sha256(one).hexdigest() for one in layers]}}
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [blob(one, "application/vnd.oci.image.layer.v1.tar") for one in layers]}
index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")]}
open(out + "/index.json", "w").write(json.dumps(index))
open(out + "/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
"#;
    let path = bench.path(name);
    succeeds(
        Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .args(layers),
    );
    format!("oci:{}", path.display())
}

/// The paths of an image, as those that an empty directory lacks.
fn paths_of(bench: &Bench, image: &str) -> Vec<String> {
    let empty = bench.make("empty");
    let compared = bench.compared([&format!("dir:{}", empty.display()), image]);
    let all = file_differences(&compared).into_iter();
    all.filter_map(|line| line.strip_prefix('+').map(str::to_owned))
        .collect()
}

const TAR: &str = "tar --format=gnu --numeric-owner -cf layer.tar --exclude=layer.tar";

#[test]
fn layers_of_others_are_laid_over_one_another_with_their_whiteouts() {
    let bench = Bench::new();
    let base = format!(
        "mkdir -p a/b keep opaque/old/deep; echo 1 > a/b/f; echo 2 > a/g; echo 3 > keep/x; echo 4 > opaque/old/deep/y
         ln -s keep link; mkdir -p both/in; echo 5 > both/in/z; {TAR} a keep opaque link both"
    );
    let upper = format!(
        "mkdir -p a opaque both keep; : > a/.wh.b; : > .wh.missing; : > opaque/.wh..wh..opq; echo n > opaque/new; : > .wh.both
         echo 6 > both/fresh; : > .wh..wh.plnk; ln keep/../opaque/new keep/hard; {TAR} opaque keep a both .wh.*"
    );
    // A path beneath a name that is a link below: an engine's overlay hides the link.
    let through = format!("mkdir link; echo 7 > link/t; {TAR} link/t");
    let image = image_of(&bench, "image", &[&base, &upper, &through]);
    assert_eq!(
        paths_of(&bench, &image),
        [
            "/a",
            "/a/g",
            "/both",
            "/both/fresh",
            "/keep",
            "/keep/hard",
            "/keep/x",
            "/link",
            "/link/t",
            "/opaque",
            "/opaque/new"
        ]
    );
    // umoci unpacks the same, but for what goes through a link.
    let image = image_of(&bench, "two", &[&base, &upper]);
    let layout = image.strip_prefix("oci:").unwrap();
    sh(
        Path::new(layout),
        r#"sed -i 's/"size": \([0-9]*\)}]}$/"size": \1, "annotations": {"org.opencontainers.image.ref.name": "x"}}]}/' index.json"#,
    );
    let root = bench.path("unpacked");
    succeeds(
        Command::new("umoci")
            .args(["raw", "unpack", "--image"])
            .arg(format!("{layout}:x"))
            .arg(&root),
    );
    let compared = bench.compared([
        &format!("dir:{}", root.display()),
        &format!("{image}:x"),
        &"--ignore-mtime".to_owned(),
    ]);
    assert_eq!(file_differences(&compared), [""; 0]);
}

#[test]
fn a_link_to_a_file_of_a_layer_below_has_its_content() {
    let bench = Bench::new();
    let base = format!("echo content > file; {TAR} file");
    let upper = format!(
        "echo content > file; ln file link; {TAR} file link; tar --delete -f layer.tar file"
    );
    let image = image_of(&bench, "image", &[&base, &upper]);
    let root = bench.make("expected");
    sh(&root, "echo content > file; cp file link");
    let compared = bench.compared([
        &format!("dir:{}", root.display()),
        &image,
        &"--ignore-mtime".to_owned(),
    ]);
    assert_eq!(file_differences(&compared), [""; 0]);
    let image = image_of(&bench, "lonely", &[&upper]);
    let error = bench.fails(2, ["diff", &image, &image]);
    assert!(
        error.contains("/link") && error.contains("/file"),
        "{error}"
    );
}

#[test]
fn what_no_layer_may_hold_is_refused_in_one_line_with_its_path() {
    let bench = Bench::new();
    for (name, script, text) in [
        (
            "dots",
            "echo x > x; tar -cPf layer.tar --transform='s:^:../:' x",
            "../x: leads out of the root",
        ),
        (
            "sparse",
            "truncate -s 1M s; echo x >> s; tar -cSf layer.tar s",
            "s: is sparse",
        ),
        (
            "pax",
            "truncate -s 1M s; echo x >> s; tar --format=pax -cSf layer.tar s",
            "sparse",
        ),
        (
            "cut",
            "echo x > x; tar -cf t x; head -c 700 t > layer.tar",
            "ends within a file",
        ),
        (
            "noise",
            "head -c 2000 /dev/urandom | tr '\\0' x > layer.tar",
            "no tar archive",
        ),
        (
            "node",
            "mknod n c 0 0; tar -cf layer.tar n",
            "n: is the character device 0:0",
        ),
        (
            "nothing",
            ": > .wh.; tar -cf layer.tar .wh.",
            ".wh.: is a whiteout of nothing",
        ),
    ] {
        let image = image_of(&bench, name, &[script]);
        let error = bench.fails(2, ["diff", &image, &image]);
        assert!(error.contains(text) && error.contains(name), "{error}");
    }
}

#[test]
fn an_archive_may_have_its_members_in_any_order() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let layout = export(&bench, "layout", &["--format", "oci-dir"]);
    for (name, order) in [
        ("late.tar", "./blobs oci-layout ./index.json"),
        ("early.tar", "index.json oci-layout blobs"),
    ] {
        let archive = bench.path(name);
        sh(
            Path::new(&layout),
            &format!("tar -cf {} {order}", archive.display()),
        );
        let stranger = Bench::new();
        let directory = format!("dir:{}", root.display());
        let compared =
            stranger.compared([&directory, &format!("oci-archive:{}", archive.display())]);
        assert_eq!(file_differences(&compared), [""; 0], "{name}");
    }
    let cut = bench.path("cut.tar");
    sh(
        &bench.path(""),
        "head -c $(($(stat -c %s late.tar) / 2)) late.tar > cut.tar",
    );
    assert!(
        bench
            .fails(2, ["diff", "1", &format!("oci-archive:{}", cut.display())])
            .contains("cut.tar")
    );
}

#[test]
fn an_image_that_buildah_made_of_a_root_is_that_root() {
    let bench = Bench::new();
    let root = root(&bench);
    sh(&root, "chown 0:0 d/e"); // buildah gives directories to root
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let script = format!(
        "c=$(buildah from scratch); buildah add -q $c {root} / >/dev/null; buildah commit -q --rm $c oci-archive:{out}/built.tar:x >/dev/null
         podman image rm -af >/dev/null 2>&1 || :",
        root = root.display(),
        out = bench.path("").display()
    );
    let runner = Path::new(REPOSITORY).join("fixtures/engines/run");
    succeeds(
        Command::new(runner)
            .env("ENGINES_DIR", bench.path("engines"))
            .args(["bash", "-euc", &script]),
    );
    let image = format!("oci-archive:{}", bench.path("built.tar").display());
    for extra in [&[][..], &["x"]] {
        let image = extra
            .iter()
            .fold(image.clone(), |image, name| format!("{image}:{name}"));
        let compared = bench.compared(["s", &image, "--ignore-mtime"]);
        // buildah makes the root of the image itself.
        let found: Vec<String> = file_differences(&compared)
            .into_iter()
            .filter(|line| !line.starts_with("/ "))
            .collect();
        assert_eq!(found, [""; 0]);
        assert_eq!(compared["b"]["packages"], 1);
    }
    sh(&root, "echo other > usr/bin/tool; rm d/empty");
    let compared = bench.compared([
        &image,
        &format!("dir:{}", root.display()),
        &"--ignore-mtime".to_owned(),
    ]);
    let found: Vec<String> = file_differences(&compared)
        .into_iter()
        .filter(|line| !line.starts_with("/ "))
        .collect();
    assert_eq!(
        found,
        ["-/d/empty", "/d/hard content", "/usr/bin/tool content"]
    );
}

#[test]
fn contents_come_out_of_images_and_directories_too() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let archive = format!("oci-archive:{}", export(&bench, "a.tar", &[]));
    sh(&root, "echo other >> usr/bin/tool");
    let directory = format!("dir:{}", root.display());
    for a in ["s", &archive] {
        let shown = bench.prints(1, ["diff", a, &directory, "--content", "/d/hard"]);
        assert!(shown.ends_with("@@ -1 +1,2 @@\n tool\n+other\n"), "{shown}");
        let compared = bench.compared([a, &directory, "--verify"]);
        let tool = compared["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["path"] == "/usr/bin/tool")
            .unwrap();
        assert_eq!(
            (
                &tool["old_owner"]["as_packaged"],
                &tool["new_owner"]["as_packaged"]
            ),
            (&json!(true), &json!(false))
        );
    }
}
