//! Credential helpers: `docker-credential-NAME get` (docker-credential-helpers, "Development").

use crate::registry::secret::Secret;
use serde_json::Value;
use std::io::Read;
use std::io::Write;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const LARGEST: u64 = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// What a helper has.
pub(super) struct Found {
    pub(super) user: String,
    pub(super) secret: Secret,
}

/// Asks the helper `name`; `None` where the helper has nothing for `server`. Fails with a phrase that follows the helper's
/// name, where it is not there, takes too long, or gives no answer of a helper.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Found>, String> {
    let is_right = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if name.is_empty() || !name.bytes().all(is_right) {
        return Err("is no name of a helper".to_owned());
    }
    let mut command = Command::new(format!("docker-credential-{name}"));
    command.arg("get");
    run(command, server, TIMEOUT)
}

fn run(mut command: Command, server: &str, timeout: Duration) -> Result<Option<Found>, String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| format!("cannot be run: {e}"))?;
    let until = Instant::now() + timeout;
    let answer = answer(&mut child, server, timeout);
    let is_success = ended(&mut child, until);
    match (answer, is_success) {
        (Some(answer), Some(true)) => found(&answer).map(Some),
        (Some(answer), Some(false)) if is_nothing(&answer) => Ok(None),
        (Some(_), Some(false)) => Err("fails".to_owned()),
        _ => Err("takes too long".to_owned()),
    }
}

/// Writes the server's name and reads the output; `None` after the time. A thread reads: what a helper has started may keep
/// the pipe open.
fn answer(child: &mut Child, server: &str, timeout: Duration) -> Option<Vec<u8>> {
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read may answer all the same; a name fits into a pipe.
        let _ = input.write_all(format!("{server}\n").as_bytes());
    }
    let output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = output.take(LARGEST).read_to_end(&mut text);
        let _ = sender.send(text);
    });
    receiver.recv_timeout(timeout).ok()
}

/// Waits for the end; `None` after the time, when the helper is killed.
fn ended(child: &mut Child, until: Instant) -> Option<bool> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status.success());
        }
        if Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(POLL);
    }
}

fn is_nothing(answer: &[u8]) -> bool {
    answer.starts_with(b"credentials not found")
}

fn found(answer: &[u8]) -> Result<Found, String> {
    let odd = || "gives no credentials in JSON".to_owned();
    let answer: Value = serde_json::from_slice(answer).map_err(|_| odd())?;
    let text = |name: &str| answer.get(name)?.as_str().map(str::to_owned);
    Ok(Found {
        user: text("Username").ok_or_else(odd)?,
        secret: Secret(text("Secret").ok_or_else(odd)?),
    })
}

#[cfg(test)]
mod tests {
    use super::{Found, get, run};
    use std::process::Command;
    use std::time::Duration;

    fn shell(script: &str, milliseconds: u64) -> Result<Option<Found>, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, "h.x", Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_helper_gives_what_it_has() {
        let script =
            r#"read s; echo "{\"ServerURL\":\"$s\",\"Username\":\"$s\",\"Secret\":\"p\"}""#;
        let found = shell(script, 60_000).unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.secret.0.as_str()), ("h.x", "p"));
        let nothing = "echo credentials not found in native keychain; exit 1";
        assert!(shell(nothing, 60_000).unwrap().is_none());
    }

    #[test]
    fn a_helper_that_fails_lies_or_hangs_is_an_error() {
        for script in ["exit 1", "echo x", "echo '{}'", "yes"] {
            assert!(shell(script, 60_000).is_err(), "{script}");
        }
        assert_eq!(shell("exec sleep 600", 50).err().unwrap(), "takes too long");
        for name in ["", "a/b", "a b"] {
            assert!(get(name, "h.x").is_err());
        }
    }
}
