//! Answers about recorded snapshots as JSON.

use crate::cli::diff::json::{files, packages};
use crate::cli::json::{VERSION, absolute, entry, head, insert_bytes, layer, package, short};
use crate::model::packages::details::Details;
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use crate::model::plan;
use crate::model::plan::{Limits, Planning};
use crate::model::tree::entry::Entry;
use crate::ops::query::explain::{
    Against, Explained, ExplainedLayer, Novelty, PackageNovelty, Reason,
};
use crate::ops::query::find::{Found, Things};
use crate::ops::query::history::{Turn, what_differs};
use crate::ops::query::inspect::Shown;
use crate::ops::query::log::Logged;
use crate::ops::query::rule::{Other, Rule};
use crate::ops::query::visible::Occurrence;
use crate::ops::query::which::{Before, Which};
use crate::store::Snapshot;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(crate) fn log(logged: &[Logged]) -> Value {
    let snapshots: Vec<Value> = logged
        .iter()
        .map(|one| {
            let mut object = head(&one.snapshot, &one.layers);
            let digest = one.tree_digest.map(|digest| digest.to_string());
            object.insert("tree_digest".to_owned(), json!(digest));
            object.insert("packages".to_owned(), json!(one.packages));
            let changes = one.package_changes.as_ref().map(|changes| {
                json!({
                    "added": changes.added.len(),
                    "removed": changes.removed.len(),
                    "changed": changes.changed.len(),
                })
            });
            object.insert("package_changes".to_owned(), json!(changes));
            object.insert("new_bytes".to_owned(), json!(one.new_bytes()));
            Value::Object(object)
        })
        .collect();
    json!({ "version": VERSION, "snapshots": snapshots })
}

/// Returns the changes of a path, each with the entries before and after, null where there was none.
pub(crate) fn path_turns(turns: &[Turn<Option<Entry>>]) -> Value {
    let turns = turns.iter().map(|turn| {
        let [was, is] =
            [&turn.was, &turn.is].map(|there| there.as_ref().map(|one| entry(one, None)));
        let mut value = short(&turn.snapshot);
        let differs = what_differs(turn).map(|what| what.names().collect::<Vec<_>>());
        value["differs"] = json!(differs);
        value["was"] = json!(was);
        value["is"] = json!(is);
        value
    });
    json!({ "version": VERSION, "history": turns.collect::<Vec<_>>() })
}

/// Returns the changes of packages, each with the packages before and after.
pub(crate) fn package_turns(turns: &[Turn<Vec<Package>>]) -> Value {
    let turns = turns.iter().map(|turn| {
        let [was, is] = [&turn.was, &turn.is].map(|all| all.iter().map(package).collect::<Value>());
        let mut value = short(&turn.snapshot);
        value["was"] = was;
        value["is"] = is;
        value
    });
    json!({ "version": VERSION, "history": turns.collect::<Vec<_>>() })
}

pub(crate) fn show(shown: &Shown) -> Value {
    let mut object = head(&shown.snapshot, &shown.layers);
    object.insert("version".to_owned(), json!(VERSION));
    let packages = shown.packages.as_ref().map(|packages| {
        let packages = packages.iter().map(described_package);
        packages.collect::<Vec<_>>()
    });
    object.insert("packages".to_owned(), json!(packages));
    object.insert("remote_layers".to_owned(), json!(shown.remote.0));
    object.insert("remote_bytes".to_owned(), json!(shown.remote.1));
    let digest = shown.tree_digest.to_string();
    object.insert("tree_digest".to_owned(), json!(digest));
    let policy = serde_json::from_str(&shown.policy);
    let policy: Value = policy.unwrap_or(Value::Null);
    object.insert("policy".to_owned(), policy);
    Value::Object(object)
}

/// Returns the packages alone.
pub(crate) fn packages_of(snapshot: &Snapshot, packages: &[Installed]) -> Value {
    let mut object = with_snapshot(snapshot);
    let packages: Vec<Value> = packages.iter().map(described_package).collect();
    object.insert("packages".to_owned(), json!(packages));
    Value::Object(object)
}

/// Returns a package with the details, each null where unknown.
fn described_package(installed: &Installed) -> Value {
    let mut value = package(&installed.package);
    let details = installed.details.as_deref();
    let text = |of: fn(&Details) -> &String| {
        let text = details.map(of).filter(|text| !text.is_empty());
        json!(text)
    };
    value["size_bytes"] = json!(details.map(|details| details.size_bytes));
    value["license"] = text(|details| &details.license);
    value["vendor"] = text(|details| &details.vendor);
    value["signature_key"] = text(|details| &details.signature_key);
    value["header_checksum"] = text(|details| &details.header_checksum);
    value["md5"] = text(|details| &details.md5);
    value
}

