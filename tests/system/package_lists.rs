//! Lists of packages as sides of a comparison, the packages of a snapshot with their details, and bills of materials of them.

use crate::common::rpmdb::files;
use crate::common::{Bench, install_with_python, settle, sh, text};
use serde_json::{Value, json};
use std::path::PathBuf;

struct Recorded {
    bench: Bench,
    root: PathBuf,
}

/// Signatures that name the key `0123456789abcdef`.
const SIGNATURE: &str = "880f030500010203040123456789abcdef";

fn packages() -> Value {
    json!([
        {"name": "bash", "version": "5.2", "release": "1.fc44", "arch": "x86_64", "build_time": 1_700_000_000,
         "source_rpm": "bash-5.2-1.fc44.src.rpm", "size": 8_000, "license": "GPL-3.0-or-later", "vendor": "Fedora Project",
         "md5": "00112233445566778899aabbccddeeff", "sha256": "a1".repeat(32), "sha1": "b2".repeat(20), "signature": SIGNATURE,
         "files": ["/usr/bin/bash"]},
        {"name": "vim++", "version": "9", "release": "1.fc44", "arch": "x86_64", "epoch": 2, "build_time": 1_700_000_001,
         "md5": "ffeeddccbbaa99887766554433221100", "sha1": "b2".repeat(20)},
        {"name": "gpg-pubkey", "version": "fd431d51", "release": "4ae0493b", "source_rpm": "(none)", "build_time": 1_300_000_000}
    ])
}

/// A root with these packages, recorded as `s`.
fn recorded(packages: &Value) -> Recorded {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin usr/lib; echo x > usr/bin/bash; printf 'ID=fedora\\nVERSION_ID=44\\n' > usr/lib/os-release",
    );
    install_with_python(&root, packages);
    settle(&root);
    bench.snapshot(&root, "");
    Recorded { bench, root }
}

