//! Answers about recorded snapshots as text for people.

use crate::cli::diff::text::{FILES, LEFT, push_files, push_packages};
use crate::cli::paint::{Colour, Paint};
use crate::cli::text::{counted, mode, percent, push_layer, size, table};
use crate::model::plan::Limits;
use crate::model::plan::layer::Role;
use crate::model::time::rfc3339;
use crate::model::tree::compare::Aspects;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::compare::diff::{Compared, FileDifference};
use crate::ops::query::explain::{Against, Cause, Explained, ExplainedLayer, Novelty, Reason};
use crate::ops::query::find::Found;
use crate::ops::query::inspect::{Logged, Shown};
use crate::ops::query::rule::{Other, Rule};
use crate::ops::query::which::{Before, OwnedBy, Which};
use crate::printable::printable;
use crate::store::Snapshot;
use std::fmt::Write as _;
use std::path::Path;

pub(crate) fn log(logged: &[Logged]) -> String {
    let mut rows =
        vec![["ID", "SNAPSHOT", "RUN", "TIME", "ENTRIES", "SIZE", "LAYERS"].map(str::to_owned)];
    for Logged { snapshot, layers } in logged {
        let reused = layers.iter().filter(|layer| layer.reused).count();
        rows.push([
            snapshot.id.to_string(),
            format!("{}@{}", snapshot.series, snapshot.stage),
            snapshot.run.clone(),
            rfc3339(snapshot.created_s),
            snapshot.entries.to_string(),
            size(snapshot.content_bytes),
            format!("{} new, {reused} reused", layers.len() - reused),
        ]);
    }
    table(&rows)
}

pub(crate) fn show(shown: &Shown, store: &Path) -> String {
    let Snapshot {
        id,
        series,
        stage,
        run,
        entries,
        content_bytes,
        ..
    } = &shown.snapshot;
    let mut text = format!("snapshot {id}: {series}@{stage}\n");
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    field("run", run.clone());
    field("time", rfc3339(shown.snapshot.created_s));
    if let Some(parent) = shown.snapshot.parent_id {
        field("parent", parent.to_string());
    }
    field("entries", format!("{entries} ({})", size(*content_bytes)));
    if let Some(name) = &shown.image_name {
        field(
            "image",
            format!(
                "oci:{}:{name}",
                printable(store.as_os_str().as_encoded_bytes())
            ),
        );
    }
    field("manifest", shown.snapshot.manifest.digest.to_string());
    field("policy", shown.policy.clone());
    text.push_str("layers\n");
    shown
        .layers
        .iter()
        .for_each(|layer| push_layer(&mut text, layer, true));
    match &shown.packages {
        None => text.push_str("packages are unknown\n"),
        Some(packages) => {
            let _ = writeln!(text, "{} packages", packages.len());
            for package in packages {
                let _ = writeln!(text, "  {}", printable(package.to_string().as_bytes()));
            }
        }
    }
    text
}

/// One line an entry, as `tar -tv` has it.
pub(crate) fn ls(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let length = match &entry.kind {
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                format!("{},{}", device.major, device.minor)
            }
            _ => entry.size_bytes().to_string(),
        };
        let owner = format!("{}/{}", entry.uid, entry.gid);
        let _ = write!(
            text,
            "{} {owner:<11} {length:>10} {} {}",
            mode(entry),
            rfc3339(entry.mtime_s),
            entry.path
        );
        if let Kind::Symlink(target) = &entry.kind {
            let _ = write!(text, " -> {}", printable(target));
        }
        text.push('\n');
    }
    text
}

/// Fewer packages than this are listed also where all of them are new.
const FEW_PACKAGES: usize = 12;

