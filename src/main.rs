//! The command `rootstrata`: reads the command line, runs the command, and gives the outcome as exit code.

use rootstrata::cli::{self, Cli};
use rootstrata::error::Error;
use std::process::ExitCode;

/// The exit code for a difference (diff(1)), and for a search without a result (grep(1)).
const NEGATIVE: u8 = 1;
/// The exit code for bad usage and for errors (diff(1)).
const TROUBLE: u8 = 2;
/// The exit code for a locked store, and a registry that cannot be reached: the user may try again later (sysexits.h,
/// `EX_TEMPFAIL`).
const LATER: u8 = 75;

fn main() -> ExitCode {
    let result = cli::run(&Cli::read());
    match result {
        Ok(answer) => match answer.print() {
            Err(e) => {
                cli::say(&format!("rootstrata: error: cannot write to stdout: {e}"));
                ExitCode::from(TROUBLE)
            }
            Ok(()) if answer.is_negative => ExitCode::from(NEGATIVE),
            Ok(()) => ExitCode::SUCCESS,
        },
        Err(error) => {
            cli::say(&format!("rootstrata: error: {}", with_causes(&error)));
            ExitCode::from(match error {
                Error::Locked(_) | Error::RegistryUnreachable { .. } => LATER,
                _ => TROUBLE,
            })
        }
    }
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
