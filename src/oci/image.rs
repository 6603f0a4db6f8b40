//! Configuration and manifest of an image (image-spec, config.md and manifest.md).

use super::{Blob, to_sorted_json};
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::plan::layer::Role;
use crate::model::time::rfc3339;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, DescriptorBuilder, HistoryBuilder, ImageConfigurationBuilder,
    ImageManifestBuilder, MediaType, Os, RootFsBuilder, Sha256Digest,
};
use std::collections::HashMap;

/// Annotations of a layer's descriptor: role and key in rootstrata's terms.
pub(crate) const LAYER_ROLE: &str = "org.rootstrata.layer.role";
/// See [`LAYER_ROLE`].
pub(crate) const LAYER_KEY: &str = "org.rootstrata.layer.key";

/// A layer of an image.
#[derive(Clone, Debug)]
pub struct ImageLayer {
    /// The role.
    pub role: Role,
    /// The key.
    pub key: LayerKey,
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// The compressed blob.
    pub blob: Blob,
    /// The media type of the blob.
    pub media_type: String,
}

/// The properties of an image beyond layers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The architecture in GOARCH's terms, such as `amd64`.
    pub architecture: String,
    /// `USER:GROUP` of processes.
    pub user: Option<String>,
    /// The default command.
    pub command: Vec<String>,
    /// `created`, in seconds since 1970.
    pub created_s: i64,
}

/// Returns the bytes of a configuration. Fails if the image-spec refuses a value.
pub fn config(settings: &Settings, layers: &[ImageLayer]) -> Result<Vec<u8>> {
    let created = rfc3339(settings.created_s);
    let history = layers.iter().map(|layer| {
        let by = format!("rootstrata: {}", layer.role.name());
        HistoryBuilder::default()
            .created(created.clone())
            .created_by(by)
            .build()
    });
    let built = || -> oci_spec::Result<_> {
        ImageConfigurationBuilder::default()
            .architecture(Arch::from(settings.architecture.as_str()))
            .os(Os::Linux)
            .created(created.clone())
            .config(process(settings).build()?)
            .rootfs(
                RootFsBuilder::default()
                    .typ("layers")
                    .diff_ids(diff_ids(layers))
                    .build()?,
            )
            .history(history.collect::<oci_spec::Result<Vec<_>>>()?)
            .build()
    };
    built()
        .map(|config| to_sorted_json(&config))
        .map_err(unbuildable)
}

fn diff_ids(layers: &[ImageLayer]) -> Vec<String> {
    let diff_ids = layers.iter().map(|layer| layer.diff_id.to_string());
    diff_ids.collect()
}

/// Returns how processes of an image run.
fn process(settings: &Settings) -> ConfigBuilder {
    let mut process = ConfigBuilder::default();
    if let Some(user) = &settings.user {
        process = process.user(user.clone());
    }
    if !settings.command.is_empty() {
        process = process.cmd(settings.command.clone());
    }
    process
}

/// Returns the bytes of the configuration `there` with other layers. Fails if `there` is no configuration.
pub(crate) fn with_layers(there: &[u8], layers: &[ImageLayer]) -> Result<Vec<u8>> {
    let unreadable = |e: serde_json::Error| Error::Image(e.to_string());
    let mut config: serde_json::Value = serde_json::from_slice(there).map_err(unreadable)?;
    config["rootfs"] = serde_json::json!({ "diff_ids": diff_ids(layers), "type": "layers" });
    let created = config["created"].clone();
    let history = layers.iter().map(|layer| {
        let by = format!("rootstrata: {}", layer.role.name());
        if created.is_null() {
            serde_json::json!({ "created_by": by })
        } else {
            serde_json::json!({ "created": created, "created_by": by })
        }
    });
    config["history"] = history.collect();
    serde_json::to_vec(&config).map_err(unreadable)
}

