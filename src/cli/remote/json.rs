//! Pushes, and prunes of repositories, as JSON.

use crate::cli::json::{VERSION, seconds};
use crate::model::registry_keep::{Image, Reason};
use crate::ops::remote::{prune, push};
use crate::registry::Traffic;
use serde_json::{Value, json};

pub(crate) fn push(outcome: &push::Outcome) -> Value {
    let images = outcome.images.iter().map(|image| {
        json!({
            "snapshot": image.snapshot_id,
            "series": image.series,
            "stage": image.stage,
            "manifest_digest": image.manifest_digest.to_string(),
            "tags": image.tags,
            "layers": image.layers,
            "was_there": image.was_there,
        })
    });
    let layers = |(count, bytes): (u64, u64)| json!({ "layers": count, "bytes": bytes });
    json!({
        "version": VERSION,
        "repository": outcome.repository,
        "images": images.collect::<Vec<_>>(),
        "pushed": layers(outcome.pushed),
        "mounted": layers(outcome.mounted),
        "reused": layers(outcome.reused),
        "traffic": traffic(&outcome.traffic),
        "seconds": seconds(&outcome.seconds),
    })
}

pub(crate) fn prune(outcome: &prune::Outcome, is_dry_run: bool) -> Value {
    let kept = outcome.kept.iter().map(|(kept, reasons)| {
        let mut value = image(kept);
        let reasons = reasons.iter().map(|reason: &Reason| reason.name());
        value["reasons"] = reasons.collect();
        value
    });
    let [images, layers, pushes] = outcome.records;
    json!({
        "version": VERSION,
        "dry_run": is_dry_run,
        "repository": outcome.repository,
        "kept": kept.collect::<Vec<_>>(),
        "removed": outcome.removed.iter().map(image).collect::<Vec<_>>(),
        "removed_tags": outcome.removed_tags(),
        "removed_records": { "images": images, "layers": layers, "pushes": pushes },
        "kept_records": outcome.kept_records,
        "others": outcome.others,
        "odd": outcome.odd,
        "traffic": traffic(&outcome.traffic),
        "seconds": seconds(&outcome.seconds),
    })
}

fn image(image: &Image) -> Value {
    let pushes = image.pushes.iter().map(|push| {
        json!({
            "series": push.series,
            "stage": push.stage,
            "time": push.pushed_s,
        })
    });
    json!({
        "manifest_digest": image.digest.to_string(),
        "tags": image.tags,
        "pushes": pushes.collect::<Vec<_>>(),
    })
}

pub(crate) fn traffic(traffic: &Traffic) -> Value {
    json!({
        "requests": traffic.requests,
        "retries": traffic.retries,
        "bytes_sent": traffic.bytes_sent,
        "bytes_received": traffic.bytes_received,
    })
}
