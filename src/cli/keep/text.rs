//! The state of a store, and the work of a keeper, as text for people.

use crate::cli::text::{counted, percent, push_layer, size, table};
use crate::model::keep::Reason;
use crate::model::plan::{Limits, MOST_LAYERS};
use crate::model::time::rfc3339;
use crate::ops::keep::prune;
use crate::ops::keep::squash;
use crate::ops::keep::usage::{SeriesUsage, StageUsage, Usage};
use crate::ops::keep::verify::{self, Finding};
use crate::store::Snapshot;
use std::fmt::Write as _;

pub(crate) fn verify(outcome: &verify::Outcome) -> String {
    let mut text = String::new();
    for finding in &outcome.repaired {
        let _ = writeln!(text, "repaired: {}{}", finding.what, touched(finding));
    }
    for finding in &outcome.findings {
        let _ = writeln!(text, "wrong: {}{}", finding.what, touched(finding));
    }
    let looked = format!(
        "{}, {}",
        counted(outcome.snapshots, "snapshot", "snapshots"),
        counted(outcome.layers, "layer", "layers")
    );
    let read = match outcome.blobs_read {
        0 => String::new(),
        blobs => format!(
            ", {} read ({})",
            counted(blobs, "blob", "blobs"),
            size(outcome.bytes_read)
        ),
    };
    let _ = match outcome.findings.len() as u64 {
        0 => writeln!(text, "sound: {looked}{read}"),
        wrong => writeln!(
            text,
            "{}: {looked}{read}",
            counted(wrong, "thing is wrong", "things are wrong")
        ),
    };
    if let Some((blobs, bytes)) = outcome.dead.filter(|dead| dead.0 > 0) {
        let dead = counted(
            blobs,
            "blob that no snapshot needs",
            "blobs that no snapshot needs",
        );
        let _ = writeln!(
            text,
            "{dead} ({}): rootstrata prune removes them",
            size(bytes)
        );
    }
    text
}

fn touched(finding: &Finding) -> String {
    let ids: Vec<String> = finding.snapshots.iter().map(i64::to_string).collect();
    match ids.len() {
        0 => String::new(),
        1 => format!(" (snapshot {})", ids[0]),
        _ => format!(" (snapshots {})", ids.join(", ")),
    }
}

pub(crate) fn prune(outcome: &prune::Outcome, is_dry_run: bool, lists_kept: bool) -> String {
    let mut rows = Vec::new();
    let row = |what: &str, snapshot: &Snapshot, why: String| {
        [
            what.to_owned(),
            snapshot.id.to_string(),
            format!("{}@{}", snapshot.series, snapshot.stage),
            rfc3339(snapshot.created_s),
            why,
        ]
    };
    let has_rules = outcome
        .kept
        .iter()
        .any(|(_, reasons)| !reasons.contains(&Reason::Unasked));
    if lists_kept || is_dry_run && has_rules {
        for (snapshot, reasons) in &outcome.kept {
            let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
            rows.push(row("keep", snapshot, names.join(", ")));
        }
    }
    let verb = if is_dry_run {
        "would remove"
    } else {
        "removed"
    };
    rows.extend(
        outcome
            .removed
            .iter()
            .map(|snapshot| row(verb, snapshot, String::new())),
    );
    let mut text = if rows.is_empty() {
        String::new()
    } else {
        table(&rows)
    };
    let _ = writeln!(
        text,
        "{verb} {} of {}, {} ({})",
        outcome.removed.len(),
        counted(
            (outcome.removed.len() + outcome.kept.len()) as u64,
            "snapshot",
            "snapshots"
        ),
        counted(outcome.blobs, "blob", "blobs"),
        size(outcome.blob_bytes),
    );
    if !has_rules && !outcome.kept.is_empty() {
        text.push_str(
            "no rule was given, so all snapshots stay; see --keep-last, --keep-daily, --keep-within\n",
        );
    }
    text
}