/// Returns the bytes of a manifest. Fails if the image-spec refuses the descriptor of a layer.
pub fn manifest(config: &Blob, layers: &[ImageLayer]) -> Result<Vec<u8>> {
    let built = || -> oci_spec::Result<_> {
        let layers: oci_spec::Result<Vec<Descriptor>> = layers
            .iter()
            .map(|layer| {
                let annotations = HashMap::from([
                    (LAYER_ROLE.to_owned(), layer.role.name().to_owned()),
                    (LAYER_KEY.to_owned(), layer.key.to_string()),
                ]);
                descriptor(&layer.blob, MediaType::from(layer.media_type.as_str()))?
                    .annotations(annotations)
                    .build()
            })
            .collect();
        ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(config, MediaType::ImageConfig)?.build()?)
            .layers(layers?)
            .build()
    };
    built()
        .map(|manifest| to_sorted_json(&manifest))
        .map_err(unbuildable)
}

/// Returns the descriptor of a blob. Fails if the image-spec refuses the digest.
pub(super) fn descriptor(
    blob: &Blob,
    media_type: MediaType,
) -> oci_spec::Result<DescriptorBuilder> {
    Ok(DescriptorBuilder::default()
        .media_type(media_type)
        .digest(sha256(&blob.digest)?)
        .size(blob.size_bytes))
}

fn sha256(digest: &Digest) -> oci_spec::Result<Sha256Digest> {
    digest.hex().parse()
}

pub(super) fn unbuildable(error: oci_spec::OciSpecError) -> Error {
    Error::Image(error.to_string())
}

/// Returns GOARCH's name for an architecture of rpm or of Rust; an unknown name stays.
pub(crate) fn goarch(arch: &str) -> &str {
    match arch {
        "x86_64" | "x86_64_v2" | "x86_64_v3" | "x86_64_v4" => "amd64",
        "i386" | "i486" | "i586" | "i686" | "x86" => "386",
        "aarch64" => "arm64",
        "armv7hl" | "armv7l" | "armv7hnl" => "arm",
        "powerpc64" | "ppc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Settings, ImageLayer) {
        let settings = Settings {
            architecture: "amd64".to_owned(),
            user: Some("mockbuild:mock".to_owned()),
            command: vec!["/bin/bash".to_owned()],
            created_s: 315_619_200,
        };
        let layer = ImageLayer {
            role: Role::Base,
            key: LayerKey([1; 32]),
            diff_id: DiffId([2; 32]),
            blob: Blob {
                digest: Digest([3; 32]),
                size_bytes: 9,
            },
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned(),
        };
        (settings, layer)
    }

    #[test]
    fn equal_images_are_equal_bytes() {
        let (settings, layer) = sample();
        let layers = [layer.clone(), layer];
        let blob = Blob {
            digest: Digest([5; 32]),
            size_bytes: 7,
        };
        let first = manifest(&blob, &layers).unwrap();
        for _ in 0..20 {
            assert_eq!(manifest(&blob, &layers).unwrap(), first);
            assert_eq!(
                config(&settings, &layers).unwrap(),
                config(&settings, &layers).unwrap()
            );
        }
        let text = String::from_utf8(first).unwrap();
        assert!(
            text.starts_with(r#"{"config":{"digest":"sha256:0505"#),
            "{text}"
        );
        assert!(!text.contains("docker"), "{text}");
    }

    #[test]
    fn a_configuration_has_a_history_entry_for_each_layer() {
        let (settings, layer) = sample();
        let json: serde_json::Value =
            serde_json::from_slice(&config(&settings, &[layer.clone(), layer]).unwrap()).unwrap();
        assert_eq!(json["history"].as_array().unwrap().len(), 2);
        assert_eq!(json["created"], "1980-01-02T00:00:00Z");
        assert_eq!(json["config"]["User"], "mockbuild:mock");
        assert_eq!(json["rootfs"]["type"], "layers");
    }
}
