//! A recorded snapshot, and the cost of recording, as text for people.

use crate::cli::text::{counted, push_layers, push_remote, size};
use crate::ops::record::{self, FirstOf, Nearly};
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
            counted(count, "package", "packages")
        });
    let read = match outcome.files_read {
        0 => "no file read".to_owned(),
        files => {
            let files = counted(files, "file", "files");
            format!("{files} read ({})", size(outcome.bytes_read))
        }
    };
    let entries = counted(*entries, "entry", "entries");
    let mut text =
        format!("{series}@{stage} is snapshot {id} (run {run}): {entries}, {packages}, {read}\n");
    text += &first_of(outcome.first_of.as_ref());
    push_layers(&mut text, &outcome.layers, verbose);
    push_remote(&mut text, outcome.remote);
    if let Some(nearly) = &outcome.nearly {
        text += &proposal(nearly);
    }
    text
}

/// Returns a line about a new store, series or stage.
fn first_of(first_of: Option<&FirstOf>) -> String {
    match first_of {
        None => String::new(),
        Some(FirstOf::Store) => "  first snapshot of the store\n".to_owned(),
        Some(FirstOf::Series) => "  first snapshot of the series\n".to_owned(),
        Some(FirstOf::Stage(others)) => {
            let others = others.join(", ");
            format!("  first snapshot of the stage; the series has {others}\n")
        }
    }
}

/// Proposes a better parent.
fn proposal(nearly: &Nearly) -> String {
    let Nearly {
        series,
        stage,
        spared_bytes,
    } = nearly;
    let spared = size(*spared_bytes);
    format!("  nearly {series}@{stage}: --parent {series}@{stage} would spare {spared}\n")
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
