//! What the API server lets through and what it refuses, for every rule of the schema. Nothing stays behind: creates are dry runs, and the objects whose updates are tried are deleted.

#![allow(
    clippy::needless_pass_by_value,
    reason = "cases are values that are written in place"
)]

use crate::World;
use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

const NAMESPACE: &str = "default";
const NODE: &str = "v3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gg";
const VAULT: &str = "z3JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3";

fn vault(more: Value) -> Value {
    let mut spec = json!({"vault": VAULT, "serviceAccounts": ["app"]});
    merge(&mut spec, more);
    object("PolykeyVault", "case", spec)
}

fn peer(more: Value) -> Value {
    let mut spec = json!({"nodeId": NODE});
    merge(&mut spec, more);
    object("PolykeyPeer", "case", spec)
}

fn merge(spec: &mut Value, more: Value) {
    let Value::Object(more) = more else {
        panic!("fields of a spec")
    };
    for (key, value) in more {
        spec[key] = value;
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "polykey.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn files(entries: Value) -> Value {
    vault(json!({ "files": entries }))
}

fn named(name: &str) -> Value {
    object(
        "PolykeyVault",
        name,
        json!({"vault": VAULT, "serviceAccounts": ["app"]}),
    )
}

#[rustfmt::skip]
fn accepted() -> Vec<(&'static str, Value)> {
    vec![
        ("two fields", vault(json!({}))),
        ("every restriction", vault(json!({"version": "ab".repeat(32), "signers": [NODE], "suspend": true}))),
        ("files of each shape", files(json!([{"from": "db/"}, {"from": "tls/", "to": "certs/", "mode": 256}, {"from": "x", "to": "y", "as": "Raw", "mode": 292}, {"from": "/", "to": ".env", "as": "Dotenv"}, {"from": "/", "to": "app.conf", "template": "{{ a }}"}]))),
        ("each kind of reload", vault(json!({"reload": [{"signal": {"process": "nginx"}}, {"http": {"port": 8080}}, {"restartPod": {}}, {"rollout": {"kind": "Deployment", "name": "web"}}]}))),
        ("a core Secret", vault(json!({"secret": {"name": "app-tls", "type": "kubernetes.io/tls"}}))),
        ("staleness", vault(json!({"maxAge": "1h30m", "whenStale": "Fail"}))),
        ("a laptop", peer(json!({"namespaces": ["shop"]}))),
        ("a server with addresses", peer(json!({"addresses": ["node.example:1314", "[2001:db8::1]:1314", "192.0.2.1:1314"], "namespaces": ["*"], "vaults": [VAULT], "expires": "2030-01-01T00:00:00Z"}))),
        ("a node without a spec", json!({"apiVersion": "polykey.io/v1alpha1", "kind": "PolykeyNode", "metadata": {"name": "case"}})),
    ]
}

#[rustfmt::skip]
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let long = "a".repeat(64);
    vec![
        ("no vault", object("PolykeyVault", "case", json!({"serviceAccounts": ["app"]})), "spec.vault"),
        ("a vault id without z", vault(json!({"vault": "shop"})), "spec.vault"),
        ("a vault id with a 0", vault(json!({"vault": format!("z{}", "0".repeat(40))})), "spec.vault"),
        ("no serviceAccounts", object("PolykeyVault", "case", json!({"vault": VAULT})), "spec.serviceAccounts"),
        ("empty serviceAccounts", vault(json!({"serviceAccounts": []})), "spec.serviceAccounts"),
        ("a ServiceAccount twice", vault(json!({"serviceAccounts": ["app", "app"]})), "Duplicate"),
        ("any ServiceAccount", vault(json!({"serviceAccounts": ["*"]})), "spec.serviceAccounts"),
        ("a ServiceAccount of another namespace", vault(json!({"serviceAccounts": ["ops:app"]})), "spec.serviceAccounts"),
        ("too many ServiceAccounts", vault(json!({"serviceAccounts": (0..65).map(|n| format!("a{n}")).collect::<Vec<_>>()})), "spec.serviceAccounts"),
        ("a short pin", vault(json!({"version": "abcdef"})), "spec.version"),
        ("a pin in capitals", vault(json!({"version": "AB".repeat(32)})), "spec.version"),
        ("a signer that is no node", vault(json!({"signers": ["ben"]})), "spec.signers"),
        ("no signer", vault(json!({"signers": []})), "spec.signers"),
        ("no file", files(json!([])), "spec.files"),
        ("two entries to one file", files(json!([{"from": "a", "to": "x"}, {"from": "b", "to": "x"}])), "two entries write the same file"),
        ("an entry to the path of another", files(json!([{"from": "a"}, {"from": "b", "to": "a"}])), "two entries write the same file"),
        ("an absolute from", files(json!([{"from": "/etc"}])), "from is a relative path"),
        ("from with ..", files(json!([{"from": "a/../b"}])), "from is a relative path"),
        ("from with .", files(json!([{"from": "./a"}])), "from is a relative path"),
        ("from with //", files(json!([{"from": "a//b"}])), "from is a relative path"),
        ("an empty from", files(json!([{"from": ""}])), "from"),
        ("an absolute to", files(json!([{"from": "a", "to": "/etc/passwd"}])), "to is a relative path"),
        ("to with ..", files(json!([{"from": "a", "to": "../x"}])), "to is a relative path"),
        ("to with .", files(json!([{"from": "a", "to": "./x"}])), "to is a relative path"),
        ("to ..data", files(json!([{"from": "a", "to": "..data"}])), "to is a relative path"),
        ("mode 440 in decimal", files(json!([{"from": "a", "mode": 440}])), "written in octal"),
        ("mode 0666", files(json!([{"from": "a", "mode": 0o666}])), "written in octal"),
        ("mode 04755", files(json!([{"from": "a", "mode": 0o4755}])), "written in octal"),
        ("as and template", files(json!([{"from": "a/", "to": "x", "as": "Json", "template": "t"}])), "as and template exclude each other"),
        ("as without to", files(json!([{"from": "a/", "as": "Json"}])), "name it with to"),
        ("template without to", files(json!([{"from": "a/", "template": "t"}])), "name it with to"),
        ("as of no kind", files(json!([{"from": "a/", "to": "x", "as": "Xml"}])), "as"),
        ("a directory to a file", files(json!([{"from": "a/", "to": "x"}])), "a directory goes to a directory"),
        ("a file to a directory", files(json!([{"from": "a", "to": "x/"}])), "a single secret goes to a file"),
        ("reload of two kinds in one", vault(json!({"reload": [{"restartPod": {}, "http": {"port": 1}}]})), "spec.reload"),
        ("reload of no kind", vault(json!({"reload": [{}]})), "spec.reload"),
        ("no reload", vault(json!({"reload": []})), "spec.reload"),
        ("SIGKILL", vault(json!({"reload": [{"signal": {"process": "x", "name": "KILL"}}]})), "name"),
        ("a path as process", vault(json!({"reload": [{"signal": {"process": "/bin/x"}}]})), "process"),
        ("an HTTP path without /", vault(json!({"reload": [{"http": {"port": 80, "path": "x"}}]})), "path"),
        ("an HTTP path with a line end", vault(json!({"reload": [{"http": {"port": 80, "path": "/x\r\nHost: evil"}}]})), "path"),
        ("port 0", vault(json!({"reload": [{"http": {"port": 0}}]})), "port"),
        ("two rollouts", vault(json!({"reload": [{"rollout": {"kind": "Deployment", "name": "a"}}, {"rollout": {"kind": "Deployment", "name": "b"}}]})), "at most one rollout"),
        ("rollout of a Job", vault(json!({"reload": [{"rollout": {"kind": "Job", "name": "a"}}]})), "kind"),
        ("an interval under a minute", vault(json!({"reload": [{"restartPod": {"minInterval": "30s"}}]})), "minInterval is at least 1m"),
        ("a Secret that mints a token", vault(json!({"secret": {"name": "s", "type": "kubernetes.io/service-account-token"}})), "mint a credential"),
        ("a bootstrap token", vault(json!({"secret": {"name": "s", "type": "bootstrap.kubernetes.io/token"}})), "mint a credential"),
        ("Fail without maxAge", vault(json!({"whenStale": "Fail"})), "whenStale: Fail needs maxAge"),
        ("maxAge under a minute", vault(json!({"maxAge": "5s"})), "maxAge is at least 1m"),
        ("maxAge that is no time", vault(json!({"maxAge": "soon"})), "maxAge"),
        ("a name that is too long", named(&long), "DNS label"),
        ("a name with a dot", named("a.b"), "DNS label"),
        ("a peer that is no node", peer(json!({"nodeId": "ben"})), "spec.nodeId"),
        ("a peer on loopback", peer(json!({"addresses": ["127.0.0.1:1314"]})), "never dialled"),
        ("a peer on localhost", peer(json!({"addresses": ["localhost:1314"]})), "never dialled"),
        ("a peer on the link", peer(json!({"addresses": ["169.254.169.254:80"]})), "never dialled"),
        ("an address without a port", peer(json!({"addresses": ["node.example"]})), "an address is host:port"),
        ("* with others", peer(json!({"namespaces": ["*", "shop"]})), "* stands alone"),
        ("a namespace that is none", peer(json!({"namespaces": ["Shop"]})), "spec.namespaces"),
        ("more than sixteen namespaces", peer(json!({"namespaces": (0..17).map(|n| format!("n{n}")).collect::<Vec<_>>()})), "spec.namespaces"),
        ("narrowed to no vault", peer(json!({"vaults": []})), "spec.vaults"),
    ]
}

