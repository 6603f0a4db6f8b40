//! What is known of recorded snapshots: `which`, `find`, `cat` and `explain`.

use crate::common::{Bench, file_differences, layer, layers, package_differences, sh, text};
use crate::shared::queries::{explained, install_tool, root};
use serde_json::{Value, json};
use std::process::Stdio;

#[test]
fn a_path_has_its_owners_its_layer_and_the_snapshot_since_which_it_is_so() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--stage bootstrap");
    bench.snapshot(&root, "--stage deps-installed");
    sh(&root, "echo other > etc/free");
    bench.snapshot(&root, "--stage bootstrap");
    sh(&root, "echo more > new; echo local > etc/tool.conf");
    bench.snapshot(&root, "--stage bootstrap");
    let which = |snapshot: &str, path: &str| bench.json(["which", snapshot, path]);
    let names = |which: &Value| -> Vec<String> {
        which["owners"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["package"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let since = |which: &Value| {
        (
            which["since"]["id"].as_i64().unwrap(),
            which["before"].clone(),
        )
    };

    let tool = which("4", "/usr/bin/tool");
    assert_eq!(
        (names(&tool), since(&tool)),
        (vec!["tool".to_owned()], (1, Value::Null))
    );
    assert_eq!(names(&which("4", "/usr/bin")), ["other", "tool"]);
    assert_eq!(
        (&tool["layer"]["role"], &tool["entry"]["path"]),
        (&json!("base"), &json!("/usr/bin/tool"))
    );
    let free = which("4", "/etc/free");
    assert_eq!(
        (names(&free), since(&free)),
        (vec![], (3, json!(["content"])))
    );
    assert_eq!(free["layer"]["role"], "update");
    assert_eq!(since(&which("4", "/new")), (4, json!([])));
    // Through a link, as a package spells it.
    let library = which("4", "/lib/tool.so");
    assert_eq!(
        (names(&library), &library["entry"]["path"]),
        (vec!["tool".to_owned()], &json!("/usr/lib/tool.so"))
    );
    let conf = which("4", "/etc/tool.conf");
    assert_eq!(
        (
            &conf["owners"][0]["config"],
            &conf["owners"][0]["deviations"]
        ),
        (&json!(true), &json!(["content", "mtime"]))
    );
    assert_eq!(which("2", "/etc/free")["since"]["id"], 2);
    assert!(
        bench
            .fails(2, ["which", "4", "/none"])
            .contains("/none is not in snapshot 4")
    );
    let shown = bench.prints(0, ["which", "4", "/etc/tool.conf"]);
    assert!(
        shown.contains("package  tool-1-1.noarch %config, not its content"),
        "{shown}"
    );
    assert!(
        shown.contains("before, it differed in content, mtime"),
        "{shown}"
    );
}

fn found(bench: &Bench, arguments: &[&str]) -> Vec<String> {
    let output = bench
        .command(["find"])
        .args(arguments)
        .args(["--json", "-q"])
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
    let all = json["found"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(all.is_empty())));
    let shown = |one: &Value| match &one["package"] {
        Value::Null => format!("{} {}", one["id"], one["entry"]["path"].as_str().unwrap()),
        package => format!(
            "{} {} {}",
            one["id"],
            package["name"].as_str().unwrap(),
            package["version"].as_str().unwrap()
        ),
    };
    all.iter().map(shown).collect()
}

#[test]
fn contents_paths_and_packages_are_found_in_the_snapshots_that_show_them() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--stage bootstrap");
    sh(
        &root,
        "rm usr/bin/tool usr/bin/zz; echo newer > usr/bin/tool; touch -d @1100000000 usr/bin/tool",
    );
    install_tool(&root, "2");
    bench.snapshot(&root, "--stage bootstrap");
    sh(
        &root,
        "rm -r usr/bin; echo file > usr/bin; cp etc/free copy",
    );
    bench.snapshot(&root, "--stage bootstrap");

    assert_eq!(
        found(&bench, &["--path", "/usr/bin/*"]),
        ["2 /usr/bin/tool", "1 /usr/bin/tool", "1 /usr/bin/zz"]
    );
    assert_eq!(
        found(&bench, &["--path", "tool.conf"]),
        ["3 /etc/tool.conf", "2 /etc/tool.conf", "1 /etc/tool.conf"]
    );
    let blake3 = |path: &str| {
        bench.json(["which", "1", path])["entry"]["blake3"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        found(&bench, &["--blake3", &blake3("/usr/bin/tool")]),
        ["1 /usr/bin/tool", "1 /usr/bin/zz"]
    );
    assert_eq!(
        found(&bench, &["--blake3", &blake3("/etc/free")]),
        ["3 /copy", "3 /etc/free", "2 /etc/free", "1 /etc/free"]
    );
    assert_eq!(
        found(&bench, &["--package", "tool"]),
        ["3 tool 2", "2 tool 2", "1 tool 1"]
    );
    assert_eq!(
        found(&bench, &["--package", "tool-1-1.noarch"]),
        ["1 tool 1"]
    );
    assert_eq!(
        found(&bench, &["--package", "o*"]),
        ["3 other 1", "2 other 1", "1 other 1"]
    );

    // A package's file is found by the digest that its package names, another by a look into the layers.
    let sha256 = |content: &str| {
        sh(&root, &format!("echo {content} | sha256sum | cut -c1-64"))
            .trim()
            .to_owned()
    };
    let (newer, free) = (sha256("newer"), sha256("free"));
    assert_eq!(found(&bench, &["--sha256", &newer]), ["2 /usr/bin/tool"]);
    assert_eq!(found(&bench, &["--sha256", &free]), [""; 0]);
    assert_eq!(
        found(&bench, &["--sha256", &free, "--read-layers"]),
        ["3 /copy", "3 /etc/free", "2 /etc/free", "1 /etc/free"]
    );
    assert_eq!(
        found(
            &bench,
            &[
                "--sha256",
                &format!("sha256:{}", newer.to_uppercase()),
                "--read-layers"
            ]
        ),
        ["2 /usr/bin/tool"]
    );

    assert_eq!(found(&bench, &["--blake3", &"0".repeat(64)]), [""; 0]);
    assert_eq!(bench.prints(1, ["find", "--path", "/none"]), "");
    let shown = bench.prints(0, ["find", "--path", "/lib"]);
    assert!(
        shown.lines().nth(1).unwrap().ends_with("/lib -> usr/lib"),
        "{shown}"
    );
    for arguments in [
        &["find"][..],
        &["find", "--blake3", "xyz"],
        &["find", "--path", "a", "--package", "b"],
        &["find", "--path", "a", "--read-layers"],
    ] {
        assert_eq!(
            bench.command(arguments).output().unwrap().status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_file_comes_out_of_its_layer_in_every_compression() {
    for compression in ["zstd", "gzip", "none"] {
        let bench = Bench::new();
        let root = root(&bench);
        let options = format!("--stage bootstrap --compression {compression}");
        sh(
            &root,
            "head -c 3000000 /dev/urandom > large; : > empty; ln large zz",
        );
        bench.snapshot(&root, &options);
        sh(&root, "echo second > second");
        bench.snapshot(&root, &options);
        for path in [
            "large",
            "zz",
            "second",
            "empty",
            "lib/tool.so",
            "usr/bin/zz",
        ] {
            let output = bench
                .command(["cat", "s", &format!("/{path}")])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(
                output.stdout == std::fs::read(root.join(path)).unwrap(),
                "{compression} {path}"
            );
        }
    }
}

#[test]
fn what_has_no_content_is_named_with_what_it_is() {
    let bench = Bench::new();
    let root = root(&bench);
    sh(&root, "mkfifo pipe; mknod null c 1 3");
    bench.snapshot(&root, "--stage bootstrap");
    for (path, what) in [
        ("/lib", "a symlink to usr/lib"),
        ("/etc", "a directory"),
        ("/", "a directory"),
        ("/pipe", "a FIFO"),
        ("/null", "a device"),
        ("/none", "is not in snapshot 1"),
        ("/etc/free/x", "is not in snapshot 1"),
    ] {
        let error = bench.fails(2, ["cat", "1", path]);
        assert!(error.contains(path) && error.contains(what), "{error}");
    }
}

#[test]
fn a_damaged_layer_gives_nothing_and_a_content_that_is_not_what_was_recorded_is_an_error() {
    let bench = Bench::new();
    let root = root(&bench);
    let snapshot = bench.snapshot(&root, "--stage bootstrap --compression none");
    let digest = layer(&snapshot, "base")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let blob = bench.store().join("blobs/sha256").join(&digest);
    let whole = std::fs::read(&blob).unwrap();
    let at = whole
        .windows(5)
        .position(|bytes| bytes == b"free\n")
        .unwrap();
    let mut damaged = whole.clone();
    damaged[at] = b'F';
    std::fs::write(&blob, &damaged).unwrap();
    let cat = || {
        let output = bench.command(["cat", "1", "/etc/free"]).output().unwrap();
        (
            text(&output.stdout),
            output.status.code(),
            text(&output.stderr),
        )
    };
    let (printed, code, error) = cat();
    assert_eq!((printed.as_str(), code), ("", Some(2)));
    assert!(error.contains(&digest), "{error}");
    std::fs::write(&blob, &whole[..at / 512 * 512]).unwrap();
    assert!(bench.fails(2, ["cat", "1", "/etc/free"]).contains("bytes"));
    std::fs::remove_file(&blob).unwrap();
    assert!(
        bench
            .fails(2, ["cat", "1", "/etc/free"])
            .contains("missing")
    );
    // Where the layer is kept in another form, that does.
    std::fs::write(&blob, &damaged).unwrap();
    bench.snapshot(&root, "--stage bootstrap --compression gzip");
    std::fs::write(&blob, &damaged).unwrap();
    assert_eq!(bench.prints(0, ["cat", "1", "/etc/free"]), "free\n");

    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    let changed = "UPDATE entry SET content = zeroblob(32) WHERE path = CAST('etc' || x'00' || 'free' AS BLOB)";
    assert_eq!(database.execute(changed, []).unwrap(), 1);
    let (printed, code, error) = cat();
    assert_eq!((printed.as_str(), code), ("free\n", Some(2)));
    assert!(
        error.contains("the content of /etc/free is not what was recorded"),
        "{error}"
    );
}

#[test]
fn nobody_need_read_a_content_to_its_end() {
    let bench = Bench::new();
    let root = root(&bench);
    sh(&root, "head -c 5000000 /dev/zero > zeros");
    bench.snapshot(&root, "--stage bootstrap");
    let mut child = bench
        .command(["cat", "1", "/zeros"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), "")
    );
}

#[test]
fn a_new_layer_is_explained_by_what_differs_from_the_last_one() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--stage bootstrap");
    let base = explained(&bench, "1", "base");
    assert_eq!(
        (&base["rule"]["rule"], &base["against"]["kind"]),
        (&json!("first"), &json!("nothing"))
    );
    assert_eq!(
        package_differences(&base),
        ["added other 1-1", "added tool 1-1"]
    );

    sh(
        &root,
        "echo newer > usr/bin/tool; touch -d @1100000000 usr/bin/tool; echo other > etc/free; rm etc/tool.conf",
    );
    install_tool(&root, "2");
    let second = bench.snapshot(&root, "--stage bootstrap");
    assert_eq!(layers(&second), ["base reused", "update new", "state new"]);
    assert_eq!(explained(&bench, "2", "base")["first_snapshot"]["id"], 1);
    let update = explained(&bench, "2", "update");
    assert_eq!(
        (
            &update["against"]["kind"],
            &update["against"]["snapshot"]["id"]
        ),
        (&json!("before"), &json!(1))
    );
    assert_eq!(package_differences(&update), ["upgraded tool 1-1 2-1"]);
    assert_eq!(
        file_differences(&update),
        [
            "/etc/free content",
            "-/etc/tool.conf",
            "/usr/bin/tool content,mtime",
            "/usr/bin/zz content,mtime"
        ]
    );
    // The root, /etc, /usr and /usr/bin stand in it as they were.
    assert_eq!(update["carried"], 4);
    assert_eq!(
        file_differences(&explained(&bench, "2", "state")),
        ["/var/lib/rpm/rpmdb.sqlite content"]
    );

    // The next update holds all of that still, but one path alone made it new.
    sh(&root, "echo third > etc/free");
    bench.snapshot(&root, "--stage bootstrap");
    assert_eq!(
        file_differences(&explained(&bench, "3", "update")),
        ["/etc/free content"]
    );
    assert_eq!(explained(&bench, "3", "state")["first_snapshot"]["id"], 2);

    // A stage is compared with the one before, and later with itself of last time.
    sh(&root, "mkdir opt; echo dep > opt/dep");
    bench.snapshot(&root, "--stage deps-installed");
    let delta = explained(&bench, "4", "delta");
    assert_eq!(
        (
            &delta["against"]["kind"],
            &delta["against"]["snapshot"]["id"]
        ),
        (&json!("below"), &json!(3))
    );
    assert_eq!(file_differences(&delta), ["+/opt", "+/opt/dep"]);
    bench.snapshot(&root, "--stage bootstrap --run next");
    sh(&root, "rm -r opt; mkdir opt; echo two > opt/two");
    bench.snapshot(&root, "--stage deps-installed --run next");
    let delta = explained(&bench, "6", "delta");
    assert_eq!(
        file_differences(&delta),
        ["-/opt/dep", "+/opt/two"],
        "{delta}"
    );

    let shown = bench.prints(0, ["explain", "2"]);
    for line in [
        "base    reused",
        "  written for snapshot 1, s@bootstrap",
        "  1 package upgraded",
        "    tool.noarch  1-1 → 2-1  2 files",
    ] {
        assert!(
            shown.lines().any(|found| found.starts_with(line)),
            "{line}\n{shown}"
        );
    }
}
