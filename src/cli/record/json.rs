//! A recorded snapshot as JSON.

use crate::cli::json::{VERSION, head, seconds};
use crate::ops::query::inspect::Shown;
use crate::ops::record::{self, FirstOf};
use serde_json::{Value, json};

pub(crate) fn snapshot(outcome: &record::Outcome) -> Value {
    let mut object = head(&outcome.snapshot, &outcome.layers);
    object.insert("version".to_owned(), json!(VERSION));
    object.insert("files_read".to_owned(), json!(outcome.files_read));
    object.insert("bytes_read".to_owned(), json!(outcome.bytes_read));
    object.insert("packages".to_owned(), json!(outcome.packages));
    object.insert("remote_layers".to_owned(), json!(outcome.remote.0));
    object.insert("remote_bytes".to_owned(), json!(outcome.remote.1));
    let digest = outcome.tree_digest.map(|digest| digest.to_string());
    object.insert("tree_digest".to_owned(), json!(digest));
    object.insert("seconds".to_owned(), seconds(&outcome.seconds));
    let first_of = outcome.first_of.as_ref().map(|first_of| match first_of {
        FirstOf::Store => "store",
        FirstOf::Series => "series",
        FirstOf::Stage(_) => "stage",
    });
    object.insert("first_of".to_owned(), json!(first_of));
    let nearly = outcome.nearly.as_ref().map(|nearly| {
        let parent = format!("{}@{}", nearly.series, nearly.stage);
        json!({ "parent": parent, "spared_bytes": nearly.spared_bytes })
    });
    object.insert("nearly".to_owned(), json!(nearly));
    Value::Object(object)
}

/// Returns a recorded snapshot in the form of a new snapshot, with no file read.
pub(crate) fn described(shown: &Shown) -> Value {
    let mut object = head(&shown.snapshot, &shown.layers);
    object.insert("version".to_owned(), json!(VERSION));
    object.insert("files_read".to_owned(), json!(0));
    object.insert("bytes_read".to_owned(), json!(0));
    object.insert(
        "packages".to_owned(),
        json!(shown.packages.as_ref().map(Vec::len)),
    );
    object.insert("remote_layers".to_owned(), json!(shown.remote.0));
    object.insert("remote_bytes".to_owned(), json!(shown.remote.1));
    let digest = shown.tree_digest.to_string();
    object.insert("tree_digest".to_owned(), json!(digest));
    object.insert("seconds".to_owned(), json!({}));
    object.insert("first_of".to_owned(), Value::Null);
    object.insert("nearly".to_owned(), Value::Null);
    Value::Object(object)
}
