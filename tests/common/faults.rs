//! Runs the command while one of its system calls fails, or is its last; see inject.c.

use super::{Path, PathBuf, text};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What happens in the place of a call that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// Half of it is written, then SIGKILL.
    Torn,
    /// It fails once.
    Eio,
    /// It fails once.
    Enospc,
    /// It fails, and so does all that needs space after it.
    Full,
}

impl Fault {
    pub const ALL: [Self; 5] = [Self::Kill, Self::Torn, Self::Eio, Self::Enospc, Self::Full];

    pub fn is_death(self) -> bool {
        matches!(self, Self::Kill | Self::Torn)
    }

    fn mode(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Torn => "torn",
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Full => "full",
        }
    }
}

/// The program that makes faults, compiled once.
pub fn injector() -> &'static Path {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    COMPILED.get_or_init(compile)
}

fn compile() -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/inject.c");
    let name = blake3::hash(&std::fs::read(source).unwrap()).to_hex();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("inject-{}", &name[..16]));
    if !target.exists() {
        let made = target.with_extension(std::process::id().to_string());
        super::succeeds(
            Command::new("cc")
                .args(["-O1", "-Wall", "-Werror", "-o"])
                .arg(&made)
                .arg(source),
        );
        std::fs::rename(made, &target).unwrap(); // other processes may be doing the same
    }
    target
}

/// A call that writes, of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: String,
    pub path: String,
}

/// Runs `command` with `fault` at its call number `at`, 0 for none. Returns what came of it and the calls until then.
pub fn run_with(fault: Fault, at: usize, command: &[String], log: &Path) -> (Output, Vec<Call>) {
    let at = at.to_string();
    let mut injected = Command::new(injector());
    injected.args([fault.mode(), &at]).arg(log).args(command);
    injected
        .env_remove("SOURCE_DATE_EPOCH")
        .env_remove("ROOTSTRATA_STORE");
    let output = injected.output().unwrap();
    assert_ne!(output.status.code(), Some(125), "{}", text(&output.stderr));
    let calls = std::fs::read_to_string(log).unwrap();
    let call = |line: &str| {
        let mut words = line.splitn(3, ' ').skip(1).map(str::to_owned);
        Call {
            name: words.next().unwrap(),
            path: words.next().unwrap(),
        }
    };
    (output, calls.lines().map(call).collect())
}
