//! Shared by both targets. What `diff` says of two recorded snapshots: packages, files, contents, and how it is shown.

use crate::common::{Bench, install_with_python, sh};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) fn package(name: &str, version: &str, files: &[&str]) -> Value {
    json!({ "name": name, "version": version, "release": "1", "arch": "x86_64", "files": files })
}

/// A root with four packages, and files of none.
pub(crate) fn root(bench: &Bench) -> PathBuf {
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin usr/lib etc var; ln -s usr/lib lib
         for f in up down gone again same; do echo $f > usr/bin/$f; echo $f > usr/lib/$f.so; done
         echo conf > etc/same.conf; echo one > etc/free
         find . -exec touch -h -d @1000000000 {} +",
    );
    install_with_python(
        &root,
        &json!([
            package("up", "1.9", &["/usr/bin/up", "/lib/up.so"]),
            package("down", "2", &["/usr/bin/down", "/lib/down.so"]),
            package("gone", "1", &["/usr/bin/gone", "/lib/gone.so"]),
            package("again", "1", &["/usr/bin/again", "/lib/again.so"]),
            same_package(),
        ]),
    );
    root
}

pub(crate) fn same_package() -> Value {
    let conf = json!({ "path": "/etc/same.conf", "flags": 1 });
    let files = json!(["/usr/bin/same", "/lib/same.so", conf, "/var/same.cache"]);
    json!({ "name": "same", "version": "1", "release": "1", "arch": "x86_64", "files": files })
}

pub(crate) fn file<'a>(compared: &'a Value, path: &str) -> &'a Value {
    compared["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["path"] == path)
        .unwrap()
}
