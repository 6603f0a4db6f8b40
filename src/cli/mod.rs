//! The command line: the only place that prints. A folder for each group of commands has their arguments, their text and
//! their JSON.

mod args;
mod asked;
mod config;
mod context;
mod diff;
mod failure;
mod help;
mod json;
mod keep;
mod mount;
mod own_output;
mod page;
mod pager;
mod paint;
mod parse;
mod progress;
mod query;
mod record;
mod registry_access;
mod remote;
mod restore;
mod stderr;
mod suggestions;
mod text;
mod transfer;

pub use args::Cli;
pub use context::Answer;
pub use failure::TROUBLE;
pub use stderr::say;

use crate::error::Result;
use args::Command;
use config::Configuration;
use context::Context;

/// Runs the command and returns the answer for stdout. Fails as the command does: with [`crate::error::Error::Locked`] if
/// others use the store for too long.
pub fn run(cli: &Cli) -> Result<Answer> {
    let configuration = Configuration::read()?;
    let store = configuration.store(cli.store.as_ref())?;
    let context = &Context {
        store: store.value,
        store_origin: store.origin,
        configuration,
        json: cli.json,
        quiet: cli.quiet,
        verbose: cli.verbose,
        stats: cli.stats,
        no_pager: cli.no_pager,
        color: cli.color.unwrap_or_default(),
        access: cli.registry.access(),
        jobs: cli.registry.jobs(),
    };
    let answer = run_command(context, &cli.command);
    context.print_traffic();
    answer.map_err(|error| failure::with_hint(error, context))
}

fn run_command(context: &Context, command: &Command) -> Result<Answer> {
    match command {
        Command::Snapshot { root, record } => record::run(context, root, record),
        Command::Export(args) => transfer::export(context, args),
        Command::Import(args) => transfer::import(context, args),
        Command::Pull(args) => transfer::pull(context, args),
        Command::Push(args) => remote::push(context, args),
        Command::Diff(args) => diff::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Mount(args) => mount::run(context, args),
        Command::Explain { snapshot } => query::explain(context, snapshot),
        Command::Which { snapshot, path } => query::which(context, snapshot, path),
        Command::Find(args) => query::find(context, args),
        Command::Cat { snapshot, path } => query::cat(context, snapshot, path),
        Command::Log(args) => query::log(context, args),
        Command::Show { snapshot, packages } => query::show(context, snapshot, *packages),
        Command::Sbom { snapshot, format } => query::sbom(context, snapshot, (*format).into()),
        Command::Ls { snapshot, path } => query::ls(context, snapshot, path.as_ref()),
        Command::Verify(args) => keep::verify(context, args),
        Command::Prune(args) => keep::prune(context, args),
        Command::Rm(args) => keep::rm(context, args),
        Command::Pin(args) => keep::pin(context, args, true),
        Command::Unpin(args) => keep::pin(context, args, false),
        Command::Rename(args) => keep::rename(context, args),
        Command::Squash(args) => keep::squash(context, args),
        Command::Config { series } => config::run(context, series.as_deref()),
        Command::Du { series } => keep::usage(context, series.as_deref()),
    }
}
