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