/// What `diff A B` says, and its exit code.
fn diff(recorded: &Recorded, a: &str, b: &str) -> (Option<i32>, String, String) {
    let output = recorded.bench.command(["diff", a, b]).output().unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

const LOG: &str = "bash-5.2-1.fc44.x86_64 1700000000 8000 installed\n\
                   gpg-pubkey-fd431d51-4ae0493b.(none) 1300000000 0 installed\n\
                   vim++-2:9-1.fc44.x86_64 1700000001 0 installed\n";
const QUERY: &str = "bash-5.2-1.fc44.x86_64\ngpg-pubkey-fd431d51-4ae0493b\nvim++-9-1.fc44.x86_64\n";

fn lock() -> Value {
    json!({"version": "1.1.0", "config": {}, "buildroot": {"rpms": [
        {"name": "bash", "version": "5.2", "release": "1.fc44", "arch": "x86_64", "epoch": null, "license": "GPL-3.0-or-later",
         "sigmd5": "00112233445566778899aabbccddeeff", "signature": "89abcdef"},
        {"name": "vim++", "version": "9", "release": "1.fc44", "arch": "x86_64", "epoch": "2", "license": "Vim",
         "sigmd5": "ffeeddccbbaa99887766554433221100", "signature": null}
    ]}})
}

#[test]
fn each_kind_of_list_is_equal_to_the_root_that_it_was_made_of() {
    let recorded = recorded(&packages());
    let list = recorded.bench.path("list");
    let side = format!("packages:{}", list.display());
    for content in [LOG.to_owned(), QUERY.to_owned(), lock().to_string()] {
        std::fs::write(&list, &content).unwrap();
        for (a, b) in [(side.as_str(), "s"), ("s", side.as_str())] {
            let (code, out, said) = diff(&recorded, a, b);
            assert_eq!((code, out.as_str()), (Some(0), ""), "{content}: {said}");
        }
        let directory = format!("dir:{}", recorded.root.display());
        assert_eq!(diff(&recorded, &side, &directory).0, Some(0), "{content}");
    }
    assert_eq!(diff(&recorded, &side, &side).0, Some(0));
}

#[test]
fn a_line_that_is_another_is_named() {
    let recorded = recorded(&packages());
    let list = recorded.bench.path("list");
    let side = format!("packages:{}", list.display());
    let of = |content: &str| {
        std::fs::write(&list, content).unwrap();
        let compared = recorded
            .bench
            .command(["diff", &side, "s", "--json", "-q"])
            .output()
            .unwrap();
        let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
        let packages = compared["packages"].as_array().unwrap().iter();
        let changes = packages.map(|one| {
            format!(
                "{} {}",
                one["change"].as_str().unwrap(),
                one["name"].as_str().unwrap()
            )
        });
        changes.collect::<Vec<String>>()
    };
    assert_eq!(of(&LOG.replace("bash-5.2", "bash-5.1")), ["upgraded bash"]);
    assert_eq!(
        of(&LOG.replace("1700000000", "1700000009")),
        ["rebuilt bash"]
    );
    assert_eq!(of(&LOG.replace("vim++-2:", "vim++-")), ["upgraded vim++"]);
    assert_eq!(
        of(&LOG.replace("bash-5.2-1.fc44.x86_64 1700000000 8000 installed\n", "")),
        ["added bash"]
    );
    assert_eq!(
        of(&format!("{LOG}new-1-1.noarch 1 2 installed\n")),
        ["removed new"]
    );
    assert_eq!(of(&QUERY.replace("vim++-9", "vim++-8")), ["upgraded vim++"]);
    // Of two builds of one version, a lock file has other checksums.
    let other = lock().to_string().replace("0011", "1100");
    assert_eq!(of(&other), ["rebuilt bash"]);
}

#[test]
fn what_a_list_does_not_tell_is_said() {
    let recorded = recorded(&packages());
    let list = recorded.bench.path("list");
    let side = format!("packages:{}", list.display());
    std::fs::write(&list, QUERY).unwrap();
    assert!(
        diff(&recorded, &side, "s")
            .2
            .contains("epochs are not compared")
    );
    std::fs::write(&list, lock().to_string()).unwrap();
    let (_, _, said) = diff(&recorded, &side, "s");
    assert!(
        said.contains("keys of rpm are not compared") && !said.contains("epochs"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_no_list_is_one_line_with_its_path() {
    let recorded = recorded(&packages());
    let list = recorded.bench.path("list");
    let side = format!("packages:{}", list.display());
    let wants = |says: &str, more: &[&str]| {
        let output = recorded
            .bench
            .command(["diff", &side, "s"])
            .args(more)
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    };
    wants("list: No such file", &[]);
    for (content, says) in [
        ("", "list is no list of packages: it names no package"),
        (
            "bash-1-1.noarch\nwhat is this\n",
            "list, line 2, is no list of packages",
        ),
        ("{\"buildroot\": 1}", "it is no lock file of Mock's"),
    ] {
        std::fs::write(&list, content).unwrap();
        wants(says, &[]);
    }
    std::fs::write(&list, LOG).unwrap();
    wants("has no files to compare", &["usr"]);
    let output = recorded
        .bench
        .command(["diff", "packages:-", "packages:-"])
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("is named twice"));
}

#[test]
fn packages_are_shown_with_their_details() {
    let recorded = recorded(&packages());
    let shown = recorded.bench.json(["show", "s"]);
    assert_eq!(
        shown["packages"][0],
        json!({
            "nevra": "bash-5.2-1.fc44.x86_64", "name": "bash", "epoch": null, "version": "5.2", "release": "1.fc44", "arch": "x86_64",
            "source_rpm": "bash-5.2-1.fc44.src.rpm", "build_time": 1_700_000_000, "size_bytes": 8_000, "license": "GPL-3.0-or-later",
            "vendor": "Fedora Project", "signature_key": "0123456789abcdef", "header_checksum": format!("sha256:{}", "a1".repeat(32)),
            "md5": "00112233445566778899aabbccddeeff"
        })
    );
    let vim = &shown["packages"][2];
    assert_eq!(vim["header_checksum"], format!("sha1:{}", "b2".repeat(20)));
    assert_eq!(
        (&vim["signature_key"], &vim["license"]),
        (&Value::Null, &Value::Null)
    );
    let output = recorded
        .bench
        .command(["show", "s", "--packages"])
        .output()
        .unwrap();
    let lines = text(&output.stdout);
    let bash: Vec<&str> = lines.lines().nth(1).unwrap().split_whitespace().collect();
    let header = format!("sha256:{}", "a1".repeat(32));
    assert_eq!(
        bash,
        [
            "bash-5.2-1.fc44.x86_64",
            "bash-5.2-1.fc44.src.rpm",
            "2023-11-14T22:13:20Z",
            "8000",
            "0123456789abcdef",
            &header
        ]
    );
    let key = lines.lines().nth(2).unwrap();
    assert!(
        key.starts_with("gpg-pubkey-fd431d51-4ae0493b ") && key.contains(" - "),
        "{key}"
    );
}

#[test]
fn a_package_that_is_signed_again_is_another_with_the_same_files() {
    let recorded = recorded(&packages());
    let mut others = packages();
    others[0]["signature"] = json!(SIGNATURE.replace("abcdef", "abcdee"));
    install_with_python(&recorded.root, &others);
    settle(&recorded.root);
    recorded.bench.snapshot(&recorded.root, "");
    let keys = ["s", "s~1"].map(|snapshot| {
        let shown = recorded.bench.json(["show", snapshot]);
        shown["packages"][0]["signature_key"].clone()
    });
    assert_eq!(keys, ["0123456789abcdee", "0123456789abcdef"]);
    // A store without the details of the older one has them no more; those of the newer stay.
    recorded.bench.json(["prune", "--keep-last", "1"]);
    let output = recorded
        .bench
        .command(["verify", "--deep"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = recorded.bench.json(["show", "s"]);
    assert_eq!(shown["packages"][0]["signature_key"], "0123456789abcdee");
}

#[test]
fn a_bill_of_materials_follows_from_the_snapshot() {
    let recorded = recorded(&packages());
    let of = |format: &str| -> Value {
        let run = || {
            recorded
                .bench
                .command(["sbom", "s", "--format", format])
                .output()
                .unwrap()
        };
        let (one, other) = (run(), run());
        assert!(one.status.success() && one.stdout == other.stdout);
        serde_json::from_slice(&one.stdout).unwrap()
    };
    let bash = "pkg:rpm/fedora/bash@5.2-1.fc44?arch=x86_64&distro=fedora-44&upstream=bash-5.2-1.fc44.src.rpm";
    let vim = "pkg:rpm/fedora/vim%2B%2B@9-1.fc44?arch=x86_64&distro=fedora-44&epoch=2&upstream=vim%2B%2B-9-1.fc44.src.rpm";
    let key = "pkg:rpm/fedora/gpg-pubkey@fd431d51-4ae0493b?distro=fedora-44";
    let spdx = of("spdx");
    let locators = spdx["packages"].as_array().unwrap().iter().skip(1);
    let locators: Vec<&Value> = locators
        .map(|one| &one["externalRefs"][0]["referenceLocator"])
        .collect();
    assert_eq!(locators, [bash, key, vim]);
    assert_eq!(
        spdx["packages"][1]["supplier"],
        "Organization: Fedora Project"
    );
    let license = &spdx["hasExtractedLicensingInfos"][0];
    assert_eq!(license["extractedText"], "GPL-3.0-or-later");
    assert_eq!(spdx["packages"][1]["licenseDeclared"], license["licenseId"]);
    assert_eq!(spdx["relationships"].as_array().unwrap().len(), 4);
    let cyclonedx = of("cyclonedx");
    let purls = cyclonedx["components"].as_array().unwrap().iter().skip(1);
    let purls: Vec<&Value> = purls.map(|one| &one["purl"]).collect();
    assert_eq!(purls, [bash, key, vim]);
    assert_eq!(cyclonedx["components"][0]["type"], "operating-system");
}

#[test]
fn odd_headers_give_documents_of_whole_lines_and_whole_licences() {
    let license = "MIT AND ".repeat(200) + "Zlib";
    let odd = json!([{"name": "a", "version": "1", "release": "1", "arch": "noarch", "vendor": "Ven\ndor\u{7}", "license": license,
                      "sha256": "", "sha1": "b2".repeat(20)}]);
    let recorded = recorded(&odd);
    let output = recorded.bench.command(["sbom", "s"]).output().unwrap();
    let spdx: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(spdx["packages"][1]["supplier"], "Organization: Ven dor ");
    assert_eq!(
        spdx["hasExtractedLicensingInfos"][0]["extractedText"],
        license
    );
    assert_eq!(
        spdx["packages"][1]["comment"],
        format!("header sha1:{}", "b2".repeat(20))
    );
    // Of other packages, the document is another.
    let namespace = |bench: &Bench| -> Value {
        let output = bench.command(["sbom", "s"]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["documentNamespace"].clone()
    };
    let before = namespace(&recorded.bench);
    let database = recorded.bench.store().join("rootstrata.sqlite");
    let connection = rusqlite::Connection::open(database).unwrap();
    connection
        .execute_batch("UPDATE package_set_files SET package_detail_id = NULL")
        .unwrap();
    assert_ne!(namespace(&recorded.bench), before);
}

#[test]
fn a_bill_of_materials_without_packages_or_distribution() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "mkdir -p usr/lib; ln -s /nowhere usr/lib/os-release");
    settle(&root);
    bench.snapshot(&root, "");
    for command in [&["sbom", "s"][..], &["show", "s", "--packages"]] {
        let output = bench.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("the packages of s are unknown"));
    }
    crate::common::rpmdb::install(&root, &[("a-1", files(&[]))]);
    settle(&root);
    bench.snapshot(&root, "");
    let output = bench
        .command(["sbom", "s", "--format", "cyclonedx"])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        document["components"][0]["purl"],
        "pkg:rpm/a@1-1?arch=x86_64"
    );
}
