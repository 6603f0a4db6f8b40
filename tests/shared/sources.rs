//! Shared by both targets. What can be compared beside snapshots: directories as they are, and images that anybody may have made.

use crate::common::{Bench, install_with_python, sh};
use serde_json::json;
use std::path::PathBuf;

/// A root with a package, hardlinks, devices and odd names.
pub(crate) fn root(bench: &Bench) -> PathBuf {
    let root = bench.make("root");
    sh(
        &root,
        r"mkdir -p etc usr/bin d/e; echo 'root:x:0:0::/:/bin/sh' > etc/passwd; echo tool > usr/bin/tool; ln -s usr/bin bin
          ln usr/bin/tool d/hard; mkfifo d/pipe; mknod d/tty c 5 0; echo odd > $'d/o\ndd\xff'; : > d/empty
          chmod 4755 d/empty; chown 12:34 d/e; setfattr -n user.a -v v d; echo x > $(printf 'd/%0200d' 1)
          find . -exec touch -h -d @1000000000 {} +",
    );
    install_with_python(
        &root,
        &json!([{ "name": "tool", "version": "1", "release": "1", "arch": "noarch", "files": ["/bin/tool"] }]),
    );
    root
}

/// Exports the newest snapshot in a form.
pub(crate) fn export(bench: &Bench, name: &str, more: &[&str]) -> String {
    let path = bench.path(name);
    bench.json([&["export", "s", "-o", path.to_str().unwrap()], more].concat());
    path.to_str().unwrap().to_owned()
}
