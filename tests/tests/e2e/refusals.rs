//! What must not be given, and whether the reason that people see is the true one.

use super::World;
use super::main_job::{SHOP, cat, exec};
use anyhow::{Context, Result, ensure};
use polykey_tests::install;
use polykey_tests::wait::wait_for;
use std::time::Duration;

const SOON: Duration = Duration::from_mins(1);

/// Waits until the Ready condition of a PolykeyVault has this reason, and gives its message.
fn reason(w: &World, namespace: &str, name: &str, wanted: &str) -> Result<String> {
    let field = |what: &str| {
        w.cluster.kubectl(&[
            "get",
            "polykeyvault",
            name,
            "-n",
            namespace,
            "-o",
            &format!("jsonpath={{.status.conditions[?(@.type==\"Ready\")].{what}}}"),
        ])
    };
    wait_for(SOON, &format!("{name} to say {wanted}"), || {
        let found = field("reason")?;
        ensure!(found == wanted, "it says {found:?}: {}", field("message")?);
        Ok(())
    })?;
    ensure!(field("status")? == "False", "Ready is not False");
    field("message")
}

/// Starts one pod that asks for a vault and must not start.
fn blocked_pod(w: &World, namespace: &str, app: &str, account: &str, vault: &str) -> Result<()> {
    let template = install::template(app, account, vault, &["pause"], "Always");
    w.cluster
        .apply(&install::workload(
            "Deployment",
            namespace,
            app,
            1,
            &template,
        ))
        .map(drop)
}

/// No file of the vault is in the pod, and its app has not started.
fn has_nothing(w: &World, namespace: &str, app: &str) -> Result<()> {
    let selector = format!("app={app}");
    let started = w.cluster.kubectl(&[
        "get",
        "pods",
        "-n",
        namespace,
        "-l",
        &selector,
        "-o",
        "jsonpath={.items[*].status.containerStatuses[*].started}",
    ])?;
    ensure!(
        !started.contains("true"),
        "the app started without its secrets"
    );
    // A sidecar that has only just started has not said anything yet.
    let log = wait_for(SOON, "the sidecar to say that it is refused", || {
        let log = w.cluster.kubectl(&[
            "logs",
            "-n",
            namespace,
            "-l",
            &selector,
            "-c",
            "polykey-sidecar",
            "--tail=50",
        ])?;
        ensure!(log.contains("refused"), "{log}");
        Ok(log)
    })?;
    ensure!(!log.contains("written"), "files were written: {log}");
    Ok(())
}

fn remove(w: &World, namespace: &str, app: &str) -> Result<()> {
    w.cluster
        .kubectl(&["delete", "deployment", app, "-n", namespace, "--wait=false"])
        .map(drop)
}

pub fn service_account(w: &mut World) -> Result<()> {
    blocked_pod(w, SHOP, "stranger", "stranger", "app")?;
    wait_for(SOON, "the refused pod to be counted", || {
        let summary = w.cluster.kubectl(&["get", "polykeyvault", "app", "-n", SHOP, "-o", "jsonpath={.status.pods.summary} {.status.conditions[?(@.type==\"Delivered\")].status} {.status.conditions[?(@.type==\"Delivered\")].reason}"])?;
        ensure!(summary == "3/4 False ServiceAccountNotListed", "{summary}");
        Ok(())
    })?;
    has_nothing(w, SHOP, "stranger")?;
    remove(w, SHOP, "stranger")
}

pub fn namespace(w: &mut World) -> Result<()> {
    w.cluster
        .apply(&install::polykey_vault("other", "app", &w.vault, "app"))?;
    blocked_pod(w, "other", "web", "app", "app")?;
    let message = reason(w, "other", "app", "NamespaceNotAdmitted")?;
    ensure!(
        message.contains("PolykeyPeer"),
        "the message names the missing key: {message}"
    );
    has_nothing(w, "other", "web")?;
    remove(w, "other", "web")?;
    w.cluster
        .kubectl(&["delete", "polykeyvault", "app", "-n", "other"])
        .map(drop)
}

