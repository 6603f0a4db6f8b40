//! Images that were made member by member, with what rootstrata would never write.

use super::succeeds;
use std::path::Path;
use std::process::Command;

const MAKE: &str = r#"
import hashlib, io, json, os, sys, tarfile
os.makedirs("layout/blobs/sha256")
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}
def layer(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, value in members:
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.LNKTYPE, "soft": tarfile.SYMTYPE}[kind]
            info.mtime, info.uname = 1700000000, "root"
            if kind == "dir": info.mode = 0o750
            elif kind == "file": info.size = len(value)
            else: info.linkname = value
            tar.addfile(info, io.BytesIO(value) if kind == "file" else None)
    return out.getvalue()
blobs = [put(layer(members)) for members in eval(sys.argv[1])]
config = put(json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]},
    "rootfs": {"type": "layers", "diff_ids": [blob["digest"] for blob in blobs]}}).encode())
oci = "application/vnd.oci.image."
manifest = put(json.dumps({"schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
    "config": dict(config, mediaType=oci + "config.v1+json"),
    "layers": [dict(blob, mediaType=oci + "layer.v1.tar") for blob in blobs]}).encode())
json.dump({"schemaVersion": 2, "manifests": [dict(manifest, mediaType=oci + "manifest.v1+json")]}, open("layout/index.json", "w"))
open("layout/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
for blob in blobs: print(blob["digest"][7:])
"#;

/// Makes an image as `layout` in a directory, of one layer for each of these Python lists of `(name, type, target or
/// content)`. Returns the digests of the layers, in hexadecimal.
pub fn image(directory: &Path, layers: &str) -> Vec<String> {
    let mut python = Command::new("python3");
    let digests = succeeds(python.args(["-c", MAKE, layers]).current_dir(directory));
    digests.lines().map(str::to_owned).collect()
}
