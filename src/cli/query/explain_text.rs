//! Why layers were written or reused, as text for people.

use crate::cli::diff::file_text::{FILES, LEFT, push_files};
use crate::cli::diff::package_text::push_packages;
use crate::cli::paint::{Colour, Paint};
use crate::cli::text::{about, counted, label_text, percent, size};
use crate::model::plan::Limits;
use crate::model::plan::layer::Role;
use crate::model::tree::path::EntryPath;
use crate::ops::compare::diff::{Compared, FileDifference};
use crate::ops::query::explain::PackageNovelty;
use crate::ops::query::explain::{Against, Cause, Explained, ExplainedLayer, Novelty, Reason};
use crate::ops::query::rule::{Other, Rule};
use crate::printable::printable;
use crate::store::LayerUse;
use std::fmt::Write as _;

/// Up to this many packages or files are listed also if all are new.
const FEW: usize = 12;

/// Returns the reasons for a snapshot's layers; `lists_all` adds every file that made a layer new.
pub(crate) fn explain(explained: &Explained, lists_all: bool, paint: Paint) -> String {
    let snapshot = &explained.snapshot;
    let mut text = paint.text(Colour::Bold, &about(snapshot));
    text.push('\n');
    let planning = snapshot.planning.as_ref();
    if !explained.has_recorded_reasons() {
        text.push_str("reasons are derived, not recorded\n");
    }
    let limits = planning.and_then(|planning| planning.limits);
    let limits = limits.unwrap_or_default();
    let is_one_line = |a: &ExplainedLayer, b: &ExplainedLayer| {
        let ids = (first_of_package(a), first_of_package(b));
        !lists_all && ids.0.is_some() && ids.0 == ids.1
    };
    for run in explained.layers.chunk_by(is_one_line) {
        let ExplainedLayer { layer, reason } = &run[0];
        match run {
            [_] => push_head(&mut text, layer, paint),
            _ => push_reused_packages(&mut text, run, paint),
        }
        match reason {
            Reason::Reused(first) if first.id == snapshot.id => {
                text.push_str("  written for a snapshot that is gone\n");
            }
            Reason::Reused(first) => {
                let _ = writeln!(text, "  written for {}", about(first));
            }
            Reason::NewOfPackage(novelty) => push_package_novelty(&mut text, novelty),
            Reason::New(novelty) => {
                if let Some(rule) = &novelty.rule {
                    let _ = writeln!(text, "  {}", rule_text(rule, layer.role, limits));
                }
                push_novelty(&mut text, novelty, lists_all, paint);
            }
        }
    }
    text
}

/// Returns the number of the snapshot that a reused package layer was written for; `None` for any other layer.
fn first_of_package(explained: &ExplainedLayer) -> Option<i64> {
    match &explained.reason {
        Reason::Reused(first) if explained.layer.role == Role::Package => Some(first.id),
        _ => None,
    }
}

/// Appends a line for package layers that were written for one snapshot.
fn push_reused_packages(text: &mut String, run: &[ExplainedLayer], paint: Paint) {
    let bytes = run.iter().map(|one| one.layer.blob.size_bytes).sum();
    let count = counted(run.len() as u64, "layer", "layers");
    let head = format!("package reused  {count:<19}  {:>9}", size(bytes));
    let _ = writeln!(text, "\n{}", paint.text(Colour::Green, &head));
}

/// Appends the line of a layer.
fn push_head(text: &mut String, layer: &LayerUse, paint: Paint) {
    let (state, colour) = if layer.reused {
        ("reused", Colour::Green)
    } else {
        ("new", Colour::Yellow)
    };
    let role = layer.role.name();
    let digest = &layer.blob.digest.to_string()[..19];
    let bytes = size(layer.blob.size_bytes);
    let entries = counted(layer.layer.entries, "entry", "entries");
    let label = label_text(layer);
    let head = format!("{role:<7} {state:<6}  {digest}  {bytes:>9}  {entries}{label}");
    let _ = writeln!(text, "\n{}", paint.text(colour, &head));
}

/// Up to this many paths of a touched package are listed.
const FEW_PATHS: usize = 3;

fn push_package_novelty(text: &mut String, novelty: &PackageNovelty) {
    let _ = match novelty {
        PackageNovelty::New => writeln!(text, "  the package had no layer before"),
        PackageNovelty::Upgraded(was) => {
            let was = printable(was.as_bytes());
            writeln!(text, "  upgraded from {was}")
        }
        PackageNovelty::Touched(paths) => {
            let count = counted(paths.len() as u64, "path differs", "paths differ");
            let first = paths.iter().take(FEW_PATHS).map(EntryPath::to_string);
            let first = first.collect::<Vec<_>>().join(", ");
            let more = if paths.len() > FEW_PATHS { ", …" } else { "" };
            writeln!(text, "  the same package, {count}: {first}{more}")
        }
    };
}

fn other_text(other: &Other) -> String {
    match &other.snapshot {
        Some(snapshot) => about(snapshot),
        None => format!("snapshot {}, which is gone", other.id),
    }
}

/// Returns a limit that decided, unless the limit is the default.
fn limit_text(limit: u64, default: u64, unit: &str) -> String {
    if limit == default {
        String::new()
    } else {
        format!("; the limit was {limit}{unit}")
    }
}

