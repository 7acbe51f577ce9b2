//! The programs that tests need and that no package has: Kubernetes itself, `CoreDNS` and Helm, built from source once and kept outside the clone.

use crate::images::sha256;
use crate::wait::run;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version that the built programs report. The sources are those of go.mod.
const KUBERNETES: &str = "v1.37.2";
/// Module and version of `CoreDNS`.
const COREDNS: &str = "github.com/coredns/coredns@v1.14.0";
/// Module and version of Helm.
const HELM: &str = "helm.sh/helm/v4/cmd/helm@v4.2.3";
/// Names that the one program of Kubernetes answers to.
const LINKS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
];

/// The root of the repository.
///
/// # Panics
/// Never: this crate is a folder of it.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ stands in the repository")
}

/// Where built things are kept: `POLYKEY_TEST_CACHE`, else `~/.cache/polykey`.
#[must_use]
pub fn cache() -> PathBuf {
    std::env::var_os("POLYKEY_TEST_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/polykey"),
        PathBuf::from,
    )
}

/// The folder of the built programs: the [`LINKS`], `coredns` and `helm`. Building takes some ten minutes on two cores, once for each go.sum; a second run
/// of the tests waits for the first to build.
///
/// # Errors
/// When Go is missing or a build fails.
pub fn programs() -> Result<PathBuf> {
    let module = repository().join("tests/kubernetes");
    let home = cache().join(format!("kubernetes-{}", key(&module)?));
    let bin = home.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let lock = File::create(home.join("lock"))?;
    lock.lock()?;
    let go = Go {
        module,
        bin: bin.clone(),
    };
    go.kubernetes()?;
    go.install("coredns", COREDNS)?;
    go.install("helm", HELM)?;
    Ok(bin)
}

/// The program of the containers under test, which is also the pause container.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn app() -> Result<PathBuf> {
    let module = repository().join("tests/kubernetes");
    let source =
        fs::read(module.join("app/main.go")).context("cannot read tests/kubernetes/app/main.go")?;
    let bin = cache().join(format!("app-{}", &sha256(&source)[..12]));
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let go = Go { module, bin };
    go.once("app", |built| {
        go.run(&["build", "-ldflags", "-s -w", "-o", built, "./app"])
    })?;
    Ok(go.bin.join("app"))
}

/// Names what the programs are built from.
fn key(module: &Path) -> Result<String> {
    let mut of = Vec::new();
    for file in ["go.sum", "main.go"] {
        of.extend(
            fs::read(module.join(file))
                .with_context(|| format!("cannot read tests/kubernetes/{file}"))?,
        );
    }
    of.extend([KUBERNETES, COREDNS, HELM].concat().into_bytes());
    Ok(sha256(&of)[..12].to_owned())
}

struct Go {
    module: PathBuf,
    bin: PathBuf,
}

impl Go {
    fn kubernetes(&self) -> Result<()> {
        let package = "k8s.io/component-base/version";
        let mut number = KUBERNETES.trim_start_matches('v').split('.');
        let (major, minor) = (
            number.next().unwrap_or_default(),
            number.next().unwrap_or_default(),
        );
        let flags = format!(
            "-s -w -X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        );
        self.once("kubernetes", |built| {
            self.run(&["build", "-ldflags", &flags, "-o", built, "."])
        })?;
        for link in LINKS
            .iter()
            .map(|l| self.bin.join(l))
            .filter(|l| !l.exists())
        {
            symlink("kubernetes", link)?;
        }
        Ok(())
    }

    /// `go install` names the program by itself.
    fn install(&self, name: &str, module: &str) -> Result<()> {
        if self.bin.join(name).exists() {
            return Ok(());
        }
        eprintln!("building {name} from source, once");
        self.run(&["install", "-ldflags", "-s -w", module])
    }

    /// Builds under another name first: a build that was interrupted leaves nothing that looks built.
    fn once(&self, name: &str, make: impl FnOnce(&str) -> Result<()>) -> Result<()> {
        let (built, unfinished) = (
            self.bin.join(name),
            self.bin.join(format!("{name}.unfinished")),
        );
        if built.exists() {
            return Ok(());
        }
        eprintln!("building {name} from source, once");
        make(&unfinished.to_string_lossy())?;
        Ok(fs::rename(unfinished, built)?)
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("go");
        command
            .args(arguments)
            .current_dir(&self.module)
            .env("CGO_ENABLED", "0")
            .env("GOBIN", &self.bin)
            .env("GOFLAGS", "-trimpath -buildvcs=false")
            .env("GOWORK", "off");
        run(&mut command).map(drop).context("Go 1.26 or later builds the programs that the tests need: is it installed, and are its modules reachable?")
    }
}

/// The products as static programs for images: `polykey`, `polykey-operator`, `polykey-sidecar`. Their own target folder, since their flags are others.
///
/// # Errors
/// When the build fails.
pub fn products() -> Result<PathBuf> {
    let folder = cache().join("target-images");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository()).args([
        "build",
        "--locked",
        "--quiet",
        "--profile",
        "e2e",
        "--target",
        &target,
    ]);
    cargo.args([
        "-p",
        "polykey",
        "-p",
        "polykey-operator",
        "-p",
        "polykey-sidecar",
        "--bins",
    ]);
    cargo
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    run(&mut cargo).context("cannot build the static programs")?;
    let bin = folder.join(target).join("e2e");
    for program in ["polykey", "polykey-operator", "polykey-sidecar"] {
        ensure!(bin.join(program).exists(), "{program} was not built");
    }
    Ok(bin)
}
