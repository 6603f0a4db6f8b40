//! The state of a store, and the work of a keeper, as text for people.

use crate::cli::text::{
    about, counted, cut, percent, push_layers, push_remote, size, table, traffic,
};
use crate::model::keep::Reason;
use crate::model::plan::layer::Role;
use crate::model::plan::{LayerRule, Limits, MOST_LAYERS};
use crate::model::time::rfc3339;
use crate::ops::keep::package_usage::PackageUsage;
use crate::ops::keep::prune;
use crate::ops::keep::squash;
use crate::ops::keep::usage::{LayerUsage, SeriesUsage, StageUsage, Usage};
use crate::ops::keep::verify::{self, Finding};
use crate::ops::remote::local_blobs;
use crate::printable::printable;
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
    push_remote(&mut text, outcome.remote);
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
    let ids = finding.snapshots.iter().map(i64::to_string);
    let ids: Vec<String> = ids.collect();
    match ids.len() {
        0 => String::new(),
        1 => format!(" (snapshot {})", ids[0]),
        _ => format!(" (snapshots {})", ids.join(", ")),
    }
}

/// Shows the removed snapshots; `lists_kept` adds the kept ones, which a dry run by rules lists in any case.
pub(crate) fn prune(outcome: &prune::Outcome, is_dry_run: bool, lists_kept: bool) -> String {
    let verb = if is_dry_run {
        "would remove"
    } else {
        "removed"
    };
    let has_rules = outcome
        .kept
        .iter()
        .any(|(_, reasons)| !reasons.contains(&Reason::Unasked));
    let mut rows = Vec::new();
    if lists_kept || is_dry_run && has_rules {
        rows = kept_rows(&outcome.kept);
    }
    for snapshot in &outcome.removed {
        rows.push(snapshot_row(verb, snapshot, String::new()));
    }
    let mut text = table(&rows);
    push_removed(&mut text, outcome, verb);
    if !has_rules && !outcome.kept.is_empty() {
        text.push_str(
            "no rule was given, so all snapshots stay; see --keep-last, --keep-daily and the like\n",
        );
    }
    text
}

/// Shows snapshots that were removed because they were meant, and the blobs that went with them.
pub(crate) fn removed(outcome: &prune::Outcome, is_dry_run: bool) -> String {
    let verb = if is_dry_run {
        "would remove"
    } else {
        "removed"
    };
    let rows = outcome.removed.iter();
    let rows: Vec<[String; 5]> = rows
        .map(|snapshot| snapshot_row(verb, snapshot, String::new()))
        .collect();
    let mut text = table(&rows);
    let _ = writeln!(
        text,
        "{verb} {}, {} ({})",
        counted(outcome.removed.len() as u64, "snapshot", "snapshots"),
        counted(outcome.blobs, "blob", "blobs"),
        size(outcome.blob_bytes),
    );
    if !outcome.kept.is_empty() {
        let pinned = outcome.kept.len() as u64;
        let stay = if pinned == 1 { "stays" } else { "stay" };
        let pinned = counted(pinned, "pinned snapshot", "pinned snapshots");
        let _ = writeln!(text, "{pinned} {stay}");
    }
    text
}

pub(crate) fn pin(snapshots: &[Snapshot]) -> String {
    let mut text = String::new();
    for snapshot in snapshots {
        let state = if snapshot.is_pinned {
            "pinned"
        } else {
            "not pinned"
        };
        let _ = writeln!(text, "{} is {state}", about(snapshot));
    }
    text
}

pub(crate) fn rename(series: &str, new: &str, count: usize) -> String {
    let count = counted(count as u64, "snapshot", "snapshots");
    format!("{series} is {new} now: {count}\n")
}

