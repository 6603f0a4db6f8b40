//! Pushes, and prunes of repositories, as text for people.

use crate::cli::text::{counted, size, table, traffic};
use crate::model::keep;
use crate::model::registry_keep::{Image, Reason};
use crate::model::time::rfc3339;
use crate::ops::remote::prune;
use crate::ops::remote::push::{self, Pushed};
use std::fmt::Write as _;

pub(crate) fn push(outcome: &push::Outcome) -> String {
    let mut text = String::new();
    for image in &outcome.images {
        let Pushed {
            series,
            stage,
            snapshot_id,
            tags,
            was_there,
            ..
        } = image;
        let is = if *was_there { "was there" } else { "pushed" };
        let _ = writeln!(text, "{series}@{stage} (snapshot {snapshot_id}) {is}:");
        for tag in tags {
            let _ = writeln!(text, "  docker://{}:{tag}", outcome.repository);
        }
    }
    let layers =
        |(count, bytes)| format!("{} of {}", counted(count, "layer", "layers"), size(bytes));
    let (pushed, reused) = (layers(outcome.pushed), layers(outcome.reused));
    let mounted = match outcome.mounted {
        (0, _) => String::new(),
        mounted => format!("{} mounted, ", layers(mounted)),
    };
    let _ = writeln!(text, "{pushed} pushed, {mounted}{reused} reused");
    let _ = writeln!(text, "{}", traffic(&outcome.traffic));
    text
}

/// Shows the removed images; `lists_kept` adds the kept ones, which a dry run by rules lists in any case.
pub(crate) fn prune(outcome: &prune::Outcome, is_dry_run: bool, lists_kept: bool) -> String {
    let verb = if is_dry_run {
        "would remove"
    } else {
        "removed"
    };
    let unasked = Reason::Rule(keep::Reason::Unasked);
    let mut reasons = outcome.kept.iter().map(|(_, reasons)| reasons);
    let has_rules = !reasons.any(|reasons| reasons.contains(&unasked));
    let mut rows = Vec::new();
    if lists_kept || is_dry_run && has_rules {
        for (image, reasons) in &outcome.kept {
            let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
            rows.extend(image_rows("keep", image, &names.join(", ")));
        }
    }
    for image in &outcome.removed {
        rows.extend(image_rows(verb, image, ""));
    }
    let mut text = table(&rows);
    push_removed(&mut text, outcome, verb);
    if !has_rules {
        text.push_str(
            "no rule was given, so all images stay; see --keep-last, --keep-daily, --keep-within, --keep-tag\n",
        );
    }
    let _ = writeln!(text, "{}", traffic(&outcome.traffic));
    text
}

/// Returns a row for each tag of an image, the first with the time of the last push.
fn image_rows(what: &str, image: &Image, why: &str) -> Vec<[String; 4]> {
    let last = image.pushes.iter().map(|push| push.pushed_s).max();
    let first = [last.map(rfc3339).unwrap_or_default(), why.to_owned()];
    let mut cells = std::iter::once(first).chain(std::iter::repeat_with(Default::default));
    let mut rows = Vec::new();
    for tag in &image.tags {
        let [time, why] = cells.next().unwrap_or_default();
        rows.push([what.to_owned(), tag.clone(), time, why]);
    }
    rows
}

fn push_removed(text: &mut String, outcome: &prune::Outcome, verb: &str) {
    let removed = outcome.removed.len();
    let all = removed + outcome.kept.len();
    let [images, layers, pushes] = outcome.records;
    let records = images + layers + pushes;
    let _ = writeln!(
        text,
        "{verb} {removed} of {} and {} of {} (images {images}, layers {layers}, pushes {pushes})",
        counted(all as u64, "image", "images"),
        records,
        counted(records + outcome.kept_records, "record", "records"),
    );
    if outcome.others > 0 {
        let others = counted(
            outcome.others,
            "image of others stays",
            "images of others stay",
        );
        let _ = writeln!(text, "{others}");
    }
    if outcome.odd > 0 {
        let odd = counted(
            outcome.odd,
            "tag of a record has none, and stays",
            "tags of records have none, and stay",
        );
        let _ = writeln!(text, "{odd}");
    }
    if records > 0 || removed > 0 {
        text.push_str("blobs are freed when the registry collects its garbage\n");
    }
}
