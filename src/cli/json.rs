//! JSON that several commands print: snapshots, layers, packages, entries.

use crate::model::labels::Labels;
use crate::model::names::image_name;
use crate::model::packages::package::Package;
use crate::model::plan::layer::Role;
use crate::model::tree::entry::{Entry, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Phase;
use crate::store::LayerUse;
use crate::store::Snapshot;
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(crate) const VERSION: u32 = 1;

/// Ends the object with a newline.
pub(crate) fn line(value: Value) -> String {
    format!("{value}\n")
}

/// Returns the fields that name a snapshot.
pub(crate) fn short(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id,
        "series": snapshot.series,
        "stage": snapshot.stage,
        "run": snapshot.run,
        "time": snapshot.created_s,
    })
}

pub(crate) fn head(snapshot: &Snapshot, layers: &[LayerUse]) -> Map<String, Value> {
    let value = json!({
        "id": snapshot.id,
        "series": snapshot.series,
        "stage": snapshot.stage,
        "run": snapshot.run,
        "parent": snapshot.parent_id,
        "time": snapshot.created_s,
        "labels": labels(&snapshot.labels),
        "pinned": snapshot.is_pinned,
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

fn labels(labels: &Labels) -> Value {
    let pairs = labels.iter();
    let pairs = pairs.map(|(key, value)| (key.to_owned(), json!(value)));
    Value::Object(pairs.collect())
}

pub(crate) fn layer(layer: &LayerUse) -> Value {
    let mut value = json!({
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
    });
    if layer.role == Role::Package {
        value["label"] = json!(layer.label);
    }
    value
}

pub(crate) fn package(package: &Package) -> Value {
    json!({
        "nevra": package.to_string(),
        "name": package.name,
        "epoch": package.epoch,
        "version": package.version,
        "release": package.release,
        "arch": package.arch,
        "source_rpm": package.source_rpm,
        "build_time": package.build_time_s,
    })
}

/// Returns an entry; `first_name` is the first name of the inode in a list of entries.
pub(crate) fn entry(entry: &Entry, first_name: Option<Vec<u8>>) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "path", &absolute(&entry.path));
    let mode = format!("{:04o}", entry.mode);
    object.insert("mode".to_owned(), json!(mode));
    object.insert("uid".to_owned(), json!(entry.uid));
    object.insert("gid".to_owned(), json!(entry.gid));
    object.insert("mtime".to_owned(), json!(entry.mtime_s));
    insert_kind(&mut object, &entry.kind);
    object.insert("type".to_owned(), json!(kind(entry)));
    if !entry.xattrs.is_empty() {
        object.insert("xattrs".to_owned(), xattrs(&entry.xattrs));
    }
    if let Some(first) = first_name {
        insert_bytes(&mut object, "hardlink_group", &first);
    }
    Value::Object(object)
}

fn insert_kind(object: &mut Map<String, Value>, kind: &Kind) {
    match kind {
        Kind::File {
            size_bytes,
            content,
        } => {
            object.insert("size_bytes".to_owned(), json!(size_bytes));
            object.insert("blake3".to_owned(), json!(content.to_string()));
        }
        Kind::Symlink(target) => insert_bytes(object, "target", target),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            object.insert("major".to_owned(), json!(device.major));
            object.insert("minor".to_owned(), json!(device.minor));
        }
        Kind::Directory | Kind::Fifo => {}
    }
}

/// Returns extended attributes by name, each value in hexadecimal digits.
fn xattrs(xattrs: &Xattrs) -> Value {
    let mut object = Map::new();
    for (name, value) in xattrs.iter() {
        let name = String::from_utf8_lossy(name).into_owned();
        object.insert(name, json!(hex(value)));
    }
    Value::Object(object)
}

/// Returns the name of an entry's type.
pub(crate) fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Directory => "dir",
        Kind::File { .. } => "file",
        Kind::Symlink(_) => "symlink",
        Kind::Fifo => "fifo",
        Kind::CharDevice(_) => "char",
        Kind::BlockDevice(_) => "block",
    }
}

pub(crate) fn absolute(path: &EntryPath) -> Vec<u8> {
    [b"/", path.slashed().as_slice()].concat()
}

pub(crate) fn insert_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    object.insert(key.to_owned(), json!(text));
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{key}_hex"), json!(hex(bytes)));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn seconds(phases: &[(Phase, Duration)]) -> Value {
    let mut object = Map::new();
    for (phase, time) in phases {
        let micros = (time.as_secs_f64() * 1e6).round();
        let seconds = micros / 1e6;
        object.insert(phase.name().to_owned(), json!(seconds));
    }
    Value::Object(object)
}
