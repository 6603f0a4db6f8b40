//! The command `rootstrata`: reads the command line, runs it, and says how it went.

use rootstrata::cli::{self, Cli};
use rootstrata::error::Error;
use std::process::ExitCode;

/// A difference was found, as diff(1) has it, or nothing was, as grep(1) has it.
const NEGATIVE: u8 = 1;
/// Could not tell: usage or trouble, as diff(1) has it.
const TROUBLE: u8 = 2;
/// Try again later (sysexits.h, `EX_TEMPFAIL`).
const LOCKED: u8 = 75;

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
            ExitCode::from(if matches!(error, Error::Locked(_)) {
                LOCKED
            } else {
                TROUBLE
            })
        }
    }
}

/// The error and its causes in one line; a cause that says the one before again, as some libraries' do, is left out.
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
