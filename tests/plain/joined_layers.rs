//! Images of fewer layers than their snapshots have: the tree is the same, and the store keeps what was joined.

use crate::common::case::Case;
use crate::common::layers::{Archive, Layout, layers_of, members, sha256, tree_of};
use crate::common::rpmdb::{files, install};
use crate::common::tree::{Tree, differences, walked};
use crate::common::{Bench, sh};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Three stages and updates of each: paths that go and come back, that change their type, and hardlinks that change sides.
fn stages() -> Case {
    let case = Case::new(
        "mkdir -p d/e log gone; echo a > d/a; echo b > d/b; ln d/b d/b2; echo f > d/e/f; echo x > gone/x; echo t > type
         head -c 60000 /dev/urandom > large; echo 1 > log/a",
    );
    let common = "--profile plain --volatile /log/* --rebase-update 1000 --rebase-dead 100";
    let steps = [
        ("", "bootstrap --run a"),
        (
            "rm -r gone; rm type; mkdir type; echo in > type/in; ln -f d/a d/a2; echo 2 > log/a",
            "deps --run a",
        ),
        (
            "echo g > gone; rm d/b2; echo c > d/c; echo 3 > log/a",
            "deps --run a",
        ),
        (
            "rm gone; mkdir -p gone/y; rm -r type; echo t > type; rm -r d/e; echo e > d/e; echo 4 > log/a",
            "deps --run a",
        ),
        (
            "rm d/e; mkdir d/e; echo new > d/e/new; ln d/c d/e/c; rm -r gone; echo 5 > log/a",
            "built --run a",
        ),
        (
            "chmod 700 d; rm d/a; echo 6 > log/a; head -c 50000 /dev/urandom > more",
            "built --run a",
        ),
    ];
    for (script, stage) in steps {
        case.after(script, &format!("{common} --stage {stage}"));
    }
    case
}

fn count(case: &Case) -> usize {
    let shown = case.bench.json(["show", "s"]);
    shown["layers"].as_array().unwrap().len()
}

/// Exports the newest snapshot with at most so many layers, and returns the answer, the tree and the number of layers.
fn exported(bench: &Bench, series: &str, most: usize) -> (Value, Tree, usize) {
    let archive = bench.path("out.tar");
    let most = most.to_string();
    let answer = bench.json([
        "export",
        series,
        "--max-layers",
        &most,
        "-o",
        archive.to_str().unwrap(),
    ]);
    let archive = Archive::read(&archive);
    let digest = answer["manifest_digest"].as_str().unwrap();
    assert_eq!(archive.images().values().next().unwrap(), digest);
    let layers = layers_of(digest, &archive);
    for layer in &layers {
        assert_closed(layer);
    }
    (answer.clone(), tree_of(digest, &archive), layers.len())
}

/// Wants every directory above a member in the layer, and no member twice.
fn assert_closed(layer: &[u8]) {
    let mut names: BTreeSet<Vec<u8>> = BTreeSet::from([Vec::new()]);
    for member in members(layer) {
        let mut name = member.name.clone();
        while name.last() == Some(&b'/') {
            name.pop();
        }
        if name == b"." {
            continue;
        }
        let above = name.iter().rposition(|byte| *byte == b'/');
        let above = name[..above.unwrap_or(0)].to_vec();
        assert!(names.contains(&above), "{}", String::from_utf8_lossy(&name));
        assert!(names.insert(name));
    }
}

