//! The page of `diff --html` as a file: what it holds, where it is written, and what it lets nobody do.

use crate::common::browser::Browser;
use crate::common::page::{READY, column, page_of, shown, two_days};
use crate::common::{
    Bench, install_with_python, one_error, package_differences, sh, succeeds, text,
};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The object within a page.
fn data(page: &Path) -> Value {
    let script = r#"sed -n 's/.*id="data">\([^<]*\)<.*/\1/p' "$0" | base64 -d | gzip -d"#;
    serde_json::from_str(&succeeds(
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .arg(page),
    ))
    .unwrap()
}

#[test]
fn the_page_holds_what_json_says() {
    let bench = two_days();
    let mut held = data(&page_of(&bench, &["s~1", "s"]));
    let expected = bench.compared(["s~1", "s"]);
    let names = package_differences(&expected);
    for file in held["files"].as_array_mut().unwrap() {
        let by = file
            .as_object_mut()
            .unwrap()
            .remove("accounted_by")
            .unwrap();
        assert_eq!(by.is_u64(), file["accounted"] == true);
        let by = by
            .as_u64()
            .map(|at| names[at as usize].split(' ').nth(1).unwrap().to_owned());
        assert!(by.is_none() || file["package"] == by.unwrap(), "{file}");
        let entry = if file["new"].is_null() {
            &file["old"]
        } else {
            &file["new"]
        };
        let bytes = entry["size_bytes"].as_u64().unwrap_or(0);
        assert_eq!(
            file.as_object_mut().unwrap().remove("bytes"),
            Some(json!(bytes))
        );
    }
    assert_eq!(held, expected);
    let notes = data(&page_of(&bench, &["s~1", "s", "--ignore-mtime", "/etc"]))["notes"].clone();
    let [only, times] = [
        "only this part is compared: /etc",
        "modification times are left out of the comparison",
    ];
    assert_eq!(notes, json!([only, times]));
}

#[test]
fn an_inode_counts_once() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "touch -d @1000000000 .");
    bench.snapshot(&root, "");
    sh(
        &root,
        "head -c 1000 /dev/zero > a; ln a b; ln a c; head -c 10 /dev/zero > d; touch -d @1000000000 .",
    );
    bench.snapshot(&root, "");
    let held = data(&page_of(&bench, &["s~1", "s"]));
    let bytes: Vec<&Value> = held["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["bytes"])
        .collect();
    assert_eq!(bytes, [1000, 0, 0, 10]);
}

#[test]
fn the_page_is_written_whole_beside_the_answer_or_to_stdout() {
    let bench = two_days();
    let target = bench.make("out").join("page.html");
    let answer = bench.prints(1, ["diff", "s~1", "s"]);
    let arguments = ["diff", "s~1", "s", "--html", target.to_str().unwrap()];
    assert_eq!(bench.prints(1, arguments), answer);
    let page = std::fs::read_to_string(&target).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o111, 0);
    assert_eq!(bench.prints(1, ["diff", "s~1", "s", "--html", "-"]), page);
    assert_eq!(
        bench.prints(0, ["diff", "s", "s", "--html", target.to_str().unwrap()]),
        ""
    );
    assert!(
        std::fs::read_to_string(&target)
            .unwrap()
            .contains("Nothing differs.")
    );
    assert_eq!(
        std::fs::read_dir(target.parent().unwrap()).unwrap().count(),
        1,
        "something was left beside the page"
    );
    let both = bench
        .command([
            "diff",
            "s~1",
            "s",
            "--html",
            target.to_str().unwrap(),
            "--json",
        ])
        .output()
        .unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&both.stdout).unwrap()["different"],
        true
    );
    let clash = bench
        .command(["diff", "s~1", "s", "--html", "-", "--json"])
        .output()
        .unwrap();
    assert_eq!(clash.status.code(), Some(2));
    assert!(text(&clash.stderr).contains("the page or the JSON, not both"));
}

