//! Roots whose packages are in Berkeley DB or ndb, beside what rpm says of them.

use crate::common::rpm_backends::{Order, berkeley_db, of_berkeley_db, of_ndb, real};
use crate::common::{Bench, settle, sh, succeeds};
use rootstrata::rpm::{self, Backend, Header};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// rpm over a database of Berkeley DB, which it only reads.
fn rpm(arguments: &[&str]) -> String {
    let mut command = Command::new("rpm");
    command
        .args(["--define", "_db_backend bdb_ro"])
        .args(arguments);
    let output = command.output().unwrap();
    // `rpm -V` fails where it finds a difference; and rpm misses its indexes, which it does not need here.
    String::from_utf8(output.stdout).unwrap()
}

/// A root with this database in var/lib/rpm, and the files of its packages: as long, as old and of the same mode, without content.
fn sparse_root(bench: &Bench, name: &str, database: &[u8]) -> PathBuf {
    let root = bench.make(name);
    let place = root.join("var/lib/rpm");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("Packages"), database).unwrap();
    let mut headers: Vec<Header> = Vec::new();
    rpm::read(Backend::BerkeleyDb, &place, Path::new("x"), |header| {
        headers.push(header)
    })
    .unwrap();
    let mut directories = Vec::new();
    for header in &headers {
        let above: Vec<&[u8]> = header.files.directories().collect();
        for file in header.files.files() {
            let at = [above[file.directory], file.name].concat();
            let at = root.join(OsStr::from_bytes(at.strip_prefix(b"/").unwrap()));
            let time = UNIX_EPOCH + Duration::from_secs(file.mtime_s.into());
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            match file.mode & 0o170_000 {
                0o040_000 => {
                    std::fs::create_dir_all(&at).unwrap();
                    directories.push((at, u32::from(file.mode) & 0o7777, time));
                }
                0o120_000 if at.symlink_metadata().is_err() => {
                    symlink(OsStr::from_bytes(file.target), &at).unwrap()
                }
                0o100_000 if !at.exists() => {
                    let made = File::create(&at).unwrap();
                    made.set_len(file.size_bytes).unwrap();
                    made.set_permissions(Permissions::from_mode(u32::from(file.mode) & 0o7777))
                        .unwrap();
                    made.set_modified(time).unwrap();
                }
                _ => {}
            }
        }
    }
    for (at, mode, time) in directories.iter().rev() {
        std::fs::set_permissions(at, Permissions::from_mode(*mode)).unwrap();
        File::open(at).unwrap().set_modified(*time).unwrap();
    }
    settle(&root);
    root
}

