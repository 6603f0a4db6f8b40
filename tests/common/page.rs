//! Pages of `diff --html` to be looked at, and what they are of.
//!
//! Screenshots stay in the `html` directory of cargo's directory for tests, `target/tmp`.

use super::browser::Browser;
use super::{Bench, install_with_python, sh};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What is true of a page when all of it is there.
pub const READY: &str = "document.documentElement?.dataset.ready";

/// A package of fixtures/rpmdb.py.
pub fn package(name: &str, version: &str, files: &[&str]) -> Value {
    json!({ "name": name, "version": version, "release": "1", "arch": "x86_64", "files": files })
}

/// Two days of the series `s`: packages of all fates, files of none, and one that is not as its package has it.
pub fn two_days() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin usr/lib/big/deep etc var; ln -s usr/lib lib
         for f in up down gone again same; do echo $f > usr/bin/$f; done
         head -c 90000 /dev/zero > usr/lib/big/one.so; head -c 30000 /dev/zero > usr/lib/big/deep/two.so
         echo conf > etc/same.conf; echo one > etc/free; head -c 5000 /dev/zero > etc/lonely
         head -c 600000 /dev/urandom > usr/lib/ballast
         find . -exec touch -h -d @1000000000 {} +",
    );
    let big = [
        "/usr/lib/big",
        "/usr/lib/big/one.so",
        "/usr/lib/big/deep",
        "/usr/lib/big/deep/two.so",
    ];
    let conf = json!({ "path": "/etc/same.conf", "flags": 1 });
    let same = json!({ "name": "same", "version": "1", "release": "1", "arch": "x86_64", "files": ["/usr/bin/same", conf] });
    let of = |name: &str, version: &str| package(name, version, &[&format!("/usr/bin/{name}")]);
    let old = json!([
        of("up", "1.9"),
        of("down", "2"),
        of("gone", "1"),
        of("again", "1"),
        package("big", "1", &big),
        same
    ]);
    install_with_python(&root, &old);
    bench.snapshot(&root, "--stage bootstrap");
    sh(
        &root,
        "rm usr/bin/gone; echo new > usr/bin/new; echo 'up to a newer one' > usr/bin/up; echo again built > usr/bin/again
         echo less > usr/bin/down; head -c 80000 /dev/urandom > usr/lib/big/one.so; echo two > etc/free
         find usr -newermt @1500000000 ! -type d -exec touch -d @1100000000 {} +
         touch -d @1100000000 usr/lib/big/deep/two.so; head -c 40000 /dev/urandom > etc/added; rm etc/lonely; ln -s free etc/link",
    );
    let new = json!([
        of("up", "1.10"),
        of("down", "1"),
        of("new", "1"),
        of("again", "1"),
        package("big", "2", &big),
        same
    ]);
    install_with_python(&root, &new);
    sh(&root, "echo local > etc/same.conf");
    bench.snapshot(&root, "--stage bootstrap");
    bench
}

/// Writes the page of a comparison that finds a difference.
pub fn page_of(bench: &Bench, arguments: &[&str]) -> PathBuf {
    let page = bench.path("page.html");
    let mut all = vec!["-q", "diff"];
    all.extend(arguments);
    all.extend(["--html", page.to_str().unwrap()]);
    bench.prints(1, all);
    page
}

/// The page of both days in a wide window.
pub fn shown(bench: &Bench) -> Browser {
    shown_of(bench, &["s~1", "s"])
}

/// The page of a comparison, likewise.
pub fn shown_of(bench: &Bench, arguments: &[&str]) -> Browser {
    let page = page_of(bench, arguments);
    let mut browser = Browser::start();
    browser.look(1600, 1000, "light");
    browser.open(&page, READY);
    browser
}

/// Saves a screenshot for those who want to look at it.
pub fn keep(browser: &mut Browser, name: &str) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("html");
    std::fs::create_dir_all(&directory).unwrap();
    let encoded = directory.join(format!("{name}.base64"));
    std::fs::write(&encoded, browser.screenshot()).unwrap();
    sh(
        &directory,
        &format!("base64 -d {name}.base64 > {name}.png; rm {name}.base64"),
    );
}

/// The cells of a column of a table, from the top.
pub fn column(browser: &mut Browser, list: &str, name: &str) -> Vec<String> {
    browser.texts(&format!(
        "#{list} > div > table > tbody > tr:not(.inside) > td.col-{name}"
    ))
}
