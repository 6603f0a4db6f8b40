//! Which blobs go, and which stay.

use super::*;
use crate::common::registry::{What, sha256};
use std::fs;

#[test]
fn files_go_that_a_repository_has_but_for_those_of_the_newest_snapshot() {
    let shelf = Shelf::new();
    let old = shelf.old();
    let mut dry = shelf.request();
    dry.dry_run = true;
    let would = release(&shelf.bench.store(), &dry, &Silent).unwrap();
    assert_eq!(shelf.here(&old), old);
    assert_eq!(proven(&shelf.bench.store()), []);
    let did = shelf.release().unwrap();
    assert_eq!(would.released, did.released);
    assert_eq!(did.released.0, old.len() as u64);
    assert!(did.released.1 > 20_000, "{did:?}");
    assert_eq!((did.lacking, did.unnamed), ((0, 0), (0, 0)));
    let kept: Vec<i64> = did.kept.iter().map(|(kept, _)| kept.id).collect();
    assert_eq!(kept, [3]);
    assert_eq!(shelf.here(&old), BTreeSet::new());
    assert_eq!(shelf.here(&shelf.layers(3)), shelf.layers(3));
    shelf.assert_sound("released");
    let listed = index(&shelf.bench);
    assert!(!listed.contains(shelf.manifest(1)) && !listed.contains(shelf.manifest(2)));
    assert!(listed.contains(shelf.manifest(3)));
    let rows = proven(&shelf.bench.store());
    assert!(rows.len() == old.len() && rows.iter().all(|(_, is_proven)| *is_proven));
    let remote = |arguments: &[&str]| shelf.bench.json(arguments)["remote_layers"].clone();
    assert_eq!(remote(&["du"]), old.len());
    assert_eq!(remote(&["show", "1"]), shelf.layers(1).len());
    assert_eq!(remote(&["show", "3"]), 0);
    // A record for each blob, and the blob.
    assert_eq!(did.traffic.requests, 2 * old.len() as u64 + 2);
    let again = shelf.release().unwrap();
    assert_eq!((again.released, again.traffic.requests), ((0, 0), 0));
}

#[test]
fn rules_name_the_snapshots_whose_files_stay_and_other_series_keep_theirs() {
    let shelf = Shelf::new();
    let root = shelf.bench.path("root");
    fill(&root, 1);
    let options = OPTIONS.replace("fedora", "other");
    shelf.bench.snapshot(&root, &options);
    let would = |change: &dyn Fn(&mut local_blobs::Request)| {
        let mut request = shelf.request();
        request.dry_run = true;
        change(&mut request);
        release(&shelf.bench.store(), &request, &Silent).map(|would| would.released.0)
    };
    // The newest snapshot of the other series has the layers of the first.
    let only_second = (&shelf.layers(2) - &shelf.layers(3)).len() as u64;
    assert_eq!(would(&|_| {}).unwrap(), only_second);
    let of = |series: &'static str| {
        move |request: &mut local_blobs::Request| request.series = Some(series.to_owned())
    };
    assert_eq!(would(&of("fedora")).unwrap(), only_second);
    assert_eq!(would(&of("other")).unwrap(), 0);
    assert_eq!(would(&|r| r.rules.last = NonZeroUsize::new(2)).unwrap(), 0);
    assert_eq!(would(&|r| r.rules.within_s = Some(86_400)).unwrap(), 0);
    assert!(matches!(
        would(&of("none")),
        Err(Error::UnknownSeries { .. })
    ));
}

