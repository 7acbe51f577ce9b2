//! Who gets in over TLS: the node is pinned, a token is believed or refused with one and the same answer, the operator's lists are the operator's.

use super::sidecar::{snapshot, watching};
use super::world::{LAPTOP, World, eventually, unix_now};
use crate::workload::testing::{AUDIENCE, Answer, TestIssuer, claims_of, message};
use http_body_util::BodyExt;
use hyper::Method;
use polykey_client::api::{Ack, Consumers, Vaults};
use polykey_client::error::{ApiError, Code};
use polykey_client::http::{Connection, whole};
use polykey_client::watch::Frame;
use polykey_core::ids::NodeId;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn status_of(
    connection: &mut Connection,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> (u16, ApiError) {
    let answer = connection
        .send(method, path, "application/json", body)
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (
        status,
        whole(answer)
            .await
            .err()
            .unwrap_or_else(|| ApiError::new(Code::Failed, "no error")),
    )
}

#[tokio::test]
async fn a_client_that_pins_another_node_does_not_connect() {
    let world = World::admitting().await;
    let other = NodeId::from([LAPTOP; 32]);
    let refused = world
        .connect_pinned(other, Some(&world.pod_token()), None)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, Code::NotFound);
}

#[tokio::test]
async fn every_bad_token_gets_the_same_answer() {
    let world = World::admitting().await;
    let now = unix_now();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims_of(now, "app-0", "shop", "app");
        change(&mut claims);
        world.issuer.token(&claims)
    };
    let stranger = TestIssuer::new("k1");
    let good = claims_of(now, "app-0", "shop", "app");
    let bad = [
        with(&|c| c["aud"] = json!(["another"])),
        with(&|c| c["aud"] = json!([AUDIENCE, "another"])),
        with(&|c| drop(c["kubernetes.io"].as_object_mut().unwrap().remove("pod"))),
        with(&|c| {
            c["exp"] = json!(now - 60);
            c["iat"] = json!(now - 120);
        }),
        with(&|c| c["exp"] = json!(now + 48 * 3600)),
        with(&|c| c["iss"] = json!("https://another")),
        with(&|c| c["sub"] = json!("system:serviceaccount:shop:admin")),
        with(&|c| c["jti"] = json!("x".repeat(9 << 10))),
        stranger.token(&good),
        format!("{}.", message(&json!({"alg": "none", "kid": "k1"}), &good)),
        world
            .issuer
            .token_with(&json!({"alg": "HS256", "kid": "k1"}), &good),
        world.issuer.token_with(&json!({"alg": "ES256"}), &good),
        "rubbish".to_owned(),
    ];
    let mut answers = Vec::new();
    for token in &bad {
        let mut connection = world.connect(Some(token), None).await.unwrap();
        answers.push(status_of(&mut connection, Method::GET, "/v1/watch?names=app", vec![]).await);
    }
    let mut nobody = world.connect(None, None).await.unwrap();
    answers.push(status_of(&mut nobody, Method::GET, "/v1/watch?names=app", vec![]).await);
    world.api.answers(Answer::Deny);
    let mut denied = world.connect(Some(&world.pod_token()), None).await.unwrap();
    answers.push(status_of(&mut denied, Method::GET, "/v1/watch?names=app", vec![]).await);
    for (status, error) in &answers {
        assert_eq!((*status, error), (401, &answers[0].1));
    }
    assert_eq!(answers[0].1.message, "the token was refused");
    let metrics = world.probe("/metrics").await.1;
    for reason in [
        "audience",
        "not_pod_bound",
        "expired",
        "lifetime",
        "issuer",
        "subject",
        "too_large",
        "signature",
        "algorithm",
        "no_key_id",
        "malformed",
        "missing",
        "review_denied",
    ] {
        assert!(
            metrics.contains(&format!("reason=\"{reason}\",result=\"refused\"")),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_node_that_may_not_review_says_that_it_is_its_own_fault() {
    let world = World::admitting().await;
    world.api.answers(Answer::Status(403));
    let refused = world
        .watch_as(&world.pod_token(), "names=app")
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, Code::ReviewForbidden);
}

#[tokio::test]
async fn with_the_api_server_gone_pods_are_still_served() {
    let mut world = World::admitting().await;
    // The node has the keys from a token before.
    assert!(
        world
            .watch_as(&world.pod_token(), "names=app")
            .await
            .is_ok()
    );
    world.api.stop().await;
    let token = world.token("shop", "app", "app-9");
    let mut watch = world.watch_as(&token, "names=app").await.unwrap();
    assert!(matches!(watch.next().await, Some(Frame::Nodes(_))));
    assert!(matches!(watch.next().await, Some(Frame::Snapshot(_))));
    assert!(
        world
            .probe("/metrics")
            .await
            .1
            .contains("mode=\"offline\",reason=\"\",result=\"accepted\"} 1")
    );
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_named() {
    let world = World::admitting().await;
    let token = world.pod_token();
    let many: Vec<String> = (0..65).map(|n| format!("n{n}")).collect();
    let long = "a".repeat(64);
    for query in [
        String::new(),
        "names=".into(),
        "names=App".into(),
        "names=a/b".into(),
        "names=%61".into(),
        format!("names={long}"),
        format!("names={}", many.join(",")),
        "names=app&have=abc".into(),
        "names=app&other=1".into(),
    ] {
        let refused = world.watch_as(&token, &query).await.err().unwrap();
        assert_eq!(refused.code, Code::Usage, "{query}");
    }
    let mut connection = world.connect(Some(&token), Some(77)).await.unwrap();
    for (method, path, body, status) in [
        (Method::GET, "/v1/status", vec![], 404),
        (Method::GET, "/", vec![], 404),
        (Method::POST, "/v1/watch?names=app", vec![], 404),
        (Method::PUT, "/v1/access", vec![], 404),
        (Method::POST, "/v1/vaults", vec![], 404),
        (Method::POST, "/v1/ack", b"{".to_vec(), 400),
        (
            Method::POST,
            "/v1/ack",
            b"{\"name\":\"app\",\"state\":\"owned\"}".to_vec(),
            400,
        ),
        (Method::POST, "/v1/ack", vec![b' '; 5_000], 413),
        (
            Method::POST,
            "/v1/ack",
            b"{\"name\":\"none\",\"state\":\"written\"}".to_vec(),
            404,
        ),
    ] {
        let came = status_of(&mut connection, method.clone(), path, body).await;
        assert_eq!(came.0, status, "{method} {path}: {}", came.1);
        if came.0 == 413 {
            connection = world.connect(Some(&token), Some(77)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn consumers_and_vaults_are_the_operator_s() {
    let mut world = World::admitting().await;
    let mut watch = watching(&world, "app").await;
    let content = snapshot(&mut watch).await;
    let ack = Ack {
        name: "app".into(),
        version: Some(content.version),
        state: "written".into(),
        reason: None,
        provenance: Some("content".into()),
    };
    let token = world.pod_token();
    let mut pod = world.connect(Some(&token), Some(77)).await.unwrap();
    let _: Value = pod.call(Method::POST, "/v1/ack", &ack).await.unwrap();
    for path in ["/v1/consumers", "/v1/vaults", "/v1/consumers?watch=1"] {
        let came = status_of(&mut pod, Method::GET, path, vec![]).await;
        assert_eq!(came.0, 404, "{path}");
    }

    let operator = world.token("polykey", "polykey-operator", "operator-0");
    let mut connection = world.connect(Some(&operator), None).await.unwrap();
    let table: Consumers = connection.get("/v1/consumers").await.unwrap();
    let row = &table.consumers[0];
    assert_eq!(
        (row.namespace.as_str(), row.name.as_str(), row.pod.as_str()),
        ("shop", "app", "app-0")
    );
    assert_eq!(
        (row.state.as_str(), row.version),
        ("written", Some(content.version))
    );
    assert_eq!(row.kubernetes_node.as_deref(), Some("worker-1"));
    let rule = &table.rules[0];
    assert_eq!(
        (rule.version, rule.owner),
        (Some(content.version), Some(world.laptop.me()))
    );
    let vaults: Vaults = connection.get("/v1/vaults").await.unwrap();
    assert_eq!(
        (vaults.vaults[0].id, &vaults.vaults[0].name),
        (world.vault, &None)
    );

    let mut lines = Lines::open(&world, &operator).await;
    assert_eq!(lines.next().await.consumers.len(), 1);
    let version = world.rotate(&[("x", b"1")]).await;
    let _: Value = pod
        .call(
            Method::POST,
            "/v1/ack",
            &Ack {
                version: Some(version),
                ..ack.clone()
            },
        )
        .await
        .unwrap();
    eventually(async || {
        let table = lines.next().await;
        (table.consumers[0].version == Some(version) && table.rules[0].version == Some(version))
            .then_some(())
    })
    .await;
    let behind = async |n: u8| {
        world.probe("/metrics").await.1.contains(&format!(
            "polykey_pods_behind{{name=\"app\",namespace=\"shop\"}} {n}"
        ))
    };
    assert!(behind(0).await);
    world.rotate(&[("x", b"2")]).await;
    assert!(behind(1).await);
    let mut other = world.rule("app");
    other.subjects = vec!["shop:other".into()];
    other.vault = polykey_core::ids::VaultId::from([4; 32]);
    world.rules(vec![other]).await;
    eventually(async || {
        (lines.next().await.rules[0].reason.as_deref() == Some("VaultNotFound")).then_some(())
    })
    .await;
}

struct Lines {
    body: hyper::body::Incoming,
    buffer: Vec<u8>,
    _connection: Connection,
}

impl Lines {
    async fn open(world: &World, token: &str) -> Lines {
        let mut connection = world.connect(Some(token), None).await.unwrap();
        let answer = connection
            .send(
                Method::GET,
                "/v1/consumers?watch=1",
                "application/json",
                vec![],
            )
            .await
            .unwrap();
        assert!(answer.status().is_success());
        Lines {
            body: answer.into_body(),
            buffer: vec![],
            _connection: connection,
        }
    }

    async fn next(&mut self) -> Consumers {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let part = tokio::time::timeout(Duration::from_secs(15), self.body.frame())
                .await
                .unwrap();
            self.buffer
                .extend_from_slice(&part.unwrap().unwrap().into_data().unwrap());
        }
    }
}

#[tokio::test]
async fn a_token_that_comes_with_another_key_from_another_address_is_refused_and_told() {
    let world = World::admitting().await;
    let token = world.pod_token();
    let mut watch = watching(&world, "app").await;
    snapshot(&mut watch).await;
    // The same address with another key is a sidecar that was started again.
    assert!(world.connect(Some(&token), Some(78)).await.is_ok());
    let mut thief = from_another_address(&world, &token).await;
    let (status, error) = status_of(&mut thief, Method::GET, "/v1/watch?names=app", vec![]).await;
    assert_eq!(status, 401);
    assert!(error.message.starts_with("TokenReuse"), "{error}");
    let Some(Frame::Refused(told)) = watch.next().await else {
        panic!("the first client is told")
    };
    assert_eq!(
        (told.name.as_str(), told.reason.as_str()),
        ("", "TokenReuse")
    );
    let rows = world.services.watches.consumers().list();
    assert_eq!(rows[0].reason.as_deref(), Some("TokenReuse"));
}

/// A connection from 127.0.0.2 with a key of its own.
async fn from_another_address(world: &World, token: &str) -> Connection {
    use polykey_client::tls::{Pins, client_config, leaf};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let tcp = socket.connect(world.tls).await.unwrap();
    let config = client_config(
        Pins::new([world.services.about.node]),
        Some(leaf(&[99; 32]).unwrap()),
    )
    .unwrap();
    let name = rustls::pki_types::ServerName::try_from("node.invalid").unwrap();
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .unwrap();
    Connection::start(stream, Some(token)).await.unwrap()
}

#[tokio::test]
async fn a_client_that_says_nothing_or_too_much_is_closed() {
    let world = World::admitting().await;
    let mut plain = TcpStream::connect(world.tls).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(
        !answer.starts_with(b"HTTP"),
        "plain text is not answered in plain text"
    );
    let silent = TcpStream::connect(world.tls).await.unwrap();
    let mut byte = [0];
    let closed = tokio::time::timeout(super::super::tls::HANDSHAKE_DEADLINE * 2, async {
        let mut silent = silent;
        silent.read(&mut byte).await.unwrap_or(0)
    });
    assert_eq!(closed.await.expect("closed within the deadline"), 0);
    let mut head = world
        .connect(Some(&"x".repeat(40 << 10)), None)
        .await
        .unwrap();
    let answer = head
        .send(
            Method::GET,
            "/v1/watch?names=app",
            "application/json",
            vec![],
        )
        .await;
    assert!(answer.map_or(true, |a| a.status().is_client_error()));
}

#[tokio::test]
async fn a_pod_has_a_few_watches_and_no_more() {
    let world = World::admitting().await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(world.watch("app").await);
    }
    let refused = world
        .watch_as(&world.pod_token(), "names=app")
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, Code::TooLarge);
    open.clear();
    eventually(async || world.watch_as(&world.pod_token(), "names=app").await.ok()).await;
}
