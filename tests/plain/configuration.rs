//! The configuration file: the store, defaults of series by glob, and what `config` tells of them.

use crate::common::{Bench, layers, one_error, rootstrata, sh, text};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A bench with a configuration file and a root.
struct Case {
    bench: Bench,
    file: PathBuf,
    root: PathBuf,
}

impl Case {
    fn new(configuration: &str) -> Self {
        let bench = Bench::new();
        let file = bench.path("rootstrata.toml");
        std::fs::write(&file, configuration).unwrap();
        let root = bench.make("fedora-42-x86_64/root");
        sh(&root, "mkdir usr etc; echo a > etc/a; echo b > etc/b");
        Self { bench, file, root }
    }

    fn command(&self) -> Command {
        let mut command = rootstrata();
        command.env("ROOTSTRATA_CONFIG", &self.file);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn root(&self) -> &str {
        self.root.to_str().unwrap()
    }

    fn fault(&self, configuration: &str) -> String {
        std::fs::write(&self.file, configuration).unwrap();
        one_error(self.run(&["log"]), 2)
    }
}

/// Returns the value of a setting and its origin.
fn setting(config: &Value, name: &str) -> (String, String) {
    let mut settings = config["settings"].as_array().unwrap().iter();
    let found = settings.find(|one| one["name"] == name).unwrap();
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("value"), text("from"))
}

#[test]
fn the_store_is_as_option_environment_and_files_say_in_this_order() {
    let case = Case::new("");
    let store = case.bench.path("configured");
    std::fs::write(&case.file, format!("store = {store:?}\n")).unwrap();
    case.json(&["snapshot", case.root()]);
    assert!(store.join("rootstrata.sqlite").exists());
    let file = case.file.to_str().unwrap();
    let held = setting(&case.json(&["config"]), "store");
    assert_eq!(held, (store.to_str().unwrap().to_owned(), file.to_owned()));
    let output = case
        .command()
        .env("ROOTSTRATA_STORE", "/e")
        .args(["config", "--json"])
        .output();
    let config = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(
        setting(&config, "store"),
        ("/e".into(), "$ROOTSTRATA_STORE".into())
    );
    let held = setting(&case.json(&["config", "--store", "/o"]), "store");
    assert_eq!(held, ("/o".into(), "--store".into()));
}

/// Of /etc and XDG, the latter is read later.
#[test]
fn a_file_of_the_user_is_read_where_xdg_says() {
    let bench = Bench::new();
    let home = bench.make("home");
    let own = bench.make("home/.config").join("rootstrata.toml");
    std::fs::write(&own, "store = \"/of/home\"\n").unwrap();
    let store = |xdg: Option<&Path>| {
        let mut command = rootstrata();
        command
            .env_remove("ROOTSTRATA_CONFIG")
            .env_remove("ROOTSTRATA_STORE");
        command.env_remove("XDG_CONFIG_HOME").env("HOME", &home);
        if let Some(xdg) = xdg {
            command.env("XDG_CONFIG_HOME", xdg);
        }
        let output = command.args(["config", "--json"]).output().unwrap();
        setting(&serde_json::from_slice(&output.stdout).unwrap(), "store")
    };
    assert_eq!(
        store(None),
        ("/of/home".into(), own.to_str().unwrap().into())
    );
    assert_ne!(store(Some(&bench.make("other"))).0, "/of/home");
}