#[test]
fn a_blob_stays_that_nothing_keeps_from_being_collected() {
    let shelf = Shelf::new();
    let old = shelf.old();
    let drop_tags = |begin: &str| {
        let mut state = shelf.registry.state();
        state
            .repo(FARM)
            .tags
            .retain(|tag, _| !tag.starts_with(begin));
    };
    let mut dry = shelf.request();
    dry.dry_run = true;
    let would = || release(&shelf.bench.store(), &dry, &Silent).unwrap();
    // The images under their tags that stay are enough.
    drop_tags("layer-");
    assert_eq!(would().released.0, old.len() as u64);
    // A record of the image names no layers.
    drop_tags("fedora.");
    let left = shelf.release().unwrap();
    assert_eq!((left.released.0, left.unnamed.0), (0, old.len() as u64));
    assert_eq!(shelf.here(&old), old);
    shelf.push(&[1]);
    let some = shelf.release().unwrap();
    let first = &shelf.layers(1) - &shelf.layers(3);
    assert_eq!(&old - &shelf.here(&old), first);
    assert_eq!(some.unnamed.0, (old.len() - first.len()) as u64);
    shelf.assert_sound("first");
}

#[test]
fn a_record_of_another_blob_of_the_layer_keeps_none() {
    let shelf = Shelf::new();
    let other = Bench::new();
    let root = shelf.bench.path("root");
    sh(&other.path(""), &format!("cp -a {} root", root.display()));
    record(&other, 1, "--compression zstd:9");
    record(&other, 9, "");
    let mut request = shelf.request();
    request.dry_run = true;
    // Only the records of the same layers are there, in another compression.
    let would = release(&other.store(), &request, &Silent).unwrap();
    assert_eq!(would.released.0 + would.unnamed.0, 0, "{would:?}");
    let blobs: Vec<Vec<u8>> = layers(&other.json(["show", "1"]))
        .iter()
        .map(|digest| fs::read(path_of(&other, digest)).unwrap())
        .collect();
    for blob in &blobs {
        shelf.registry.state().put_blob(FARM, blob);
    }
    let would = release(&other.store(), &request, &Silent).unwrap();
    assert!(would.released.0 == 0 && would.unnamed.0 > 0, "{would:?}");
}

#[test]
fn a_blob_stays_that_the_repository_lacks_or_has_in_another_length() {
    let shelf = Shelf::new();
    let old: Vec<String> = shelf.old().into_iter().collect();
    {
        let mut state = shelf.registry.state();
        let blobs = &mut state.repo(FARM).blobs;
        blobs.remove(&old[0]);
        blobs.get_mut(&old[1]).unwrap().push(0);
    }
    let done = shelf.release().unwrap();
    assert_eq!((done.lacking.0, done.released.0), (2, old.len() as u64 - 2));
    let staying: BTreeSet<String> = old[..2].iter().cloned().collect();
    assert_eq!(shelf.here(&shelf.old()), staying);
    shelf.assert_sound("lacking");
}

#[test]
fn each_form_of_a_layer_counts_by_itself() {
    let shelf = Shelf::new();
    record(&shelf.bench, 1, "--compression gzip");
    record(&shelf.bench, 4, "");
    let gzip = layers(&shelf.bench.json(["show", "4"]));
    shelf.push(&[3]);
    let done = shelf.release().unwrap();
    assert_eq!(shelf.here(&gzip), gzip);
    assert_eq!(done.lacking.0, gzip.len() as u64);
    assert_eq!(shelf.here(&shelf.old()), BTreeSet::new());
    shelf.push(&[4]);
    shelf.release().unwrap();
    assert_eq!(shelf.here(&gzip), BTreeSet::new());
    shelf.assert_sound("forms");
}

#[test]
fn a_damaged_file_goes_as_any_other_and_what_is_fetched_is_whole() {
    let shelf = Shelf::new();
    let old: Vec<PathBuf> = shelf
        .old()
        .iter()
        .map(|one| path_of(&shelf.bench, one))
        .collect();
    fs::write(&old[0], "short").unwrap();
    let mut bytes = fs::read(&old[1]).unwrap();
    bytes[20] ^= 1;
    fs::write(&old[1], &bytes).unwrap();
    let done = shelf.release().unwrap();
    assert_eq!(done.released.0, old.len() as u64);
    shelf.assert_sound("damaged");
    for number in ["1", "2"] {
        let archive = shelf.bench.path(format!("{number}.oci"));
        shelf
            .bench
            .json(["export", number, "-o", archive.to_str().unwrap()]);
    }
    assert_eq!(shelf.bench.json(["verify", "--deep"])["remote_layers"], 0);
}