fn blobs(bench: &Bench) -> BTreeSet<PathBuf> {
    let listed = std::fs::read_dir(bench.store().join("blobs/sha256")).unwrap();
    listed.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_image_of_fewer_layers_has_the_same_tree() {
    let case = stages();
    let expected = walked(&case.root);
    let all = count(&case);
    assert!(all >= 5, "{all}");
    for most in (1..=all + 1).rev() {
        let (answer, tree, layers) = exported(&case.bench, "s", most);
        assert_eq!(layers, most.min(all));
        let wrong = differences(&tree, &expected);
        assert!(wrong.is_empty(), "{most} layers\n{}", wrong.join("\n"));
        let told = answer["image_layers"].as_object().unwrap();
        assert_eq!(told.values().next().unwrap(), layers);
    }
    case.bench.prints(0, ["-q", "verify", "--deep"]);
}

#[test]
fn joined_layers_are_packed_once_and_the_same_in_every_store() {
    let case = stages();
    let (first, _, _) = exported(&case.bench, "s", 3);
    let kept = blobs(&case.bench);
    let (again, _, _) = exported(&case.bench, "s", 3);
    assert_eq!(again["bytes_written"], 0);
    assert_eq!(blobs(&case.bench), kept);
    // Another day: the state alone is another, and nothing is joined anew.
    case.after(
        "echo 7 > log/a",
        "--profile plain --volatile /log/* --rebase-update 1000 --rebase-dead 100 --stage built --run a",
    );
    let kept = blobs(&case.bench);
    let (other, _, _) = exported(&case.bench, "s", 3);
    assert_ne!(other["manifest_digest"], first["manifest_digest"]);
    assert_eq!(blobs(&case.bench), kept);
    // Without the cache they are packed again, with the same bytes.
    let database =
        rusqlite::Connection::open(case.bench.store().join("rootstrata.sqlite")).unwrap();
    assert!(database.execute("DELETE FROM joined_layer", []).unwrap() > 0);
    let (anew, _, _) = exported(&case.bench, "s", 3);
    assert_eq!(anew["manifest_digest"], other["manifest_digest"]);
    assert_eq!(blobs(&case.bench), kept);
}

#[test]
fn a_joined_layer_stays_with_its_parts_and_goes_with_them() {
    let case = stages();
    exported(&case.bench, "s", 2);
    let used = case.bench.json(["du"]);
    assert_eq!(
        (&used["joined_blobs"], &used["dead_blobs"]),
        (&1.into(), &0.into())
    );
    let kept = blobs(&case.bench);
    case.bench.json(["prune", "--keep-last", "1"]);
    assert!(blobs(&case.bench).len() < kept.len()); // those of snapshots that are gone
    assert_eq!(case.bench.json(["du"])["joined_blobs"], 1);
    let (answer, _, _) = exported(&case.bench, "s", 2);
    assert_eq!(answer["bytes_written"], 0);
    case.bench.json(["squash", "s"]);
    case.bench.json(["prune", "--keep-last", "1"]);
    let used = case.bench.json(["du"]);
    assert_eq!(
        (&used["joined_blobs"], &used["dead_blobs"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn a_joined_layer_that_is_lost_or_damaged_is_named_and_made_again() {
    let case = stages();
    let before = blobs(&case.bench);
    let (first, _, _) = exported(&case.bench, "s", 2);
    let new: Vec<PathBuf> = blobs(&case.bench).difference(&before).cloned().collect();
    let [joined] = &new[..] else {
        panic!("{new:?}")
    };
    let at = joined.display();
    for damage in [
        format!("rm {at}"),
        format!("truncate -s -1 {at}"),
        format!("printf X | dd conv=notrunc bs=1 seek=99 status=none of={at}"),
    ] {
        sh(&case.bench.path(""), &damage);
        let output = case.bench.command(["verify", "--deep"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{damage}");
        let said = String::from_utf8(output.stdout).unwrap();
        let name = joined.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name), "{damage}: {said}");
        let archive = case.bench.path("out.tar");
        std::fs::remove_file(&archive).unwrap();
        let (again, _, _) = exported(&case.bench, "s", 2);
        assert_eq!(
            again["manifest_digest"], first["manifest_digest"],
            "{damage}"
        );
        case.bench.prints(0, ["-q", "verify", "--deep"]);
    }
    std::fs::remove_file(joined).unwrap();
    case.bench.prints(0, ["-q", "verify", "--repair"]);
    assert_eq!(case.bench.json(["du"])["joined_blobs"], 0);
}

#[test]
fn a_thin_archive_of_joined_layers_has_what_the_other_lacks() {
    let case = stages();
    let archive = case.bench.path("thin.tar");
    let thin = |most: &str| {
        let mut words = vec![
            "export",
            "s",
            "--since",
            "s~1",
            "-o",
            archive.to_str().unwrap(),
        ];
        words.extend(["--max-layers", most]);
        case.bench.json(words);
        let archive = Archive::read(&archive);
        archive
            .0
            .keys()
            .filter(|name| name.starts_with("blobs/"))
            .count()
    };
    let digest = |most: &str, of: &str| {
        let out = case.bench.path("whole.tar");
        case.bench.json([
            "export",
            of,
            "--max-layers",
            most,
            "-o",
            out.to_str().unwrap(),
        ]);
        Archive::read(&out)
            .0
            .into_keys()
            .collect::<BTreeSet<String>>()
    };
    for most in ["3", "4"] {
        let (whole, before) = (digest(most, "s"), digest(most, "s~1"));
        assert_eq!(thin(most), whole.difference(&before).count());
    }
}

#[test]
fn small_packages_are_joined_into_one_layer_that_depends_on_nothing_else() {
    let joined = |more: &str| {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(
            &root,
            &format!(
                "mkdir -p usr/bin opt; for i in 1 2 3 4; do yes $i | head -c ${{i}}00000 > usr/bin/$i; done
                 touch -d @700 usr/bin/*; {more}"
            ),
        );
        let paths: Vec<String> = (1..=4).map(|at| format!("/usr/bin/{at}")).collect();
        let package = |at: usize| files(&[paths[at].as_str()]);
        let packages = [
            ("b-1", package(1)),
            ("c-1", package(3)),
            ("d-1", package(2)),
            ("e-1", package(0)),
        ];
        install(&root, &packages);
        let recorded = bench.snapshot(&root, "--profile mock --layers packages:9");
        let digest = recorded["manifest_digest"].as_str().unwrap();
        let tree = tree_of(digest, &Layout(&bench.store()));
        let (answer, exported, layers) = exported(&bench, "s", 4);
        assert_eq!(layers, 4); // base, the largest package, the others, state
        let wrong = differences(&exported, &tree);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let archive = Archive::read(&bench.path("out.tar"));
        let layers = layers_of(answer["manifest_digest"].as_str().unwrap(), &archive);
        let of_packages = layers.iter().find(|layer| {
            let mut members = members(layer).into_iter();
            members.any(|member| member.name == b"usr/bin/2")
        });
        let names = members(of_packages.unwrap()).into_iter();
        let names: Vec<String> = names
            .map(|member| String::from_utf8_lossy(&member.name).into_owned())
            .filter(|name| !name.ends_with('/'))
            .collect();
        assert_eq!(names, ["usr/bin/2", "usr/bin/3"]);
        of_packages.unwrap().clone()
    };
    assert!(joined("echo x > opt/x") == joined("echo y > opt/y; echo z > opt/z"));
}

#[test]
fn what_only_calls_itself_a_package_may_hide_what_lies_below() {
    let case = Case::new("mkdir p; echo old > p/old; echo one > f; head -c 9000 /dev/urandom > z");
    let common = "--profile plain --rebase-update 1000 --rebase-dead 100 --run a --stage";
    case.after("", &format!("{common} bootstrap"));
    case.after(
        "rm -r p; echo file > p; echo a > f",
        &format!("{common} deps"),
    );
    case.after(
        "rm p; mkdir p; echo new > p/new; echo longer > f",
        &format!("{common} built"),
    );
    let expected = walked(&case.root);
    let layout = case.bench.path("layout");
    let to = layout.to_str().unwrap();
    case.bench
        .json(["export", "s", "--format", "oci-dir", "-o", to]);
    call_packages(&layout);
    let other = Bench::new();
    other.json([
        "import",
        &format!("oci:{to}"),
        "--series",
        "s",
        "--stage",
        "built",
    ]);
    let shown = other.json(["show", "s"]);
    assert_eq!(shown["layers"][1]["role"], "package", "{shown}");
    for most in 1..=3 {
        let (_, tree, _) = exported(&other, "s", most);
        let wrong = differences(&tree, &expected);
        assert!(wrong.is_empty(), "{most} layers\n{}", wrong.join("\n"));
    }
}

/// Says in the manifest of a layout's only image that its upper layers are those of packages.
fn call_packages(layout: &Path) {
    let read =
        |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &str| {
        layout
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    };
    let mut index = read(&layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let mut manifest = read(&blob(&digest));
    for layer in manifest["layers"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .skip(1)
    {
        layer["annotations"]["org.rootstrata.layer.role"] = "package".into();
    }
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = format!("sha256:{}", sha256(&bytes));
    std::fs::write(blob(&digest), &bytes).unwrap();
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = bytes.len().into();
    std::fs::write(
        layout.join("index.json"),
        serde_json::to_vec(&index).unwrap(),
    )
    .unwrap();
}
