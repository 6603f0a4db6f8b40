//! Comparisons agree with what others say of the same trees: diff(1), rpm, GNU tar, buildah.
//!
//! The chroots are those of `fixtures/chroots/make OUT small`, in `ROOTSTRATA_CHROOTS`. Nothing here writes to them.

use crate::common::{Bench, REPOSITORY, name_of, sh, succeeds, text};
use rootstrata::model::packages::version;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn chroot(name: &str) -> PathBuf {
    let all = std::env::var_os("ROOTSTRATA_CHROOTS")
        .expect("ROOTSTRATA_CHROOTS is not set: scripts/test sets it to what fixtures/chroots/make has made");
    let path = Path::new(&all).join(name);
    path.canonicalize()
        .unwrap_or_else(|e| panic!("{}: {e}; see fixtures/chroots/make", path.display()))
}

/// What diff(1) says of two trees: a path with `+` or `-` in front, or with nothing where both have it. Of what is only on
/// one side, it names the top alone. What the profile `mock` leaves out is left out.
fn by_diff(a: &Path, b: &Path) -> BTreeSet<String> {
    let output = Command::new("diff")
        .env("LC_ALL", "C")
        .args(["-rq", "--no-dereference"])
        .args([a, b])
        .output()
        .unwrap();
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        text(&output.stderr)
    );
    let below =
        |path: &str, root: &Path| path.strip_prefix(root.to_str().unwrap()).map(str::to_owned);
    let mut all = BTreeSet::new();
    for line in text(&output.stdout).lines() {
        let differs = line.strip_suffix(" differ").and_then(|rest| {
            rest.strip_prefix("Files ")
                .or(rest.strip_prefix("Symbolic links "))
        });
        if let Some(rest) = line.strip_prefix("Only in ") {
            let (directory, name) = rest.split_once(": ").unwrap();
            let (sign, directory) = match below(directory, a) {
                Some(directory) => ('-', directory),
                None => ('+', below(directory, b).unwrap()),
            };
            all.insert(format!("{sign}{directory}/{name}"));
        } else if let Some(pair) = differs {
            all.insert(below(pair.split_once(" and ").unwrap().0, a).unwrap());
        } else {
            // File A is a directory while file B is a symbolic link
            let path = line
                .strip_prefix("File ")
                .and_then(|rest| rest.split_once(" is a "))
                .unwrap_or_else(|| panic!("{line}"))
                .0;
            all.insert(below(path, a).unwrap());
        }
    }
    let kept_empty = [
        "/proc/",
        "/sys/",
        "/dev/",
        "/var/cache/dnf/",
        "/var/cache/yum/",
        "/var/cache/libdnf5/",
        "/var/cache/PackageKit/",
    ];
    all.retain(|path| {
        !kept_empty
            .iter()
            .any(|kept_empty| path.trim_start_matches(['+', '-']).starts_with(kept_empty))
    });
    all
}

