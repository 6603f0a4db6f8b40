//! The command `rootstrata`: reads the command line, runs it, and says how it went.

use rootstrata::cli::{self, Cli};
use rootstrata::error::Error;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Could not tell: usage or trouble, as diff(1) has it.
const TROUBLE: u8 = 2;
/// Try again later (sysexits.h, `EX_TEMPFAIL`).
const LOCKED: u8 = 75;

fn main() -> ExitCode {
    let result = cli::run(&Cli::read());
    match result {
        Ok(text) => match std::io::stdout().lock().write_all(text.as_bytes()) {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                cli::say(&format!("rootstrata: error: cannot write to stdout: {e}"));
                ExitCode::from(TROUBLE)
            }
            _ => ExitCode::SUCCESS,
        },
        Err(error) => {
            cli::say(&format!("rootstrata: error: {}", with_causes(&error)));
            ExitCode::from(if matches!(error, Error::Locked(_)) { LOCKED } else { TROUBLE })
        }
    }
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        // Some causes begin with what was said already.
        let said = next.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}
