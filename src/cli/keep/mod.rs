//! `verify`, `prune`, `rm`, `pin`, `rename`, `squash` and `du`: the work of the keeper of a store.

pub(crate) mod args;
mod json;
mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::keep::args::{PinArgs, PruneArgs, RenameArgs, RmArgs, SquashArgs, VerifyArgs};
use crate::cli::remote;
use crate::error::Result;
use crate::ops::keep::change;
use crate::ops::keep::verify as verifying;
use crate::ops::keep::{prune as pruning, squash as squashing, usage as using};
use crate::ops::remote::fetch_layers::Wanted;
use crate::ops::remote::local_blobs;

/// Verifies a store; damage is a negative answer. Fails without a store, without the requested snapshot or series, and if a
/// file of the store cannot be opened or repaired.
pub(crate) fn verify(context: &Context, args: &VerifyArgs) -> Result<Answer> {
    let progress = context.progress();
    let found = verifying::verify(&context.store, &args.request(), &progress)?;
    context.print_times(&found.seconds);
    let text = context.show(|| json::verify(&found), || text::verify(&found));
    Ok(Answer {
        is_negative: !found.findings.is_empty(),
        ..text.into()
    })
}

/// Removes by rule snapshots, images of a registry, or files of layers that a registry has. Fails if the store stays in use, or a row that decides is damaged; and
/// if the registry does not answer or does not delete.
pub(crate) fn prune(context: &Context, args: &PruneArgs) -> Result<Answer> {
    if let Some(request) = args.of_registry(context) {
        return remote::prune(context, &request);
    }
    if let Some(request) = args.of_local_blobs(context) {
        return release(context, &request);
    }
    let progress = context.progress();
    let pruned = pruning::prune(&context.store, &args.request(), &progress)?;
    context.print_times(&pruned.seconds);
    let is_dry_run = args.is_dry_run();
    let text = || text::prune(&pruned, is_dry_run, context.verbose);
    let text = context.show(|| json::prune(&pruned, is_dry_run), text);
    Ok(text.into())
}

/// Removes the snapshots that are meant. Fails without one of them, if the store stays in use, and if a row that decides is damaged.
pub(crate) fn rm(context: &Context, args: &RmArgs) -> Result<Answer> {
    let progress = context.progress();
    let removed = pruning::prune(&context.store, &args.request(), &progress)?;
    context.print_times(&removed.seconds);
    let is_dry_run = args.is_dry_run();
    let text = || text::removed(&removed, is_dry_run);
    let text = context.show(|| json::prune(&removed, is_dry_run), text);
    Ok(text.into())
}

/// Pins snapshots, or takes the pin from them. Fails without one of them.
pub(crate) fn pin(context: &Context, args: &PinArgs, is_pinned: bool) -> Result<Answer> {
    let pinned = change::pin(&context.store, &args.snapshots, is_pinned)?;
    let text = context.show(|| json::pin(&pinned), || text::pin(&pinned));
    Ok(text.into())
}

/// Gives a series another name. Fails without the series, and if the name is taken.
pub(crate) fn rename(context: &Context, args: &RenameArgs) -> Result<Answer> {
    let RenameArgs { series, new } = args;
    let count = change::rename(&context.store, series, new)?;
    let text = context.show(
        || json::rename(series, new, count),
        || text::rename(series, new, count),
    );
    Ok(text.into())
}

fn release(context: &Context, request: &local_blobs::Request) -> Result<Answer> {
    let released = local_blobs::release(&context.store, request, &context.progress())?;
    context.print_times(&released.seconds);
    let text = || text::release(&released, request.dry_run, context.verbose);
    let text = context.show(|| json::release(&released, request.dry_run), text);
    Ok(text.into())
}

/// Makes one layer of a snapshot's layers. Fails if one of these is damaged or missing.
pub(crate) fn squash(context: &Context, args: &SquashArgs) -> Result<Answer> {
    let progress = context.progress();
    let request = args.request();
    context.fetch(&Wanted::one(&request.snapshot), &progress)?;
    let made = squashing::squash(&context.store, &request, &progress)?;
    context.print_times(&made.seconds);
    let text = || text::squash(&made, context.verbose);
    let text = context.show(|| json::squash(&made), text);
    Ok(text.into())
}

/// Shows the use of space. Fails if the store has no series of that name.
pub(crate) fn usage(context: &Context, series: Option<&str>) -> Result<Answer> {
    let used = using::usage(&context.store, series)?;
    let text = || text::usage(&used, context.verbose);
    let text = context.show(|| json::usage(&used), text);
    Ok(text.into())
}
