//! The look of a failure: a line on stderr, with `--json` an object on stdout as well, and an exit code.

use crate::cli::config::DEFAULT_OF_ROOT;
use crate::cli::context::Context;
use crate::cli::json::{VERSION, line};
use crate::cli::pager;
use crate::cli::stderr::say;
use crate::cli::suggestions::with_tip;
use crate::cli::text::{age, cut};
use crate::error::Error;
use crate::printable::printable;
use crate::store::{Holder, holders};
use clap::error::ErrorKind;
use serde_json::json;
use std::path::Path;

/// The exit code for bad usage and for errors (diff(1)).
pub const TROUBLE: u8 = 2;
/// The exit code for a locked store, and a registry that cannot be reached: the user may try again later (sysexits.h,
/// `EX_TEMPFAIL`).
const LATER: u8 = 75;

/// The place of the Mock plugin's store.
const STORE_OF_MOCK: &str = "/var/cache/mock/rootstrata";

/// Prints a fault of the command line, or the help, and ends the process.
pub(super) fn exit_of_usage(error: clap::Error) -> ! {
    let error = with_tip(error);
    let is_given = |word: &str| std::env::args_os().any(|given| given == word);
    // Options may be in conflict over stdout.
    let is_conflict = error.kind() == ErrorKind::ArgumentConflict;
    if is_given("--json") && !is_conflict && error.use_stderr() {
        let text = error.to_string();
        let lines = text.lines().take_while(|line| !line.is_empty());
        let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        print_json(text.trim_start_matches("error: "), TROUBLE);
    }
    error.exit()
}

/// Tells of an error, and returns the exit code.
pub(super) fn tell(error: &Error, is_json: bool) -> u8 {
    let code = match error {
        Error::Locked(_) | Error::RegistryUnreachable { .. } => LATER,
        _ => TROUBLE,
    };
    let mut text = with_causes(error);
    if let Error::Locked(store) = error {
        text += &who(&holders(store));
    }
    say(&format!("rootstrata: error: {text}"));
    if is_json {
        print_json(&text, code);
    }
    code
}

/// Returns the error of a command, with the name of Mock's store where the default store is missing.
pub(super) fn with_hint(error: Error, context: &Context) -> Error {
    match error {
        Error::NoStore(store)
            if context.store_origin == DEFAULT_OF_ROOT && Path::new(STORE_OF_MOCK).is_dir() =>
        {
            Error::NoStoreButOther {
                store,
                other: STORE_OF_MOCK.into(),
            }
        }
        error => error,
    }
}

fn print_json(text: &str, code: u8) {
    let object = json!({ "version": VERSION, "error": text, "exit_code": code });
    // A reader may have seen enough.
    let _ = pager::write(&line(object), false);
}

/// Names the holders of a store.
fn who(holders: &[Holder]) -> String {
    const MOST: usize = 3;
    const LONGEST_COMMAND: usize = 120;
    if holders.is_empty() {
        return ": none that can be seen from here".to_owned();
    }
    let node = rustix::system::uname();
    let host = printable(node.nodename().to_bytes());
    let named = holders.iter().take(MOST).map(|holder| {
        let command = cut(&printable(&holder.command), LONGEST_COMMAND);
        let started = match holder.seconds {
            seconds @ ..120 => format!("{seconds} s"),
            seconds => age(seconds as i64),
        };
        format!(
            "{} on {host} ({command}), started {started} ago",
            holder.pid
        )
    });
    let mut text = format!(": {}", named.collect::<Vec<_>>().join("; "));
    if holders.len() > MOST {
        text += &format!("; and {} more", holders.len() - MOST);
    }
    text
}

/// Returns an error and the causes in one line. A cause with the text of the error before, as from some libraries, is
/// left out.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let said = next.to_string();
        if !said.contains(&last) && !last.contains(&said) {
            text = format!("{text}: {said}");
        }
        last = said;
        cause = next.source();
    }
    text
}