#[test]
fn where_no_page_can_be_written_one_line_says_so_before_the_work_is_done() {
    let bench = two_days();
    let fails = |target: &Path| {
        let mut command = bench.command(["diff", "no-such-series", "s", "--html"]);
        one_error(command.arg(target).arg("-q").output().unwrap(), 2)
    };
    let (directory, missing) = (bench.make("directory"), bench.path("missing/page.html"));
    assert_eq!(
        fails(&directory),
        format!("{} is a directory", directory.display())
    );
    let parent = missing.parent().unwrap().display();
    assert_eq!(
        fails(&missing),
        format!("cannot write in {parent}: No such file or directory (os error 2)")
    );
    let socket = bench.path("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(
        fails(&socket),
        format!("{} exists and is no regular file", socket.display())
    );
}

#[test]
fn it_asks_for_nothing_and_may_not() {
    let bench = two_days();
    let mut browser = shown(&bench);
    let page = format!("file://{}", bench.path("page.html").display());
    browser.click("#package-list .toggle");
    assert_eq!(browser.complaints(), Vec::<&Value>::new());
    let others: Vec<String> = browser
        .requests()
        .into_iter()
        .filter(|url| *url != page)
        .collect();
    assert!(
        others.iter().all(|url| url.starts_with("data:")),
        "{others:?}"
    );
    // The policy stops what a name could try if it became markup.
    for attempt in [
        "document.body.append(Object.assign(new Image(), { src: 'http://192.0.2.1/x.png' }))",
        "fetch('http://192.0.2.1/').catch(() => {})",
        "(made => { made.append('document.title = \"run\"'); document.body.append(made); })(document.createElement('style').cloneNode())",
        "try { document.body.setAttribute('onclick', 'document.title = \"run\"') } catch {}",
    ] {
        let stopped = format!(
            "new Promise(stopped => {{ document.addEventListener('securitypolicyviolation', e => stopped(e.disposition), {{ once: true }}); {attempt}; }})"
        );
        assert_eq!(browser.evaluate(&stopped), "enforce", "{attempt}");
    }
    let markup = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch { return 'refused'; } })()";
    assert_eq!(browser.evaluate(markup), "refused");
}