fn refused_updates() -> Vec<(Value, Value, &'static str)> {
    let other = "z4vJF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQK".to_owned();
    let secret = |name: &str, kind: &str| vault(json!({"secret": {"name": name, "type": kind}}));
    vec![
        (
            vault(json!({})),
            json!({"spec": {"vault": other}}),
            "vault is immutable",
        ),
        (
            secret("a", "Opaque"),
            json!({"spec": {"secret": {"name": "b"}}}),
            "secret.name is immutable",
        ),
        (
            secret("a", "Opaque"),
            json!({"spec": {"secret": {"type": "kubernetes.io/tls"}}}),
            "type is immutable",
        ),
        (
            peer(json!({})),
            json!({"spec": {"nodeId": NODE.replace("v3n", "v4n")}}),
            "nodeId is immutable",
        ),
    ]
}

fn api(client: &Client, object: &Value) -> Result<Api<DynamicObject>> {
    let kind = object["kind"].as_str().context("a kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("polykey.io", "v1alpha1", kind));
    Ok(Api::namespaced_with(client.clone(), NAMESPACE, &resource))
}

/// Each case of the schema, on the server that has the chart's custom resources.
pub fn cases(world: &mut World) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = world.cluster.client().await?;
        creates(&client).await?;
        updates(&client).await
    })
}