#[test]
fn a_user_without_a_home_has_no_store_and_none_is_made_where_the_user_stands() {
    let bench = Bench::new();
    let mut command = rootstrata();
    // Root has a store of the system's, and is nobody in a namespace without names.
    if rustix::process::geteuid().is_root() {
        let program = command.get_program().to_owned();
        command = Command::new("unshare");
        command.arg("-U").arg(program);
    }
    let here = bench.make("here");
    command.current_dir(&here);
    for variable in ["HOME", "XDG_STATE_HOME", "ROOTSTRATA_STORE"] {
        command.env_remove(variable);
    }
    command.env("ROOTSTRATA_CONFIG", "");
    let output = command.args(["snapshot", "/usr/include"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0);
    assert!(
        text(&output.stderr).contains("no store is named, and HOME is no absolute path"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_series_is_recorded_with_the_defaults_of_the_globs_that_match_and_options_go_before() {
    let case = Case::new(concat!(
        "[[series]]\nname = \"*\"\nprofile = \"plain\"\nexclude = [\"/etc/a\"]\ncompression = \"none\"\n",
        "[[series]]\nname = \"fedora-*\"\ncompression = \"gzip:9\"\n",
        "[[series]]\nname = \"other\"\nprofile = \"mock\"\n",
    ));
    let store = case.bench.store();
    let store = store.to_str().unwrap();
    let record = |more: &[&str]| {
        let arguments = [&["snapshot", case.root(), "--store", store], more].concat();
        case.json(&arguments)
    };
    let media_type = |snapshot: &Value| {
        snapshot["layers"][0]["media_type"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = record(&[]);
    assert!(media_type(&first).ends_with("+gzip"), "{first}");
    let listed = text(&case.run(&["ls", "1", "--store", store]).stdout);
    assert!(
        listed.contains("/etc/b") && !listed.contains("/etc/a"),
        "{listed}"
    );
    let policy = text(&case.run(&["show", "1", "--store", store]).stdout);
    assert!(policy.contains("\"profile\":\"plain\""), "{policy}");

    let other = record(&[
        "--series",
        "x",
        "--compression",
        "zstd",
        "--exclude",
        "/etc/b",
    ]);
    assert!(media_type(&other).ends_with("+zstd"), "{other}");
    let listed = text(&case.run(&["ls", "2", "--store", store]).stdout);
    assert!(
        !listed.contains("/etc/a") && !listed.contains("/etc/b"),
        "{listed}"
    );
    assert_eq!(layers(&other), ["base new"]);

    let config = case.json(&["config", "fedora-42-x86_64"]);
    let origin = |glob: &str| format!("{}, {glob:?}", case.file.display());
    assert_eq!(
        setting(&config, "compression"),
        ("gzip:9".into(), origin("fedora-*"))
    );
    assert_eq!(setting(&config, "exclude"), ("/etc/a".into(), origin("*")));
    assert_eq!(
        setting(&config, "state"),
        ("recorded".into(), "default".into())
    );
    let shown = text(&case.run(&["config", "fedora-42-x86_64"]).stdout);
    assert!(
        shown.starts_with(&format!("{}: read\n", case.file.display())),
        "{shown}"
    );
    let line = shown
        .lines()
        .find(|line| line.starts_with("compression"))
        .unwrap();
    assert!(
        line.contains("gzip:9") && line.ends_with(&origin("fedora-*")),
        "{line}"
    );
}

/// The option of an export with a root is the same.
#[test]
fn an_export_that_records_first_has_the_defaults_too() {
    let case = Case::new("[[series]]\nname = \"fedora-*\"\ncompression = \"none\"\n");
    let out = case.bench.path("out.tar");
    let (out, store) = (out.to_str().unwrap(), case.bench.store());
    let store = store.to_str().unwrap();
    let exported = case.json(&["export", "--root", case.root(), "-o", out, "--store", store]);
    let media_type = exported["layers"][0]["media_type"].as_str().unwrap();
    assert!(media_type.ends_with(".tar"), "{exported}");
}

#[test]
fn a_push_without_a_target_goes_to_the_registry_of_the_series() {
    let case =
        Case::new("[[series]]\nname = \"fedora-*\"\nregistry = \"docker://localhost:1/r\"\n");
    let store = case.bench.store();
    let store = store.to_str().unwrap();
    case.json(&["snapshot", case.root(), "--store", store]);
    case.json(&[
        "snapshot",
        case.root(),
        "--store",
        store,
        "--series",
        "mine",
    ]);
    // Nobody listens there.
    let pushed = case.run(&["push", "1", "--store", store]);
    assert_eq!(pushed.status.code(), Some(75), "{}", text(&pushed.stderr));
    assert!(
        text(&pushed.stderr).contains("localhost:1"),
        "{}",
        text(&pushed.stderr)
    );
    for snapshots in [&["mine"][..], &["1", "mine"]] {
        let arguments = [&["push", "--store", store], snapshots].concat();
        let error = one_error(case.run(&arguments), 2);
        assert!(error.contains("docker://HOST/REPO"), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong_in_it() {
    let case = Case::new("");
    for (configuration, wanted) in [
        ("store = ", "line 1: "),
        ("\n\nstore = 1\n", "store is no absolute path"),
        ("store = \"here\"", "store is no absolute path"),
        ("stroe = \"/x\"", "\"stroe\""),
        ("series = 1", "[[series]]"),
        ("[[series]]\nlayers = \"stages\"", "no name"),
        ("[[series]]\nname = \"[\"", "bad glob"),
        (
            "[[series]]\nname = \"*\"\nlayer = \"stages\"",
            "\"layer\" is none of name, profile",
        ),
        (
            "[[series]]\nname = \"*\"\nlayers = 3",
            "series \"*\": layers is no text",
        ),
        (
            "[[series]]\nname = \"*\"\nlayers = \"packages:0\"",
            "expected stages, packages or packages:N",
        ),
        ("[[series]]\nname = \"*\"\nprofile = \"mok\"", "'mok'"),
        (
            "[[series]]\nname = \"*\"\nexclude = [1]",
            "exclude is no list",
        ),
        (
            "[[series]]\nname = \"*\"\nregistry = \"x\"",
            "registry: expected docker://",
        ),
        (
            "[[series]]\nname = \"*\"\nregistry-optional = \"yes\"",
            "neither true nor false",
        ),
    ] {
        let error = case.fault(configuration);
        assert!(
            error.starts_with(&format!("{} cannot be used: ", case.file.display())),
            "{error}"
        );
        assert!(error.contains(wanted), "{configuration}: {error}");
    }
    std::fs::remove_file(&case.file).unwrap();
    // It was named.
    let error = one_error(case.run(&["log"]), 2);
    assert!(error.contains("No such file"), "{error}");
    std::fs::create_dir(&case.file).unwrap();
    let error = one_error(case.run(&["log"]), 2);
    assert!(error.contains("no regular file"), "{error}");
}

/// Also one that says nothing.
#[test]
fn a_key_of_a_later_table_takes_the_place_of_all_before_it() {
    let case = Case::new(concat!(
        "[[series]]\nname = \"*\"\nexclude = [\"/etc/a\", \"/etc/b\"]\n",
        "[[series]]\nname = \"fedora-*\"\nexclude = []\n",
        "[[series]]\nname = \"x\"\nexclude = [\"/etc/b\"]\n",
    ));
    let excluded = |series: &str| {
        let config = case.json(&["config", series]);
        let settings = config["settings"].as_array().unwrap().iter();
        let values = settings.filter(|one| one["name"] == "exclude");
        values
            .map(|one| one["value"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(excluded("other"), ["/etc/a", "/etc/b"]);
    assert_eq!(excluded("x"), ["/etc/b"]);
    assert_eq!(excluded("fedora-42"), ["nothing more than the profile"]);
}

/// Whoever runs the command may have no home, or none to look into.
#[test]
fn a_home_that_cannot_be_looked_into_has_no_file() {
    for home in ["/dev/null", "/nonexistent"] {
        let mut command = rootstrata();
        command.env_remove("XDG_CONFIG_HOME").env("HOME", home);
        let output = command.args(["config", "--json"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}
