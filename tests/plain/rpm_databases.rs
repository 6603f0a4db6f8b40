//! rpm databases of ndb and Berkeley DB: what rpm lists of real ones, in each backend and byte order; which of several counts; and
//! what becomes of a root whose database nobody can read.

use crate::common::rpm_backends::{Order, berkeley_db, ndb, of_berkeley_db, of_ndb, real};
use crate::common::{Bench, sh};
use rootstrata::rpm::{self, Backend, Header};
use serde_json::Value;
use std::path::Path;

/// Reads the file of a backend.
fn read(backend: Backend, file: &[u8]) -> Result<Vec<Header>, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(backend.file_name()), file).unwrap();
    let mut headers = Vec::new();
    let result = rpm::read(backend, directory.path(), Path::new("/r/db"), |header| {
        headers.push(header);
    });
    match result {
        Ok(()) => Ok(headers),
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("/r/db"), "{error}");
            Err(error)
        }
    }
}

/// The packages as the list beside a real database has them.
fn listed(headers: &[Header]) -> Vec<String> {
    let line = |header: &Header| {
        let package = &header.package;
        let none = |text: &str| {
            if text.is_empty() {
                "(none)".to_owned()
            } else {
                text.to_owned()
            }
        };
        let key = if package.arch.is_empty() {
            ".(none)"
        } else {
            ""
        };
        format!("{package}{key} {}", none(&package.source_rpm))
    };
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

fn expected(name: &str) -> Vec<String> {
    let path = Path::new(crate::common::REPOSITORY).join(format!("fixtures/rpmdb/{name}.expected"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Headers in an order of their own, to compare those of two databases.
fn sorted(mut headers: Vec<Header>) -> Vec<Header> {
    headers.sort_by(|a, b| a.package.cmp(&b.package));
    headers
}

#[test]
fn real_databases_have_the_packages_that_rpm_lists() {
    for (name, file, backend) in [
        ("el8", "el8-Packages", Backend::BerkeleyDb),
        ("libuuid", "libuuid-Packages", Backend::BerkeleyDb),
        ("sle15", "sle15-Packages.db", Backend::Ndb),
    ] {
        let headers = read(backend, &real(file)).unwrap();
        assert_eq!(listed(&headers), expected(name), "{name}");
        let owned: usize = headers.iter().map(|header| header.files.len()).sum();
        assert!(owned > 5 * headers.len(), "{name}: {owned} files");
    }
}

#[test]
fn each_backend_and_byte_order_gives_the_same_headers() {
    let berkeley = real("el8-Packages");
    let of_real = sorted(read(Backend::BerkeleyDb, &berkeley).unwrap());
    let blobs = of_berkeley_db(&berkeley);
    for (page_bytes, order) in [(4096, Order::Big), (512, Order::Big), (512, Order::Little)] {
        let made = berkeley_db(&blobs, page_bytes, order);
        assert!(
            sorted(read(Backend::BerkeleyDb, &made).unwrap()) == of_real,
            "{page_bytes} {order:?}"
        );
    }
    assert!(sorted(read(Backend::Ndb, &ndb(&blobs)).unwrap()) == of_real);

    let file = real("sle15-Packages.db");
    let of_real = sorted(read(Backend::Ndb, &file).unwrap());
    let made = berkeley_db(&of_ndb(&file), 4096, Order::Big);
    assert!(sorted(read(Backend::BerkeleyDb, &made).unwrap()) == of_real);
}

#[test]
fn empty_databases_have_no_packages() {
    assert_eq!(read(Backend::Ndb, &ndb(&[])), Ok(vec![]));
    for order in [Order::Little, Order::Big] {
        assert_eq!(
            read(Backend::BerkeleyDb, &berkeley_db(&[], 512, order)),
            Ok(vec![])
        );
    }
}

/// As Berkeley DB leaves a new hash: of two buckets, the page of the first is a hole.
#[test]
fn a_bucket_that_was_never_written_is_empty() {
    for order in [Order::Little, Order::Big] {
        let mut new = berkeley_db(&[], 4096, order);
        new[4096..3 * 4096].fill(0);
        // Of the one pair that there was, the page is gone.
        assert!(
            read(Backend::BerkeleyDb, &new)
                .unwrap_err()
                .contains("missing")
        );
        new[88..92].fill(0);
        assert_eq!(read(Backend::BerkeleyDb, &new), Ok(vec![]));
    }
    let root = Root::new();
    let mut new = berkeley_db(&[], 4096, Order::Little);
    new[4096..2 * 4096].fill(0);
    new[88..92].fill(0);
    root.put("usr/lib/sysimage/rpm/Packages", &new);
    let blobs = of_ndb(&real("sle15-Packages.db"));
    root.put(
        "var/lib/rpm/Packages",
        &berkeley_db(&blobs[..4], 4096, Order::Little),
    );
    assert_eq!(root.packages().0, Some(4));
}

#[test]
fn a_package_with_two_rows_is_one_package() {
    let blobs = of_ndb(&real("sle15-Packages.db"));
    let twice: Vec<Vec<u8>> = blobs[..3].iter().chain(&blobs[1..2]).cloned().collect();
    let root = Root::new();
    root.put_sqlite("var/lib/rpm", &twice);
    assert_eq!(root.packages().0, Some(3));
    let output = root.bench.command(["verify", "--deep"]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn another_managers_packages_count_beside_an_empty_database_of_rpm() {
    let root = Root::new();
    root.put_sqlite("var/lib/rpm", &[]);
    let status =
        "Package: hello\nStatus: install ok installed\nVersion: 1-2\nArchitecture: amd64\n";
    root.put("var/lib/dpkg/status", status.as_bytes());
    assert_eq!(root.packages().0, Some(0));
    sh(&root.path, "cp -a . ../copy");
    for directory in ["root", "copy"] {
        let directory = format!("dir:{}", root.bench.path(directory).display());
        let output = root
            .bench
            .command(["diff", "s", &directory])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{directory}: {said}");
    }
    let list = root.bench.path("list");
    std::fs::write(&list, "hello-1-2.x86_64\n").unwrap();
    let list = format!("packages:{}", list.display());
    for side in ["s".to_owned(), format!("dir:{}", root.path.display())] {
        let output = root.bench.command(["diff", &side, &list]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && said.contains("are not of rpm"),
            "{said}"
        );
    }
}

/// A database of ndb, and what is wrong with it after a change at a place.
#[test]
fn a_database_of_ndb_that_lies_is_refused() {
    let blobs = of_ndb(&real("sle15-Packages.db"));
    let sound = ndb(&blobs[..2]);
    assert_eq!(read(Backend::Ndb, &sound).unwrap().len(), 2);
    // The slots of the two packages are the second and the fourth.
    let (first, second) = (32 + 16, 32 + 3 * 16);
    let with = |at: usize, number: u32| {
        let mut file = sound.clone();
        file[at..at + 4].copy_from_slice(&number.to_le_bytes());
        read(Backend::Ndb, &file)
    };
    let number = |at: usize| u32::from_le_bytes(sound[at..at + 4].try_into().unwrap());
    for (what, at, value, says) in [
        ("another magic", 0, 0, "no database of ndb"),
        ("another version", 4, 1, "version 1"),
        (
            "more pages of slots than the file has",
            12,
            u32::MAX,
            "slots is malformed",
        ),
        ("a slot without magic", first, 0, "slots is malformed"),
        (
            "a package without number",
            first + 4,
            0,
            "slots is malformed",
        ),
        (
            "a package among the slots",
            first + 8,
            3,
            "slots is malformed",
        ),
        (
            "a package past the end",
            first + 8,
            u32::MAX - 2,
            "cut short",
        ),
        (
            "packages that overlap",
            first + 8,
            number(second + 8),
            "overlap",
        ),
        ("two packages of one number", second + 4, 1, "one number"),
        (
            "a package of another length",
            first + 12,
            number(first + 12) - 1,
            "malformed",
        ),
        ("a package without blocks", first + 12, 0, "malformed"),
        (
            "another sum",
            number(first + 8) as usize * 16 + 100,
            7,
            "malformed",
        ),
    ] {
        let error = with(at, value).expect_err(what);
        assert!(error.contains(says), "{what}: {error}");
    }
    for length in [0, 31, 32, 4095, 4096, sound.len() - 1] {
        assert!(read(Backend::Ndb, &sound[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_database_of_berkeley_db_that_lies_is_refused() {
    let blobs = of_ndb(&real("sle15-Packages.db"));
    for order in [Order::Little, Order::Big] {
        let sound = berkeley_db(&blobs[..3], 4096, order);
        assert_eq!(read(Backend::BerkeleyDb, &sound).unwrap().len(), 3);
        let with = |at: usize, bytes: &[u8]| {
            let mut file = sound.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            read(Backend::BerkeleyDb, &file)
        };
        let n = |number: u32| match order {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        };
        // Pages 1 to 3 are buckets, 4 is the first of the first package's chain.
        let page = |number: usize| number * 4096;
        for (what, at, bytes, says) in [
            ("another magic", 12, n(7), "no database of Berkeley DB"),
            ("a B-tree", 12, n(0x53162), "B-tree"),
            ("another version", 16, n(11), "version 11"),
            ("pages of no length", 20, n(0), "0 bytes"),
            ("pages of an odd length", 20, n(4097), "4097 bytes"),
            ("encryption", 24, [1, 8, 0, 0], "not as rpm makes"),
            ("checksums", 24, [0, 8, 1, 0], "not as rpm makes"),
            ("more pages than the file has", 32, n(u32::MAX), "cut short"),
            ("more buckets than pages", 72, n(u32::MAX), "more buckets"),
            ("a bucket without a page", 96, n(0), "no page"),
            ("a bucket past the end", 96, n(u32::MAX), "which it has not"),
            ("a bucket twice", 100, n(0), "two chains"),
            (
                "a page of another number",
                page(1) + 8,
                n(9),
                "page 1 is malformed",
            ),
            (
                "a page of another type",
                page(1) + 24,
                [0, 3, 0, 0],
                "malformed",
            ),
            (
                "a chain of pages in a circle",
                page(1) + 16,
                n(1),
                "two chains",
            ),
            (
                "a chain of bytes in a circle",
                page(4) + 16,
                n(4),
                "two chains",
            ),
            (
                "a chain that ends early",
                page(4) + 16,
                n(0),
                "which it has not",
            ),
            (
                "a chain of other pages",
                page(4) + 24,
                [0, 13, 0, 0],
                "page 4 is malformed",
            ),
        ] {
            let error = with(at, &bytes).expect_err(what);
            assert!(error.contains(says), "{order:?}, {what}: {error}");
        }
        for length in [0, 511, 4095, 4096, sound.len() - 1] {
            assert!(
                read(Backend::BerkeleyDb, &sound[..length]).is_err(),
                "{length}"
            );
        }
    }
}

/// A root whose databases are made by a test, and the notes that a snapshot of the root gives.
struct Root {
    bench: Bench,
    path: std::path::PathBuf,
}

impl Root {
    fn new() -> Self {
        let bench = Bench::new();
        let path = bench.make("root");
        Self { bench, path }
    }

    fn put(&self, at: &str, bytes: &[u8]) {
        let path = self.path.join(at);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Puts an SQLite database with these headers.
    fn put_sqlite(&self, place: &str, headers: &[Vec<u8>]) {
        let path = self.path.join(place).join("rpmdb.sqlite");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        let database = rusqlite::Connection::open(path).unwrap();
        let table =
            "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)";
        database.execute_batch(table).unwrap();
        for header in headers {
            let insert = "INSERT INTO Packages (blob) VALUES (?)";
            database.execute(insert, [header]).unwrap();
        }
    }

    /// Records the root, and returns the number of packages and what was told.
    fn packages(&self) -> (Option<usize>, String) {
        let root = self.path.to_str().unwrap();
        let args = [
            "--quiet",
            "snapshot",
            root,
            "--series",
            "s",
            "--profile",
            "mock",
        ];
        let output = self.bench.command(args).output().unwrap();
        assert!(output.status.success());
        let shown = self.bench.json(["show", "s"]);
        let count = shown["packages"].as_array().map(Vec::len);
        let stderr = self
            .bench
            .command(["snapshot", root, "--series", "t", "--profile", "mock"])
            .output()
            .unwrap()
            .stderr;
        (count, String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn of_several_databases_that_of_rpm_of_the_root_counts() {
    let blobs = of_ndb(&real("sle15-Packages.db"));
    let old = "var/lib/rpm";
    let new = "usr/lib/sysimage/rpm";

    let root = Root::new();
    root.put(&format!("{new}/Packages.db"), &ndb(&blobs[..5]));
    let (count, said) = root.packages();
    assert_eq!(count, Some(5));
    assert!(!said.contains("count"), "{said}");

    // Empty ones beside it: rpm of another root has been there.
    root.put_sqlite(new, &[]);
    root.put_sqlite(old, &[]);
    let (count, said) = root.packages();
    assert_eq!(count, Some(5));
    assert!(
        said.contains("rpmdb.sqlite has no packages; those of ")
            && said.contains("Packages.db count"),
        "{said}"
    );

    // Two with packages: the newer place counts, and a note says so; the root's macros know better, without a note.
    root.put_sqlite(old, &blobs[..2]);
    root.put_sqlite(new, &blobs[..3]);
    let (count, said) = root.packages();
    assert_eq!(count, Some(3));
    assert!(said.contains("count, and not those of"), "{said}");
    for (macros, wanted) in [
        ("%_dbpath %{_usr}/lib/sysimage/rpm\n%_db_backend ndb\n", 5),
        ("%_dbpath %{_var}/lib/rpm\n%_db_backend sqlite\n", 2),
    ] {
        root.put("usr/lib/rpm/macros", macros.as_bytes());
        let (count, said) = root.packages();
        assert_eq!(count, Some(wanted), "{macros}");
        assert!(!said.contains("count, and not"), "{said}");
    }
    root.put("etc/rpm/macros", b"%_dbpath /usr/lib/sysimage/rpm\n");
    assert_eq!(root.packages().0, Some(3)); // SQLite still
}

#[test]
fn a_database_where_rpm_ostree_keeps_it_is_found_once() {
    let blobs = of_ndb(&real("sle15-Packages.db"));
    let root = Root::new();
    root.put("usr/share/rpm/Packages.db", &ndb(&blobs[..4]));
    sh(
        &root.path,
        "mkdir -p usr/lib/sysimage var/lib; ln -s ../../share/rpm usr/lib/sysimage/rpm
                    ln -s ../../usr/share/rpm var/lib/rpm",
    );
    let (count, said) = root.packages();
    assert_eq!(count, Some(4));
    assert!(!said.contains("count"), "{said}");
}

#[test]
fn an_empty_file_is_no_database_and_counts_beside_none() {
    let root = Root::new();
    root.put("usr/lib/sysimage/rpm/Packages.db", b"");
    let (count, said) = root.packages();
    assert_eq!(count, None);
    assert!(said.contains("it is an empty file"), "{said}");
    root.put(
        "var/lib/rpm/Packages",
        &berkeley_db(&[], 4096, Order::Little),
    );
    let (count, said) = root.packages();
    assert_eq!(count, Some(0));
    assert!(!said.contains("empty file"), "{said}");
}

#[test]
fn where_packages_are_unknown_python_modules_keep_their_times_and_a_note_says_so() {
    let root = Root::new();
    root.put("var/lib/rpm/Packages", b"junk");
    root.put("usr/lib/app/m.py", b"x = 1\n");
    root.put("usr/lib/app/data", b"x");
    sh(&root.path, "touch -d @1700000000 usr/lib/app/*");
    let (count, said) = root.packages();
    assert_eq!(count, None);
    assert!(
        said.contains("var/lib/rpm/Packages cannot be read")
            && said.contains("packages are unknown, and files but *.py get the epoch"),
        "{said}"
    );
    let times = |at: &str| -> Value {
        let listed = root.bench.json(["ls", "s", at]);
        listed["entries"][0]["mtime"].clone()
    };
    assert_eq!(times("/usr/lib/app/m.py"), 1_700_000_000);
    assert_eq!(times("/usr/lib/app/data"), 315_619_200);
    // The directory is seen as it was recorded.
    let diff = root
        .bench
        .command(["diff", "s", &format!("dir:{}", root.path.display())])
        .output()
        .unwrap();
    assert_eq!(
        diff.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&diff.stdout)
    );
}

#[test]
fn a_state_is_not_normalised_over_ndb_and_one_line_says_why() {
    let blobs = of_ndb(&real("sle15-Packages.db"));
    let root = Root::new();
    let wants = |says: &str| {
        let path = root.path.to_str().unwrap();
        let args = [
            "snapshot",
            path,
            "--series",
            "s",
            "--profile",
            "mock",
            "--state",
            "normalized",
        ];
        let output = root.bench.command(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(says), "{said}");
    };
    root.put("usr/lib/sysimage/rpm/Packages.db", &ndb(&blobs[..2]));
    wants("Packages.db");
    wants("ndb or Berkeley DB");
    // Nor over a database that is on the stable side.
    sh(&root.path, "rm -r usr/lib/sysimage");
    root.put_sqlite("usr/share/rpm", &blobs[..2]);
    wants("in a place where none is made anew");
}
