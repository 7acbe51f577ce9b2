//! What the sidecar is told by its pod: environment variables that the injection policy sets, and the pins in the annotations file.

use crate::downward::{self, MAX_ANNOTATIONS, Pins};
use anyhow::{Context, bail, ensure};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where the projected token and the annotations are mounted.
const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Settings of one run.
pub struct Config {
    /// The volume: `/run/polykey`.
    pub volume: PathBuf,
    /// PolykeyVaults of the pod's namespace, in the order of the annotation, each once.
    pub names: Vec<String>,
    /// `host:port` of the nodes' Service.
    pub endpoint: String,
    /// The projected token, read again at each connection: the kubelet renews it.
    pub token_file: PathBuf,
    /// Whom and what to trust.
    pub pins: Pins,
}

/// The volume, for `ready`, which needs nothing else.
#[must_use]
pub fn volume() -> PathBuf {
    std::env::var_os("POLYKEY_DIR").map_or_else(|| PathBuf::from("/run/polykey"), PathBuf::from)
}

impl Config {
    /// Reads `POLYKEY_VAULTS`, `POLYKEY_ENDPOINT`, `POLYKEY_DIR`, and the directory `POLYKEY_TOKEN_DIR` with `token` and `annotations`.
    ///
    /// # Errors
    /// A missing or malformed setting. Without one pinned node nobody could be trusted, so that is an error too.
    pub fn from_env() -> anyhow::Result<Config> {
        let var = |name: &str| {
            std::env::var(name).with_context(|| {
                format!("{name} is not set: was this container made by the injection policy?")
            })
        };
        let token_dir = std::env::var_os("POLYKEY_TOKEN_DIR")
            .map_or_else(|| PathBuf::from(TOKEN_DIR), PathBuf::from);
        let pins = read_pins(&token_dir.join("annotations"))?;
        ensure!(
            !pins.nodes.is_empty(),
            "no annotation nodes.polykey.io/… names a node: is the policy that pins nodes installed?"
        );
        Ok(Config {
            volume: volume(),
            names: names(&var("POLYKEY_VAULTS")?)?,
            endpoint: var("POLYKEY_ENDPOINT")?,
            token_file: token_dir.join("token"),
            pins,
        })
    }
}

fn read_pins(file: &Path) -> anyhow::Result<Pins> {
    let mut text = String::new();
    let opened =
        std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    opened
        .take(MAX_ANNOTATIONS)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", file.display()))?;
    downward::pins(&text).with_context(|| format!("{} is malformed", file.display()))
}

/// Splits `POLYKEY_VAULTS`. Names become directories and file names, so they are checked again here.
fn names(list: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::<String>::new();
    for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let label = name.len() <= 63
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !label {
            bail!("POLYKEY_VAULTS: {name:?} is not a PolykeyVault name");
        }
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    ensure!(!names.is_empty(), "POLYKEY_VAULTS names no vault");
    ensure!(
        names.len() <= polykey_client::watch::MAX_NAMES,
        "POLYKEY_VAULTS names {} vaults; the most is {}",
        names.len(),
        polykey_client::watch::MAX_NAMES
    );
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_are_trimmed_and_each_stands_once() {
        assert_eq!(names(" app, tls,app ,").unwrap(), ["app", "tls"]);
    }

    #[test]
    fn a_name_that_would_leave_the_volume_is_refused() {
        for bad in ["..", "a/b", "A", "-a", "a.", ".state", "", " , "] {
            assert!(names(bad).is_err(), "{bad:?}");
        }
    }
}
