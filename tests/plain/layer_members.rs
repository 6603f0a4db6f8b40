//! What a layer holds of a change, where layered snapshots are known to go wrong: whiteouts, parents, attributes, encoding.

use crate::common::PLAIN;
use crate::common::case::Case;
use crate::common::layers::{Layout, layers_of, members};
use crate::common::{layer, layers};

#[test]
fn a_directory_removed_in_one_stage_and_made_anew_in_the_next_has_no_old_children() {
    let case = Case::new("mkdir -p d/e; echo x > d/f; echo y > d/e/g; touch -d @5 .");
    case.after("", "--profile plain --run r --stage one");
    let two = case.after(
        "rm -r d; touch -d @5 .",
        "--profile plain --run r --stage two",
    );
    assert_eq!(case.names(&two), ["./", ".wh.d"]);
    let three = case.after(
        "mkdir d; echo n > d/n; touch -d @5 .",
        "--profile plain --run r --stage three",
    );
    assert_eq!(layers(&three), ["base reused", "delta reused", "delta new"]);
    assert_eq!(case.names(&three), ["./", "d/", "d/n"]);
}

#[test]
fn nothing_goes_beneath_or_through_a_link_that_replaces_a_directory() {
    let case = Case::new(
        "mkdir -p usr/bin usr/sbin lib; echo a > usr/bin/a; echo b > usr/sbin/b; echo c > lib/c; ln -s lib l",
    );
    case.after("", "--profile plain --run r --stage one");
    let merged = case.after(
        "mv usr/sbin/b usr/bin/b; rmdir usr/sbin; ln -s bin usr/sbin",
        "--profile plain --run r --stage two",
    );
    assert_eq!(
        case.names(&merged),
        ["./", "usr/", "usr/bin/", "usr/bin/b", "usr/sbin"]
    );
    let apart = case.after(
        "rm usr/sbin; mkdir usr/sbin; mv usr/bin/b usr/sbin; rm l; mkdir l; echo n > l/c",
        "--profile plain --run r --stage three",
    );
    assert_eq!(
        case.names(&apart),
        [
            "./",
            "l/",
            "l/c",
            "usr/",
            "usr/bin/",
            "usr/bin/.wh.b",
            "usr/sbin/",
            "usr/sbin/b"
        ]
    );
}

#[test]
fn what_the_layers_below_never_had_gets_no_whiteout() {
    let case = Case::new("mkdir d; echo x > d/kept; touch -d @5 d .");
    case.after("", "--profile plain --run r --stage one");
    case.after(
        "echo y > d/brief; mkdir e; touch -d @5 d .",
        "--profile plain --run r --stage two",
    );
    let over_one = case.after(
        "rm -r d/brief e; echo z > d/new; touch -d @5 d .",
        "--profile plain --stage three --parent 1",
    );
    assert_eq!(case.names(&over_one), ["./", "d/", "d/new"]);
    assert_eq!(layer(&over_one, "delta")["whiteouts"], 0);
}

#[test]
fn files_that_two_packages_own_are_members_once() {
    let case = Case::new(
        "mkdir -p usr/bin usr/lib/sysimage/rpm; echo x > usr/bin/one; ln usr/bin/one usr/bin/two; ln -s usr/bin bin; touch -d @700 usr/bin/one",
    );
    let database = case.root.join("usr/lib/sysimage/rpm/rpmdb.sqlite");
    let database = rusqlite::Connection::open(database).unwrap();
    database
        .execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        .unwrap();
    // The second package spells the directory through a link.
    for (name, directory) in [("first", "/usr/bin/"), ("second", "/bin/")] {
        let header = rpm_header(name, directory, &["one", "two"], 700);
        database
            .execute("INSERT INTO Packages (blob) VALUES (?)", [header])
            .unwrap();
    }
    drop(database);
    let snapshot = case.bench.snapshot(&case.root, "--profile mock");
    assert_eq!(snapshot["packages"], 2);
    let base = layers_of(
        snapshot["manifest_digest"].as_str().unwrap(),
        &Layout(&case.bench.store()),
    );
    let members = members(&base[0]);
    let of = |flag: u8| {
        members
            .iter()
            .filter(|m| m.flag == flag)
            .map(|m| (m.name.as_slice(), m.mtime))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(b'0'), [(&b"usr/bin/one"[..], 700)]);
    assert_eq!(of(b'1'), [(&b"usr/bin/two"[..], 700)]);
}

/// A package's header as rpm keeps it, with files of one time.
fn rpm_header(name: &str, directory: &str, files: &[&str], mtime: u32) -> Vec<u8> {
    let strings = |all: &[&str]| {
        all.iter()
            .flat_map(|s| [s.as_bytes(), b"\0"].concat())
            .collect::<Vec<u8>>()
    };
    let count = files.len() as u32;
    let fields = [
        (1000, 6, 1, strings(&[name])),
        (1001, 6, 1, strings(&["1"])),
        (1002, 6, 1, strings(&["1"])),
        (1116, 4, count, vec![0; 4 * files.len()]),
        (1117, 8, count, strings(files)),
        (1118, 8, 1, strings(&[directory])),
        (1034, 4, count, mtime.to_be_bytes().repeat(files.len())),
    ];
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, kind, count, bytes) in fields {
        data.resize(usize::next_multiple_of(data.len(), 4), 0);
        index.extend(
            [tag, kind, data.len() as u32, count]
                .iter()
                .flat_map(|number: &u32| number.to_be_bytes()),
        );
        data.extend(bytes);
    }
    [
        &(index.len() as u32 / 16).to_be_bytes()[..],
        &(data.len() as u32).to_be_bytes(),
        &index,
        &data,
    ]
    .concat()
}

#[test]
fn times_are_cut_to_the_second_also_before_1970() {
    let case = Case::new(
        "touch -d @0 zero; touch -d @-1 minus; touch -d @0.999999999 almost; touch -d @-0.5 half; touch -d @8589934592 late
         touch -d @-2000000000.25 early",
    );
    let snapshot = case.after("", PLAIN);
    let times: std::collections::BTreeMap<Vec<u8>, i64> = case
        .top(&snapshot)
        .into_iter()
        .map(|member| (member.name, member.mtime))
        .collect();
    for (name, time) in [
        ("zero", 0),
        ("minus", -1),
        ("almost", 0),
        ("half", -1),
        ("late", 1 << 33),
        ("early", -2_000_000_001),
    ] {
        assert_eq!(times[name.as_bytes()], time, "{name}");
    }
}

#[test]
fn a_gzip_layer_tells_no_name_and_no_time() {
    let case = Case::new("echo x > f");
    let snapshot = case.after("", "--profile plain --compression gzip");
    let digest = layer(&snapshot, "base")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let blob = std::fs::read(case.bench.store().join("blobs/sha256").join(digest)).unwrap();
    assert_eq!(blob[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
}
