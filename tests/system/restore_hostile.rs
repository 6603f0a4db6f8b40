//! A restore writes nothing beside its directory, whatever lies there; it says what it could not do, and what stopped it is
//! made good by the next.

use crate::common::image::image;
use crate::common::tree::{Tree, differences, walked};
use crate::common::{Bench, assert_same_tree, listed, one_error, settle, sh, succeeds, text};
use rootstrata::model::digest::{ContentHash, DiffId};
use rootstrata::model::plan::layer::{LayerContent, Role};
use rootstrata::model::policy::Policy;
use rootstrata::model::tree::Tree as ModelTree;
use rootstrata::model::tree::entry::{Entry, Group, Kind, Xattrs};
use rootstrata::model::tree::path::EntryPath;
use rootstrata::store::{
    self, NewLayer, NewSnapshot, PackagesOf, SnapshotLayer, StampState, Store,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

const PLAIN: &str = "--profile plain --stage s";

const NOBODY: &str = "65534";

/// A bench with the snapshot `s` of what `script` makes.
fn recorded(script: &str, options: &str) -> (Bench, PathBuf) {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, script);
    settle(&root);
    bench.snapshot(&root, &format!("{PLAIN} {options}"));
    (bench, root)
}

fn assert_same(found: &Tree, expected: &Tree) {
    let wrong = differences(found, expected);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn restore(bench: &Bench, to: &Path, more: &[&str]) -> Output {
    bench
        .command(["restore", "s", to.to_str().unwrap(), "-q"])
        .args(more)
        .output()
        .unwrap()
}

/// A directory that nothing may change, and what it is like.
struct Canary {
    path: PathBuf,
    was: (Tree, Vec<(i64, i64)>),
}

impl Canary {
    fn new(bench: &Bench) -> Self {
        let path = bench.make("canary");
        sh(
            &path,
            "mkdir -m 0750 d; echo canary > d/file; echo canary > file; chmod 0640 file; ln file linked",
        );
        let was = Self::look(&path);
        Self { path, was }
    }

    fn look(path: &Path) -> (Tree, Vec<(i64, i64)>) {
        let times = ["", "d", "d/file"].map(|name| std::fs::metadata(path.join(name)).unwrap());
        (
            walked(path),
            times.iter().map(|m| (m.ctime(), m.ctime_nsec())).collect(),
        )
    }

    fn check(&self) {
        let (tree, times) = Self::look(&self.path);
        assert_same(&tree, &self.was.0);
        assert_eq!(times, self.was.1);
    }
}

// ---- Nothing beside the directory

#[test]
fn links_to_the_outside_are_replaced_and_never_followed() {
    let (bench, root) = recorded(
        "mkdir -p d/e link; echo 1 > d/file; echo 2 > d/e/file; echo 3 > file; echo canary > hard; echo canary > other
        chmod 0777 hard d; ln -s d/file soft; mkdir -m 1777 absolute; echo 4 > absolute/file",
        "",
    );
    let canary = Canary::new(&bench);
    let to = bench.make("to");
    let at = canary.path.to_str().unwrap();
    // What differs from a name of the canary in content, in metadata and not at all, and links on the way to all of it.
    sh(
        &to,
        &format!(
            "ln -s {at}/d d; ln -s ../canary link; ln -s {at}/file file; ln {at}/file hard; ln {at}/linked other
            ln -s {at}/d/file soft; ln -s {at} absolute; touch -r {} other",
            root.join("other").display()
        ),
    );
    // `touch` was ours, and the links are too.
    let canary = Canary {
        was: Canary::look(&canary.path),
        ..canary
    };
    let output = restore(&bench, &to, &["--exact"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_same(&walked(&to), &walked(&root));
    let was = &canary.was.0[&b"file"[..]];
    assert_eq!(
        std::fs::read(canary.path.join("file")).unwrap(),
        b"canary\n"
    );
    assert_eq!(
        std::fs::metadata(canary.path.join("file")).unwrap().mode() & 0o7777,
        was.mode
    );
    canary.check();
}

#[test]
fn a_directory_that_is_swapped_for_a_link_while_it_is_written_leads_nowhere() {
    let (bench, _) = recorded(
        "mkdir -p d/e; for i in $(seq 50); do echo $i > d/$i; echo $i > d/e/$i; done",
        "",
    );
    let canary = Canary::new(&bench);
    let to = bench.path("to");
    let is_over = AtomicBool::new(false);
    let mut refused = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let link = bench.path("link");
            while !is_over.load(Ordering::Relaxed) {
                let _ = std::os::unix::fs::symlink(&canary.path, &link); // what it was swapped for is removed at times
                let _ = renameat_with(CWD, &link, CWD, to.join("d"), RenameFlags::EXCHANGE);
                let _ = renameat_with(CWD, to.join("d"), CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        for round in 0..20 {
            let exact: &[&str] = if round % 2 == 0 { &["--exact"] } else { &[] };
            refused += u32::from(!restore(&bench, &to, exact).status.success());
            if refused > 3 {
                break;
            }
            let _ = std::fs::remove_dir_all(to.join("d"));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(refused > 0, "nobody was in the way");
    canary.check();
}

#[test]
fn what_is_mounted_in_the_directory_is_neither_entered_nor_removed() {
    let (bench, root) = recorded("mkdir -p m kept/n; echo 1 > m/hidden; echo 2 > file", "");
    let to = bench.make("to");
    let script = format!(
        "mkdir -p {to}/m {to}/more/deep; mount -t tmpfs none {to}/m; echo mine > {to}/m/mine
        mount -t tmpfs none {to}/more/deep; echo mine > {to}/more/deep/mine; echo gone > {to}/more/gone
        set +e; '{}' --store '{}' restore s {to} --exact --json > {}/json; code=$?
        [ $code = 1 ]; [ \"$(cat {to}/m/mine {to}/more/deep/mine)\" = $'mine\\nmine' ]; [ ! -e {to}/more/gone ]
        set -e; umount {to}/m {to}/more/deep; rm -r {to}/more",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display(),
        bench.path("").display(),
        to = to.display()
    );
    succeeds(Command::new("unshare").args(["-m", "bash", "-euc", &script]));
    let said: Value = serde_json::from_slice(&std::fs::read(bench.path("json")).unwrap()).unwrap();
    assert_eq!(
        (said["hidden"].as_u64(), said["complete"].as_bool()),
        (Some(1), Some(false)),
        "{said}"
    );
    assert!(restore(&bench, &to, &[]).status.success());
    assert_same(&walked(&to), &walked(&root));
    // Where the snapshot has something else, the mount is in its way.
    let script = format!(
        "rm {to}/file; mkdir -p {to}/file/m; mount -t tmpfs none {to}/file/m
        '{}' --store '{}' restore s {to}",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display(),
        to = to.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "bash", "-euc", &script])
        .output()
        .unwrap();
    let error = one_error(output, 2);
    assert_eq!(
        error,
        format!(
            "{}/file/m cannot be replaced or removed: something is mounted on it",
            to.display()
        )
    );
}

#[test]
fn a_store_in_the_directory_and_a_directory_in_the_store_are_refused() {
    let (bench, _) = recorded("echo 1 > a", "");
    let error = bench.fails(
        2,
        ["restore", "s", bench.path("").to_str().unwrap(), "--exact"],
    );
    assert!(error.contains("is inside the root"), "{error}");
    let error = bench.fails(
        2,
        [
            "restore",
            "s",
            bench.store().join("blobs").to_str().unwrap(),
            "--exact",
        ],
    );
    assert!(error.ends_with("is inside a store"), "{error}");
    assert_eq!(bench.ids(), [1]);
}

// ---- Layers that mean harm

/// The names beside the directory that is restored into; nothing may join them.
fn beside(bench: &Bench) -> Vec<PathBuf> {
    let names = std::fs::read_dir(bench.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut names: Vec<PathBuf> = names.filter(|name| !name.ends_with("to")).collect();
    names.sort();
    names
}

#[test]
fn an_image_that_leads_out_of_the_root_is_refused_or_stays_inside() {
    // What the image has, and the end of what is said; or what is restored, where all of it stays inside.
    let at = "CANARY";
    let cases: [(String, &str, &[&str]); 12] = [
        (
            "[[('../x', 'file', b'x')]]".into(),
            "leads out of the root",
            &[],
        ),
        (
            "[[('a/../../x', 'file', b'x')]]".into(),
            "leads out of the root",
            &[],
        ),
        (
            "[[('a/..', 'dir', '')]]".into(),
            "leads out of the root",
            &[],
        ),
        (
            format!("[[('s', 'soft', '{at}'), ('s/x', 'file', b'x')]]"),
            "lies beneath what is no directory",
            &[],
        ),
        (
            "[[('s', 'soft', '../canary'), ('s/d/x', 'file', b'x')]]".into(),
            "lies beneath what is no directory",
            &[],
        ),
        (
            "[[('h', 'link', '/etc/passwd')]]".into(),
            "is a link to a file of a layer below",
            &[],
        ),
        (
            "[[('h', 'link', '../canary/file')]]".into(),
            "is a link that leads out of the root",
            &[],
        ),
        (
            "[[('h', 'link', '../..')]]".into(),
            "is a link that leads out of the root",
            &[],
        ),
        (
            "[[('a', 'file', b'x')], [('.wh...', 'file', b'')]]".into(),
            "is a whiteout of nothing",
            &[],
        ),
        (format!("[[('{at}/x', 'file', b'x')]]"), "", &["INSIDE/x"]),
        (
            format!("[[('s', 'soft', '{at}')], [('s/file', 'file', b'x')]]"),
            "",
            &["s", "s/file"],
        ),
        (
            format!("[[('s', 'soft', '{at}/file'), ('h', 'link', 's')], [('h', 'file', b'x')]]"),
            "",
            &["h", "s"],
        ),
    ];
    for (layers, refusal, restored) in cases {
        let bench = Bench::new();
        let canary = Canary::new(&bench);
        let at = canary.path.to_str().unwrap();
        image(&bench.path(""), &layers.replace("CANARY", at));
        let source = format!(
            "oci:{}/layout",
            bench.path("").to_str().unwrap().trim_end_matches('/')
        );
        let import = ["import", &source, "--series", "s"];
        let to = bench.path("to");
        if refusal.is_empty() {
            bench.json(import);
            let before = beside(&bench);
            let output = restore(&bench, &to, &[]);
            assert!(
                output.status.success(),
                "{layers}: {}",
                text(&output.stderr)
            );
            for name in restored {
                let path = to.join(name.replace("INSIDE", at.trim_start_matches('/')));
                assert!(
                    path.symlink_metadata().is_ok(),
                    "{layers}: {}",
                    path.display()
                );
            }
            assert_eq!(beside(&bench), before, "{layers}");
        } else {
            let said = bench.fails(2, import);
            assert!(said.ends_with(refusal), "{layers}: {said}");
            assert_eq!(bench.ids(), [0_i64; 0], "{layers}");
        }
        canary.check();
    }
}

/// Records a snapshot `s` whose rows, keys and seal agree with each other, whatever they say, over the layer `digest`: what
/// somebody can do who may write to the store.
fn forge(bench: &Bench, digest: &str, entries: Vec<Entry>) {
    let blob = std::fs::read(bench.path("layout/blobs/sha256").join(digest)).unwrap();
    let mut store = Store::open_or_create(&bench.store()).unwrap();
    let kept = store.keep_bytes(&blob).unwrap();
    let config = store.keep_bytes(b"{}").unwrap();
    let policy = Policy::plain();
    let tree = ModelTree::new(entries);
    let content = LayerContent::whole(&tree);
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    let layer = SnapshotLayer {
        role: Role::Base,
        key: content.key(&policy),
        blob: store::Blob {
            digest: kept.digest,
            media_type,
            size_bytes: kept.size_bytes,
        },
        new: Some(NewLayer {
            content: &content,
            diff_id: DiffId(kept.digest.0),
            tar_bytes: kept.size_bytes,
            under: None,
        }),
    };
    let snapshot = NewSnapshot {
        series: "s",
        stage: "s",
        run: None,
        parent_id: None,
        policy: &policy,
        created_s: 0,
        inherited_layers: 0,
        packages: PackagesOf::Unknown,
        manifest: config,
        config,
        entries: tree.entries().len() as u64,
        content_bytes: tree.content_bytes(),
        sockets: 0,
        layers: &[layer],
        root_path: Path::new(""),
        stamps: StampState::default(),
    };
    store.record(&snapshot).unwrap();
}

fn entry(path: &str, kind: Kind) -> Entry {
    let path = EntryPath::from_slashed(path.as_bytes()).unwrap();
    Entry {
        path,
        kind,
        mode: 0o666,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        group: None,
        xattrs: Xattrs::default(),
    }
}

fn file_of(content: &str) -> Kind {
    let hash = ContentHash(*blake3::hash(content.as_bytes()).as_bytes());
    Kind::File {
        size_bytes: content.len() as u64,
        content: hash,
    }
}

#[test]
fn a_store_that_somebody_else_has_written_leads_nowhere() {
    let directory = |path| entry(path, Kind::Directory);
    let link = |path, target: &str| entry(path, Kind::Symlink(target.as_bytes().into()));
    let file = |path| entry(path, file_of("x"));
    let linked = |path, group| Entry {
        group: Some(Group(group)),
        ..file(path)
    };
    // The members of the blob, the rows, and what is said.
    let cases: [(&str, Vec<Entry>, &str); 8] = [
        (
            "('../x', 'file', b'x')",
            vec![directory(""), file("x")],
            "it does not hold /x",
        ),
        (
            "('a/../../x', 'file', b'x'), ('d/x', 'dir', '')",
            vec![directory(""), file("x")],
            "it does not hold /x",
        ),
        (
            "('d/x', 'file', b'x')",
            vec![directory(""), link("d", "CANARY"), file("d/x")],
            "/to/d is not a directory",
        ),
        (
            "('d/d/x', 'file', b'x')",
            vec![
                directory(""),
                link("d", "../canary"),
                directory("d/d"),
                file("d/d/x"),
            ],
            "/to/d: No such file or directory (os error 2)",
        ),
        (
            "('d/d/x', 'file', b'x')",
            vec![directory(""), link("d", "CANARY"), file("d/d/x")],
            "/to/d/d is not a directory",
        ),
        (
            "('a', 'file', b'x'), ('d/d/new', 'link', 'a')",
            vec![
                directory(""),
                linked("a", 0),
                link("d", "CANARY"),
                linked("d/d/new", 0),
            ],
            "/to/d/d is not a directory",
        ),
        (
            "('a', 'file', b'x'), ('d/file', 'link', 'a')",
            vec![
                directory(""),
                linked("a", 0),
                link("d", "CANARY"),
                linked("d/file", 0),
            ],
            "/to/d is not a directory",
        ),
        (
            "('h', 'link', 'CANARY/file')",
            vec![directory(""), file("h")],
            "it does not hold /h",
        ),
    ];
    for (members, rows, expected) in cases {
        let bench = Bench::new();
        let canary = Canary::new(&bench);
        let at = canary.path.to_str().unwrap();
        let digests = image(
            &bench.path(""),
            &format!("[[{}]]", members.replace("CANARY", at)),
        );
        let rows = rows.into_iter().map(|row| match &row.kind {
            Kind::Symlink(target) if **target == *b"CANARY" => link("d", at),
            _ => row,
        });
        forge(&bench, &digests[0], rows.collect());
        let (to, before) = (bench.path("to"), beside(&bench));
        for options in [&["--threads", "1"][..], &["--threads", "1", "--exact"]] {
            let said = one_error(restore(&bench, &to, options), 2);
            assert!(said.ends_with(expected), "{members}: {said}");
        }
        assert_eq!(beside(&bench), before, "{members}");
        canary.check();
    }
}

#[test]
fn rows_whose_paths_lead_out_are_refused() {
    for path in [
        &b".."[..],
        b"..\0x",
        b"d\0..\0..\0x",
        b"/x",
        b"d/../../x",
        b".",
        b"d\0\0x",
    ] {
        let (bench, _) = recorded("mkdir d; echo x > d/x", "");
        let canary = Canary::new(&bench);
        let before = beside(&bench);
        let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
        let changed = database
            .execute("UPDATE entry SET path = ? WHERE kind = 2", [path])
            .unwrap();
        assert_eq!(changed, 1);
        drop(database);
        let said = bench.fails(2, ["restore", "s", bench.path("to").to_str().unwrap()]);
        assert!(
            said.contains("rootstrata.sqlite"),
            "{}: {said}",
            path.escape_ascii()
        );
        assert_eq!(beside(&bench), before, "{}", path.escape_ascii());
        assert!(!bench.path("to/d").exists());
        canary.check();
    }
}

// ---- What cannot be done

#[test]
fn an_ordinary_user_gets_what_may_be_theirs_and_one_line_about_the_rest() {
    let script = "mkdir -m 0555 d; chown 65534:65534 . d; echo 1 > d/mine; echo 2 > theirs; echo 3 > set; chmod 4755 set
        chown 65534:65534 d/mine; setfattr -n user.note -v x d/mine; mkfifo fifo; mknod null c 1 3; ln -s x link
        cp /bin/true capable; setcap cap_chown+ep capable; chown -h 65534:65534 link";
    let (bench, root) = recorded(script, "");
    sh(
        &bench.path(""),
        "chmod 0755 .; chown -R 65534:65534 store; mkdir -m 0777 for",
    );
    let as_user = |prefix: &[&str], to: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .args(prefix);
        command
            .arg(env!("CARGO_BIN_EXE_rootstrata"))
            .arg("--store")
            .arg(bench.store());
        command
            .args(["restore", "s", to])
            .current_dir(bench.path("for"));
        command.output().unwrap()
    };
    let output = as_user(&[], "plain");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stderr),
        "rootstrata: warning: could not be restored: device of 1 (/null), owner of 4 (/capable, …), mode of 1 (/set), \
         extended attributes of 1 (/capable)\n"
    );
    let plain = bench.path("for/plain");
    let mut expected = walked(&root);
    expected.remove(&b"null"[..]);
    for name in [&b"capable"[..], b"fifo", b"set", b"theirs"] {
        let node = expected.get_mut(name).unwrap();
        (node.uid, node.gid) = (65534, 65534);
        node.mode &= 0o1777;
        node.xattrs.remove(&b"security.capability"[..]);
    }
    assert_same(&walked(&plain), &expected);
    // Again, over what is there, also in a directory without write permission.
    sh(&plain, "rm -rf d/mine link; chmod 0777 theirs");
    assert_eq!(as_user(&[], "plain").status.code(), Some(1));
    assert_same(&walked(&plain), &expected);
    // As root of a user namespace that maps this user alone.
    let output = as_user(&["unshare", "-r"], "mapped");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(
        said.contains("device of 1 (/null)") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(
        std::fs::read(bench.path("for/mapped/d/mine")).unwrap(),
        b"1\n"
    );
}

#[test]
fn a_full_disk_is_told_with_the_path_and_the_next_run_goes_on() {
    let (bench, root) = recorded(
        "for i in 1 2 3 4; do head -c 900000 /dev/urandom > $i; done",
        "",
    );
    let script = format!(
        "mkdir to; mount -t tmpfs -o size=2M none to; set +e
        '{0}' --store '{1}' -q restore s to; echo $? > code; set -e; mount -o remount,size=20M to
        '{0}' --store '{1}' -q restore s to; cp -a to after",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display(),
    );
    let mut command = Command::new("unshare");
    let output = command
        .args(["-m", "bash", "-euc", &script])
        .current_dir(bench.path(""))
        .output()
        .unwrap();
    assert_eq!(std::fs::read_to_string(bench.path("code")).unwrap(), "2\n");
    let said = text(&output.stderr);
    assert!(
        said.starts_with("rootstrata: error: cannot write ") && said.contains("/to/"),
        "{said}"
    );
    assert!(
        said.contains("No space left on device") && said.lines().count() == 1,
        "{said}"
    );
    assert_same(&walked(&bench.path("after")), &walked(&root));
}

#[test]
fn a_killed_restore_is_finished_by_the_next() {
    let (bench, root) = recorded(
        "for d in $(seq 40); do mkdir -m 0750 $d; for i in $(seq 40); do echo $d $i > $d/$i; done; ln $d/1 $d/one; done
        for i in 1 2 3; do head -c 4000000 /dev/urandom > large$i; done",
        "",
    );
    let to = bench.path("to");
    let mut killed = 0;
    for round in 0..12u32 {
        let mut child = bench
            .command(["restore", "s", to.to_str().unwrap(), "-q"])
            .spawn()
            .unwrap();
        // As many files more each time, so that it is not over at once.
        let enough = 100 * (round % 6 + 1);
        let count = || std::fs::read_dir(to.join("1")).map_or(0, Iterator::count) as u32 * 40;
        while count() < enough && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        if round % 6 == 5 {
            sh(&bench.path(""), "rm -rf to");
        }
    }
    assert!(killed > 0, "it was over each time");
    assert!(restore(&bench, &to, &["--exact"]).status.success());
    assert_same(&walked(&to), &walked(&root));
}

#[test]
fn a_damaged_layer_gives_no_file_and_is_named() {
    for compression in ["zstd", "gzip", "none"] {
        let (bench, root) = recorded(
            "for i in 1 2 3; do head -c 900000 /dev/urandom > $i; done",
            &format!("--compression {compression}"),
        );
        let blobs = bench.store().join("blobs/sha256");
        let largest = std::fs::read_dir(&blobs)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let largest = largest
            .max_by_key(|path| path.metadata().unwrap().len())
            .unwrap();
        let mut bytes = std::fs::read(&largest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&largest, bytes).unwrap();
        let to = bench.path("to");
        let error = bench.fails(2, ["restore", "s", to.to_str().unwrap()]);
        assert!(
            error.contains("is damaged") && error.contains(largest.to_str().unwrap()),
            "{error}"
        );
        let (found, expected) = (walked(&to), walked(&root));
        for (path, node) in found.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(expected.get(path) == Some(node), "{}", path.escape_ascii());
        }
    }
}

// ---- Beside others

#[test]
fn umoci_unpacks_the_same() {
    let script = "mkdir -p -m 2775 d/e; echo 1 > d/1; ln d/1 d/e/one; ln -s /x l; mkfifo f; mknod c c 1 3; chmod 4711 d/1
        chown 5:6 d; setfattr -n user.x -v y d/1; touch -d @5 d/e; head -c 300000 /dev/urandom > large";
    let (bench, root) = recorded(script, "--compression gzip");
    sh(
        &root,
        "rm -r d/e; mkdir d/n; ln d/1 d/n/un; rm l; mkdir l; head -c 500 /dev/urandom > large",
    );
    settle(&root);
    bench.snapshot(
        &root,
        "--profile plain --stage t --run r1 --compression gzip",
    );
    let to = bench.path("to");
    assert!(restore(&bench, &to, &[]).status.success());
    assert_same_tree(&listed(&to), &bench.unpacked("s"));
    assert_same(&walked(&to), &walked(&root));
}
