//! Each configuration that Mock ships, as `scripts/mock-configs` lists them: its series has a name in a store, in a layout and in a
//! registry, its packages are found where its rpm keeps them, and the profile is Mock's without being asked for.

use crate::common::rpm_backends::{Order, berkeley_db, ndb, of_ndb, real};
use crate::common::{Bench, REPOSITORY, settle};
use rootstrata::model::names::{check_series, image_name};
use rootstrata::model::registry_tags::moving_tag;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// A line of the fixture.
struct Configuration {
    name: String,
    root: String,
    /// Relative to the root; `-` for a root that holds what is put in.
    database: String,
}

fn configurations() -> Vec<Configuration> {
    let path = Path::new(REPOSITORY).join("fixtures/mock/configurations.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let of = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, root, _, _, database] = fields[..] else {
            panic!("{line}");
        };
        Configuration {
            name: name.to_owned(),
            root: root.to_owned(),
            database: database.to_owned(),
        }
    };
    let all: Vec<Configuration> = text.lines().map(of).collect();
    assert!(all.len() > 200, "{} configurations", all.len());
    all
}

const STAGES: [&str; 3] = ["bootstrap", "deps-installed", "built"];

#[test]
fn each_series_has_an_image_name_and_a_tag_of_its_own() {
    let (mut images, mut tags) = (BTreeMap::new(), BTreeMap::new());
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut series = BTreeSet::new();
    for configuration in configurations() {
        series.insert(configuration.root.clone());
        series.insert(format!("{}-bootstrap", configuration.root));
    }
    for series in &series {
        check_series(series).unwrap_or_else(|error| panic!("{series}: {error}"));
        for stage in STAGES {
            let (image, tag) = (image_name(series, stage), moving_tag(series, stage));
            // A reference of podman: NAME:TAG, in small letters before the colon.
            let (name, of_image) = image.split_once(':').unwrap();
            let is_name = |c: char| is_word(c) && !c.is_ascii_uppercase();
            assert!(
                name.chars().all(is_name) && !name.starts_with(['-', '.', '_']),
                "{image}"
            );
            assert_eq!(of_image, stage, "{image}");
            assert!(
                tag.len() <= 128 && tag.chars().all(is_word) && !tag.starts_with(['-', '.']),
                "{tag}"
            );
            assert_eq!(
                images.insert(image.clone(), series),
                None,
                "{image} of {series}"
            );
            assert_eq!(tags.insert(tag.clone(), series), None, "{tag} of {series}");
        }
    }
    assert!(images.len() > 1000);
}

/// A root whose packages are in a database at a place.
fn root_with(bench: &Bench, number: usize, place: &str) -> PathBuf {
    let root = bench.make(&format!("root{number}"));
    if place == "-" {
        return root;
    }
    let path = root.join(place);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let headers = &of_ndb(&real("sle15-Packages.db"))[..3];
    match path.file_name().unwrap().to_str().unwrap() {
        "Packages.db" => std::fs::write(path, ndb(headers)).unwrap(),
        "Packages" => std::fs::write(path, berkeley_db(headers, 4096, Order::Big)).unwrap(),
        "rpmdb.sqlite" => {
            let database = rusqlite::Connection::open(path).unwrap();
            let table = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)";
            database.execute_batch(table).unwrap();
            for header in headers {
                database
                    .execute("INSERT INTO Packages (blob) VALUES (?)", [header])
                    .unwrap();
            }
        }
        other => panic!("{other}"),
    }
    root
}

#[test]
fn the_packages_of_each_are_found_where_its_rpm_keeps_them() {
    let bench = Bench::new();
    let mut roots = BTreeMap::new();
    let mut seen = HashSet::new();
    let all = configurations();
    for Configuration {
        name,
        root: series,
        database,
    } in &all
    {
        let number = roots.len();
        let root = roots.entry(database.clone()).or_insert_with(|| {
            let root = root_with(&bench, number, database);
            settle(&root);
            root
        });
        // Of the architectures of a release, one stands for all.
        if !seen.insert(series.rsplit_once('-').unwrap().0) {
            continue;
        }
        let snapshot = bench.snapshot(root, &format!("--series {series}"));
        assert_eq!(snapshot["series"], series.as_str(), "{name}");
        if database == "-" {
            assert!(snapshot["packages"].is_null(), "{name}");
        } else {
            assert_eq!(snapshot["packages"], 3, "{name}: {database}");
        }
    }
    assert_eq!(roots.len(), 6, "{:?}", roots.keys());
    for (database, root) in &roots {
        let series = all.iter().find(|one| one.database == *database).unwrap();
        let shown = bench.json(["show", &series.root]);
        let expected = if database == "-" { "plain" } else { "mock" };
        assert_eq!(shown["policy"]["profile"], expected, "{}", root.display());
    }
}
