//! Debian's docker-registry, with and without TLS, passwords and tokens: what is pushed is what podman and skopeo get, and what
//! others have pushed is compared and pulled.

use crate::common::registry::DebianRegistry;
use crate::common::{Bench, REPOSITORY, sh, succeeds, text};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const NAME: &str = "farm/roots";

/// A store with two stages of a root, in gzip, which every reader takes.
fn recorded() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin etc; head -c 300000 /dev/urandom > usr/bin/a; echo conf > etc/a.conf",
    );
    let options = "--profile plain --compression gzip --series fedora";
    bench.snapshot(&root, &format!("{options} --stage bootstrap"));
    sh(&root, "head -c 200000 /dev/urandom > usr/bin/b");
    bench.snapshot(&root, &format!("{options} --stage deps-installed"));
    bench
}

/// A tool of podman's kin, with storage of its own.
fn engine(arguments: &[&str]) -> String {
    let run = Path::new(REPOSITORY).join("fixtures/engines/run");
    succeeds(Command::new(run).args(arguments))
}

/// The options that lead to a registry, under names with a prefix as skopeo has them.
fn options(registry: &DebianRegistry, prefix: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut add = |name: &str, value: &str| {
        options.extend([format!("--{name}={value}")]);
    };
    match registry.cert_dir() {
        Some(directory) => add(&format!("{prefix}cert-dir"), directory.to_str().unwrap()),
        None => add(&format!("{prefix}tls-verify"), "false"),
    }
    if let Some(file) = registry.authfile() {
        add("authfile", file.to_str().unwrap());
    }
    options
}

/// Runs the command with the options that lead to a registry.
fn json(bench: &Bench, registry: &DebianRegistry, arguments: &[&str]) -> Value {
    let options = options(registry, "");
    let options = options.iter().map(String::as_str);
    bench.json(arguments.iter().copied().chain(options))
}

fn push_and_take(kind: &[&str]) {
    let bench = recorded();
    let registry = DebianRegistry::start(&bench.path("registry"), kind);
    let target = format!("docker://{}/{NAME}", registry.host());
    let pushed = json(&bench, &registry, &["push", &target]);
    let images = pushed["images"].as_array().unwrap();
    assert_eq!(images.len(), 2, "{pushed}");
    let other = Bench::new();
    for (at, image) in images.iter().enumerate() {
        let digest = image["manifest_digest"].as_str().unwrap();
        for tag in image["tags"].as_array().unwrap() {
            let name = format!("{target}:{}", tag.as_str().unwrap());
            let mut arguments = vec!["skopeo", "inspect", "--format={{.Digest}}"];
            let with = options(&registry, "");
            arguments.extend(with.iter().map(String::as_str));
            arguments.push(&name);
            assert_eq!(engine(&arguments).trim(), digest);
        }
        let name = format!("{target}:{}", image["tags"][0].as_str().unwrap());
        let layout = bench.path(format!("layout-{at}"));
        let to = format!("oci:{}:copy", layout.display());
        let mut arguments = vec!["skopeo", "copy", "--preserve-digests"];
        let with = options(&registry, "src-");
        arguments.extend(with.iter().map(String::as_str));
        arguments.extend([name.as_str(), to.as_str()]);
        engine(&arguments);
        let index = std::fs::read(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(index["manifests"][0]["digest"], digest);
        let with = options(&registry, "").join(" ");
        let script = format!(
            "podman pull -q {with} {name} > /dev/null; podman image inspect --format '{{{{.Digest}}}}' {}; podman rmi -f -i {} > /dev/null",
            &name[9..],
            &name[9..]
        );
        assert_eq!(engine(&["bash", "-euc", &script]).trim(), digest);
        let pulled = json(&other, &registry, &["pull", &name]);
        assert_eq!(pulled["images"][0]["manifest_digest"], digest);
        assert_eq!(pulled["images"][0]["stage"], image["stage"]);
    }
    other.prints(0, ["verify", "--deep"]);
    let again = json(&bench, &registry, &["push", &target]);
    assert_eq!(again["pushed"]["layers"], 0, "{again}");
    let requests = again["traffic"]["requests"].as_u64().unwrap();
    // With a look for the scheme and, where tokens are wanted, for a token.
    assert!(requests <= 12 + 6, "{again}");
    if registry.authfile().is_some() {
        // A tag that is not there yet: what is there already need not be put.
        let new = format!("{target}:new");
        let output = bench
            .command(["push", "1", &new, "-q", "--authfile", "/dev/null"])
            .args(
                options(&registry, "")
                    .iter()
                    .filter(|one| !one.starts_with("--authfile")),
            )
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

#[test]
fn what_is_pushed_is_what_podman_and_skopeo_get() {
    push_and_take(&[]);
}

#[test]
fn what_is_pushed_with_tls_and_a_password_is_what_podman_and_skopeo_get() {
    push_and_take(&["--tls", "--htpasswd"]);
}

#[test]
fn what_is_pushed_with_tokens_is_what_podman_and_skopeo_get() {
    push_and_take(&["--token"]);
}

#[test]
fn images_of_others_are_compared_and_pulled() {
    let bench = recorded();
    let registry = DebianRegistry::start(&bench.path("registry"), &[]);
    let at = |tag: &str| format!("docker://{}/others/image:{tag}", registry.host());
    let from = format!("oci:{}:fedora:deps-installed", bench.store().display());
    for (tag, format) in [("oci", "oci"), ("docker", "v2s2")] {
        let to = at(tag);
        engine(&[
            "skopeo",
            "copy",
            "-f",
            format,
            "--dest-tls-verify=false",
            &from,
            &to,
        ]);
        bench.prints(0, ["diff", "fedora@deps-installed", &to]);
        let compared = bench.compared(["fedora@bootstrap", &to]);
        assert_eq!(compared["different"], true, "{tag}");
    }
    let other = Bench::new();
    other.prints(0, ["pull", &at("oci"), "--series", "others"]);
    other.prints(0, ["verify", "--deep"]);
    let told = other.fails(2, ["pull", &at("docker"), "--series", "others"]);
    assert!(told.contains("skopeo copy --format oci"), "{told}");
    // An index of two machines, of which this is one.
    let script = r#"
import json, sys, urllib.request
host, here = sys.argv[1:]
base = f"http://{host}/v2/others/image/manifests/"
oci = "application/vnd.oci.image."
got = urllib.request.urlopen(urllib.request.Request(base + "oci", headers={"Accept": oci + "manifest.v1+json"}))
digest, size = got.headers["Docker-Content-Digest"], len(got.read())
def of(machine):
    return {"mediaType": oci + "manifest.v1+json", "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": machine}}
index = {"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": [of("riscv64"), of(here), of("s390x")]}
urllib.request.urlopen(urllib.request.Request(base + "many", json.dumps(index).encode(), method="PUT",
    headers={"Content-Type": oci + "index.v1+json"}))
"#;
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    succeeds(Command::new("python3").args(["-c", script, registry.host(), here]));
    bench.prints(0, ["diff", "fedora@deps-installed", &at("many")]);
    let pulled = other.json(["pull", &at("many"), "--series", "many"]);
    assert_eq!(pulled["images"].as_array().unwrap().len(), 1, "{pulled}");
    other.prints(0, ["verify", "--deep"]);
}