pub(crate) fn explain(explained: &Explained, lists_all: bool, paint: Paint) -> String {
    let mut text = format!(
        "{}\n",
        paint.text(Colour::Bold, &about(&explained.snapshot))
    );
    let planning = explained.snapshot.planning.as_ref();
    if planning.is_none() {
        text.push_str("reasons are derived, not recorded\n");
    }
    let limits = planning.and_then(|planning| planning.limits);
    for ExplainedLayer { layer, reason } in &explained.layers {
        let state = if layer.reused { "reused" } else { "new" };
        let digest = &layer.blob.digest.to_string()[..19];
        let (role, bytes) = (layer.role.name(), size(layer.blob.size_bytes));
        let head = format!(
            "{role:<6}  {state:<6}  {digest}  {bytes:>9}  {} entries",
            layer.layer.entries
        );
        let colour = if layer.reused {
            Colour::Green
        } else {
            Colour::Yellow
        };
        let _ = writeln!(text, "\n{}", paint.text(colour, &head));
        match reason {
            Reason::Reused(first) if first.id == explained.snapshot.id => {
                let _ = writeln!(text, "  written for a snapshot that is gone");
            }
            Reason::Reused(first) => {
                let _ = writeln!(text, "  written for {}", about(first));
            }
            Reason::New(novelty) => {
                let Novelty {
                    rule,
                    against,
                    cause,
                } = &**novelty;
                if let Some(rule) = rule {
                    let _ = writeln!(
                        text,
                        "  {}",
                        rule_text(rule, layer.role, limits.unwrap_or_default())
                    );
                }
                let _ = writeln!(text, "  {}", against_text(against, cause));
                let is_first = matches!(against, Against::Nothing) || rule.is_some();
                push_cause(&mut text, cause, is_first && !lists_all, lists_all, paint);
            }
        }
    }
    text
}

fn about(snapshot: &Snapshot) -> String {
    let Snapshot {
        id,
        series,
        stage,
        run,
        created_s,
        ..
    } = snapshot;
    format!(
        "snapshot {id}, {series}@{stage} of {} (run {run})",
        rfc3339(*created_s)
    )
}

fn other_text(other: &Other) -> String {
    match &other.snapshot {
        Some(snapshot) => about(snapshot),
        None => format!("snapshot {}, which is gone", other.id),
    }
}

/// Returns a limit that decided, unless it is the default.
fn limit_text(limit: u64, default: u64, unit: &str) -> String {
    if limit == default {
        String::new()
    } else {
        format!("; the limit was {limit}{unit}")
    }
}

fn rule_text(rule: &Rule, role: Role, limits: Limits) -> String {
    let defaults = Limits::default();
    let why = match rule {
        Rule::First => "there was none before".to_owned(),
        Rule::OtherPolicy(other) => {
            format!("what there was has another policy: {}", other_text(other))
        }
        Rule::LargeUpdate {
            update_bytes,
            base_bytes,
        } => format!(
            "an update would have had {}, {} of the last one's {}{}",
            size(*update_bytes),
            percent(*update_bytes, *base_bytes),
            size(*base_bytes),
            limit_text(limits.update_percent, defaults.update_percent, " %")
        ),
        Rule::DeadBase {
            dead_bytes,
            base_bytes,
        } => format!(
            "{} of the last one's {} are no longer used, {}{}",
            size(*dead_bytes),
            size(*base_bytes),
            percent(*dead_bytes, *base_bytes),
            limit_text(limits.dead_percent, defaults.dead_percent, " %")
        ),
        Rule::Squashed(of) => {
            return format!("a base, squashed from the layers of {}", other_text(of));
        }
        Rule::DanglingWhiteout(path) => {
            format!("the last one removes {path}, which is no longer below it")
        }
        Rule::ManyLayers => {
            let [limit, default] = [limits, defaults].map(|limits| limits.most_layers as u64);
            let limit = limit_text(limit, default, "");
            format!("the image would have had too many layers{limit}")
        }
        Rule::LostBlob => "a blob of what lies below was lost".to_owned(),
    };
    format!("a {}, since {why}", role.name())
}

fn against_text(against: &Against, cause: &Cause) -> String {
    let count = cause.files.len() as u64;
    let others = |than: String| {
        format!(
            "{} as in {than}",
            counted(count, "path is not", "paths are not")
        )
    };
    match against {
        Against::Nothing => counted(count, "path", "paths"),
        Against::PriorLayers(None) => others("the layers below".to_owned()),
        Against::PriorLayers(Some(parent)) => others(about(parent)),
        Against::Before(before) => others(about(before)),
    }
}

