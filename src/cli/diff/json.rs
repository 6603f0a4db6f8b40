//! A comparison as JSON.

use crate::cli::json::{VERSION, absolute, entry, insert_bytes, package, short};
use crate::model::packages::attribution::Ownership;
use crate::model::text::{ContentDifference, Hunk, Sign};
use crate::ops::compare::diff::{
    Compared, Difference, FileContents, FileDifference, PackageDifference,
};
use crate::ops::compare::side::{Side, SideLayer};
use serde_json::{Map, Value, json};

pub(crate) fn diff(difference: &Difference) -> Value {
    let [a, b] = &difference.sides;
    let compared = &difference.compared();
    let packages = difference.packages.as_ref().map(|_| packages(compared));
    let mut files = files(compared);
    for (at, contents) in &difference.contents {
        files[*at]["content"] = content(contents);
    }
    let shared: Vec<&SideLayer> = a
        .layers
        .iter()
        .filter(|layer| is_shared(layer, b))
        .collect();
    json!({
        "version": VERSION,
        "different": !difference.is_empty(),
        "a": side(a, b),
        "b": side(b, a),
        "shared_layers": shared.len(),
        "shared_bytes": shared.iter().map(|layer| layer.size_bytes).sum::<u64>(),
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
    let snapshot = side.snapshot.as_ref().map(|snapshot| {
        let mut value = short(snapshot);
        value["manifest_digest"] = snapshot.manifest.digest.to_string().into();
        value["entries"] = snapshot.entries.into();
        value["content_bytes"] = snapshot.content_bytes.into();
        value
    });
    let layers = side.layers.iter().map(|layer| {
        json!({
            "role": layer.role.map(|role| role.name()),
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
    });
    json!({
        "source": side.source.to_string(),
        "snapshot": snapshot,
        "packages": side.packages.as_ref().map(|packages| packages.all.len()),
        "package_manager": side.packages.as_ref().map(|packages| packages.manager.name()),
        "layers": layers.collect::<Vec<_>>(),
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
    let [old, new] = compared.packages_of(of).map(|one| one.map(package));
    let current = new.as_ref().or(old.as_ref()).cloned().unwrap_or_default();
    json!({
        "change": of.change.fate.name(),
        "name": current["name"],
        "arch": current["arch"],
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
    object.insert("change".to_owned(), json!(change));
    object.insert(
        "what".to_owned(),
        json!(file.change.what.names().collect::<Vec<_>>()),
    );
    object.insert(
        "accounted".to_owned(),
        json!(file.account.package_change.is_some()),
    );
    object.insert("volatile".to_owned(), json!(file.is_volatile));
    let sides = [
        ("old", compared.old_entry(file), file.account.old, 0),
        ("new", compared.new_entry(file), file.account.new, 1),
    ];
    for (name, there, owner, side) in sides {
        let mut value = there.map_or(Value::Null, |there| entry(there, None));
        if let Value::Object(fields) = &mut value {
            fields.remove("path");
            fields.remove("path_hex");
        }
        object.insert(name.to_owned(), value);
        let owner = owner.map(|owner| ownership(compared, side, &owner));
        object.insert(format!("{name}_owner"), json!(owner));
    }
    let package = object["new_owner"]["package"]
        .as_str()
        .or(object["old_owner"]["package"].as_str());
    let package = json!(package);
    object.insert("package".to_owned(), package);
    Value::Object(object)
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
    let hunk = |hunk: &Hunk| {
        let lines = hunk.lines.iter().map(|line| {
            let sign = match line.sign {
                Sign::Kept => " ",
                Sign::Removed => "-",
                Sign::Added => "+",
            };
            json!({ "sign": sign, "text": String::from_utf8_lossy(&line.bytes), "newline": !line.is_unended })
        });
        json!({ "old": [hunk.old.0, hunk.old.1], "new": [hunk.new.0, hunk.new.1], "lines": lines.collect::<Vec<_>>() })
    };
    match contents {
        FileContents::TooLarge => json!({ "kind": "large" }),
        FileContents::Compared(ContentDifference::Binary { first_difference }) => {
            json!({ "kind": "binary", "first_difference": first_difference })
        }
        FileContents::Compared(ContentDifference::Text(hunks)) => {
            json!({ "kind": "text", "hunks": hunks.iter().map(hunk).collect::<Vec<_>>() })
        }
    }
}