/// The same, as our comparison has it.
fn by_us(compared: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut top: Option<String> = None;
    for file in compared["files"].as_array().unwrap() {
        let path = name_of(file);
        let sign = match file["change"].as_str().unwrap() {
            "added" => "+",
            "removed" => "-",
            _ => "",
        };
        let what: Vec<&str> = file["what"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        if sign.is_empty() {
            if ["content", "type", "target"]
                .iter()
                .any(|aspect| what.contains(aspect))
            {
                all.insert(path.clone());
            }
            continue;
        }
        let is_beneath = top.as_ref().is_some_and(|top| {
            path.starts_with(&format!("{}/", top.trim_start_matches(['+', '-'])))
        });
        if !is_beneath {
            top = Some(format!("{sign}{path}"));
            all.insert(format!("{sign}{path}"));
        }
    }
    all
}

/// What rpm says of a root's packages, asked of a copy of its database.
fn by_rpm(root: &Path, format: &str) -> BTreeSet<String> {
    let copy = tempfile::tempdir().unwrap();
    sh(
        copy.path(),
        &format!("cp {}/var/lib/rpm/rpmdb.sqlite* .", root.display()),
    );
    let lines = succeeds(
        Command::new("rpm")
            .arg("--dbpath")
            .arg(copy.path())
            .args(["-qa", "--qf", format]),
    );
    lines.lines().map(str::to_owned).collect()
}

fn name_of_package(package: &Value) -> String {
    let text = |field: &str| package[field].as_str().unwrap();
    let epoch = package["epoch"]
        .as_i64()
        .map_or(String::new(), |epoch| format!("{epoch}:"));
    format!(
        "{}-{epoch}{}-{}.{}",
        text("name"),
        text("version"),
        text("release"),
        text("arch")
    )
}

const PAIRS: [(&str, &str, &str); 2] = [
    ("boot-day0", "boot-day1", "bootstrap"),
    ("deps-day0", "deps-day1", "deps-installed"),
];

#[test]
fn the_same_paths_and_packages_differ_as_diff_and_rpm_say() {
    for (a, b, stage) in PAIRS {
        let bench = Bench::new();
        let (a, b) = (chroot(a), chroot(b));
        bench.snapshot(&a, &format!("--stage {stage}"));
        bench.snapshot(&b, &format!("--stage {stage}"));
        let compared = bench.compared(["1", "2"]);
        let paths = by_diff(&a, &b);
        assert!(paths.len() > 10, "{paths:?}");
        assert_eq!(by_us(&compared), paths, "{stage}");

        let format = "%{NAME}-%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}.%{ARCH}\n";
        let (old, new) = (by_rpm(&a, format), by_rpm(&b, format));
        let ours = |side: &str| -> BTreeSet<String> {
            let packages = compared["packages"].as_array().unwrap().iter();
            packages
                .filter(|p| p["change"] != "rebuilt" && !p[side].is_null())
                .map(|p| name_of_package(&p[side]))
                .collect()
        };
        assert_eq!(ours("old"), &old - &new, "{stage}");
        assert_eq!(ours("new"), &new - &old, "{stage}");
        assert!(!ours("new").is_empty());
    }
}

/// What `rpm -V` says of all files of a root: `missing`, or the letters of what is not as packaged: content (`S` or `5`), mode
/// (`M`), target (`L`), time (`T`).
fn by_rpm_verify(root: &Path) -> BTreeSet<(String, String)> {
    let mut verify = Command::new("rpm");
    verify.arg("--root").arg(root).args([
        "--dbpath",
        "/var/lib/rpm",
        "-Va",
        "--nodeps",
        "--noscripts",
    ]);
    let output = verify.output().unwrap(); // 1 where anything is not as packaged
    let stdout = text(&output.stdout);
    let lines = stdout.lines().filter_map(|line| {
        let (flags, path) = (line.split_once(' ')?.0, &line[line.find(" /")? + 1..]);
        if flags == "missing" {
            return Some((path.to_owned(), flags.to_owned()));
        }
        let has = |letter: char| flags.contains(letter);
        let letters = [
            ("C", has('S') || has('5')),
            ("M", has('M')),
            ("L", has('L')),
            ("T", has('T')),
        ];
        let letters: String = letters
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(letter, _)| letter)
            .collect();
        (!letters.is_empty()).then(|| (path.to_owned(), letters))
    });
    lines.collect()
}

