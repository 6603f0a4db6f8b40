//! Shared by both targets. What a change of the root does to the layers. Every tree is unpacked by umoci and compared with the root.

pub(crate) const FIRST: &str = "--stage bootstrap --profile plain --compression gzip";

pub(crate) const THREE: &str = "mkdir -p d/e; echo one > d/a; echo two > d/e/b; ln -s a d/l; echo top > t; chmod 2775 d; chmod 700 d/e";
