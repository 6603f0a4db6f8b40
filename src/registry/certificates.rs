//! Certificates as of containers-certs.d(5): roots beside those of the system, and a client's own.

use crate::error::Error;
use crate::error::Result;
use crate::registry::access::Access;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use ureq::tls::Certificate;
use ureq::tls::ClientCert;
use ureq::tls::PrivateKey;

const LARGEST: u64 = 4 << 20;

/// Whom to trust, and whom to be.
pub(super) struct Certificates {
    pub(super) roots: Vec<Certificate<'static>>,
    pub(super) client: Option<ClientCert>,
}

impl Certificates {
    /// Reads the system's roots and the directory for `host`. Fails where a file of the directory is not what its name says;
    /// a directory that is not there has none.
    pub(super) fn load(access: &Access, host: &str) -> Result<Self> {
        let system = rustls_native_certs::load_native_certs();
        let system = system.certs.iter();
        let mut all = Self {
            roots: system
                .map(|der| Certificate::from_der(der).to_owned())
                .collect(),
            client: None,
        };
        let hosts = access.cert_dirs.iter().map(|dir| dir.join(host));
        let directory = match &access.cert_dir {
            Some(directory) => Some(directory.clone()),
            None => hosts.into_iter().find(|dir| dir.is_dir()),
        };
        if let Some(directory) = directory {
            all.add(&directory)?;
        }
        Ok(all)
    }

    fn add(&mut self, directory: &Path) -> Result<()> {
        for path in listed(directory)? {
            let ending = path.extension().and_then(|e| e.to_str());
            match ending {
                Some("crt") => self.roots.extend(certificates(&path)?),
                Some("cert") if self.client.is_none() => self.client = Some(client(&path)?),
                _ => {}
            }
        }
        Ok(())
    }
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = fs::read_dir(directory);
    for entry in entries.map_err(Error::io("read directory", directory))? {
        let entry = entry.map_err(Error::io("read directory", directory))?;
        paths.push(entry.path());
    }
    paths.sort();
    Ok(paths)
}

fn bad(path: &Path, what: &str) -> Error {
    Error::BadRegistryFile {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

/// Reads a file, a large one in part.
fn content(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|f| f.take(LARGEST).read_to_end(&mut bytes));
    read.map_err(Error::io::<io::Error>("read", path))?;
    Ok(bytes)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = content(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(bad(path, "it has no certificate in PEM form")),
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let all = chain(path)?;
    let all = all.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(all.collect())
}

/// Reads a client's certificate and the key beside it.
fn client(path: &Path) -> Result<ClientCert> {
    let chain = chain(path)?;
    let key_path = path.with_extension("key");
    let bytes = content(&key_path)?;
    let no_key = || bad(&key_path, "it has no key in PEM form");
    let der = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| no_key())?;
    let key = PrivateKey::from_pem(&bytes).map_err(|_| no_key())?;
    // The library would panic on a key of another certificate.
    let provider = rustls::crypto::ring::default_provider();
    if CertifiedKey::from_der(chain.clone(), der, &provider).is_err() {
        return Err(bad(&key_path, "it is not the key of its certificate"));
    }
    let chain: Vec<_> = chain
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    Ok(ClientCert::new_with_certs(&chain, key))
}
