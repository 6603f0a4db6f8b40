//! SPDX 2.3 as JSON (spdx.github.io/spdx-spec/v2.3).

use super::material::{Material, TOOL, TOOL_VERSION, line};
use super::purl::purl;
use crate::model::packages::owners::Installed;
use crate::model::time::rfc3339;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
const UNKNOWN: &str = "NOASSERTION";

/// Returns the document.
pub(super) fn document(material: &Material) -> Value {
    let mut packages = vec![image(material)];
    let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", IMAGE)];
    let (mut licenses, mut ids) = (BTreeMap::new(), HashSet::new());
    for installed in material.packages {
        let id = id_of(&purl(&installed.package, &material.os));
        // An identifier names one package.
        if !ids.insert(id.clone()) {
            continue;
        }
        relationships.push(relationship(IMAGE, "CONTAINS", &id));
        packages.push(package(material, installed, &id, &mut licenses));
    }
    let licenses = licenses
        .into_iter()
        .map(|(id, text)| json!({ "licenseId": id, "name": text, "extractedText": text }));
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": material.name,
        "creationInfo": {
            "created": rfc3339(material.created_s),
            "creators": [format!("Tool: {TOOL}-{TOOL_VERSION}")],
        },
        "packages": packages,
        "hasExtractedLicensingInfos": licenses.collect::<Vec<Value>>(),
        "relationships": relationships,
    });
    let uuid = material.uuid(&document);
    document["documentNamespace"] = json!(format!("urn:uuid:{uuid}"));
    document
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Returns the identifier of an element that a text names: letters, digits, `.` and `-` alone are allowed.
fn id_of(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes()).to_hex();
    format!("SPDXRef-Package-{}", &hash[..20])
}

fn image(material: &Material) -> Value {
    json!({
        "SPDXID": IMAGE,
        "name": material.name,
        "versionInfo": material.manifest.to_string(),
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
    })
}

/// Returns a package; `licenses` gets the text of the licence.
fn package(
    material: &Material,
    installed: &Installed,
    id: &str,
    licenses: &mut BTreeMap<String, String>,
) -> Value {
    let package = &installed.package;
    let mut object = Map::from_iter([
        ("SPDXID".to_owned(), json!(id)),
        ("name".to_owned(), json!(line(&package.name))),
        ("versionInfo".to_owned(), json!(line(&package.evr()))),
        ("downloadLocation".to_owned(), json!(UNKNOWN)),
        ("filesAnalyzed".to_owned(), json!(false)),
        ("licenseConcluded".to_owned(), json!(UNKNOWN)),
        ("copyrightText".to_owned(), json!(UNKNOWN)),
    ]);
    let locator = purl(package, &material.os);
    let reference = json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": locator,
    });
    object.insert("externalRefs".to_owned(), json!([reference]));
    if !package.source_rpm.is_empty() {
        let text = format!("built from {}", line(&package.source_rpm));
        object.insert("sourceInfo".to_owned(), json!(text));
    }
    if package.build_time_s > 0 {
        object.insert("builtDate".to_owned(), json!(rfc3339(package.build_time_s)));
    }
    let details = installed.details.as_deref().cloned().unwrap_or_default();
    let mut declared = UNKNOWN.to_owned();
    if !details.license.is_empty() {
        // Of the tags of rpms, not all are expressions of SPDX.
        let hash = blake3::hash(details.license.as_bytes()).to_hex();
        declared = format!("LicenseRef-{}", &hash[..20]);
        licenses.insert(declared.clone(), line(&details.license));
    }
    object.insert("licenseDeclared".to_owned(), json!(declared));
    if !details.vendor.is_empty() {
        let supplier = format!("Organization: {}", line(&details.vendor));
        object.insert("supplier".to_owned(), json!(supplier));
    }
    let comments = [
        ("signed by", &details.signature_key),
        ("header", &details.header_checksum),
    ];
    let comments = comments.iter().filter(|(_, text)| !text.is_empty());
    let comments: Vec<String> = comments
        .map(|(what, text)| format!("{what} {text}"))
        .collect();
    if !comments.is_empty() {
        object.insert("comment".to_owned(), json!(comments.join(", ")));
    }
    Value::Object(object)
}
