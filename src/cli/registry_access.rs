//! How registries are reached: options, and files and variables as podman and docker have them (containers-auth.json(5),
//! containers-certs.d(5), containers-policy.json(5)).

use crate::registry::Access;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const HEADING: &str = "Registries";

/// The options of all commands that speak with a registry.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Read credentials from FILE alone [env: REGISTRY_AUTH_FILE]
    /// [default: those of podman, then of docker]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING, hide_short_help = true)]
    authfile: Option<PathBuf>,
    /// Take certificates of authorities (*.crt) and of the client (*.cert,
    /// *.key) from DIR [default: certs.d of containers and docker]
    #[arg(long, global = true, value_name = "DIR", help_heading = HEADING, hide_short_help = true)]
    cert_dir: Option<PathBuf>,
    /// Want HTTPS and a certificate that holds; =false for neither
    /// [default: true, but HTTP will do for this machine]
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = HEADING, hide_short_help = true, hide_possible_values = true)]
    tls_verify: Option<bool>,
    /// Send or fetch N blobs at once [default: 4]
    #[arg(long, global = true, value_name = "N", help_heading = HEADING, hide_short_help = true)]
    jobs: Option<NonZeroUsize>,
}

/// Blobs that are on the wire at once.
const JOBS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

impl RegistryArgs {
    /// Returns how many blobs are sent at once.
    pub(crate) fn jobs(&self) -> NonZeroUsize {
        self.jobs.unwrap_or(JOBS)
    }

    /// Returns how registries are reached: as the options say, else the environment.
    pub(crate) fn access(&self) -> Access {
        let config = config_directory();
        let home = variable("HOME");
        let under = |directory: &Option<PathBuf>, rest: &str| {
            directory.as_ref().map(|directory| directory.join(rest))
        };
        let docker = variable("DOCKER_CONFIG").or_else(|| under(&home, ".docker"));
        let authfiles = [
            runtime_directory().map(|run| run.join("auth.json")),
            under(&config, "containers/auth.json"),
            under(&docker, "config.json"),
        ];
        let certificates = [
            under(&config, "containers/certs.d"),
            Some("/etc/containers/certs.d".into()),
            Some("/etc/docker/certs.d".into()),
        ];
        let own_policy = under(&config, "containers/policy.json");
        let policy = own_policy.filter(|own| own.exists());
        Access {
            authfile: self
                .authfile
                .clone()
                .or_else(|| variable("REGISTRY_AUTH_FILE")),
            authfiles: authfiles.into_iter().flatten().collect(),
            cert_dir: self.cert_dir.clone(),
            cert_dirs: certificates.into_iter().flatten().collect(),
            tls_verify: self.tls_verify,
            policy: Some(policy.unwrap_or_else(|| "/etc/containers/policy.json".into())),
            ..Access::default()
        }
    }
}

/// Returns where podman login keeps credentials until the next boot; root need not have a directory of the session.
fn runtime_directory() -> Option<PathBuf> {
    let directory = variable("XDG_RUNTIME_DIR").map(|run| run.join("containers"));
    let of_root = || {
        let is_root = rustix::process::geteuid().is_root();
        is_root.then(|| Path::new("/run/containers/0").to_owned())
    };
    directory.or_else(of_root)
}

fn config_directory() -> Option<PathBuf> {
    let home = || variable("HOME").map(|home| home.join(".config"));
    variable("XDG_CONFIG_HOME").or_else(home)
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
