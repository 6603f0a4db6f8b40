//! The command `rootstrata`: reads the command line, runs the command, and gives the outcome as exit code.

use rootstrata::cli::{self, Cli};
use std::process::ExitCode;

/// The exit code for a difference (diff(1)), and for a search without a result (grep(1)).
const NEGATIVE: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::read();
    match cli::run(&cli) {
        Ok(answer) => match answer.print() {
            Err(e) => {
                cli::say(&format!("rootstrata: error: cannot write to stdout: {e}"));
                ExitCode::from(cli::TROUBLE)
            }
            Ok(()) if answer.is_negative => ExitCode::from(NEGATIVE),
            Ok(()) => ExitCode::SUCCESS,
        },
        Err(error) => ExitCode::from(cli.tell(&error)),
    }
}
