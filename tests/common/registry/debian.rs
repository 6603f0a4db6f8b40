//! Debian's docker-registry, as `fixtures/registry/run` starts it.

use crate::common::REPOSITORY;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server on a port of 127.0.0.1. Ends when it is dropped.
pub struct DebianRegistry {
    child: Child,
    port: u16,
    /// What `run` says: `registry`, `cert_dir`, `authfile`, `log`.
    said: HashMap<String, String>,
}

impl DebianRegistry {
    /// Starts a registry with options of `fixtures/registry/run`, and waits until it listens.
    pub fn start(directory: &Path, options: &[&str]) -> Self {
        let port = free_ports();
        let mut child = Command::new(Path::new(REPOSITORY).join("fixtures/registry/run"))
            .args(options)
            .arg(port.to_string())
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = HashMap::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The log is named last.
        while !said.contains_key("log") {
            let line = lines.next().expect("a line of registry/run").unwrap();
            let (name, value) = line.split_once('=').unwrap();
            said.insert(name.to_owned(), value.to_owned());
        }
        let is_token = options.contains(&"--token");
        for port in [port, port + u16::from(is_token)] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(child.try_wait().unwrap().is_none(), "{said:?}");
                std::thread::yield_now();
            }
        }
        assert!(child.try_wait().unwrap().is_none(), "{said:?}");
        Self { child, port, said }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// HOST:PORT.
    pub fn host(&self) -> &str {
        &self.said["registry"]
    }

    pub fn cert_dir(&self) -> Option<PathBuf> {
        self.said.get("cert_dir").map(PathBuf::from)
    }

    pub fn authfile(&self) -> Option<PathBuf> {
        self.said.get("authfile").map(PathBuf::from)
    }
}

/// A port that is free, and the next one is. Below those that the kernel gives to whoever asks for any: until the server
/// listens, another test would get it.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = (std::process::id() % 6_000) as u16;
    let mut pairs = (0..6_000).map(|more| 20_000 + (first + more) % 6_000 * 2);
    let pair = pairs.find(|port| is_free(*port) && is_free(port + 1));
    pair.expect("a port is free")
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