/// Shows how many blobs are in the repository alone now; `lists_kept` adds the snapshots whose blobs stay, as a dry run does.
pub(crate) fn release(
    outcome: &local_blobs::Outcome,
    is_dry_run: bool,
    lists_kept: bool,
) -> String {
    let verb = if is_dry_run {
        "would remove"
    } else {
        "removed"
    };
    let blobs = |(count, bytes)| format!("{} ({})", counted(count, "blob", "blobs"), size(bytes));
    let repository = &outcome.repository;
    let mut text = String::new();
    if lists_kept || is_dry_run {
        text.push_str(&table(&kept_rows(&outcome.kept)));
    }
    let released = blobs(outcome.released);
    let _ = writeln!(text, "{verb} {released} that {repository} has");
    for (staying, why) in [
        (outcome.lacking, "not there; rootstrata push sends them"),
        (
            outcome.unnamed,
            "there, without a record or an image that keeps them",
        ),
    ] {
        if staying.0 > 0 {
            let _ = writeln!(text, "{} stay: {why}", blobs(staying));
        }
    }
    let _ = writeln!(text, "{}", traffic(&outcome.traffic));
    text
}

fn kept_rows(kept: &[(Snapshot, Vec<Reason>)]) -> Vec<[String; 5]> {
    let row = |(snapshot, reasons): &(Snapshot, Vec<Reason>)| {
        let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
        snapshot_row("keep", snapshot, names.join(", "))
    };
    kept.iter().map(row).collect()
}

fn snapshot_row(what: &str, snapshot: &Snapshot, why: String) -> [String; 5] {
    [
        what.to_owned(),
        snapshot.id.to_string(),
        format!("{}@{}", snapshot.series, snapshot.stage),
        rfc3339(snapshot.created_s),
        why,
    ]
}

fn push_removed(text: &mut String, outcome: &prune::Outcome, verb: &str) {
    let removed = outcome.removed.len();
    let all = removed + outcome.kept.len();
    let _ = writeln!(
        text,
        "{verb} {removed} of {}, {} ({})",
        counted(all as u64, "snapshot", "snapshots"),
        counted(outcome.blobs, "blob", "blobs"),
        size(outcome.blob_bytes),
    );
}

/// Returns the row of a series; `None` for a series of a single stage, whose row says the same.
fn whole_series(of: &SeriesUsage) -> Option<[String; 9]> {
    if of.stages <= 1 {
        return None;
    }
    Some([
        of.series.clone(),
        "(all of it)".to_owned(),
        of.snapshots.to_string(),
        size(of.size_bytes),
        size(of.unique_bytes),
        size(of.size_bytes - of.unique_bytes),
        String::new(),
        String::new(),
        String::new(),
    ])
}

/// Shows the space of a store; `lists_layers` adds the layers and the packages with layers of their own.
pub(crate) fn usage(usage: &Usage, lists_layers: bool) -> String {
    let mut text = table(&stage_rows(usage));
    if lists_layers {
        text.push('\n');
        text.push_str(&table(&layer_rows(&usage.layers)));
        if !usage.packages.is_empty() {
            text.push('\n');
            text.push_str(&table(&package_rows(&usage.packages)));
        }
    }
    push_totals(&mut text, usage);
    push_limits(&mut text);
    text
}