#[test]
fn a_layer_that_a_record_alone_has_named_stays_unproven_until_its_bytes_have_come() {
    let shelf = Shelf::new();
    let other = Bench::new();
    let store = other.store();
    for number in [1, 2, 3] {
        pull_lazy(
            &store,
            &shelf.registry,
            &format!("@{}", shelf.manifest(number)),
        )
        .unwrap();
    }
    let claimed = proven(&store);
    assert!(claimed.iter().all(|(_, is_proven)| !is_proven));
    let released = || {
        release(&store, &shelf.request(), &Silent)
            .unwrap()
            .released
            .0
    };
    assert_eq!(released(), 0);
    assert_eq!(proven(&store), claimed);
    // What lies under the name is not the blob.
    let first = shelf.layers(1).into_iter().next().unwrap();
    fs::write(path_of(&other, &first), "nothing of the kind").unwrap();
    assert_eq!(released(), 1);
    assert_eq!(proven(&store), claimed);
    let archive = other.path("out.oci");
    other.json(["export", "1", "-o", archive.to_str().unwrap()]);
    assert_eq!(released(), shelf.layers(1).len() as u64);
    let hexes: BTreeSet<String> = shelf
        .layers(1)
        .iter()
        .map(|one| one[7..].to_owned())
        .collect();
    for (hex, is_proven) in proven(&store) {
        assert_eq!(is_proven, hexes.contains(&hex), "{hex}");
    }
    assert_eq!(sound(&store), 3);
}

#[test]
fn the_repository_that_was_asked_last_is_where_the_bytes_come_from() {
    let shelf = Shelf::new();
    shelf.release().unwrap();
    let archive = shelf.bench.path("out.oci");
    let export = ["export", "1", "-o", archive.to_str().unwrap()];
    shelf.bench.json(export);
    let other = FaultyRegistry::start();
    let mut pushing = push_request(&other, &access());
    pushing.snapshots = vec![snapshot(1)];
    push(&shelf.bench.store(), &pushing, &Silent).unwrap();
    let mut request = shelf.request();
    request.repository = repository(&other, FARM);
    let done = release(&shelf.bench.store(), &request, &Silent).unwrap();
    assert!(done.released.0 > 0);
    shelf.registry.state().repo(FARM).blobs.clear();
    fs::remove_file(&archive).unwrap();
    shelf.bench.json(export);
}

#[test]
fn what_a_snapshot_has_come_to_need_meanwhile_stays_and_the_store_is_free() {
    let requests = {
        let shelf = Shelf::new();
        shelf.release().unwrap();
        shelf.registry.requests().len()
    };
    for nth in [0, requests / 2, requests - 1] {
        let shelf = Shelf::new();
        let store = shelf.bench.store();
        let base = shelf.bench.path("");
        shelf.registry.before(nth, move || {
            let root = base.join("root");
            fill(&root, 1);
            let run = |arguments: &[&str]| {
                let mut command = crate::common::rootstrata();
                command.arg("--store").arg(&store).args(arguments).arg("-q");
                crate::common::succeeds(&mut command);
            };
            let mut arguments = vec!["snapshot", root.to_str().unwrap()];
            arguments.extend(OPTIONS.split(' '));
            run(&arguments);
            // Nobody else has the store open.
            run(&["prune", "--no-wait"]);
        });
        let done = shelf.release().unwrap();
        let newest = layers(&shelf.bench.json(["show", "4"]));
        assert_eq!(newest, shelf.layers(1), "{nth}");
        assert_eq!(shelf.here(&newest), newest, "{nth}");
        let gone = &shelf.layers(2) - &(&newest | &shelf.layers(3));
        assert_eq!(done.released.0, gone.len() as u64, "{nth}");
        assert_eq!(done.kept[0].0.id, 4, "{nth}");
        shelf.assert_sound(&nth.to_string());
    }
}

