//! `diff`: compares two sides.

pub(crate) mod args;
mod html;
pub(crate) mod json;
pub(crate) mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::diff::args::DiffArgs;
use crate::cli::stderr::say;
use crate::error::Result;
use crate::ops::compare::diff::diff;

/// Compares two sides. Fails if one of them cannot be read, or the page not be written.
pub(crate) fn run(context: &Context, args: &DiffArgs) -> Result<Answer> {
    let target = args.html.as_deref().map(html::Target::new);
    target.map_or(Ok(()), |target| target.check(&context.store))?;
    let difference = diff(&context.store, &args.request(), &context.progress())?;
    context.print_times(&difference.seconds);
    for note in &difference.notes {
        say(&format!("rootstrata: note: {note}"));
    }
    let is_negative = !difference.is_empty();
    if let Some(target) = target {
        let page = html::page(&difference, &args.scope());
        match target {
            html::Target::File(path) => html::write(path, &page)?,
            html::Target::Stdout => {
                return Ok(Answer {
                    is_negative,
                    ..page.into()
                });
            }
        }
    }
    let layout = text::Layout {
        lists_every_file: args.files,
        shows_contents: args.has_contents(),
        paint: context.paint(),
    };
    let text = context.show(
        || json::diff(&difference),
        || text::diff(&difference, layout),
    );
    Ok(Answer {
        is_negative,
        ..context.paged(text)
    })
}