/// Returns the rows of stages, each series with a last row for the whole series.
fn stage_rows(usage: &Usage) -> Vec<[String; 9]> {
    let head = [
        "SERIES",
        "STAGE",
        "SNAPSHOTS",
        "SIZE",
        "FREES",
        "SHARED",
        "LAYERS",
        "UPDATE",
        "DEAD",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let mut stages = usage.stages.iter().peekable();
    while let Some(stage) = stages.next() {
        rows.push(stage_row(stage));
        let is_last = stages.peek().is_none_or(|next| next.series != stage.series);
        if is_last {
            let series = usage.series.iter().find(|one| one.series == stage.series);
            rows.extend(series.and_then(whole_series));
        }
    }
    if usage.series.len() > 1 {
        let mut total: [String; 9] = Default::default();
        total[0] = "(all series)".to_owned();
        total[2] = usage.total.0.to_string();
        total[3] = size(usage.total.1);
        rows.push(total);
    }
    rows
}

fn stage_row(stage: &StageUsage) -> [String; 9] {
    let (update, dead) = match &stage.weight {
        Some(weight) => (
            percent(weight.update_bytes, weight.base_bytes),
            percent(weight.dead_bytes, weight.base_bytes),
        ),
        None => (String::new(), String::new()),
    };
    [
        stage.series.clone(),
        stage.stage.clone(),
        stage.snapshots.to_string(),
        size(stage.size_bytes),
        size(stage.unique_bytes),
        size(stage.size_bytes - stage.unique_bytes),
        stage.layers.to_string(),
        update,
        dead,
    ]
}

/// Returns the rows of layers that are no package's.
fn layer_rows(layers: &[LayerUsage]) -> Vec<[String; 7]> {
    let head = ["LAYER", "ROLE", "SIZE", "SNAPSHOTS", "FIRST", "LAST", "OF"];
    let mut rows = vec![head.map(str::to_owned)];
    let layers = layers.iter();
    for usage in layers.filter(|usage| usage.layer.role != Role::Package) {
        let (count, first, last) = usage.snapshots;
        let (series, stage) = &usage.of;
        let layer = &usage.layer;
        rows.push([
            layer.blob.digest.to_string()[..19].to_owned(),
            layer.role.name().to_owned(),
            size(layer.blob.size_bytes),
            count.to_string(),
            first.to_string(),
            last.to_string(),
            format!("{series}@{stage}"),
        ]);
    }
    rows
}

/// A package's name takes so many columns, so that a line has at most 80.
const MOST_NAME_COLUMNS: usize = 27;

fn package_rows(packages: &[PackageUsage]) -> Vec<[String; 7]> {
    let head = [
        "SIZE", "LAYERS", "SNAPS", "SERIES", "1 SERIES", "1 SNAP", "PACKAGE",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for usage in packages {
        let name = match &usage.name {
            Some(name) if usage.arch.is_empty() => name.clone(),
            Some(name) => format!("{name}.{}", usage.arch),
            None => "(names are unknown)".to_owned(),
        };
        rows.push([
            size(usage.size_bytes),
            usage.layers.to_string(),
            usage.snapshots.to_string(),
            usage.series.len().to_string(),
            size(usage.one_series_bytes),
            size(usage.one_snapshot_bytes),
            cut(&printable(name.as_bytes()), MOST_NAME_COLUMNS),
        ]);
    }
    rows
}

fn push_totals(text: &mut String, usage: &Usage) {
    let (blobs, blob_bytes) = usage.blobs;
    let free = match usage.database_free_bytes {
        0 => String::new(),
        bytes => format!(", {} of it free", size(bytes)),
    };
    let part = |(count, bytes), what| match count {
        0 => String::new(),
        count => {
            let blobs = counted(count, "blob", "blobs");
            format!(", {} of it {what} in {blobs}", size(bytes))
        }
    };
    let dead = part(usage.dead, "dead");
    let joined = part(usage.joined, "joined");
    let blobs = counted(blobs, "blob", "blobs");
    let database = size(usage.database_bytes);
    let bytes = size(blob_bytes);
    let _ = writeln!(
        text,
        "\n{bytes} in {blobs}{joined}{dead}; database {database}{free}"
    );
    push_remote(text, usage.remote);
}

fn push_limits(text: &mut String) {
    let Limits {
        update_percent,
        dead_percent,
        ..
    } = Limits::default();
    let by_packages = LayerRule::Packages(1).usual_limits().update_percent;
    let _ = writeln!(
        text,
        "a base or delta is made anew when its updates are more than {update_percent} % of it ({by_packages} % with layers by package), \
         more than {dead_percent} % of it is dead, or an image would have more than {MOST_LAYERS} layers"
    );
}

pub(crate) fn squash(outcome: &squash::Outcome, verbose: bool) -> String {
    let (of, old) = &outcome.of;
    let Snapshot {
        id, series, stage, ..
    } = &outcome.snapshot;
    if *id == of.id {
        return format!("snapshot {id} has one layer already: nothing to squash\n");
    }
    let bytes = old.iter().map(|layer| layer.blob.size_bytes);
    let mut text = format!(
        "{series}@{stage} is snapshot {id}: {} of snapshot {} with {} are one now, the tree is the same\n",
        counted(old.len() as u64, "layer", "layers"),
        of.id,
        size(bytes.sum()),
    );
    push_layers(&mut text, &outcome.layers, verbose);
    text
}
