//! Bad input: one clear line with the path, an exit code, and a store that is as it was.

use crate::common::{Bench, one_error, rootstrata, sh, succeeds};
use crate::shared::bad_input::{recorded, refuses, snapshot};
use std::process::Command;

#[test]
fn a_root_that_is_unreadable_in_part_is_an_error_and_no_deletion() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir open closed; echo x > open/f; echo y > closed/secret; chmod 755 .; chmod 711 ..",
    );
    let store = bench.make("theirs");
    std::os::unix::fs::chown(&store, Some(65534), Some(65534)).unwrap();
    let as_nobody = |what: &str| {
        let binary = bench.path("rootstrata");
        std::fs::copy(env!("CARGO_BIN_EXE_rootstrata"), &binary).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(binary)
            .arg("--store")
            .arg(store.join("store"));
        command
            .args(snapshot(root.to_str().unwrap(), &["-q", "--stage", what]))
            .output()
            .unwrap()
    };
    assert!(as_nobody("bootstrap").status.success());
    for (change, path) in [
        ("chmod 700 closed", "closed"),
        ("chmod 755 closed; chmod 600 open/f", "open/f"),
    ] {
        sh(&root, change);
        let error = one_error(as_nobody("next"), 2);
        assert!(
            error.contains(path) && error.contains("Permission denied"),
            "{error}"
        );
    }
    let log = succeeds(
        rootstrata()
            .arg("--store")
            .arg(store.join("store"))
            .arg("log"),
    );
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn an_attribute_that_no_layer_can_hold_is_refused_with_the_path() {
    let bench = recorded();
    let root = bench.path("root");
    sh(&root, "setfattr -n user.a=b -v c f");
    refuses(
        &bench,
        &snapshot(root.to_str().unwrap(), &[]),
        root.join("f").to_str().unwrap(),
    );
}

#[test]
fn a_store_without_space_is_named_and_keeps_what_it_has() {
    let bench = Bench::new();
    let root = bench.make("root");
    let small = bench.make("small");
    sh(&root, "echo small > f");
    let binary = env!("CARGO_BIN_EXE_rootstrata");
    let script = format!(
        "mount -t tmpfs -o size=3m none {small}
         {binary} --store {small}/store snapshot {root} --series s --profile plain -q
         head -c 20000000 /dev/urandom > {root}/big
         code=0; {binary} --store {small}/store snapshot {root} --series s --profile plain -q || code=$?
         [ $code = 2 ]
         rm {root}/big
         {binary} --store {small}/store snapshot {root} --series s --profile plain -q
         {binary} --store {small}/store log --json; ls {small}/store/tmp",
        small = small.display(),
        root = root.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "bash", "-euc", &script])
        .output()
        .unwrap();
    let (stdout, stderr) = (
        crate::common::text(&output.stdout),
        crate::common::text(&output.stderr),
    );
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains(small.to_str().unwrap()) && stderr.contains("No space"),
        "{stderr}"
    );
    let mut lines = stdout.lines();
    let log: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(log["snapshots"].as_array().unwrap().len(), 2);
    assert_eq!(lines.next(), None, "nothing is left in tmp");
}
