//! Two endpoints on loopback.

use super::*;
use std::time::Instant;

const SEED_A: [u8; 32] = [1; 32];
const SEED_B: [u8; 32] = [2; 32];

fn here() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

/// A connection from A to B: A's end, B's end, and what must live as long.
async fn pair() -> (Connection, Connection, Net, Net) {
    let (a, b) = (
        Net::bind(&SEED_A, here()).unwrap(),
        Net::bind(&SEED_B, here()).unwrap(),
    );
    let at = b.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(a.dial(at), async {
        b.accept().await.unwrap().handshake().await
    });
    (dialled.unwrap(), accepted.unwrap(), a, b)
}

#[tokio::test]
async fn each_end_learns_the_key_of_the_other() {
    let (at_a, at_b, _a, _b) = pair().await;
    let id = |seed| {
        let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
        let key = ring::signature::KeyPair::public_key(&pair)
            .as_ref()
            .to_vec();
        NodeId::from(<[u8; 32]>::try_from(key).unwrap())
    };
    assert!(at_a.node() == id(&SEED_B) && at_b.node() == id(&SEED_A));
    assert!(at_a.dialled() && !at_b.dialled());
}

#[tokio::test]
async fn a_dial_comes_from_a_port_of_its_own() {
    let (first, _, a, b) = pair().await;
    let at = b.local_addr().unwrap();
    let (second, knock) = tokio::join!(a.dial(at), async {
        let knock = b.accept().await.unwrap();
        (knock.remote().port(), knock.handshake().await.unwrap())
    });
    let _second = second.unwrap();
    let listening = a.local_addr().unwrap().port();
    let seen = knock.0;
    assert_ne!(seen, listening);
    let first_port = first.endpoint.local_addr().unwrap().port();
    assert_ne!(seen, first_port);
}

#[tokio::test]
async fn frames_travel_both_ways_on_one_stream() {
    let (at_a, at_b, _a, _b) = pair().await;
    let mut asked = at_a.call(7, &framed(b"first")).await.unwrap();
    let mut answered = at_b.accept().await.unwrap();
    assert_eq!(answered.rx.number().await.unwrap(), Some(7));
    assert_eq!(answered.rx.frame(5).await.unwrap().unwrap(), b"first");
    let large = vec![9; 3 << 20];
    let (sent, got) = tokio::join!(
        answered.tx.send(framed(&large)),
        asked.rx.frame(large.len())
    );
    sent.unwrap();
    assert!(got.unwrap().unwrap() == large);
    answered.tx.finish();
    assert!(asked.rx.frame(1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_frame_over_its_limit_is_refused_by_its_length_alone() {
    let (at_a, at_b, _a, _b) = pair().await;
    let (mut tx, _rx) = at_a.quic.open_bi().await.unwrap();
    tx.write_all(&[1, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    let mut stream = at_b.accept().await.unwrap();
    stream.rx.number().await.unwrap();
    let refused = stream.rx.frame(100).await;
    assert!(matches!(
        refused,
        Err(NetError::TooLarge { limit: 100, .. })
    ));
}

#[tokio::test]
async fn a_frame_that_ends_early_is_not_a_frame() {
    let (at_a, at_b, _a, _b) = pair().await;
    let cuts: [&[u8]; 3] = [&[0], &[0, 0, 0, 9], &[0, 0, 0, 9, b'x']];
    for cut in cuts {
        let (mut tx, _rx) = at_a.quic.open_bi().await.unwrap();
        tx.write_all(&[1]).await.unwrap();
        tx.write_all(cut).await.unwrap();
        tx.finish().unwrap();
        let mut stream = at_b.accept().await.unwrap();
        stream.rx.number().await.unwrap();
        let got = stream.rx.frame(100).await;
        assert!(matches!(got, Err(NetError::Truncated)), "{cut:?}");
    }
}

#[tokio::test]
async fn the_reason_of_a_close_arrives() {
    for why in Close::ALL {
        let (at_a, at_b, _a, _b) = pair().await;
        at_b.close(why);
        assert!(matches!(at_a.closed().await, NetError::Closed(w) if w == why));
    }
}

#[tokio::test]
async fn a_peer_of_another_protocol_is_refused_in_the_handshake() {
    let (_, _, a, b) = pair().await;
    let mut tls = raw_keys::client(&SEED_A).unwrap();
    tls.alpn_protocols = vec![b"polykey/2".to_vec()];
    let tls = QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let dial = a
        .endpoint
        .connect_with(config, b.local_addr().unwrap(), "node.invalid")
        .unwrap();
    let (dialled, accepted) =
        tokio::join!(dial, async { b.accept().await.unwrap().handshake().await });
    assert!(dialled.is_err() && accepted.is_err());
}

#[tokio::test]
async fn a_client_without_a_key_is_refused() {
    let (_, _, a, b) = pair().await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"polykey/1".to_vec()];
    let tls = QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let dial = a
        .endpoint
        .connect_with(config, b.local_addr().unwrap(), "node.invalid")
        .unwrap();
    let (dialled, accepted) =
        tokio::join!(dial, async { b.accept().await.unwrap().handshake().await });
    assert!(dialled.is_err() && accepted.is_err());
}

#[tokio::test]
async fn a_restarted_node_is_noticed_at_the_next_packet() {
    let a = Net::bind(&SEED_A, here()).unwrap();
    // The first process of B is a runtime of its own, which ends without a word, as after a kill.
    let first = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let b = {
        let _inside = first.enter();
        Net::bind(&SEED_B, here()).unwrap()
    };
    let at = b.local_addr().unwrap();
    let b = first.spawn(async move { (b.accept().await.unwrap().handshake().await.unwrap(), b) });
    let at_a = a.dial(at).await.unwrap();
    let ends = b.await.unwrap();
    first.shutdown_background();
    drop(ends);

    let deadline = Instant::now() + Duration::from_secs(5);
    let again = loop {
        match Net::bind(&SEED_B, at) {
            Ok(net) => break net,
            Err(e) => assert!(Instant::now() < deadline, "{e}"),
        }
        tokio::task::yield_now().await;
    };
    assert!(at_a.ended().is_none(), "told before the end");
    let _call = at_a.call(1, &framed(b"anyone?")).await;
    let ended = tokio::time::timeout(Duration::from_secs(3), at_a.closed()).await;
    assert!(ended.is_ok(), "not noticed");
    drop(again);
}

#[tokio::test]
async fn both_families_reach_a_node_that_listens_on_the_unspecified_address() {
    let a = Net::bind(&SEED_A, here()).unwrap();
    let b = Net::bind(&SEED_B, (Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
    let listening = b.local_addr().unwrap();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, listening.port()));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, listening.port()));
    let families: &[SocketAddr] = if listening.is_ipv6() {
        &[v4, v6]
    } else {
        &[v4]
    };
    for at in families {
        let (dialled, accepted) = tokio::join!(a.dial(*at), async {
            b.accept().await.unwrap().handshake().await
        });
        assert_eq!(dialled.unwrap().remote(), *at);
        assert_eq!(accepted.unwrap().remote().is_ipv4(), at.is_ipv4());
    }
}
