//! A restore writes nothing beside its directory, whatever lies there; it says what it could not do, and what stopped it is
//! made good by the next.

use crate::common::image::image;
use crate::common::tree::walked;
use crate::common::{Bench, assert_same_tree, listed, one_error, settle, sh, succeeds, text};
use crate::shared::restore_hostile::{Canary, assert_same, beside, entry, recorded, restore};
use rootstrata::model::digest::{ContentHash, DiffId};
use rootstrata::model::plan::LayerPurpose;
use rootstrata::model::plan::layer::{LayerContent, Role};
use rootstrata::model::policy::Policy;
use rootstrata::model::tree::Tree as ModelTree;
use rootstrata::model::tree::entry::{Entry, Group, Kind};
use rootstrata::store::{
    self, NewLayer, NewSnapshot, PackagesOf, SnapshotLayer, StampState, Store,
};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const NOBODY: &str = "65534";

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
        purpose: LayerPurpose {
            role: Role::Base,
            label: None,
            is_inherited: false,
            reason: None,
        },
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
        labels: &Default::default(),
        is_pinned: false,
        remotes: &[],
        series: "s",
        stage: "s",
        run: None,
        parent_id: None,
        policy: &policy,
        created_s: 0,
        planning: None,
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
