//! A comparison as JSON.

use crate::cli::json::{VERSION, absolute, entry, insert_bytes, package, short};
use crate::model::packages::attribution::Ownership;
use crate::model::text::{ContentDifference, Hunk, Line, Sign};
use crate::model::tree::entry::Entry;
use crate::ops::compare::diff::{
    Compared, Difference, FileContents, FileDifference, PackageDifference,
};
use crate::ops::compare::side::{Side, SideLayer};
use crate::store::Snapshot;
use serde_json::{Map, Value, json};

pub(crate) fn diff(difference: &Difference) -> Value {
    let [a, b] = &difference.sides;
    let compared = &difference.compared();
    let packages = difference.packages.as_ref().map(|_| packages(compared));
    let mut files = files(compared);
    for (at, contents) in &difference.contents {
        files[*at]["content"] = content(contents);
    }
    let mut shared_layers = 0;
    let mut shared_bytes = 0;
    for layer in &a.layers {
        if is_shared(layer, b) {
            shared_layers += 1;
            shared_bytes += layer.size_bytes;
        }
    }
    json!({
        "version": VERSION,
        "different": !difference.is_empty(),
        "a": side(a, b),
        "b": side(b, a),
        "shared_layers": shared_layers,
        "shared_bytes": shared_bytes,
        "packages": packages,
        "files": files,
        "notes": difference.notes,
    })
}

fn is_shared(layer: &SideLayer, other: &Side) -> bool {
    other
        .layers
        .iter()
        .any(|there| there.diff_id == layer.diff_id)
}

fn side(side: &Side, other: &Side) -> Value {
    let mut layers = Vec::new();
    for layer in &side.layers {
        layers.push(side_layer(layer, other));
    }
    let packages = side.packages.as_ref();
    json!({
        "source": side.source.to_string(),
        "snapshot": side.snapshot.as_ref().map(side_snapshot),
        "packages": packages.map(|packages| packages.all.len()),
        "package_manager": packages.map(|packages| packages.manager.name()),
        "layers": layers,
    })
}

fn side_snapshot(snapshot: &Snapshot) -> Value {
    let mut value = short(snapshot);
    value["manifest_digest"] = snapshot.manifest.digest.to_string().into();
    value["entries"] = snapshot.entries.into();
    value["content_bytes"] = snapshot.content_bytes.into();
    value
}

fn side_layer(layer: &SideLayer, other: &Side) -> Value {
    json!({
        "role": layer.role.map(|role| role.name()),
        "label": layer.label,
        "key": layer.key.map(|key| key.to_string()),
        "diff_id": layer.diff_id.to_string(),
        "digest": layer.digest.to_string(),
        "media_type": layer.media_type,
        "size_bytes": layer.size_bytes,
        "content_bytes": layer.content_bytes,
        "entries": layer.entries,
        "whiteouts": layer.whiteouts,
        "shared": is_shared(layer, other),
    })
}

pub(crate) fn packages(compared: &Compared) -> Vec<Value> {
    compared
        .packages
        .iter()
        .map(|package| package_difference(compared, package))
        .collect()
}

pub(crate) fn files(compared: &Compared) -> Vec<Value> {
    compared
        .files
        .iter()
        .map(|file| file_difference(compared, file))
        .collect()
}

fn package_difference(compared: &Compared, of: &PackageDifference) -> Value {
    let [old, new] = compared.packages_of(of);
    let current = new.or(old);
    let old = old.map(package);
    let new = new.map(package);
    json!({
        "change": of.change.fate.name(),
        "name": current.map(|package| &package.name),
        "arch": current.map(|package| &package.arch),
        "old": old,
        "new": new,
        "files": { "added": of.added, "removed": of.removed, "changed": of.changed },
        "old_bytes": of.old_bytes,
        "new_bytes": of.new_bytes,
    })
}

fn file_difference(compared: &Compared, file: &FileDifference) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "path", &absolute(compared.path(file)));
    let change = match (file.change.old, file.change.new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let what: Vec<_> = file.change.what.names().collect();
    let is_accounted = file.account.package_change.is_some();
    object.insert("change".to_owned(), json!(change));
    object.insert("what".to_owned(), json!(what));
    object.insert("accounted".to_owned(), json!(is_accounted));
    object.insert("volatile".to_owned(), json!(file.is_volatile));
    object.insert("configuration".to_owned(), json!(file.is_configuration));
    let [old, new] = [file.account.old, file.account.new];
    let old = old.map(|owner| ownership(compared, 0, &owner));
    let new = new.map(|owner| ownership(compared, 1, &owner));
    let owner = new.as_ref().or(old.as_ref());
    let package = owner.map(|owner| owner["package"].clone());
    let old_entry = compared.old_entry(file);
    let new_entry = compared.new_entry(file);
    object.insert("old".to_owned(), side_entry(old_entry));
    object.insert("old_owner".to_owned(), json!(old));
    object.insert("new".to_owned(), side_entry(new_entry));
    object.insert("new_owner".to_owned(), json!(new));
    object.insert("package".to_owned(), json!(package));
    Value::Object(object)
}

/// Returns an entry without the path; null without an entry.
fn side_entry(side: Option<&Entry>) -> Value {
    let mut value = side.map_or(Value::Null, |side| entry(side, None));
    if let Value::Object(fields) = &mut value {
        fields.remove("path");
        fields.remove("path_hex");
    }
    value
}

fn ownership(compared: &Compared, side: usize, owner: &Ownership) -> Value {
    json!({
        "package": compared.installed[side][owner.package].package.name,
        "config": owner.is_config,
        "ghost": owner.is_ghost,
        "missing": owner.is_missing,
        "deviations": owner.deviations.names().collect::<Vec<_>>(),
        "as_packaged": owner.has_digest,
    })
}

fn content(contents: &FileContents) -> Value {
    match contents {
        FileContents::TooLarge => json!({ "kind": "large" }),
        FileContents::Compared(ContentDifference::Binary { first_difference }) => {
            json!({ "kind": "binary", "first_difference": first_difference })
        }
        FileContents::Compared(ContentDifference::Text(hunks)) => {
            let hunks: Vec<Value> = hunks.iter().map(hunk).collect();
            json!({ "kind": "text", "hunks": hunks })
        }
    }
}

fn hunk(hunk: &Hunk) -> Value {
    let lines: Vec<Value> = hunk.lines.iter().map(line).collect();
    json!({
        "old": [hunk.old.0, hunk.old.1],
        "new": [hunk.new.0, hunk.new.1],
        "lines": lines,
    })
}

fn line(line: &Line) -> Value {
    let sign = match line.sign {
        Sign::Kept => " ",
        Sign::Removed => "-",
        Sign::Added => "+",
    };
    json!({
        "sign": sign,
        "text": String::from_utf8_lossy(&line.bytes),
        "newline": !line.is_unended,
    })
}
