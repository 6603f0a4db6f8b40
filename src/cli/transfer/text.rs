//! Exports and imports as text for people.

use crate::cli::text;
use crate::cli::text::{counted, push_layers, size};
use crate::ops::transfer::export::{self, ExportedImage};
use crate::ops::transfer::import;
use crate::printable::printable;
use crate::registry::Traffic;
use crate::store::Snapshot;
use std::fmt::Write as _;

pub(crate) fn export(outcome: &export::Outcome) -> String {
    let path = printable(outcome.path.as_os_str().as_encoded_bytes());
    let digest = outcome.manifest_digest;
    let mut text = match outcome.bytes_written {
        0 => format!("{path} is up to date: {digest}, nothing written\n"),
        bytes => format!("{path} is {digest}, {} written\n", size(bytes)),
    };
    for image in &outcome.images {
        let ExportedImage {
            name,
            layers,
            recorded_layers,
            ..
        } = image;
        if layers < recorded_layers {
            let _ = writeln!(text, "{name}: {recorded_layers} layers joined to {layers}");
        }
    }
    text
}

pub(crate) fn import(
    outcome: &import::Outcome,
    traffic: Option<&Traffic>,
    verbose: bool,
) -> String {
    let mut text = String::new();
    for import::Imported {
        snapshot,
        layers,
        was_there,
    } in &outcome.images
    {
        let Snapshot {
            id,
            series,
            stage,
            run,
            entries,
            ..
        } = snapshot;
        let is = if *was_there {
            "is there already as"
        } else {
            "is"
        };
        let entries = counted(*entries, "entry", "entries");
        let _ = writeln!(
            text,
            "{series}@{stage} {is} snapshot {id} (run {run}): {entries}"
        );
        push_layers(&mut text, layers, verbose);
    }
    let _ = writeln!(
        text,
        "{} taken, {} written",
        counted(outcome.images.len() as u64, "image", "images"),
        size(outcome.bytes_written)
    );
    if let Some(traffic) = traffic {
        let _ = writeln!(text, "{}", text::traffic(traffic));
    }
    text
}
