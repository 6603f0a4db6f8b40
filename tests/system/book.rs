//! The documents as a site, which mdBook makes: each link leads to a file and a heading that are there.

use crate::common::{Bench, REPOSITORY, succeeds};
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Returns the values of an attribute, as the text of a page has them.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    let parts = page.split(begin.as_str()).skip(1);
    parts.map(|part| part.split('"').next().unwrap()).collect()
}

/// Resolves `..` and `.` without a look at the disk.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(resolved.pop(), "{}", path.display()),
            Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    resolved
}

#[test]
fn no_link_of_the_book_is_dead() {
    let mdbook = std::env::var_os("MDBOOK")
        .expect("MDBOOK is not set: give the command mdbook, or run scripts/test");
    let bench = Bench::new();
    let book = bench.path("book");
    let mut build = Command::new(mdbook);
    succeeds(build.arg("build").arg("-d").arg(&book).arg(REPOSITORY));

    let mut pages = HashMap::new();
    for entry in std::fs::read_dir(&book).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // The pages that mdBook adds: for a wrong address, for printers, and for a browser without scripts.
        let is_added = ["404.html", "print.html", "toc.html"].contains(&name);
        if name.ends_with(".html") && !is_added {
            pages.insert(path.clone(), std::fs::read_to_string(&path).unwrap());
        }
    }
    let mut links = 0;
    let mut dead = Vec::new();
    for (path, page) in &pages {
        for link in [values(page, "href"), values(page, "src")].concat() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => resolved(&path.with_file_name(file)),
            };
            let has_anchor = |page: &String| values(page, "id").contains(&anchor);
            let is_there = match pages.get(&target) {
                Some(page) => anchor.is_empty() || has_anchor(page),
                None => target.exists(),
            };
            links += 1;
            if !is_there {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(links > 300, "{links} links");
    assert_eq!(dead, [""; 0]);
}