#[test]
fn what_is_not_as_packaged_is_what_rpm_verifies() {
    let bench = Bench::new();
    sh(
        &bench.path(""),
        &format!("cp -a {} root", chroot("boot-day1").display()),
    );
    let root = bench.path("root");
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let before = by_rpm_verify(&root);
    let files = by_rpm(&root, "[%{FILEMODES:perms}\t%{FILENAMES}\n]");
    // Each package spells the directories as they are below /usr/share.
    let of_kind = |kind: char| -> Vec<&str> {
        let all = files.iter().filter(|line| line.starts_with(kind));
        let paths = all.filter_map(|line| Some(line.split_once('\t')?.1));
        paths
            .filter(|path| {
                path.starts_with("/usr/share/") && root.join(&path[1..]).symlink_metadata().is_ok()
            })
            .collect()
    };
    let (regular, links) = (of_kind('-'), of_kind('l'));
    let is_full = |path: &&&str| root.join(&path[1..]).metadata().unwrap().len() > 100;
    let mut full = regular.iter().filter(is_full).step_by(29);
    let mut edited = BTreeSet::new();
    for edit in [
        "t=$(stat -c @%Y f); printf X | dd of=f conv=notrunc status=none bs=1 seek=50; touch -d $t f",
        "echo more >> f",
        "t=$(stat -c @%Y f); echo more >> f; touch -d $t f",
        "chmod o-r f",
        "touch f",
        "rm f",
        "chmod 600 f; echo > f",
    ] {
        let path = *full.next().unwrap();
        sh(
            &root,
            &edit
                .replace(" f", &format!(" '{}'", &path[1..]))
                .replace("of=f", &format!("of='{}'", &path[1..])),
        );
        edited.insert(path.to_owned());
    }
    let link = *links.first().unwrap();
    sh(&root, &format!("ln -sfn elsewhere '{}'", &link[1..]));
    edited.insert(link.to_owned());
    let after = by_rpm_verify(&root);
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let compared = bench.compared(["1", "2", "--verify"]);
    let ours = compared["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|file| {
            let owner = &file["new_owner"];
            let deviations: Vec<&str> = owner["deviations"]
                .as_array()?
                .iter()
                .map(|one| one.as_str().unwrap())
                .collect();
            let has = |aspect: &str| deviations.contains(&aspect);
            let is_other = has("content") || owner["as_packaged"] == false;
            let letters = [
                ("C", is_other),
                ("M", has("mode")),
                ("L", has("target")),
                ("T", has("mtime")),
            ];
            let letters: String = letters
                .into_iter()
                .filter(|(_, differs)| *differs)
                .map(|(letter, _)| letter)
                .collect();
            let letters = if owner["missing"] == true {
                "missing".to_owned()
            } else {
                letters
            };
            (!letters.is_empty()).then(|| (name_of(file), letters))
        });
    let ours: BTreeSet<(String, String)> = ours.collect();
    assert_eq!(ours, &after - &before);
    assert_eq!(
        ours.iter()
            .map(|(path, _)| path.clone())
            .collect::<BTreeSet<_>>(),
        edited
    );
}

