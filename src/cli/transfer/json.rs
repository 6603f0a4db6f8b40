//! Exports and imports as JSON.

use crate::cli::json::{VERSION, head, seconds};
use crate::cli::remote;
use crate::ops::transfer::export;
use crate::ops::transfer::import;
use crate::registry::Traffic;
use serde_json::{Map, Value, json};

/// Adds the outcome of an export to the object of the snapshot.
pub(crate) fn export(outcome: &export::Outcome, mut snapshot: Value) -> Value {
    let images: Map<String, Value> = outcome
        .images
        .iter()
        .map(|image| (image.name.clone(), json!(image.manifest_digest.to_string())))
        .collect();
    snapshot["path"] = json!(outcome.path.to_string_lossy());
    snapshot["manifest_digest"] = json!(outcome.manifest_digest.to_string());
    snapshot["bytes_written"] = json!(outcome.bytes_written);
    snapshot["images"] = Value::Object(images);
    let layers = outcome
        .images
        .iter()
        .map(|image| (image.name.clone(), json!(image.layers)));
    snapshot["image_layers"] = Value::Object(layers.collect());
    if let (Some(all), Value::Object(more)) = (
        snapshot["seconds"].as_object_mut(),
        seconds(&outcome.seconds),
    ) {
        all.extend(more);
    }
    snapshot
}

pub(crate) fn import(outcome: &import::Outcome, traffic: Option<&Traffic>) -> Value {
    let images = outcome.images.iter().map(|one| {
        let mut object = head(&one.snapshot, &one.layers);
        object.insert("was_there".to_owned(), json!(one.was_there));
        Value::Object(object)
    });
    json!({
        "version": VERSION,
        "images": images.collect::<Vec<_>>(),
        "failed": outcome.failed,
        "bytes_written": outcome.bytes_written,
        "traffic": traffic.map(remote::json::traffic),
        "seconds": seconds(&outcome.seconds),
    })
}
