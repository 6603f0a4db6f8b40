//! A recorded snapshot, and the cost of recording, as text for people.

use crate::cli::text::{push_layers, push_remote, size};
use crate::ops::record;
use crate::store::Snapshot;

pub(crate) fn snapshot(outcome: &record::Outcome, verbose: bool) -> String {
    let Snapshot {
        id,
        series,
        stage,
        run,
        entries,
        ..
    } = &outcome.snapshot;
    let packages = outcome
        .packages
        .map_or("packages unknown".to_owned(), |count| {
            format!("{count} packages")
        });
    let read = match outcome.files_read {
        0 => "no file read".to_owned(),
        files => format!("{files} files read ({})", size(outcome.bytes_read)),
    };
    let mut text = format!(
        "{series}@{stage} is snapshot {id} (run {run}): {entries} entries, {packages}, {read}\n"
    );
    push_layers(&mut text, &outcome.layers, verbose);
    push_remote(&mut text, outcome.remote);
    text
}

/// Lines about the files that were read and the layers that were written.
pub(crate) fn cost(outcome: &record::Outcome) -> String {
    let mut new_bytes = 0;
    for layer in &outcome.layers {
        if !layer.reused {
            new_bytes += layer.blob.size_bytes;
        }
    }
    let (files, bytes) = (outcome.files_read, outcome.bytes_read);
    format!(
        "{:<9} {files} files, {bytes} bytes\n{:<9} {new_bytes} bytes\n",
        "read", "new"
    )
}