pub fn not_shared(w: &mut World) -> Result<()> {
    let private = w.laptop.create_vault("private")?;
    w.laptop.set("private:x", b"planted-value-three")?;
    w.cluster
        .apply(&install::polykey_vault(SHOP, "private", &private, "app"))?;
    blocked_pod(w, SHOP, "private", "app", "private")?;
    let message = reason(w, SHOP, "private", "VaultNotFound")
        .or_else(|_| reason(w, SHOP, "private", "NotGranted"))?;
    ensure!(
        message.contains("share"),
        "the message says what to do: {message}"
    );
    has_nothing(w, SHOP, "private")?;
    remove(w, SHOP, "private")?;
    w.cluster
        .kubectl(&["delete", "polykeyvault", "private", "-n", SHOP])
        .map(drop)
}

pub fn unsupported(w: &mut World) -> Result<()> {
    let yaml = format!(
        "{}  files: [{{from: db/}}]\n",
        install::polykey_vault(SHOP, "later", &w.vault, "app")
    );
    w.cluster.apply(&yaml)?;
    let message = reason(w, SHOP, "later", "Unsupported")?;
    ensure!(
        message.contains("files"),
        "the message names the field: {message}"
    );
    w.cluster
        .kubectl(&["delete", "polykeyvault", "later", "-n", SHOP])
        .map(drop)
}

pub fn restrictions(w: &mut World) -> Result<()> {
    let patch = |patch: &str| {
        w.cluster.kubectl(&[
            "patch",
            "polykeyvault",
            "app",
            "-n",
            SHOP,
            "--type=merge",
            "-p",
            patch,
        ])
    };
    // A signer that never signed: nothing is served, and pods keep what they have.
    patch(&format!(
        "{{\"spec\":{{\"signers\":[\"{}\"]}}}}",
        w.nodes[0]
    ))?;
    reason(w, SHOP, "app", "SignerNotListed")?;
    ensure!(cat(w, "deployment/web", "db/password")? == "planted-value-two");
    patch("{\"spec\":{\"signers\":null}}")?;
    // A pin: back to the version before, and no further than that.
    let versions = w.laptop.json(&["log", "planted-vault-name"])?;
    let before = versions["items"][1]["version"]
        .as_str()
        .context("a version before")?
        .to_owned();
    patch(&format!("{{\"spec\":{{\"version\":\"{before}\"}}}}"))?;
    wait_for(SOON, "the pinned value", || {
        ensure!(cat(w, "deployment/web", "db/password")? == "planted-value-one");
        Ok(())
    })?;
    patch("{\"spec\":{\"version\":null}}")?;
    wait_for(SOON, "the newest value", || {
        ensure!(cat(w, "deployment/web", "db/password")? == "planted-value-two");
        Ok(())
    })?;
    patch("{\"spec\":{\"suspend\":true}}")?;
    reason(w, SHOP, "app", "Suspended")?;
    w.laptop
        .set("planted-vault-name:db/password", b"planted-value-three")?;
    let held = wait_for(
        Duration::from_secs(3),
        "a suspended rotation to arrive",
        || {
            ensure!(cat(w, "deployment/web", "db/password")? != "planted-value-two");
            Ok(())
        },
    );
    ensure!(held.is_err(), "a suspended vault was delivered");
    patch("{\"spec\":{\"suspend\":null}}")?;
    wait_for(SOON, "the value that was held", || {
        ensure!(cat(w, "deployment/web", "db/password")? == "planted-value-three");
        Ok(())
    })
}

pub fn annotation(w: &mut World) -> Result<()> {
    let template = install::template("typo", "app", "App_DB", &["pause"], "Always");
    let refused = w
        .cluster
        .apply(&install::workload("Deployment", SHOP, "typo", 1, &template));
    let text = format!(
        "{:#}",
        refused
            .err()
            .context("a misspelt annotation was accepted")?
    );
    ensure!(
        text.contains("polykey.io/vaults") && text.contains("App_DB"),
        "{text}"
    );
    Ok(())
}

pub fn unknown_field(w: &mut World) -> Result<()> {
    let yaml = format!(
        "{}  serviceaccounts: [app]\n",
        install::polykey_vault(SHOP, "unknown", &w.vault, "app")
    );
    let text = format!(
        "{:#}",
        w.cluster
            .apply(&yaml)
            .err()
            .context("an unknown field was accepted")?
    );
    ensure!(text.contains("serviceaccounts"), "{text}");
    Ok(())
}

