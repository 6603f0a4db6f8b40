//! The state of a store, and the work of a keeper, as JSON.

use crate::cli::json::{VERSION, head, layer, seconds, short};
use crate::cli::remote::json::traffic;
use crate::model::keep::Reason;
use crate::model::plan::Limits;
use crate::ops::keep::package_usage::PackageUsage;
use crate::ops::keep::prune;
use crate::ops::keep::squash;
use crate::ops::keep::usage::{LayerUsage, SeriesUsage, StageUsage, Usage};
use crate::ops::keep::verify::{self, Finding};
use crate::ops::remote::local_blobs;
use crate::store::Snapshot;
use serde_json::{Value, json};

pub(crate) fn verify(outcome: &verify::Outcome) -> Value {
    json!({
        "version": VERSION,
        "sound": outcome.findings.is_empty(),
        "findings": findings(&outcome.findings),
        "repaired": findings(&outcome.repaired),
        "snapshots": outcome.snapshots,
        "layers": outcome.layers,
        "blobs_read": outcome.blobs_read,
        "bytes_read": outcome.bytes_read,
        "remote_layers": outcome.remote.0,
        "remote_bytes": outcome.remote.1,
        "dead_blobs": outcome.dead.map(|dead| dead.0),
        "dead_bytes": outcome.dead.map(|dead| dead.1),
        "seconds": seconds(&outcome.seconds),
    })
}

fn findings(all: &[Finding]) -> Vec<Value> {
    let value = |finding: &Finding| {
        json!({
            "part": finding.subject.name(),
            "what": finding.what,
            "snapshots": finding.snapshots,
        })
    };
    all.iter().map(value).collect()
}

/// Returns snapshots with the rules that keep them.
fn kept(all: &[(Snapshot, Vec<Reason>)]) -> Vec<Value> {
    let kept = all.iter().map(|(snapshot, reasons)| {
        let mut value = short(snapshot);
        value["reasons"] = reasons.iter().map(|reason| reason.name()).collect();
        value
    });
    kept.collect()
}

pub(crate) fn release(outcome: &local_blobs::Outcome, is_dry_run: bool) -> Value {
    json!({
        "version": VERSION,
        "dry_run": is_dry_run,
        "repository": outcome.repository,
        "kept": kept(&outcome.kept),
        "blobs": outcome.released.0,
        "blob_bytes": outcome.released.1,
        "lacking_blobs": outcome.lacking.0,
        "lacking_bytes": outcome.lacking.1,
        "unnamed_blobs": outcome.unnamed.0,
        "unnamed_bytes": outcome.unnamed.1,
        "traffic": traffic(&outcome.traffic),
        "seconds": seconds(&outcome.seconds),
    })
}

pub(crate) fn prune(outcome: &prune::Outcome, is_dry_run: bool) -> Value {
    json!({
        "version": VERSION,
        "dry_run": is_dry_run,
        "kept": kept(&outcome.kept),
        "removed": outcome.removed.iter().map(short).collect::<Vec<_>>(),
        "blobs": outcome.blobs,
        "blob_bytes": outcome.blob_bytes,
        "database_bytes": outcome.database_bytes,
        "roots": outcome.roots,
        "seconds": seconds(&outcome.seconds),
    })
}

/// Returns the space of a store, with the limits that make a base or a delta anew.
pub(crate) fn usage(usage: &Usage) -> Value {
    let limits = Limits::default();
    let stages = usage.stages.iter().map(stage_usage);
    let series = usage.series.iter().map(series_usage);
    let layers = usage.layers.iter().map(layer_usage);
    let packages = usage.packages.iter().map(package_usage);
    json!({
        "version": VERSION,
        "stages": stages.collect::<Vec<_>>(),
        "series": series.collect::<Vec<_>>(),
        "layers": layers.collect::<Vec<_>>(),
        "packages": packages.collect::<Vec<_>>(),
        "snapshots": usage.total.0,
        "size_bytes": usage.total.1,
        "blobs": usage.blobs.0,
        "blob_bytes": usage.blobs.1,
        "joined_blobs": usage.joined.0,
        "joined_bytes": usage.joined.1,
        "remote_layers": usage.remote.0,
        "remote_bytes": usage.remote.1,
        "dead_blobs": usage.dead.0,
        "dead_bytes": usage.dead.1,
        "database_bytes": usage.database_bytes,
        "database_free_bytes": usage.database_free_bytes,
        "limits": {
            "update_percent": limits.update_percent,
            "dead_percent": limits.dead_percent,
            "layers": limits.most_layers,
        },
    })
}

fn stage_usage(stage: &StageUsage) -> Value {
    let weight = stage.weight.map(|weight| {
        json!({
            "base_bytes": weight.base_bytes,
            "update_bytes": weight.update_bytes,
            "dead_bytes": weight.dead_bytes,
        })
    });
    json!({
        "series": stage.series,
        "stage": stage.stage,
        "snapshots": stage.snapshots,
        "size_bytes": stage.size_bytes,
        "unique_bytes": stage.unique_bytes,
        "shared_bytes": stage.size_bytes - stage.unique_bytes,
        "layers": stage.layers,
        "weight": weight,
    })
}

fn series_usage(series: &SeriesUsage) -> Value {
    json!({
        "series": series.series,
        "stages": series.stages,
        "snapshots": series.snapshots,
        "size_bytes": series.size_bytes,
        "unique_bytes": series.unique_bytes,
        "shared_bytes": series.size_bytes - series.unique_bytes,
    })
}

fn package_usage(usage: &PackageUsage) -> Value {
    json!({
        "name": usage.name,
        "arch": usage.arch,
        "size_bytes": usage.size_bytes,
        "layers": usage.layers,
        "snapshots": usage.snapshots,
        "series": usage.series,
        "one_series_bytes": usage.one_series_bytes,
        "one_snapshot_bytes": usage.one_snapshot_bytes,
    })
}

fn layer_usage(usage: &LayerUsage) -> Value {
    let (series, stage) = &usage.of;
    let (count, first, last) = usage.snapshots;
    let mut value = layer(&usage.layer);
    value["series"] = json!(series);
    value["stage"] = json!(stage);
    value["snapshots"] = json!(count);
    value["first_snapshot"] = json!(first);
    value["last_snapshot"] = json!(last);
    value
}

pub(crate) fn pin(snapshots: &[Snapshot]) -> Value {
    let snapshots = snapshots.iter().map(|snapshot| {
        let mut value = short(snapshot);
        value["pinned"] = json!(snapshot.is_pinned);
        value
    });
    json!({ "version": VERSION, "snapshots": snapshots.collect::<Vec<_>>() })
}

pub(crate) fn rename(series: &str, new: &str, count: usize) -> Value {
    json!({ "version": VERSION, "series": new, "was": series, "snapshots": count })
}

pub(crate) fn squash(outcome: &squash::Outcome) -> Value {
    let mut object = head(&outcome.snapshot, &outcome.layers);
    object.insert("version".to_owned(), json!(VERSION));
    object.insert("squashed".to_owned(), json!(outcome.of.0.id));
    object.insert("seconds".to_owned(), seconds(&outcome.seconds));
    Value::Object(object)
}
