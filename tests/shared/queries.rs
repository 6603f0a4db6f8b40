//! Shared by both targets. What is known of recorded snapshots: `which`, `find`, `cat` and `explain`.

use crate::common::{Bench, install_with_python, layer, sh};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(crate) fn root(bench: &Bench) -> PathBuf {
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin usr/lib etc; ln -s usr/lib lib; echo tool > usr/bin/tool; echo lib > usr/lib/tool.so
         echo conf > etc/tool.conf; echo free > etc/free; ln usr/bin/tool usr/bin/zz
         head -c 300000 /dev/urandom > ballast
         find . -exec touch -h -d @1000000000 {} +",
    );
    install_tool(&root, "1");
    root
}

pub(crate) fn install_tool(root: &Path, version: &str) {
    let conf = json!({ "path": "/etc/tool.conf", "flags": 1 });
    let files = json!([
        "/usr/bin",
        "/usr/bin/tool",
        "/lib/tool.so",
        conf,
        "/var/tool.cache"
    ]);
    let tool = json!({ "name": "tool", "version": version, "release": "1", "arch": "noarch", "files": files });
    let other = json!({ "name": "other", "version": "1", "release": "1", "arch": "noarch", "files": ["/usr/bin"] });
    install_with_python(root, &json!([tool, other]));
}

/// The layer of this role with its reason.
pub(crate) fn explained(bench: &Bench, snapshot: &str, role: &str) -> Value {
    let explained = bench.json(["explain", snapshot]);
    layer(&explained, role).clone()
}
