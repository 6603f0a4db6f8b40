//! Images that are made to hurt whoever reads them: each ends in an error, in bounded time and memory.

use crate::common::{Bench, rootstrata, text};
use std::process::Command;

/// Far more than any of them takes; without the bounds, all of them would take more.
const SECONDS: u32 = 120;
const MEMORY_KIB: u32 = 8 << 20;

/// Writes a layout to `sys.argv[1]`: the script in `sys.argv[2]` defines `layer`, which yields the bytes of its layer, and may
/// put into `changes` what is done to configuration, manifest and layout.
const MAKER: &str = r#"import hashlib, io, json, os, subprocess, sys
out = sys.argv[1]
os.makedirs(out + "/blobs/sha256")
def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    open(out + "/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": media, "digest": "sha256:" + digest, "size": len(data)}
def header(name, size=0, kind=b"0"):
    block = bytearray(512)
    block[:len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
def padded(data):
    return data + bytes(-len(data) % 512)
def extended(data):
    return header(b"x", len(data), b"x") + padded(data)
def record(key, value):
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)
changes = {}
def members():
    exec(sys.argv[2], globals())
    return layer()
zstd = subprocess.Popen(["zstd", "-q", "-1"], stdin=subprocess.PIPE, stdout=open(out + "/layer", "wb"))
tar = hashlib.sha256()
for part in members():
    zstd.stdin.write(part)
    tar.update(part)
zstd.stdin.close()
assert zstd.wait() == 0
packed = open(out + "/layer", "rb").read()
config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + tar.hexdigest()]}}
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "layers": [blob(packed, "application/vnd.oci.image.layer.v1.tar+zstd")]}
if "config" in changes: changes["config"](config)
manifest["config"] = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
if "manifest" in changes: changes["manifest"](manifest)
index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")]}
open(out + "/index.json", "w").write(json.dumps(index))
open(out + "/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
if "layout" in changes: changes["layout"](manifest["layers"][0]["digest"][7:])
"#;

/// Makes an image and returns the one line that comparing it with an empty directory gives.
fn error_of(bench: &Bench, name: &str, script: &str) -> String {
    let layout = bench.path(name);
    let made = Command::new("python3")
        .args(["-c", MAKER])
        .arg(&layout)
        .arg(script)
        .output()
        .unwrap();
    assert!(made.status.success(), "{name}: {}", text(&made.stderr));
    let size: u64 = std::fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|blob| blob.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 8 << 20, "{name} is no bomb: {size} bytes");
    let empty = bench.make("empty");
    let mut command = Command::new("bash");
    command.args([
        "-c",
        &format!("ulimit -v {MEMORY_KIB}; exec timeout {SECONDS} \"$@\""),
        "bash",
    ]);
    command
        .arg(rootstrata().get_program())
        .arg("--store")
        .arg(bench.store())
        .args(["-q", "diff"]);
    command
        .arg(format!("dir:{}", empty.display()))
        .arg(format!("oci:{}", layout.display()));
    let output = command.output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
    assert!(stderr.contains(name), "{stderr}");
    stderr
}

#[test]
fn layers_that_name_more_than_any_root_holds_end_in_an_error() {
    let bench = Bench::new();
    for (name, script, text) in [
        (
            "deep",
            "def layer(): yield extended(record(b'path', b'd/' * 400_000)) + header(b'd', 0, b'5')",
            "is too long",
        ),
        (
            "deeper",
            "def layer(): yield extended(record(b'path', b'd/' * 1_000_000)) + header(b'd', 0, b'5')",
            "extended header that is too large",
        ),
        (
            "records", // hundreds of millions
            "def layer():\n  for _ in range(1100): yield extended(b'5 a=\\n' * 200_000) + header(b'x')",
            "more extended headers than any root needs",
        ),
        (
            "headers",
            "def layer():\n  for _ in range(100_000): yield extended(b'5 a=\\n')",
            "too many extended headers",
        ),
        (
            "links", // each with all attributes of its inode
            "def layer():
  yield extended(record(b'SCHILY.xattr.user.a', b'x' * 1_000_000)) + header(b'x')
  for number in range(1500): yield extended(record(b'linkpath', b'x')) + header(b'l%d' % number, 0, b'1')",
            "one more than any root has",
        ),
        (
            "parents", // that nobody has named
            "def layer():\n  for number in range(400): yield extended(record(b'path', b'%d/' % number + b'd/' * 2000)) + header(b'x', 0, b'5')",
            "more entries than any root",
        ),
    ] {
        let error = error_of(&bench, name, script);
        assert!(error.contains(text), "{name}: {error}");
    }
}

#[test]
fn images_that_lie_of_their_blobs_end_in_an_error() {
    let bench = Bench::new();
    let layer = "def layer(): yield header(b'x') + bytes(1024)\n";
    for (name, script, text) in [
        (
            "layers",
            "changes['manifest'] = lambda m: m.update(layers=m['layers'] * 30_000)",
            "is too large",
        ),
        (
            "more-layers",
            "changes['manifest'] = lambda m: m.update(layers=m['layers'] * 2000)\nchanges['config'] = lambda c: c['rootfs'].update(diff_ids=c['rootfs']['diff_ids'] * 2000)",
            "2000 layers",
        ),
        (
            "sizes", // whose sum is no number
            "changes['manifest'] = lambda m: m['layers'][0].update(size=2**64 - 1)
changes['config'] = lambda c: c['rootfs'].update(diff_ids=c['rootfs']['diff_ids'] * 2)
old = changes['manifest']
changes['manifest'] = lambda m: (old(m), m.update(layers=m['layers'] * 2))",
            "18446744073709551615",
        ),
        (
            "fifo", // for which opening would wait
            "changes['layout'] = lambda digest: (os.remove(f'{out}/blobs/sha256/{digest}'), os.mkfifo(f'{out}/blobs/sha256/{digest}'))",
            "is no regular file",
        ),
    ] {
        let error = error_of(&bench, name, &format!("{layer}{script}"));
        assert!(error.contains(text), "{name}: {error}");
    }
}
