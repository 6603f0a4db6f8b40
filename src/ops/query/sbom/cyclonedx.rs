//! CycloneDX 1.5 as JSON (cyclonedx.org/docs/1.5/json).

use super::material::{Material, TOOL, TOOL_VERSION, line};
use super::purl::purl;
use crate::model::packages::owners::Installed;
use crate::model::time::rfc3339;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Returns the document.
pub(super) fn document(material: &Material) -> Value {
    let mut components = Vec::new();
    if !material.os.id.is_empty() {
        let os = &material.os;
        components.push(json!({
            "type": "operating-system",
            "bom-ref": format!("os:{}", os.distro().unwrap_or_default()),
            "name": os.id,
            "version": os.version_id,
        }));
    }
    let mut references = HashSet::new();
    for installed in material.packages {
        let component = component(material, installed);
        // A reference names one component.
        if references.insert(component["bom-ref"].to_string()) {
            components.push(component);
        }
    }
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(material.created_s),
            "tools": { "components": [{ "type": "application", "name": TOOL, "version": TOOL_VERSION }] },
            "component": {
                "type": "container",
                "bom-ref": material.manifest.to_string(),
                "name": material.name,
                "version": material.manifest.to_string(),
            },
        },
        "components": components,
    });
    let uuid = material.uuid(&document);
    document["serialNumber"] = json!(format!("urn:uuid:{uuid}"));
    document
}

fn component(material: &Material, installed: &Installed) -> Value {
    let package = &installed.package;
    let purl = purl(package, &material.os);
    let details = installed.details.as_deref().cloned().unwrap_or_default();
    let mut object = Map::from_iter([
        ("type".to_owned(), json!("library")),
        ("bom-ref".to_owned(), json!(purl)),
        ("name".to_owned(), json!(line(&package.name))),
        ("version".to_owned(), json!(line(&package.evr()))),
        ("purl".to_owned(), json!(purl)),
    ]);
    if !details.vendor.is_empty() {
        object.insert("publisher".to_owned(), json!(line(&details.vendor)));
    }
    if !details.license.is_empty() {
        let licenses = json!([{ "license": { "name": line(&details.license) } }]);
        object.insert("licenses".to_owned(), licenses);
    }
    let built = (package.build_time_s > 0).then(|| rfc3339(package.build_time_s));
    let size = installed
        .details
        .as_ref()
        .map(|known| known.size_bytes.to_string());
    let properties = [
        ("source_rpm", package.source_rpm.clone()),
        ("build_time", built.unwrap_or_default()),
        ("size_bytes", size.unwrap_or_default()),
        ("signature_key", details.signature_key),
        ("header_checksum", details.header_checksum),
        ("md5", details.md5),
    ];
    let properties = properties
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    let properties = properties
        .map(|(name, value)| json!({ "name": format!("{TOOL}:{name}"), "value": line(&value) }));
    let properties: Vec<Value> = properties.collect();
    if !properties.is_empty() {
        object.insert("properties".to_owned(), json!(properties));
    }
    Value::Object(object)
}
