//! `snapshot`: records a root.

pub(crate) mod args;
pub(crate) mod json;
pub(crate) mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::record::args::SnapshotArgs;
use crate::error::Result;
use crate::ops::record::snapshot;
use std::path::Path;

/// Records `root`. Fails if nothing could be recorded.
pub(crate) fn run(context: &Context, root: &Path, args: &SnapshotArgs) -> Result<Answer> {
    let progress = context.progress();
    let outcome = snapshot(&context.store, root, &args.options(), &progress)?;
    context.print_times(&outcome.seconds);
    context.print_stats(&text::cost(&outcome));
    let json = || json::snapshot(&outcome);
    let text = context.show(json, || text::snapshot(&outcome, context.verbose));
    Ok(text.into())
}