#[test]
fn a_store_with_damaged_rows_or_index_is_left_alone() {
    let shelf = Shelf::new();
    let index = shelf.bench.store().join("index.json");
    let sound_index = fs::read(&index).unwrap();
    fs::write(&index, "{}").unwrap();
    assert!(matches!(shelf.release(), Err(Error::Damaged { .. })));
    fs::write(&index, sound_index).unwrap();
    let database = rusqlite::Connection::open(shelf.bench.store().join("rootstrata.sqlite"));
    let change = "DELETE FROM snapshot_layer WHERE snapshot_id = 1 AND position = 0";
    database.unwrap().execute(change, []).unwrap();
    assert!(matches!(shelf.release(), Err(Error::Damaged { .. })));
    assert_eq!(shelf.here(&shelf.old()), shelf.old());
    assert_eq!(shelf.registry.requests(), [""; 0]);
}

#[test]
fn an_image_of_others_is_known_by_its_tag() {
    let shelf = Shelf::new();
    let layout = shelf.bench.path("layout");
    let target = layout.to_str().unwrap();
    shelf
        .bench
        .json(["export", "1", "--format", "oci-dir", "-o", target]);
    // Without what rootstrata says of a layer, the image is one of others.
    let text = |digest: &str| {
        let path = layout.join("blobs/sha256").join(&digest[7..]);
        fs::read_to_string(path).unwrap()
    };
    let mut manifest: Value = serde_json::from_str(&text(shelf.manifest(1))).unwrap();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer.as_object_mut().unwrap().remove("annotations");
    }
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let bytes = manifest.to_string().into_bytes();
    let digest = sha256(&bytes);
    {
        let mut state = shelf.registry.state();
        state.put_blob("others/image", text(&config).as_bytes());
        let blobs = state.repo(FARM).blobs.clone();
        let repo = state.repo("others/image");
        repo.blobs.extend(blobs);
        let media_type = super::super::TYPE.to_owned();
        repo.manifests.insert(digest.clone(), (media_type, bytes));
        repo.tags.insert("v1".to_owned(), digest);
    }
    let other = Bench::new();
    let name = format!("docker://{}/others/image:v1", shelf.registry.host());
    other.json(["pull", &name, "--series", "fedora", "--stage", "built"]);
    record(&other, 2, "");
    let repository = &name[..name.len() - ":v1".len()];
    let own = layers(&other.json(["show", "1"]));
    let newest = layers(&other.json(["show", "2"]));
    let done = other.json(["prune", "--local-blobs", repository]);
    assert_eq!(done["blobs"], (&own - &newest).len(), "{done}");
    assert!(done["blobs"].as_u64().unwrap() > 0);
    assert_eq!(other.json(["verify", "--deep"])["sound"], true);
    let archive = other.path("out.oci");
    other.json(["export", "1", "-o", archive.to_str().unwrap()]);
}

#[test]
fn the_command_tells_what_goes_and_what_stays() {
    let shelf = Shelf::new();
    let target = at(&shelf.registry, "");
    let dry = shelf
        .bench
        .prints(0, ["prune", "--local-blobs", &target, "-n"]);
    assert!(
        dry.contains("keep") && dry.contains("would remove"),
        "{dry}"
    );
    let one = shelf.old().into_iter().next().unwrap();
    shelf.registry.state().repo(FARM).blobs.remove(&one);
    let json = shelf.bench.json(["prune", "--local-blobs", &target, "-n"]);
    assert_eq!(json["lacking_blobs"], 1);
    assert_eq!(json["kept"][0]["reasons"][0], "last");
    assert!(json["traffic"]["requests"].as_u64().unwrap() > 0);
    let said = shelf.bench.prints(0, ["prune", "--local-blobs", &target]);
    assert!(
        said.contains("1 blob (") && said.contains("not there"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 3, "{said}");
    let wrong = ["prune", "--local-blobs", &target, "--registry", &target];
    let output = shelf.bench.command(wrong).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let away = What::Status(503, Some("0"));
    shelf.registry.when(|_| true, usize::MAX, away);
    record(&shelf.bench, 5, "");
    let said = shelf.bench.fails(75, ["prune", "--local-blobs", &target]);
    assert!(said.contains(&shelf.registry.host()), "{said}");
}
