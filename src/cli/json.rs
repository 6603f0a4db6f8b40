//! Results as JSON: one object, version 1. Fields are added, never changed.
//!
//! Names that are not UTF-8 are replaced in part, and given in hexadecimal under the same key with `_hex`.

use crate::model::names::image_name;
use crate::model::packages::package::Package;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Phase;
use crate::ops::query::inspect::{Logged, Shown};
use crate::ops::record;
use crate::ops::transfer::export;
use crate::store::LayerUse;
use crate::store::Snapshot;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::Duration;

pub(super) const VERSION: u32 = 1;

/// Ends the object with a newline.
pub(super) fn line(value: Value) -> String {
    format!("{value}\n")
}

/// What names a snapshot.
pub(super) fn short(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id,
        "series": snapshot.series,
        "stage": snapshot.stage,
        "run": snapshot.run,
        "time": snapshot.created_s,
    })
}

pub(super) fn snapshot(outcome: &record::Outcome) -> Value {
    let mut object = head(&outcome.snapshot, &outcome.layers);
    object.insert("version".to_owned(), json!(VERSION));
    object.insert("files_read".to_owned(), json!(outcome.files_read));
    object.insert("bytes_read".to_owned(), json!(outcome.bytes_read));
    object.insert("packages".to_owned(), json!(outcome.packages));
    object.insert("seconds".to_owned(), seconds(&outcome.seconds));
    Value::Object(object)
}

/// A recorded snapshot in the form of one that was made: nothing of its root was read.
pub(super) fn described(shown: &Shown) -> Value {
    let mut object = head(&shown.snapshot, &shown.layers);
    object.insert("version".to_owned(), json!(VERSION));
    object.insert("files_read".to_owned(), json!(0));
    object.insert("bytes_read".to_owned(), json!(0));
    object.insert(
        "packages".to_owned(),
        json!(shown.packages.as_ref().map(Vec::len)),
    );
    object.insert("seconds".to_owned(), json!({}));
    Value::Object(object)
}

/// Adds what an export did to the object of its snapshot.
pub(super) fn export(outcome: &export::Outcome, mut snapshot: Value) -> Value {
    let images: Map<String, Value> = outcome
        .images
        .iter()
        .map(|(name, digest)| (name.clone(), json!(digest.to_string())))
        .collect();
    snapshot["path"] = json!(outcome.path.to_string_lossy());
    snapshot["manifest_digest"] = json!(outcome.manifest_digest.to_string());
    snapshot["bytes_written"] = json!(outcome.bytes_written);
    snapshot["images"] = Value::Object(images);
    if let (Some(all), Value::Object(more)) = (
        snapshot["seconds"].as_object_mut(),
        seconds(&outcome.seconds),
    ) {
        all.extend(more);
    }
    snapshot
}

pub(super) fn log(logged: &[Logged]) -> Value {
    let snapshots: Vec<Value> = logged
        .iter()
        .map(|one| Value::Object(head(&one.snapshot, &one.layers)))
        .collect();
    json!({ "version": VERSION, "snapshots": snapshots })
}

pub(super) fn show(shown: &Shown) -> Value {
    let mut object = head(&shown.snapshot, &shown.layers);
    object.insert("version".to_owned(), json!(VERSION));
    let packages = shown
        .packages
        .as_ref()
        .map(|packages| packages.iter().map(package).collect::<Vec<_>>());
    object.insert("packages".to_owned(), json!(packages));
    let policy: Value = serde_json::from_str(&shown.policy).unwrap_or(Value::Null);
    object.insert("policy".to_owned(), policy);
    Value::Object(object)
}

pub(super) fn ls(id: i64, entries: &[Entry]) -> Value {
    let mut first_names = HashMap::new();
    for entry in entries.iter().rev() {
        if let Some(group) = entry.group {
            first_names.insert(group, absolute(&entry.path));
        }
    }
    let first_name = |entry: &Entry| {
        entry
            .group
            .and_then(|group| first_names.get(&group))
            .cloned()
    };
    let entries: Vec<Value> = entries
        .iter()
        .map(|entry| self::entry(entry, first_name(entry)))
        .collect();
    json!({ "version": VERSION, "id": id, "entries": entries })
}

