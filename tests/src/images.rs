//! Container images without a container engine: one static program each, packed as a docker archive and imported by containerd's own client.

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// An image to pack.
pub struct Image<'a> {
    /// `name:tag`, as pods name it.
    pub name: &'a str,
    /// The program, which becomes the entry point.
    pub program: &'a Path,
    /// Its path in the image.
    pub at: &'a str,
    /// Arguments when the pod gives none.
    pub arguments: &'a [&'a str],
    /// User and group that it runs as.
    pub user: u32,
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut s, b| {
            use std::fmt::Write;
            let _ = write!(s, "{b:02x}");
            s
        })
}

/// Packs images into `dir`, one archive each, and gives the archives.
///
/// # Errors
/// When a program cannot be read or an archive not written.
pub fn pack(images: &[Image<'_>], dir: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir)?;
    images
        .iter()
        .map(|image| pack_one(image, dir).with_context(|| format!("cannot pack {}", image.name)))
        .collect()
}

fn pack_one(image: &Image<'_>, dir: &Path) -> Result<PathBuf> {
    let program = std::fs::read(image.program)
        .with_context(|| format!("cannot read {}", image.program.display()))?;
    let layer = archive(&[(image.at.trim_start_matches('/'), &program, 0o755)])?;
    let layer_id = sha256(&layer);
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": [image.at],
            "Cmd": image.arguments,
            "User": format!("{0}:{0}", image.user),
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_id}")]},
    }))?;
    let config_name = format!("{}.json", sha256(&config));
    let layer_name = format!("{layer_id}/layer.tar");
    let manifest = serde_json::to_vec(&json!([{
        "Config": config_name,
        "RepoTags": [format!("docker.io/library/{}", image.name)],
        "Layers": [layer_name],
    }]))?;
    let whole = archive(&[
        (&config_name, &config, 0o644),
        (&layer_name, &layer, 0o644),
        ("manifest.json", &manifest, 0o644),
    ])?;
    let path = dir.join(format!("{}.tar", image.name.replace(':', "-")));
    std::fs::write(&path, whole)?;
    Ok(path)
}

/// The machine's own, in the words of the image format.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn archive(files: &[(&str, &[u8], u32)]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        builder.append_data(&mut header, path, *bytes)?;
    }
    Ok(builder.into_inner()?)
}