fn push_cause(text: &mut String, cause: &Cause, is_brief: bool, lists_all: bool, paint: Paint) {
    let compared = &cause.compared();
    let mut part = String::new();
    if is_brief && compared.packages.len() > FEW_PACKAGES {
        let files: u64 = compared
            .packages
            .iter()
            .map(|package| package.files())
            .sum();
        let bytes: u64 = compared
            .packages
            .iter()
            .map(|package| package.new_bytes)
            .sum();
        let packages = compared.packages.len();
        let _ = writeln!(
            part,
            "\n{files} files of {packages} packages, {}",
            size(bytes)
        );
    } else {
        push_packages(&mut part, compared, paint);
    }
    let is_left = |file: &FileDifference| file.account.package_change.is_none();
    let left = compared.files.iter().filter(|file| is_left(file)).count();
    if lists_all {
        push_files(&mut part, FILES, compared, paint, |_| true);
    } else if is_brief && left > FEW_PACKAGES {
        let _ = writeln!(
            part,
            "\n{left} files that no package accounts for, {}",
            size(bytes_of(compared))
        );
    } else {
        push_files(&mut part, LEFT, compared, paint, is_left);
    }
    if cause.carried > 0 {
        let entries = counted(
            cause.carried,
            "entry that is as it was",
            "entries that are as they were",
        );
        let _ = writeln!(part, "\n{entries}: above others, or linked to them");
    }
    for line in part.lines() {
        let _ = if line.is_empty() {
            writeln!(text)
        } else {
            writeln!(text, "  {line}")
        };
    }
}

fn bytes_of(compared: &Compared) -> u64 {
    let left = compared
        .files
        .iter()
        .filter(|file| file.account.package_change.is_none());
    left.filter_map(|file| compared.new_entry(file))
        .map(Entry::size_bytes)
        .sum()
}

pub(crate) fn which(which: &Which) -> String {
    let mut text = format!("{} in {}\n", which.entry.path, about(&which.snapshot));
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<8} {value}");
    };
    if which.owners.is_empty() {
        let nobody = if which.owners_are_known {
            "none"
        } else {
            "unknown: it was recorded before that was kept"
        };
        field("package", nobody.to_owned());
    }
    which
        .owners
        .iter()
        .for_each(|owner| field("package", owner_text(owner)));
    field("entry", entry_text(&which.entry));
    let layer = &which.layer;
    let state = if layer.reused { "reused" } else { "new" };
    field(
        "layer",
        format!("{} {state} {}", layer.role.name(), layer.blob.digest),
    );
    let before = match &which.before {
        None => "the first of its stage".to_owned(),
        Some(Before::Nothing) => "before, it was not there".to_owned(),
        Some(Before::Another(what)) => {
            format!(
                "before, it differed in {}",
                what.names().collect::<Vec<_>>().join(", ")
            )
        }
    };
    field("since", format!("{}: {before}", about(&which.since)));
    text
}

fn owner_text(owner: &OwnedBy) -> String {
    let mut text = printable(owner.package.to_string().as_bytes());
    if owner.is_config {
        text.push_str(" %config");
    }
    if owner.is_ghost {
        text.push_str(" %ghost");
    }
    let others: Vec<_> = owner.deviations.without(Aspects::MTIME).names().collect();
    if !others.is_empty() {
        let _ = write!(text, ", not its {}", others.join(", "));
    } else if owner.deviations.has(Aspects::MTIME) {
        text.push_str(", touched since");
    }
    text
}

fn entry_text(entry: &Entry) -> String {
    let mut text = format!(
        "{} {}/{} {}",
        mode(entry).trim_end(),
        entry.uid,
        entry.gid,
        rfc3339(entry.mtime_s)
    );
    match &entry.kind {
        Kind::File {
            size_bytes,
            content,
        } => {
            let _ = write!(text, " {} blake3:{content}", size(*size_bytes));
        }
        Kind::Symlink(target) => {
            let _ = write!(text, " -> {}", printable(target));
        }
        _ => {}
    }
    text
}

pub(crate) fn find(found: &Found) -> String {
    if found.is_empty() {
        return String::new();
    }
    let head = |last: &str| ["ID", "SNAPSHOT", "TIME", last].map(str::to_owned);
    let row = |snapshot: &Snapshot, last: String| {
        let name = format!("{}@{}", snapshot.series, snapshot.stage);
        [
            snapshot.id.to_string(),
            name,
            rfc3339(snapshot.created_s),
            last,
        ]
    };
    let mut rows = Vec::new();
    match found {
        Found::Entries(entries) => {
            rows.push(head("PATH"));
            rows.extend(entries.iter().map(|(snapshot, entry)| {
                let target = match &entry.kind {
                    Kind::Symlink(target) => format!(" -> {}", printable(target)),
                    _ => String::new(),
                };
                row(snapshot, format!("{}{target}", entry.path))
            }));
        }
        Found::Packages(packages) => {
            rows.push(head("PACKAGE"));
            let name = |package: &crate::model::packages::package::Package| {
                printable(package.to_string().as_bytes())
            };
            rows.extend(
                packages
                    .iter()
                    .map(|(snapshot, package)| row(snapshot, name(package))),
            );
        }
    }
    table(&rows)
}
