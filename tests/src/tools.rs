//! The programs that tests need and that no package has: Kubernetes itself, CoreDNS and Helm, built from source once and kept outside the clone.

use crate::wait::run;
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version that the built programs report. The sources are those of go.mod.
const KUBERNETES: &str = "v1.37.2";
/// Module and version of CoreDNS.
const COREDNS: &str = "github.com/coredns/coredns@v1.14.0";
/// Module and version of Helm.
const HELM: &str = "helm.sh/helm/v4/cmd/helm@v4.2.3";
/// Names that the one program of Kubernetes answers to.
const LINKS: [&str; 7] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"];

/// The root of the repository.
///
/// # Panics
/// Never: this crate is a folder of it.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the repository")
}

/// Where built things are kept: `POLYKEY_TEST_CACHE`, else `~/.cache/polykey`.
#[must_use]
pub fn cache() -> PathBuf {
    std::env::var_os("POLYKEY_TEST_CACHE").map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/polykey"), PathBuf::from)
}

/// The folder of the built programs. Building takes some ten minutes on two cores, once for each go.sum.
///
/// # Errors
/// When Go is missing or a build fails.
pub fn programs() -> Result<PathBuf> {
    let module = repository().join("tests/kubernetes");
    let sums = std::fs::read(module.join("go.sum")).context("tests/kubernetes/go.sum")?;
    let bin = cache().join(format!("kubernetes-{}/bin", &crate::images::sha256(&sums)[..12]));
    std::fs::create_dir_all(&bin)?;
    let go = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(&module).env("CGO_ENABLED", "0").env("GOBIN", &bin).env("GOFLAGS", "-trimpath");
        run(&mut command).map(drop).context("is Go installed? (go 1.26 or later)")
    };
    if !bin.join("kubernetes").exists() {
        eprintln!("building Kubernetes {KUBERNETES} from source (once, some six minutes)");
        let (major, minor) = ("1", "37");
        let package = "k8s.io/component-base/version";
        let flags = format!("-s -w -X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}");
        let building = bin.join("kubernetes.building");
        go(&["build", "-ldflags", &flags, "-o", &building.to_string_lossy(), "."])?;
        std::fs::rename(building, bin.join("kubernetes"))?;
    }
    for (name, module) in [("coredns", COREDNS), ("helm", HELM)] {
        if !bin.join(name).exists() {
            eprintln!("building {name} from source (once)");
            go(&["install", "-ldflags", "-s -w", module])?;
        }
    }
    let app = bin.join("app");
    if newer(&module.join("app/main.go"), &app) {
        go(&["build", "-ldflags", "-s -w", "-o", &app.to_string_lossy(), "./app"])?;
    }
    for link in LINKS {
        if !bin.join(link).exists() {
            symlink("kubernetes", bin.join(link))?;
        }
    }
    Ok(bin)
}

fn newer(source: &Path, built: &Path) -> bool {
    let time = |p: &Path| std::fs::metadata(p).and_then(|m| m.modified()).ok();
    time(built).is_none_or(|b| time(source).is_none_or(|s| s > b))
}

/// The products as static programs for images: `polykey`, `polykey-operator`, `polykey-sidecar`. Their own target folder, since their flags are others.
///
/// # Errors
/// When the build fails.
pub fn products() -> Result<PathBuf> {
    let target = cache().join("target-images");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository()).args(["build", "--locked", "--quiet", "--profile", "e2e", "--target", "x86_64-unknown-linux-gnu"]);
    cargo.args(["-p", "polykey", "-p", "polykey-operator", "-p", "polykey-sidecar", "--bins"]);
    cargo.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-C target-feature=+crt-static");
    run(&mut cargo).context("cannot build the static programs")?;
    let bin = target.join("x86_64-unknown-linux-gnu/e2e");
    ensure!(bin.join("polykey").exists(), "{} was not built", bin.join("polykey").display());
    Ok(bin)
}
