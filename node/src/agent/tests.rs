use super::*;
use crate::vaults::SPARED;
use polykey_client::api::Status;
use polykey_core::control::Role;
use polykey_core::tree::Edit;
use std::path::Path;

/// Longest wait for anything in these tests.
const SOON: Duration = Duration::from_secs(20);

fn config(dir: &Path) -> Config {
    Config {
        node_path: dir.join("node"),
        socket: dir.join("run/agent.sock"),
        unlock: Unlock::KeyFile(Zeroizing::new(vec![7; 32])),
        init: true,
        listen: "127.0.0.1:0".parse().unwrap(),
        api_listen: None,
        probe_listen: None,
        workloads: None,
        operator: None,
        pod_name: None,
        move_here: false,
        only_copy: false,
        spare: SPARED,
        author_rate: polykey_core::cap::PER_SECOND,
        peers_domain: None,
    }
}

async fn status(dir: &Path) -> Status {
    let mut connection = polykey_client::unix::connect(&config(dir).socket)
        .await
        .unwrap();
    connection.get("/v1/status").await.unwrap()
}

async fn eventually(what: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !what().await {
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_keeps_its_identity_and_its_vaults_and_counts_its_starts() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&config(dir.path())).await.unwrap();
    let first = status(dir.path()).await;
    assert_eq!((first.boot, first.unlock_method.as_str()), (1, "keyfile"));
    agent.services.vaults.create("app").await.unwrap();
    agent.stop().await;
    let agent = Agent::start(&config(dir.path())).await.unwrap();
    let second = status(dir.path()).await;
    assert_eq!((second.node_id, second.boot), (first.node_id, 2));
    assert_eq!(second.vaults[0].name.as_deref(), Some("app"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&config(dir.path())).await.unwrap();
    let same_socket = Agent::start(&config(dir.path())).await.err().unwrap();
    assert!(
        matches!(same_socket, AgentError::Socket(SocketError::Taken(_))),
        "{same_socket}"
    );
    let other_socket = Config {
        socket: dir.path().join("other.sock"),
        ..config(dir.path())
    };
    let same_store = Agent::start(&other_socket).await.err().unwrap();
    assert!(
        matches!(same_store, AgentError::Store(StoreError::InUse { .. })),
        "{same_store}"
    );
    assert_eq!(status(dir.path()).await.boot, 1);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_identity_or_with_another_key_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Agent::start(&Config {
        init: false,
        ..config(dir.path())
    })
    .await
    .err()
    .unwrap();
    assert!(
        matches!(missing, AgentError::Identity(IdentityError::Missing(_))),
        "{missing}"
    );
    Agent::start(&config(dir.path()))
        .await
        .unwrap()
        .stop()
        .await;
    let wrong = Config {
        unlock: Unlock::KeyFile(Zeroizing::new(vec![8; 32])),
        ..config(dir.path())
    };
    let wrong = Agent::start(&wrong).await.err().unwrap();
    assert!(
        matches!(wrong, AgentError::Identity(IdentityError::Unlock(_))),
        "{wrong}"
    );
    assert!(
        !dir.path().join("run/agent.sock").exists(),
        "the socket is taken down again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_another_pod_is_refused_until_it_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |name: &str| Config {
        pod_name: Some(name.into()),
        ..config(dir.path())
    };
    Agent::start(&pod("polykey-0")).await.unwrap().stop().await;
    let refused = Agent::start(&pod("polykey-1")).await.err().unwrap();
    assert!(
        matches!(refused, AgentError::Store(StoreError::OtherPod { .. })),
        "{refused}"
    );
    Agent::start(&Config {
        move_here: true,
        ..pod("polykey-1")
    })
    .await
    .unwrap()
    .stop()
    .await;
    Agent::start(&pod("polykey-1")).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_shared_arrives_over_quic_and_so_does_every_change() {
    let (a_dir, b_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = Agent::start(&config(a_dir.path())).await.unwrap();
    let b = Agent::start(&config(b_dir.path())).await.unwrap();
    let put = |value: &[u8]| {
        vec![Edit::Put {
            path: "db/password".into(),
            mode: 0o444,
            value: Zeroizing::new(value.to_vec()),
        }]
    };
    let vault = a.services.vaults.create("app").await.unwrap();
    a.services
        .vaults
        .edit(&vault, put(b"first"), None)
        .await
        .unwrap();
    a.services
        .vaults
        .grant(&vault, b.services.about.node, Role::Reader, None, None)
        .await
        .unwrap();
    let address = a.services.peers.local_addr().unwrap().to_string();
    b.services
        .peers
        .add(a.services.about.node, Some(&address))
        .await
        .unwrap();
    let reads = |value: &'static [u8]| {
        let vaults = b.services.vaults.clone();
        async move || {
            vaults
                .get(&vault, "db/password", None)
                .is_ok_and(|found| found.value.as_slice() == value)
        }
    };
    eventually(reads(b"first")).await;
    a.services
        .vaults
        .edit(&vault, put(b"second"), None)
        .await
        .unwrap();
    eventually(reads(b"second")).await;
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_over_the_socket_is_in_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&config(dir.path())).await.unwrap();
    let node = agent.services.about.node;
    let mut connection = polykey_client::unix::connect(&config(dir.path()).socket)
        .await
        .unwrap();
    let peer = polykey_client::api::PeerRequest {
        node: RootKey::from_seed(&[9; 32]).node_id(),
        address: None,
    };
    let _: serde_json::Value = connection
        .call(hyper::Method::POST, "/v1/peers", &peer)
        .await
        .unwrap();
    assert_eq!(agent.audit().head().entries, 1);
    drop(connection);
    agent.stop().await;
    let opened = identity::open(&config(dir.path()).node_path, &Secret::KeyFile(&[7; 32])).unwrap();
    let mut seen = Vec::new();
    crate::audit::verify(
        &identity::audit_dir(&config(dir.path()).node_path),
        &opened.rows,
        &node,
        |e| seen.push(e.subject.detail.clone()),
    )
    .unwrap();
    assert_eq!(seen, [format!("{} added", peer.node)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gets_another_key_over_its_socket_and_starts_again_with_it() {
    use polykey_client::api::{KeyReply, KeyRequest, Secret, Unlock as Given};
    use polykey_client::error::Code;
    use polykey_client::http::json;

    let dir = tempfile::tempdir().unwrap();
    let running = tokio::spawn(serve(config(dir.path()), |_| {}));
    let socket = config(dir.path()).socket;
    let connect = async || polykey_client::unix::connect(&socket).await;
    eventually(async || connect().await.is_ok()).await;
    let first = status(dir.path()).await;
    let ask = async |bytes: u8| -> Result<KeyReply, _> {
        let unlock = Given::KeyFile(Secret(Zeroizing::new(vec![bytes; 32])));
        let body = polykey_core::enc::encode(&KeyRequest { unlock });
        let mut connection = connect().await?;
        json(
            connection
                .send(hyper::Method::POST, "/v1/key", "application/cbor", body)
                .await?,
        )
        .await
    };
    let wrong = ask(8).await.unwrap_err();
    assert_eq!(wrong.code, Code::Locked, "{wrong:?}");
    assert_eq!(status(dir.path()).await.node_id, first.node_id);

    let reply = ask(7).await.unwrap();
    assert_eq!(reply.old, first.node_id);
    eventually(async || match connect().await {
        Ok(mut connection) => {
            let status = connection.get::<Status>("/v1/status").await;
            status.is_ok_and(|s| s.node_id == reply.new)
        }
        Err(_) => false,
    })
    .await;
    let second = status(dir.path()).await;
    assert_eq!(second.listen, first.listen, "peers find it where it was");
    assert_eq!(second.boot, first.boot + 1);
    let mut connection = connect().await.unwrap();
    connection
        .send(
            hyper::Method::POST,
            "/v1/stop",
            "application/json",
            Vec::new(),
        )
        .await
        .unwrap();
    drop(connection);
    running.await.unwrap().unwrap();

    let mut entries = Vec::new();
    let path = dir.path().join("node");
    let identity = identity::open(&path, &polykey_core::unlock::Secret::KeyFile(&[7; 32])).unwrap();
    assert_eq!(identity.node_id(), reply.new);
    crate::audit::verify(
        &identity::audit_dir(&path),
        &identity.rows,
        &reply.new,
        |entry| entries.push(entry.kind),
    )
    .unwrap();
    assert!(entries.contains(&polykey_core::audit::Kind::Store));
}
