//! `diff`: compares two sides.

pub(crate) mod args;
mod content_text;
pub(crate) mod file_text;
mod html;
pub(crate) mod json;
pub(crate) mod package_text;
pub(crate) mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::diff::args::DiffArgs;
use crate::cli::page::{self, Target};
use crate::cli::stderr::say;
use crate::error::{Error, Result};
use crate::model::source::Source;
use crate::ops::compare::diff::{Difference, diff, predecessor};

/// Compares two sides. Fails if a side cannot be read, or the page not be written.
pub(crate) fn run(context: &Context, args: &DiffArgs) -> Result<Answer> {
    let target = args.html.as_deref().map(Target::new);
    if let Some(target) = target {
        target.check(&context.store)?;
    }
    let progress = context.progress();
    let difference = diff(
        &context.store,
        &args.request(sides(context, args)?, context.access.clone(), context.jobs),
        &progress,
    )?;
    context.print_times(&difference.seconds);
    for note in &difference.notes {
        say(&format!("rootstrata: note: {note}"));
    }
    let answer = match target {
        Some(Target::Stdout) => {
            let text = html::page(&difference, &args.scope());
            text.into()
        }
        Some(Target::File(path)) => {
            let text = html::page(&difference, &args.scope());
            page::write(path, &text)?;
            shown(context, args, &difference)
        }
        None => shown(context, args, &difference),
    };
    Ok(Answer {
        is_negative: !difference.is_empty(),
        ..answer
    })
}

/// Returns the sides; of a snapshot alone, the one before and the snapshot. Fails without one before, and for another side alone.
fn sides(context: &Context, args: &DiffArgs) -> Result<[Source; 2]> {
    match (&args.a, &args.b) {
        (a, Some(b)) => Ok([a.clone(), b.clone()]),
        (Source::Snapshot(of), None) => {
            let before = predecessor(&context.store, of)?;
            Ok([Source::Snapshot(before), args.a.clone()])
        }
        (a, None) => Err(Error::OneSide {
            side: a.to_string(),
        }),
    }
}

/// Returns the difference as JSON or as text.
fn shown(context: &Context, args: &DiffArgs, difference: &Difference) -> Answer {
    let layout = text::Layout {
        lists_every_file: args.files,
        shows_contents: args.has_contents(),
        lists_every_package: context.verbose,
        paint: context.paint(),
    };
    let text = context.show(|| json::diff(difference), || text::diff(difference, layout));
    context.paged(text)
}