#[test]
fn files_belong_to_the_packages_that_rpm_names() {
    let bench = Bench::new();
    let (a, b) = (chroot("boot-day0"), chroot("boot-day1"));
    bench.snapshot(&a, "--stage bootstrap");
    bench.snapshot(&b, "--stage bootstrap");
    let compared = bench.compared(["1", "2"]);
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in by_rpm(&b, "[%{=NAME}\t%{FILENAMES}\n]") {
        let (name, path) = line.split_once('\t').unwrap();
        let (directory, file) = path.rsplit_once('/').unwrap();
        // A package may spell a path through a link of the root.
        let real = b
            .join(directory.trim_start_matches('/'))
            .canonicalize()
            .ok();
        let real = real.and_then(|real| real.strip_prefix(&b).map(Path::to_owned).ok());
        let directory = real.map_or(directory.to_owned(), |real| format!("/{}", real.display()));
        owners
            .entry(format!("{}/{file}", directory.trim_end_matches('/')))
            .or_default()
            .insert(name.to_owned());
    }
    let mut count = 0;
    for file in compared["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|file| !file["new"].is_null())
    {
        let path = name_of(file);
        match (file["new_owner"]["package"].as_str(), owners.get(&path)) {
            (None, None) => {}
            (Some(ours), Some(theirs)) => {
                assert!(theirs.contains(ours), "{path}: {ours} {theirs:?}");
                count += 1;
            }
            (ours, theirs) => panic!("{path}: {ours:?} {theirs:?}"),
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn images_that_buildah_made_differ_as_the_chroots_do() {
    let bench = Bench::new();
    let (a, b) = (chroot("boot-day0"), chroot("boot-day1"));
    let script = format!(
        "for day in 0 1; do
             c=$(buildah from scratch); eval root=\\$root$day
             buildah add -q $c $root / >/dev/null; buildah commit -q --rm $c oci-archive:{out}/day$day.tar >/dev/null
         done; podman image rm -af >/dev/null 2>&1 || :",
        out = bench.path("").display()
    );
    let mut run = Command::new(Path::new(REPOSITORY).join("fixtures/engines/run"));
    run.env("ENGINES_DIR", bench.path("engines"))
        .env("root0", &a)
        .env("root1", &b);
    succeeds(run.args(["bash", "-euc", &script]));
    let image = |day: u8| {
        format!(
            "oci-archive:{}",
            bench.path(format!("day{day}.tar")).display()
        )
    };
    let compared = bench.compared([image(0), image(1)]);
    let kept_empty = ["/proc/", "/sys/", "/dev/", "/var/cache/"];
    let mut ours = by_us(&compared);
    ours.retain(|path| {
        !kept_empty
            .iter()
            .any(|kept_empty| path.trim_start_matches(['+', '-']).starts_with(kept_empty))
    });
    let mut paths = by_diff(&a, &b);
    paths.retain(|path| {
        !kept_empty
            .iter()
            .any(|kept_empty| path.trim_start_matches(['+', '-']).starts_with(kept_empty))
    });
    assert_eq!(ours, paths);
    // The packages are those of the recorded chroots.
    bench.snapshot(&a, "--stage bootstrap");
    bench.snapshot(&b, "--stage bootstrap");
    let packages = |compared: &Value| {
        let all = compared["packages"].as_array().unwrap().iter();
        all.map(|p| (p["change"].clone(), p["old"].clone(), p["new"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(packages(&compared), packages(&bench.compared(["1", "2"])));
    // And the image of a chroot is the chroot, as far as buildah keeps it: not the owners of directories.
    for (snapshot, day) in [("1", 0), ("2", 1)] {
        let compared = bench.compared([snapshot, &image(day), "--ignore-mtime"]);
        let differing: Vec<&Value> = compared["files"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|file| file["what"] != serde_json::json!(["owner"]))
            .collect();
        assert!(differing.is_empty(), "{differing:?}");
    }
}

#[test]
fn versions_have_the_order_that_rpm_gives_them() {
    // As random as may be, and the same each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let letters = b"0019az.~^_+A";
    let mut word = || {
        (0..=next(6))
            .map(|_| letters[next(letters.len())] as char)
            .collect::<String>()
    };
    let pairs: Vec<(String, String)> = (0..4000).map(|_| (word(), word())).collect();
    let directory = tempfile::tempdir().unwrap();
    let calls: String = pairs
        .iter()
        .map(|(a, b)| format!("t[#t+1]=rpm.vercmp('{a}','{b}')\n"))
        .collect();
    let out = directory.path().join("out");
    let lua = format!(
        "local t={{}}\n{calls}local f=io.open('{}','w'); f:write(table.concat(t,' ')); f:close()",
        out.display()
    );
    std::fs::write(directory.path().join("script"), lua).unwrap();
    let script = format!("%{{lua: dofile('{}/script')}}", directory.path().display());
    succeeds(Command::new("rpm").args(["--eval", &script]));
    let answers = std::fs::read_to_string(out).unwrap();
    let answers: Vec<i32> = answers
        .split(' ')
        .map(|answer| answer.parse().unwrap())
        .collect();
    assert_eq!(answers.len(), pairs.len());
    for ((a, b), answer) in pairs.iter().zip(answers) {
        assert_eq!(
            version::rpm(a.as_bytes(), b.as_bytes()),
            answer.cmp(&0),
            "{a} {b}"
        );
    }
    assert_eq!(version::rpm(b"1.0~rc1", b"1.0"), Ordering::Less);
}