pub(super) fn head(snapshot: &Snapshot, layers: &[LayerUse]) -> Map<String, Value> {
    let value = json!({
        "id": snapshot.id,
        "series": snapshot.series,
        "stage": snapshot.stage,
        "run": snapshot.run,
        "parent": snapshot.parent_id,
        "time": snapshot.created_s,
        "entries": snapshot.entries,
        "content_bytes": snapshot.content_bytes,
        "sockets": snapshot.sockets,
        "image": image_name(&snapshot.series, &snapshot.stage),
        "manifest_digest": snapshot.manifest.digest.to_string(),
        "policy_key": snapshot.policy_key.to_string(),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

pub(super) fn layer(layer: &LayerUse) -> Value {
    json!({
        "role": layer.role.name(),
        "reused": layer.reused,
        "key": layer.layer.key.to_string(),
        "diff_id": layer.layer.diff_id.to_string(),
        "digest": layer.blob.digest.to_string(),
        "media_type": layer.blob.media_type,
        "size_bytes": layer.blob.size_bytes,
        "content_bytes": layer.layer.content_bytes,
        "entries": layer.layer.entries,
        "whiteouts": layer.layer.whiteouts,
    })
}

pub(super) fn package(package: &Package) -> Value {
    json!({
        "name": package.name,
        "epoch": package.epoch,
        "version": package.version,
        "release": package.release,
        "arch": package.arch,
        "source_rpm": package.source_rpm,
        "build_time": package.build_time_s,
    })
}

pub(super) fn entry(entry: &Entry, first_name: Option<Vec<u8>>) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "path", &absolute(&entry.path));
    object.insert("mode".to_owned(), json!(format!("{:04o}", entry.mode)));
    object.insert("uid".to_owned(), json!(entry.uid));
    object.insert("gid".to_owned(), json!(entry.gid));
    object.insert("mtime".to_owned(), json!(entry.mtime_s));
    match &entry.kind {
        Kind::File {
            size_bytes,
            content,
        } => {
            object.insert("size_bytes".to_owned(), json!(size_bytes));
            object.insert("blake3".to_owned(), json!(content.to_string()));
        }
        Kind::Symlink(target) => insert_bytes(&mut object, "target", target),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            object.insert("major".to_owned(), json!(device.major));
            object.insert("minor".to_owned(), json!(device.minor));
        }
        Kind::Directory | Kind::Fifo => {}
    }
    object.insert("type".to_owned(), json!(kind(entry)));
    if !entry.xattrs.is_empty() {
        let mut xattrs = Map::new();
        for (name, value) in entry.xattrs.iter() {
            xattrs.insert(
                String::from_utf8_lossy(name).into_owned(),
                json!(hex(value)),
            );
        }
        object.insert("xattrs".to_owned(), Value::Object(xattrs));
    }
    if let Some(first) = first_name {
        insert_bytes(&mut object, "hardlink_group", &first);
    }
    Value::Object(object)
}

/// Returns the name of an entry's type.
pub(super) fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Directory => "dir",
        Kind::File { .. } => "file",
        Kind::Symlink(_) => "symlink",
        Kind::Fifo => "fifo",
        Kind::CharDevice(_) => "char",
        Kind::BlockDevice(_) => "block",
    }
}

pub(super) fn absolute(path: &EntryPath) -> Vec<u8> {
    [b"/", path.slashed().as_slice()].concat()
}

pub(super) fn insert_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    object.insert(key.to_owned(), json!(String::from_utf8_lossy(bytes)));
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{key}_hex"), json!(hex(bytes)));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn seconds(phases: &[(Phase, Duration)]) -> Value {
    let round = |time: &Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
    Value::Object(
        phases
            .iter()
            .map(|(phase, time)| (phase.name().to_owned(), json!(round(time))))
            .collect(),
    )
}
