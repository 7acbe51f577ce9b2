//! One throw-away certificate authority and what it signs: the API server's certificate and a kubeconfig for each component.

use super::{API_PORT, HOST, NODE};
use crate::wait::run;
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Clients: file name, common name, organisation.
const CLIENTS: [(&str, &str, &str); 6] = [
    ("admin", "admin", "system:masters"),
    (
        "kube-controller-manager",
        "system:kube-controller-manager",
        "",
    ),
    ("kube-scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    ("coredns", "coredns", "system:masters"),
    ("apiserver-kubelet", "apiserver-kubelet", "system:masters"),
];

/// Writes everything into `dir`.
pub fn make(dir: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "polykey-test-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(dir.join("ca.crt"), ca.pem())?;
    fs::write(dir.join("ca.key"), ca.key().serialize_pem())?;

    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        HOST,
        "198.19.0.1",
    ];
    let mut server = CertificateParams::new(names.map(str::to_owned))?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(dir, "apiserver", server, "kube-apiserver", "", &ca)?;
    for (file, name, organisation) in CLIENTS {
        client(dir, file, name, organisation, &ca)?;
    }
    client(
        dir,
        "kubelet",
        &format!("system:node:{NODE}"),
        "system:nodes",
        &ca,
    )?;

    // RSA, as nearly all clusters sign their tokens; no pure-Rust generator is in the tree.
    let key = dir.join("service-account.key");
    run(Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(&key)
        .arg("2048"))?;
    run(Command::new("openssl")
        .args(["rsa", "-pubout", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(dir.join("service-account.pub")))?;
    Ok(())
}

fn client(
    dir: &Path,
    file: &str,
    name: &str,
    organisation: &str,
    ca: &CertifiedIssuer<'_, KeyPair>,
) -> Result<()> {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(dir, file, params, name, organisation, ca)?;
    let at = |extension: &str| {
        dir.join(format!("{file}.{extension}"))
            .display()
            .to_string()
    };
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{{name: test, cluster: {{server: 'https://{HOST}:{API_PORT}', certificate-authority: {}}}}}]\nusers: [{{name: {file}, user: {{client-certificate: {}, client-key: {}}}}}]\ncontexts: [{{name: test, context: {{cluster: test, user: {file}}}}}]\n",
        dir.join("ca.crt").display(),
        at("crt"),
        at("key"),
    );
    fs::write(dir.join(format!("{file}.kubeconfig")), kubeconfig)?;
    Ok(())
}

fn sign(
    dir: &Path,
    file: &str,
    mut params: CertificateParams,
    name: &str,
    organisation: &str,
    ca: &CertifiedIssuer<'_, KeyPair>,
) -> Result<()> {
    params.distinguished_name.push(DnType::CommonName, name);
    if !organisation.is_empty() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
    }
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?;
    fs::write(dir.join(format!("{file}.crt")), certificate.pem())?;
    fs::write(dir.join(format!("{file}.key")), key.serialize_pem())?;
    Ok(())
}