async fn creates(client: &Client) -> Result<()> {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let create = async |object: Value| {
        let parsed = serde_json::from_value(object.clone())?;
        anyhow::Ok(api(client, &object)?.create(&dry, &parsed).await)
    };
    for (what, object) in accepted() {
        create(object)
            .await?
            .with_context(|| format!("{what} must pass"))?;
    }
    for (what, object, says) in refused() {
        must_be_refused(what, says, create(object).await?)?;
    }
    Ok(())
}

async fn updates(client: &Client) -> Result<()> {
    for (object, patch, says) in refused_updates() {
        let api = api(client, &object)?;
        let parsed = serde_json::from_value(object)?;
        api.create(&PostParams::default(), &parsed).await?;
        let result = api
            .patch("case", &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        api.delete("case", &DeleteParams::default()).await?;
        must_be_refused(&patch.to_string(), says, result)?;
    }
    Ok(())
}

fn must_be_refused(
    what: &str,
    says: &str,
    result: Result<DynamicObject, kube::Error>,
) -> Result<()> {
    let Err(kube::Error::Api(status)) = result else {
        bail!("{what} must not pass: {result:?}")
    };
    ensure!(
        status.code == 422 && status.message.contains(says),
        "{what}: {} {}",
        status.code,
        status.message
    );
    Ok(())
}