pub(crate) fn ls(id: i64, entries: &[Entry]) -> Value {
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

fn with_snapshot(snapshot: &Snapshot) -> Map<String, Value> {
    let mut object = match short(snapshot) {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.insert("version".to_owned(), json!(VERSION));
    object
}

pub(crate) fn explain(explained: &Explained) -> Value {
    let mut object = with_snapshot(&explained.snapshot);
    let layers = explained.layers.iter().map(explained_layer);
    let layers: Vec<Value> = layers.collect();
    object.insert("layers".to_owned(), json!(layers));
    let planning = explained.snapshot.planning.as_ref();
    let told = if explained.has_recorded_reasons() {
        "recorded"
    } else {
        "derived"
    };
    object.insert("reasons".to_owned(), json!(told));
    object.insert(
        "planning".to_owned(),
        planning.map_or(Value::Null, self::planning),
    );
    Value::Object(object)
}

fn planning(Planning { planner, limits }: &Planning) -> Value {
    let limits = limits.map(|limits: Limits| {
        json!({
            "update_percent": limits.update_percent,
            "dead_percent": limits.dead_percent,
            "most_layers": limits.most_layers,
        })
    });
    json!({ "planner": planner, "limits": limits })
}

fn other(other: &Other) -> Value {
    match &other.snapshot {
        Some(snapshot) => short(snapshot),
        None => json!({ "id": other.id }),
    }
}

fn explained_layer(of: &ExplainedLayer) -> Value {
    let mut value = layer(&of.layer);
    value["label"] = json!(of.layer.label);
    value["inherited"] = json!(of.layer.is_inherited);
    let reason = of.layer.reason.as_ref();
    value["reason"] = json!(reason.map(plan::Reason::name));
    match &of.reason {
        Reason::Reused(first) => value["first_snapshot"] = short(first),
        Reason::NewOfPackage(PackageNovelty::New) => {}
        Reason::NewOfPackage(PackageNovelty::Upgraded(was)) => value["upgraded_from"] = json!(was),
        Reason::NewOfPackage(PackageNovelty::Touched(paths)) => {
            let paths = paths.iter().map(|path| {
                let mut object = Map::new();
                insert_bytes(&mut object, "path", &absolute(path));
                Value::Object(object)
            });
            value["touched"] = paths.collect();
        }
        Reason::New(novelty) => {
            let Novelty {
                rule,
                against,
                cause,
            } = &**novelty;
            let (kind, snapshot) = match against {
                Against::Nothing => ("nothing", None),
                Against::PriorLayers(snapshot) => ("below", snapshot.as_ref()),
                Against::Before(snapshot) => ("before", Some(snapshot)),
            };
            value["rule"] = rule.as_ref().map_or(Value::Null, self::rule);
            value["against"] = json!({ "kind": kind, "snapshot": snapshot.map(short) });
            value["packages"] = json!(packages(&cause.compared()));
            value["files"] = json!(files(&cause.compared()));
            value["carried"] = json!(cause.carried);
        }
    }
    value
}

fn rule(rule: &Rule) -> Value {
    match rule {
        Rule::First => json!({ "rule": "first" }),
        Rule::Fresh => json!({ "rule": "fresh" }),
        Rule::OtherPolicy(of) => json!({ "rule": "other-policy", "snapshot": other(of) }),
        Rule::OtherLayers(of) => json!({ "rule": "other-rule", "snapshot": other(of) }),
        Rule::LargeUpdate {
            update_bytes,
            base_bytes,
        } => {
            json!({ "rule": "large-update", "update_bytes": update_bytes, "base_bytes": base_bytes })
        }
        Rule::DeadBase {
            dead_bytes,
            base_bytes,
        } => {
            json!({ "rule": "dead-base", "dead_bytes": dead_bytes, "base_bytes": base_bytes })
        }
        Rule::Squashed(of) => json!({ "rule": "squashed", "snapshot": of.id }),
        Rule::DanglingWhiteout(path) => {
            let mut object = Map::from_iter([("rule".to_owned(), json!("idle-whiteout"))]);
            insert_bytes(&mut object, "path", &absolute(path));
            Value::Object(object)
        }
        Rule::ManyLayers => json!({ "rule": "many-layers" }),
        Rule::LostBlob => json!({ "rule": "lost-blob" }),
    }
}

pub(crate) fn which(which: &Which) -> Value {
    let mut object = with_snapshot(&which.snapshot);
    let owners = which.owners.iter().map(|owner| {
        json!({
            "package": package(&owner.package),
            "config": owner.is_config,
            "ghost": owner.is_ghost,
            "deviations": owner.deviations.names().collect::<Vec<_>>(),
        })
    });
    let owners: Vec<Value> = owners.collect();
    object.insert(
        "owners".to_owned(),
        if which.owners_are_known {
            json!(owners)
        } else {
            Value::Null
        },
    );
    object.insert("entry".to_owned(), entry(&which.entry, None));
    object.insert("layer".to_owned(), layer(&which.layer));
    object.insert("since".to_owned(), short(&which.since));
    let before = which.before.map(|before| match before {
        Before::Nothing => json!([]),
        Before::Another(what) => {
            let names: Vec<_> = what.names().collect();
            json!(names)
        }
    });
    object.insert("before".to_owned(), json!(before));
    Value::Object(object)
}

/// Returns a value for each snapshot with each thing, the newest snapshot first.
pub(crate) fn find(found: &Found) -> Value {
    let all = match &found.things {
        Things::Entries(entries) => each(found, entries, "entry", |there| entry(there, None)),
        Things::Packages(packages) => each(found, packages, "package", package),
        Things::Trees(trees) => each(found, trees, "tree_digest", |digest| {
            json!(digest.to_string())
        }),
    };
    json!({ "version": VERSION, "found": all })
}

fn each<T>(
    found: &Found,
    things: &[Occurrence<T>],
    key: &str,
    value_of: impl Fn(&T) -> Value,
) -> Vec<Value> {
    let mut pairs = Vec::new();
    for (at, one) in things.iter().enumerate() {
        pairs.extend(one.snapshots.iter().map(|place| (*place, at)));
    }
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(place, at)| {
        let mut value = short(&found.snapshots[place]);
        value[key] = value_of(&things[at].thing);
        value
    });
    pairs.collect()
}