#[allow(
    clippy::too_many_lines,
    reason = "a table of tokens, and what becomes of each"
)]
pub fn tokens(w: &mut World) -> Result<()> {
    // Asked at the pod's own address, as an attacker in another pod would.
    let address = w.cluster.kubectl(&[
        "get",
        "pod",
        "polykey-0",
        "-n",
        install::NAMESPACE,
        "-o",
        "jsonpath={.status.podIP}",
    ])?;
    let uid = w.cluster.kubectl(&[
        "get",
        "namespace",
        "kube-system",
        "-o",
        "jsonpath={.metadata.uid}",
    ])?;
    let ours = format!("--audience=polykey:{uid}");
    let create = |arguments: &[&str]| {
        w.cluster
            .kubectl(&[&["create", "token", "app", "-n", SHOP][..], arguments].concat())
    };
    // A pod of its own, without a sidecar: a token that a second client shows is told apart from a right one, by design.
    let bare = install::template("bare", "app", "app", &["pause"], "Always")
        .replace("polykey.io/inject: \"true\"", "bare: \"true\"");
    w.cluster
        .apply(&format!("apiVersion: v1\nkind: Pod\n{bare}").replace(
            "metadata: {labels",
            &format!("metadata: {{name: bare, namespace: {SHOP}, labels"),
        ))?;
    w.cluster.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/bare",
        "-n",
        SHOP,
        "--timeout=60s",
    ])?;
    let pod = "bare".to_owned();
    let bound = [
        "--bound-object-kind=Pod",
        &format!("--bound-object-name={pod}"),
    ];
    let good = create(&[&ours, bound[0], bound[1]])?;
    let cases = [
        ("of another audience", create(&[bound[0], bound[1]])?),
        (
            "of two audiences",
            create(&[
                &ours,
                "--audience=https://kubernetes.default.svc",
                bound[0],
                bound[1],
            ])?,
        ),
        ("bound to no pod", create(&[&ours])?),
        (
            "of two days",
            create(&[&ours, "--duration=48h", bound[0], bound[1]])?,
        ),
        (
            "with a flipped signature",
            format!("{}AAAA", good.trim().split_at(good.trim().len() - 4).0),
        ),
        (
            "with alg none",
            format!(
                "{}.{}.",
                "eyJhbGciOiJub25lIn0",
                good.split('.').nth(1).context("a payload")?
            ),
        ),
        ("that is no token", "x".to_owned()),
    ];
    for (what, token) in cases {
        let answer = get(&address, &w.nodes, token.trim(), "/v1/watch?names=app");
        let said = answer.as_ref().err().map_or_else(
            || "it was answered".to_owned(),
            |e| format!("{:?}: {e}", e.code),
        );
        let refused = answer
            .err()
            .is_some_and(|e| e.code == polykey_client::error::Code::Unauthorized);
        ensure!(refused, "a token {what} was not refused: {said}");
    }
    ensure!(
        get(&address, &w.nodes, good.trim(), "/v1/watch?names=app").is_ok(),
        "the right token is refused too, so the refusals prove nothing"
    );
    w.cluster
        .kubectl(&["delete", "pod", "bare", "-n", SHOP, "--wait=false"])?;
    let operator_only = get(&address, &w.nodes, good.trim(), "/v1/consumers");
    ensure!(
        operator_only.is_err(),
        "a workload read the table of consumers"
    );
    exec(
        w,
        "deployment/web",
        &[
            "/app",
            "cat",
            "/var/run/secrets/kubernetes.io/serviceaccount/annotations",
        ],
    )
    .err()
    .context("the app can read the sidecar's volume")?;
    Ok(())
}

/// One request to a node with a token; `Ok` when the answer is a success.
fn get(
    address: &str,
    nodes: &[String],
    token: &str,
    path: &str,
) -> Result<(), polykey_client::error::ApiError> {
    use polykey_client::tls::{Pins, client_config, connect};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pins = Pins::new(nodes.iter().map(|n| n.parse().expect("a node id")));
        let config = client_config(pins, None).expect("a client");
        let (_, mut connection) = connect(&format!("{address}:1315"), config, Some(token)).await?;
        let answer = connection
            .send(
                "GET".parse().expect("a method"),
                path,
                "application/json",
                Vec::new(),
            )
            .await?;
        if answer.status().is_success() {
            Ok(())
        } else {
            polykey_client::http::whole(answer).await.map(drop)
        }
    })
}