/// The row of a series, which says more than that of its only stage.
fn whole_series(of: &SeriesUsage) -> Option<[String; 9]> {
    let SeriesUsage {
        series,
        snapshots,
        size_bytes,
        unique_bytes,
        ..
    } = of;
    let shared = size(size_bytes - unique_bytes);
    let none = String::new;
    (of.stages > 1).then(|| {
        let stage = "(all of it)".to_owned();
        let (size, unique) = (size(*size_bytes), size(*unique_bytes));
        [
            series.clone(),
            stage,
            snapshots.to_string(),
            size,
            unique,
            shared,
            none(),
            none(),
            none(),
        ]
    })
}

pub(crate) fn usage(usage: &Usage, lists_layers: bool) -> String {
    let mut rows = vec![
        [
            "SERIES",
            "STAGE",
            "SNAPSHOTS",
            "SIZE",
            "UNIQUE",
            "SHARED",
            "LAYERS",
            "UPDATE",
            "DEAD",
        ]
        .map(str::to_owned),
    ];
    for (at, stage) in usage.stages.iter().enumerate() {
        let StageUsage {
            size_bytes,
            unique_bytes,
            weight,
            ..
        } = stage;
        let share = |part: fn(&crate::model::plan::Weight) -> u64| {
            weight.as_ref().map_or(String::new(), |weight| {
                percent(part(weight), weight.base_bytes)
            })
        };
        rows.push([
            stage.series.clone(),
            stage.stage.clone(),
            stage.snapshots.to_string(),
            size(*size_bytes),
            size(*unique_bytes),
            size(size_bytes - unique_bytes),
            stage.layers.to_string(),
            share(|weight| weight.update_bytes),
            share(|weight| weight.dead_bytes),
        ]);
        if usage
            .stages
            .get(at + 1)
            .is_none_or(|next| next.series != stage.series)
        {
            rows.extend(
                usage
                    .series
                    .iter()
                    .find(|one| one.series == stage.series)
                    .and_then(whole_series),
            );
        }
    }
    let mut text = table(&rows);
    if lists_layers {
        let mut rows =
            vec![["LAYER", "ROLE", "SIZE", "SNAPSHOTS", "FIRST", "LAST", "OF"].map(str::to_owned)];
        for layer in &usage.layers {
            let (count, first, last) = layer.snapshots;
            rows.push([
                layer.layer.blob.digest.to_string()[..19].to_owned(),
                layer.layer.role.name().to_owned(),
                size(layer.layer.blob.size_bytes),
                count.to_string(),
                first.to_string(),
                last.to_string(),
                format!("{}@{}", layer.of.0, layer.of.1),
            ]);
        }
        text.push('\n');
        text.push_str(&table(&rows));
    }
    let (blobs, blob_bytes) = usage.blobs;
    let (dead, dead_bytes) = usage.dead;
    let free = match usage.database_free_bytes {
        0 => String::new(),
        bytes => format!(", {} of it free", size(bytes)),
    };
    let dead = match dead {
        0 => String::new(),
        dead => format!(
            ", {} of it dead in {}",
            size(dead_bytes),
            counted(dead, "blob", "blobs")
        ),
    };
    let (blobs, database) = (counted(blobs, "blob", "blobs"), size(usage.database_bytes));
    let _ = writeln!(
        text,
        "\n{} in {blobs}{dead}; database {database}{free}",
        size(blob_bytes)
    );
    let Limits {
        update_percent,
        dead_percent,
        ..
    } = Limits::default();
    let _ = writeln!(
        text,
        "a base or delta is made anew when its updates are more than {update_percent} % of it, more than {dead_percent} % of it is dead, \
         or an image would have more than {MOST_LAYERS} layers"
    );
    text
}

pub(crate) fn squash(outcome: &squash::Outcome, verbose: bool) -> String {
    let (of, old) = &outcome.of;
    let Snapshot {
        id, series, stage, ..
    } = &outcome.snapshot;
    if *id == of.id {
        return format!("snapshot {id} has one layer already: nothing to squash\n");
    }
    let bytes =
        |layers: &[crate::store::LayerUse]| layers.iter().map(|layer| layer.blob.size_bytes).sum();
    let mut text = format!(
        "{series}@{stage} is snapshot {id}: {} of snapshot {} with {} are one now, the tree is the same\n",
        counted(old.len() as u64, "layer", "layers"),
        of.id,
        size(bytes(old)),
    );
    outcome
        .layers
        .iter()
        .for_each(|layer| push_layer(&mut text, layer, verbose));
    text
}
