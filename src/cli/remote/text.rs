//! Pushes as text for people.

use crate::cli::text::{counted, size, traffic};
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
