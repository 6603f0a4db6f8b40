//! Answers about recorded snapshots as text for people.

use crate::cli::text::{about, counted, mode, package_of, push_layers, push_remote, size, table};
use crate::model::packages::owners::Installed;
use crate::model::time::rfc3339;
use crate::model::tree::compare::Aspects;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::query::inspect::Shown;
use crate::ops::query::which::{Before, OwnedBy, Which};
use crate::printable::printable;
use crate::store::{LayerUse, Snapshot};
use std::fmt::Write as _;
use std::path::Path;

pub(crate) fn show(shown: &Shown, store: &Path, image: Option<&str>) -> String {
    let mut text = match image {
        Some(image) => fields_of_image(shown, image),
        None => fields(shown, store),
    };
    text.push_str("layers\n");
    push_layers(&mut text, &shown.layers, true);
    if image.is_none() {
        push_remote(&mut text, shown.remote);
    }
    match &shown.packages {
        None => text.push_str("packages are unknown\n"),
        Some(packages) => {
            let _ = writeln!(
                text,
                "{}",
                counted(packages.len() as u64, "package", "packages")
            );
            for one in packages {
                let name = one.package.to_string();
                let name = printable(name.as_bytes());
                let _ = writeln!(text, "  {name}");
            }
        }
    }
    text
}

/// Returns a line for each package: NEVRA, source package, build time, size, signature key and checksum of the header, with `-` for what
/// is unknown.
pub(crate) fn packages(packages: &[Installed]) -> String {
    let titles = ["PACKAGE", "SOURCE", "BUILT", "SIZE", "SIGNED BY", "HEADER"];
    let mut rows = vec![titles.map(str::to_owned)];
    let shown = |text: &str| match text {
        "" => "-".to_owned(),
        text => printable(text.as_bytes()),
    };
    for Installed {
        package, details, ..
    } in packages
    {
        let known = details.as_deref().cloned().unwrap_or_default();
        rows.push([
            shown(&package.to_string()),
            shown(&package.source_rpm),
            shown(&match package.build_time_s {
                0 => String::new(),
                built => rfc3339(built),
            }),
            shown(
                &details
                    .as_ref()
                    .map_or(String::new(), |known| known.size_bytes.to_string()),
            ),
            shown(&known.signature_key),
            shown(&known.header_checksum),
        ]);
    }
    table(&rows)
}

/// Returns the fields of a snapshot, each on a line.
fn fields(shown: &Shown, store: &Path) -> String {
    let snapshot = &shown.snapshot;
    let Snapshot {
        id,
        series,
        stage,
        entries,
        content_bytes,
        ..
    } = snapshot;
    let mut text = format!("snapshot {id}: {series}@{stage}\n");
    push_field(&mut text, "run", &snapshot.run);
    push_field(&mut text, "time", &rfc3339(snapshot.created_s));
    if let Some(parent) = snapshot.parent_id {
        push_field(&mut text, "parent", &parent.to_string());
    }
    if snapshot.is_pinned {
        push_field(&mut text, "pinned", "yes");
    }
    if !snapshot.labels.is_empty() {
        let labels = snapshot.labels.to_string();
        push_field(&mut text, "labels", &printable(labels.as_bytes()));
    }
    push_entries(&mut text, *entries, *content_bytes);
    if let Some(name) = &shown.image_name {
        let store = printable(store.as_os_str().as_encoded_bytes());
        push_field(&mut text, "image", &format!("oci:{store}:{name}"));
    }
    push_identity(&mut text, shown);
    text
}

/// Returns the fields of an image in a registry, each on a line.
fn fields_of_image(shown: &Shown, image: &str) -> String {
    let Snapshot {
        series,
        stage,
        entries,
        content_bytes,
        ..
    } = &shown.snapshot;
    let mut text = format!("{image}: {series}@{stage}\n");
    push_entries(&mut text, *entries, *content_bytes);
    push_identity(&mut text, shown);
    text
}

fn push_entries(text: &mut String, entries: u64, content_bytes: u64) {
    let entries = format!("{entries} ({})", size(content_bytes));
    push_field(text, "entries", &entries);
}

fn push_identity(text: &mut String, shown: &Shown) {
    let manifest = shown.snapshot.manifest.digest.to_string();
    push_field(text, "tree", &shown.tree_digest.to_string());
    push_field(text, "manifest", &manifest);
    push_field(text, "policy", &shown.policy);
}

fn push_field(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<9} {value}");
}

/// Returns a line for each entry, as `tar -tv` does.
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

pub(crate) fn which(which: &Which, image: Option<&str>) -> String {
    let whole = image.map_or_else(|| about(&which.snapshot), str::to_owned);
    let mut text = format!("{} in {whole}\n", which.entry.path);
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
    field("layer", layer_text(layer));
    if image.is_some() {
        return text;
    }
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

/// Returns role, state and digest of a layer, and the package of a package layer.
fn layer_text(layer: &LayerUse) -> String {
    let state = if layer.reused { "reused" } else { "new" };
    let digest = &layer.blob.digest;
    match package_of(layer) {
        Some(package) => format!("package {package} {state} {digest}"),
        None => format!("{} {state} {digest}", layer.role.name()),
    }
}

fn owner_text(owner: &OwnedBy) -> String {
    let name = owner.package.to_string();
    let mut text = printable(name.as_bytes());
    if owner.is_config {
        text.push_str(" %config");
    }
    if owner.is_ghost {
        text.push_str(" %ghost");
    }
    let others = owner.deviations.without(Aspects::MTIME);
    let others: Vec<_> = others.names().collect();
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

pub(super) fn path_and_target(entry: &Entry) -> String {
    match &entry.kind {
        Kind::Symlink(target) => format!("{} -> {}", entry.path, printable(target)),
        _ => entry.path.to_string(),
    }
}