#[test]
fn hostile_names_are_text() {
    let bench = Bench::new();
    let root = bench.make("root");
    bench.snapshot(&root, "");
    let names: [&[u8]; 7] = [
        b"<img src=x onerror=\"document.title='run'\">",
        "a<\u{2215}script><script>document.title='run'<!--".as_bytes(),
        "b<\u{2215}noscript><script>document.title='run'<".as_bytes(),
        b"c{{script}}\n--> & &lt;",
        "d\u{202e}gnp.exe\u{1b}[31m".as_bytes(),
        b"e\xff\xc3\xa9",
        b"__proto__",
    ];
    for name in names {
        std::fs::write(root.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let hostile = "<b>p</b>\"'";
    sh(
        &root,
        "mkdir -p usr/bin '</script><script>document.title=1'; echo p > usr/bin/p; echo x > '</script><script>document.title=1/x'",
    );
    install_with_python(
        &root,
        &json!([{ "name": hostile, "version": "<i>1", "release": "&amp;", "arch": "<u>", "files": ["/usr/bin/p"] }]),
    );
    bench.snapshot(&root, "");
    let page = page_of(&bench, &["s~1", "s"]);
    let mut browser = Browser::start();
    browser.look(1600, 1000, "light");
    browser.open(&page, READY);
    browser.click("#files-scope label:last-child input");
    let paths = column(&mut browser, "file-list", "path");
    for shown in [
        "/<img src=x onerror=\"document.title='run'\">",
        "/a<∕script><script>document.title='run'<!--",
        "/c{{script}}\\n--> & &lt;",
        "/d\\xe2\\x80\\xaegnp.exe\\x1b[31m",
        "/e\\xff\\xc3\\xa9",
        "/__proto__",
        "/<",
        "/</script><script>document.title=1/x",
    ] {
        assert!(
            paths.iter().any(|path| path == shown),
            "{shown} is not in {paths:?}"
        );
    }
    browser.click("#file-list .toggle");
    browser.click("#map-table summary");
    browser.point(".stage > .cell");
    assert_eq!(browser.text("document.title"), "s~1 → s");
    let made = "document.querySelectorAll('img, b, i, u, iframe, script:not(#data):not(:last-of-type), [onerror]').length";
    assert_eq!(browser.evaluate(made), 0);
    assert_eq!(browser.evaluate("document.scripts.length"), 2);
    assert_eq!(browser.complaints(), Vec::<&Value>::new());
    // Neither where no script runs.
    browser.command(
        "Emulation.setScriptExecutionDisabled",
        json!({ "value": true }),
    );
    browser.command("Page.reload", json!({}));
    browser.wait("document.querySelector('noscript pre')");
    let without = browser.text("document.querySelector('noscript pre').textContent");
    assert!(without.contains("document.title='run'\">"), "{without}");
    assert_eq!(browser.evaluate(made), 0);
}

#[test]
fn without_scripts_the_page_shows_the_answer_of_the_terminal() {
    let bench = two_days();
    let page = page_of(&bench, &["s~1", "s"]);
    let mut browser = Browser::start();
    browser.command(
        "Emulation.setScriptExecutionDisabled",
        json!({ "value": true }),
    );
    browser.open(&page, "document.querySelector('noscript pre')");
    let answer = bench.prints(1, ["diff", "s~1", "s"]);
    assert_eq!(
        browser.text("document.querySelector('noscript pre').textContent"),
        answer
    );
    assert!(
        browser
            .evaluate("document.querySelector('noscript pre').offsetHeight")
            .as_f64()
            .unwrap()
            > 100.0
    );
}

#[test]
fn a_comparison_without_packages_files_or_differences_has_its_page_too() {
    let bench = two_days();
    let mut browser = Browser::start();
    let page = page_of(&bench, &["s~1", "s", "--packages"]);
    browser.open(&page, READY);
    assert_eq!(column(&mut browser, "package-list", "name").len(), 6);
    assert_eq!(
        browser.evaluate("[document.getElementById('map'), document.getElementById('files')]"),
        json!([null, null])
    );
    // Directories: neither layers nor packages.
    let (a, b) = (bench.make("a"), bench.make("b"));
    std::fs::write(b.join("file"), "x").unwrap();
    let page = page_of(
        &bench,
        &[
            &format!("dir:{}", a.display()),
            &format!("dir:{}", b.display()),
        ],
    );
    browser.open(&page, READY);
    assert_eq!(column(&mut browser, "file-list", "path"), ["/file"]);
    assert_eq!(
        browser.evaluate(
            "['layers', 'packages', 'map-grouping'].map(id => document.getElementById(id))"
        ),
        json!([null, null, null])
    );
    let same = bench.path("same.html");
    bench.prints(
        0,
        ["-q", "diff", "s", "s", "--html", same.to_str().unwrap()],
    );
    browser.open(&same, READY);
    assert_eq!(browser.texts("#status"), ["Nothing differs."]);
    assert_eq!(
        browser.evaluate("document.querySelectorAll('section').length"),
        1
    );
    // The same layers, compressed in another way.
    let (root, out) = (bench.path("root"), bench.path("layout"));
    let export = [
        "export",
        "--root",
        root.to_str().unwrap(),
        "--series",
        "s",
        "--stage",
        "bootstrap",
    ];
    bench.json(export.into_iter().chain([
        "--compression",
        "gzip",
        "--format",
        "oci-dir",
        "-o",
        out.to_str().unwrap(),
    ]));
    bench.prints(
        0,
        ["-q", "diff", "s~1", "s", "--html", same.to_str().unwrap()],
    );
    browser.open(&same, READY);
    let in_which = column(&mut browser, "layer-list", "where");
    assert!(
        in_which.len() == 3 && in_which.iter().all(|one| one == "both"),
        "{in_which:?}"
    );
    assert!(
        column(&mut browser, "layer-list", "digest")
            .iter()
            .all(|one| one.contains(" → "))
    );
    assert_eq!(browser.complaints(), Vec::<&Value>::new());
}