fn verified(root: &Path) -> Vec<String> {
    let root = root.to_str().unwrap();
    let output = rpm(&[
        "--root",
        root,
        "--dbpath",
        "/var/lib/rpm",
        "-Va",
        "--nofiledigest",
        "--nodeps",
        "--noscripts",
    ]);
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn packages(bench: &Bench, snapshot: &str) -> BTreeSet<String> {
    let shown = bench.json(["show", snapshot]);
    let all = shown["packages"].as_array().unwrap().iter();
    all.map(|package| {
        let source = package["source_rpm"].as_str().unwrap();
        let source = if source.is_empty() { "(none)" } else { source };
        format!("{} {source}", package["nevra"].as_str().unwrap())
    })
    .collect()
}

/// What is shown of each package: key, size, checksums, licence, vendor and build time; `-` for nothing.
fn details(bench: &Bench, snapshot: &str) -> BTreeSet<Vec<String>> {
    let shown = bench.json(["show", snapshot]);
    let fields = [
        "nevra",
        "signature_key",
        "size_bytes",
        "md5",
        "header_checksum",
        "license",
        "vendor",
        "build_time",
    ];
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let all = shown["packages"].as_array().unwrap().iter();
    all.map(|package| fields.iter().map(|field| text(&package[field])).collect())
        .collect()
}

/// The same of a line of rpm's. A signature ends in its key.
fn details_of_rpm(line: &str) -> Vec<String> {
    let fields = line
        .split('|')
        .map(|field| if field == "(none)" { "" } else { field });
    let fields: Vec<&str> = fields.collect();
    let [
        nevra,
        signature,
        size,
        md5,
        sha256,
        sha1,
        license,
        vendor,
        built,
    ] = fields[..]
    else {
        panic!("{line}");
    };
    let checksum = match (sha256, sha1) {
        ("", "") => String::new(),
        ("", sha1) => format!("sha1:{sha1}"),
        (sha256, _) => format!("sha256:{sha256}"),
    };
    let key = signature.rsplit(' ').next().unwrap();
    let fields = [nevra, key, size, md5, &checksum, license, vendor, built];
    fields
        .map(|field| {
            if field.is_empty() {
                "-".to_owned()
            } else {
                field.to_owned()
            }
        })
        .into()
}

#[test]
fn rpm_lists_the_packages_and_owners_that_we_do_and_finds_a_restored_root_as_it_was() {
    let bench = Bench::new();
    for (name, database) in [
        ("el8", real("el8-Packages")),
        // ndb, which rpm of Debian does not read, put into the other form.
        (
            "sle15",
            berkeley_db(&of_ndb(&real("sle15-Packages.db")), 4096, Order::Little),
        ),
    ] {
        let root = sparse_root(&bench, name, &database);
        let directory = root.join("var/lib/rpm");
        sh(&root, "touch -d @5 usr/bin/bash");
        settle(&root);
        bench.snapshot(&root, &format!("--series {name} --profile mock"));

        let listed = rpm(&[
            "--dbpath",
            directory.to_str().unwrap(),
            "-qa",
            "--qf",
            "%{NEVRA} %{SOURCERPM}\n",
        ]);
        let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
        assert_eq!(packages(&bench, name), listed);

        let query = "%{NEVRA}|%|RSAHEADER?{%{RSAHEADER:pgpsig}}:{}||%{SIZE}|%{PKGID}|%{SHA256HEADER}|%{SHA1HEADER}|%{LICENSE}|%{VENDOR}|%{BUILDTIME}\n";
        let listed = rpm(&[
            "--dbpath",
            directory.to_str().unwrap(),
            "-qa",
            "--qf",
            query,
        ]);
        assert_eq!(
            details(&bench, name),
            listed.lines().map(details_of_rpm).collect::<BTreeSet<_>>()
        );

        // A path of every third package.
        let owned = rpm(&[
            "--dbpath",
            directory.to_str().unwrap(),
            "-qa",
            "--qf",
            "[%{FILESTATES:fstate} %{=NEVRA} %{FILENAMES}\n]",
        ]);
        let mut seen = BTreeSet::new();
        let installed = owned
            .lines()
            .filter_map(|line| line.strip_prefix("normal "));
        let each = installed.filter_map(|line| line.split_once(' '));
        let firsts =
            each.filter(|(package, path)| root.join(&path[1..]).is_file() && seen.insert(*package));
        let firsts: Vec<(&str, &str)> = firsts.step_by(3).collect();
        assert!(firsts.len() > 5, "{name}: {}", firsts.len());
        for (package, path) in firsts {
            let found = bench.json(["which", name, path]);
            let mut owners = found["owners"].as_array().unwrap().iter();
            let is_named = owners.any(|owner| owner["package"]["nevra"] == package);
            assert!(is_named, "{path} of {package}: {found}");
        }

        let out = bench.path(&format!("{name}-out"));
        bench.json(["restore", name, out.to_str().unwrap()]);
        let before = verified(&root);
        let after = verified(&out);
        assert!(
            !before.iter().any(|line| line.starts_with("missing")),
            "{before:?}"
        );
        assert!(
            before
                .iter()
                .any(|line| line.contains("T.    /usr/bin/bash")),
            "{name}: {before:?}"
        );
        let more: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
        // Directories that the profile records with a fixed mode.
        let fixed = ["/", "/dev", "/proc", "/sys"].map(|at| format!(".M.......    {at}"));
        assert!(
            more.iter().all(|line| fixed.contains(line)),
            "{name}: {more:?}"
        );
        assert!(before.iter().all(|line| after.contains(line)), "{name}");
    }
}

#[test]
fn layers_by_package_of_such_roots_are_those_of_the_same_root_with_sqlite() {
    let bench = Bench::new();
    // EL8's without its largest: a sparse root is read byte by byte.
    let mut el8 = of_berkeley_db(&real("el8-Packages"));
    el8.retain(|header| header.len() < 40_000);
    let sle15 = of_ndb(&real("sle15-Packages.db"));
    for (name, blobs, order) in [("el8", el8, Order::Little), ("sle15", sle15, Order::Big)] {
        let database = berkeley_db(&blobs, 4096, order);
        let root = sparse_root(&bench, name, &database);
        // Content of its own for each file, or the layers of two packages could be equal.
        sh(&root, "find usr/bin usr/lib64 -type f -links 1 -size +64k -size -2M | sort | head -n 200 | while read -r file; do
                       touch -r \"$file\" ../time; printf %s \"$file\" | dd of=\"$file\" conv=notrunc status=none; touch -r ../time \"$file\"
                   done");
        settle(&root);
        let layers = |series: &str| -> Vec<Value> {
            bench.snapshot(
                &root,
                &format!("--series {series} --profile mock --layers packages:60"),
            );
            let shown = bench.json(["show", series]);
            let layers = shown["layers"].as_array().unwrap().iter();
            let of_packages = layers.filter(|layer| layer["role"] == "package");
            of_packages.map(|layer| layer["digest"].clone()).collect()
        };
        let of_old = layers(&format!("{name}-old"));
        let sqlite = root.join("var/lib/rpm/rpmdb.sqlite");
        std::fs::remove_file(root.join("var/lib/rpm/Packages")).unwrap();
        let connection = rusqlite::Connection::open(sqlite).unwrap();
        connection
            .execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
            .unwrap();
        for blob in blobs {
            connection
                .execute("INSERT INTO Packages (blob) VALUES (?)", [blob])
                .unwrap();
        }
        drop(connection);
        settle(&root);
        let of_sqlite = layers(&format!("{name}-sqlite"));
        assert!(of_old.len() > 5, "{name}: {} layers", of_old.len());
        assert_eq!(of_old, of_sqlite, "{name}");

        let old = format!("{name}-old");
        let archive = bench.path("image.tar");
        bench.json(["export", &old, "-o", archive.to_str().unwrap()]);
        let same = bench
            .command(["diff", &old, &format!("oci-archive:{}", archive.display())])
            .status()
            .unwrap();
        assert!(same.success(), "{name}");
        succeeds(&mut bench.command(["verify", "--deep"]));
    }
}
