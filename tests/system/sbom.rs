//! Bills of materials before the validators of their formats, and a list of packages as rpm prints it.

use crate::common::rpm_backends::real;
use crate::common::{Bench, settle, succeeds};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Python with the validators.
fn python() -> PathBuf {
    let python = std::env::var_os("SBOM_PYTHON")
        .expect("SBOM_PYTHON is not set: scripts/test makes what it names");
    python.into()
}

const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
spdx, cyclonedx = sys.argv[1:]
wrong = [str(one.validation_message) for one in validate_full_spdx_document(parse_file(spdx))]
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(cyclonedx).read())
if error is not None:
    wrong.append(str(error))
sys.exit('\\n'.join(wrong[:5]) or 0)
";

fn chroots() -> PathBuf {
    let all = std::env::var_os("ROOTSTRATA_CHROOTS")
        .expect("ROOTSTRATA_CHROOTS is not set: scripts/test sets it");
    Path::new(&all).canonicalize().unwrap()
}

/// Writes both forms, and validates them.
fn validate(bench: &Bench, snapshot: &str) {
    let [spdx, cyclonedx] = ["spdx", "cyclonedx"].map(|format| {
        let document = succeeds(&mut bench.command(["sbom", snapshot, "--format", format]));
        // The SPDX validator tells the form by the name.
        let path = bench.path(&format!("{snapshot}.{format}.json"));
        std::fs::write(&path, document).unwrap();
        path
    });
    succeeds(
        Command::new(python())
            .args(["-c", VALIDATE])
            .args([spdx, cyclonedx]),
    );
}

#[test]
fn bills_of_materials_are_valid_by_the_schemas_of_their_formats() {
    let bench = Bench::new();
    bench.snapshot(&chroots().join("deps-day0"), "--series debian");
    validate(&bench, "debian");
    // Licences, vendors, signatures and keys as EL8 and SLE 15 have them.
    for (series, name, place) in [
        ("el8", "el8-Packages", "var/lib/rpm/Packages"),
        (
            "sle15",
            "sle15-Packages.db",
            "usr/lib/sysimage/rpm/Packages.db",
        ),
    ] {
        let root = bench.make(series);
        let path = root.join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, real(name)).unwrap();
        settle(&root);
        bench.snapshot(&root, &format!("--series {series}"));
        let shown = bench.json(["show", series]);
        let packages = shown["packages"].as_array().unwrap();
        let signed = packages
            .iter()
            .filter(|one| one["signature_key"].is_string())
            .count();
        assert!(
            signed * 10 > packages.len() * 8,
            "{series}: {signed} of {}",
            packages.len()
        );
        validate(&bench, series);
    }
}

#[test]
fn the_list_that_mock_writes_is_equal_to_the_root() {
    let bench = Bench::new();
    let root = chroots().join("deps-day0");
    bench.snapshot(&root, "");
    let query = "%{nevra} %{buildtime} %{size} installed\\n";
    // rpm writes beside a database that it reads, and the chroots are everybody's.
    let database = bench.path("rpm");
    succeeds(
        Command::new("cp")
            .arg("-a")
            .args([&root.join("var/lib/rpm"), &database]),
    );
    let log = succeeds(
        Command::new("rpm")
            .args(["-qa", "--dbpath"])
            .arg(&database)
            .args(["--qf", query]),
    );
    let list = bench.path("installed_pkgs.log");
    let side = format!("packages:{}", list.display());
    std::fs::write(&list, &log).unwrap();
    assert_eq!(succeeds(&mut bench.command(["diff", &side, "s"])), "");
    std::fs::write(&list, log.replace("deb-bash-", "deb-bash-1")).unwrap();
    let output = bench.command(["diff", &side, "s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("deb-bash.x86_64")
    );
}