fn rule_text(rule: &Rule, role: Role, limits: Limits) -> String {
    let why = match rule {
        Rule::Squashed(of) => {
            return format!("a base, squashed from the layers of {}", other_text(of));
        }
        Rule::First => "there was none before".to_owned(),
        Rule::Fresh => "nothing before was to count (--fresh)".to_owned(),
        Rule::OtherPolicy(other) => {
            format!("what there was has another policy: {}", other_text(other))
        }
        Rule::OtherLayers(other) => format!(
            "what there was is cut into layers by another rule: {}",
            other_text(other)
        ),
        Rule::LargeUpdate {
            update_bytes,
            base_bytes,
        } => large_update_text(*update_bytes, *base_bytes, limits),
        Rule::DeadBase {
            dead_bytes,
            base_bytes,
        } => dead_base_text(*dead_bytes, *base_bytes, limits),
        Rule::DanglingWhiteout(path) => {
            format!("the last one removes {path}, which is no longer below it")
        }
        Rule::ManyLayers => {
            let limit = limits.most_layers as u64;
            let default = Limits::default().most_layers as u64;
            let limit = limit_text(limit, default, "");
            format!("the image would have had too many layers{limit}")
        }
        Rule::LostBlob => "a blob of what lies below was lost".to_owned(),
    };
    format!("a {}, since {why}", role.name())
}

fn large_update_text(update_bytes: u64, base_bytes: u64, limits: Limits) -> String {
    let default = Limits::default().update_percent;
    let limit = limit_text(limits.update_percent, default, " %");
    let share = percent(update_bytes, base_bytes);
    let (update, base) = (size(update_bytes), size(base_bytes));
    format!("an update would have had {update}, {share} of the last one's {base}{limit}")
}

fn dead_base_text(dead_bytes: u64, base_bytes: u64, limits: Limits) -> String {
    let default = Limits::default().dead_percent;
    let limit = limit_text(limits.dead_percent, default, " %");
    let share = percent(dead_bytes, base_bytes);
    let (dead, base) = (size(dead_bytes), size(base_bytes));
    format!("{dead} of the last one's {base} are no longer used, {share}{limit}")
}

fn push_novelty(text: &mut String, novelty: &Novelty, lists_all: bool, paint: Paint) {
    let Novelty {
        rule,
        against,
        cause,
    } = novelty;
    let _ = writeln!(text, "  {}", against_text(against, cause));
    let is_first = matches!(against, Against::Nothing) || rule.is_some();
    let detail = if lists_all {
        Detail::All
    } else if is_first {
        Detail::Brief
    } else {
        Detail::Usual
    };
    let part = cause_text(cause, detail, paint);
    for line in part.lines() {
        let indent = if line.is_empty() { "" } else { "  " };
        let _ = writeln!(text, "{indent}{line}");
    }
}

fn against_text(against: &Against, cause: &Cause) -> String {
    let count = cause.files.len() as u64;
    let than = match against {
        Against::Nothing => return counted(count, "path", "paths"),
        Against::PriorLayers(None) => "the layers below".to_owned(),
        Against::PriorLayers(Some(parent)) => about(parent),
        Against::Before(before) => about(before),
    };
    let paths = counted(count, "path is not", "paths are not");
    format!("{paths} as in {than}")
}

/// The extent of the differences that are listed.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    /// Packages and files, unless there are many.
    Brief,
    /// Packages, and the files that no package accounts for.
    Usual,
    /// Packages, and all files.
    All,
}

fn cause_text(cause: &Cause, detail: Detail, paint: Paint) -> String {
    let compared = &cause.compared();
    let mut text = String::new();
    if detail == Detail::Brief && compared.packages.len() > FEW {
        push_package_count(&mut text, compared);
    } else {
        push_packages(&mut text, compared, paint, detail == Detail::All);
    }
    let left = compared.files.iter().filter(|file| is_left(file)).count();
    if detail == Detail::All {
        push_files(&mut text, FILES, compared, paint, |_| true);
    } else if detail == Detail::Brief && left > FEW {
        let bytes = size(bytes_left(compared));
        let _ = writeln!(text, "\n{left} files that no package accounts for, {bytes}");
    } else {
        push_files(&mut text, LEFT, compared, paint, is_left);
    }
    if cause.carried > 0 {
        let entries = counted(
            cause.carried,
            "entry that is as it was",
            "entries that are as they were",
        );
        let _ = writeln!(text, "\n{entries}: above others, or linked to them");
    }
    text
}

fn push_package_count(text: &mut String, compared: &Compared) {
    let packages = compared.packages;
    let mut files = 0;
    let mut bytes = 0;
    for package in packages {
        files += package.files();
        bytes += package.new_bytes;
    }
    let count = packages.len();
    let bytes = size(bytes);
    let _ = writeln!(text, "\n{files} files of {count} packages, {bytes}");
}

fn is_left(file: &FileDifference) -> bool {
    file.account.package_change.is_none()
}

/// Sums the bytes of the new files that no package accounts for.
fn bytes_left(compared: &Compared) -> u64 {
    let mut bytes = 0;
    for file in compared.files {
        if !is_left(file) {
            continue;
        }
        if let Some(entry) = compared.new_entry(file) {
            bytes += entry.size_bytes();
        }
    }
    bytes
}
