//! Layers that are recorded stay as they are, and are never more than engines take.

use crate::common::case::Case;
use crate::common::{layers, sh};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

#[test]
fn another_epoch_leaves_what_is_recorded_and_takes_none_of_it() {
    let case = Case::new("echo old > old; echo new > new; touch -d @100 old; touch -d @900 new .");
    let export = |snapshot: &str, name: &str| {
        let path = case.bench.path(name);
        case.bench
            .json(["export", snapshot, "-o", path.to_str().unwrap()]);
        std::fs::read(path).unwrap()
    };
    case.bench
        .snapshot(&case.root, "--profile plain --epoch 500");
    let before = export("1", "before");
    let other = case
        .bench
        .snapshot(&case.root, "--profile plain --epoch 700");
    assert_eq!(layers(&other), ["base new"]);
    let times: Vec<i64> = case.top(&other).iter().map(|member| member.mtime).collect();
    assert_eq!(times, [700, 700, 100]);
    assert!(export("1", "after") == before);
}

#[test]
fn a_blob_that_is_there_is_never_written_again() {
    let case = Case::new("echo x > f; echo v > v; touch -d @5 f v .");
    let options = "--profile plain --volatile /v";
    case.bench.snapshot(&case.root, options);
    let files = || -> std::collections::BTreeMap<PathBuf, (u64, i64, i64)> {
        let blobs = std::fs::read_dir(case.bench.store().join("blobs/sha256")).unwrap();
        let of = |entry: std::fs::DirEntry| (entry.path(), entry.metadata().unwrap());
        blobs
            .map(|entry| of(entry.unwrap()))
            .map(|(path, m)| (path, (m.ino(), m.ctime(), m.ctime_nsec())))
            .collect()
    };
    let before = files();
    let copy = case.bench.make("copy");
    sh(&case.root, &format!("cp -a . {}", copy.display()));
    for root in [&case.root, &copy] {
        case.bench.snapshot(root, options);
        assert_eq!(files(), before);
    }
    // Under another policy the layers have other keys, and are packed again; their bytes are there.
    let other = case.bench.snapshot(
        &case.root,
        &format!("{options} --exclude nothing-has-this-name"),
    );
    assert_eq!(layers(&other), ["base new", "state new"]);
    let now = files();
    assert!(
        before
            .iter()
            .all(|(path, inode)| now.get(path) == Some(inode))
    );
}

#[test]
fn a_run_of_many_stages_never_has_more_layers_than_engines_take() {
    let case = Case::new("echo x > f");
    let mut most = 0;
    for stage in 0..=102 {
        sh(
            &case.root,
            &format!(
                "echo {stage} > f{stage}; rm -f f{}; echo {stage} > v",
                stage - 2
            ),
        );
        let options =
            format!("--profile plain --run r --stage s{stage} --volatile /v --compression none");
        // The last one that fits, and those after it.
        let snapshot = if stage < 98 {
            case.bench.snapshot(&case.root, &options)
        } else {
            case.after("", &options)
        };
        let layers = snapshot["layers"].as_array().unwrap().len();
        most = most.max(layers);
        assert!(layers <= 100, "{stage}: {layers}");
    }
    assert_eq!(most, 100);
}
