//! Pushes as JSON.

use crate::cli::json::{VERSION, seconds};
use crate::ops::remote::push;
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

pub(crate) fn traffic(traffic: &Traffic) -> Value {
    json!({
        "requests": traffic.requests,
        "retries": traffic.retries,
        "bytes_sent": traffic.bytes_sent,
        "bytes_received": traffic.bytes_received,
    })
}
