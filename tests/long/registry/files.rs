//! Files that the client is given: policy, certificates, credentials.

use super::{access, client, repository};
use crate::common::registry::FaultyRegistry;
use rootstrata::error::Error;
use rootstrata::registry::{Client, Right};

#[test]
fn a_policy_that_wants_signatures_is_refused_with_the_name_of_a_tool_that_checks_them() {
    let registry = FaultyRegistry::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.json");
    let mut access = access();
    access.policy = Some(path.clone());
    client(&registry, &access);
    let name = repository(&registry, "a/b");
    for (text, is_open) in [
        (r#"{"default":[{"type":"insecureAcceptAnything"}]}"#, true),
        (r#"{"default":[{"type":"reject"}]}"#, false),
        (r#"{"default":[{"type":"signedBy"}]}"#, false),
        ("{", false),
    ] {
        std::fs::write(&path, text).unwrap();
        let opened = Client::open(&name, &access, Right::Pull);
        assert_eq!(opened.is_ok(), is_open, "{text}");
        if let Err(error @ Error::SignaturesWanted { .. }) = opened {
            let told = error.to_string();
            assert!(
                told.contains("skopeo") && told.contains("policy.json"),
                "{told}"
            );
        }
    }
    assert!(registry.log().is_empty());
}

#[test]
fn certificates_that_are_none_are_named() {
    let registry = FaultyRegistry::start();
    let directory = tempfile::tempdir().unwrap();
    let name = repository(&registry, "a/b");
    let mut access = access();
    access.cert_dir = Some(directory.path().to_owned());
    Client::open(&name, &access, Right::Pull).unwrap();
    for file in ["ca.crt", "client.cert"] {
        let path = directory.path().join(file);
        std::fs::write(&path, "none").unwrap();
        let error = Client::open(&name, &access, Right::Pull).unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
        std::fs::remove_file(path).unwrap();
    }
    // Of several directories, that of the host counts.
    access.cert_dir = None;
    access.cert_dirs = vec![directory.path().to_owned()];
    std::fs::create_dir(directory.path().join(registry.host())).unwrap();
    std::fs::write(directory.path().join("ca.crt"), "none").unwrap();
    Client::open(&name, &access, Right::Pull).unwrap();
    let own = directory.path().join(registry.host()).join("ca.crt");
    std::fs::write(own, "none").unwrap();
    assert!(Client::open(&name, &access, Right::Pull).is_err());
}

#[test]
fn http_will_not_do_where_tls_is_insisted_on() {
    let registry = FaultyRegistry::start();
    let mut access = access();
    access.tls_verify = Some(true);
    let error = client(&registry, &access).tags().unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
    assert!(registry.log().is_empty(), "{:?}", registry.log());
    access.tls_verify = Some(false);
    assert!(client(&registry, &access).tags().unwrap().is_empty());
}
