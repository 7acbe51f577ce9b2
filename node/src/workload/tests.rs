//! The rule, step by step; then the same over the wire, with an API server that confirms, refuses, misbehaves or is gone.

use super::keys::{KeySet, KeysError, MAX_KEY_SET};
use super::testing::{
    AUDIENCE, Answer, ApiServer, ISSUER, TestIssuer, claims, ed25519_token, message,
};
use super::token::{self, SKEW};
use super::*;
use crate::store::{Store, testing::scratch_store};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

fn check(token: &str, keys: &str) -> Result<Identity, Reason> {
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let expected = Expected {
        issuer: ISSUER,
        audience: AUDIENCE,
        now: NOW,
    };
    verify(token, &keys, &expected)
}

/// The good claims with one of them replaced; `null` removes it. Nested ones are named by a path.
fn with(pointer: &str, value: Value) -> Value {
    let mut all = claims(NOW, "app-0");
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = all.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(last);
    } else {
        parent.insert(last.to_owned(), value);
    }
    all
}

#[test]
fn a_projected_token_is_believed() {
    let issuer = TestIssuer::new("k1");
    let identity = check(&issuer.token(&claims(NOW, "app-0")), &issuer.jwks()).unwrap();
    assert_eq!(
        identity,
        Identity {
            namespace: "shop".into(),
            service_account: "app".into(),
            pod: "app-0".into(),
            pod_uid: "uid-of-app-0".into(),
            kubernetes_node: Some("worker-1".into()),
            expires: NOW + 3600,
        }
    );
    assert_eq!(identity.subject(), "shop:app");
}

#[test]
fn each_step_refuses_with_its_own_reason() {
    let issuer = TestIssuer::new("k1");
    let cases = [
        (with("/aud", json!(["another"])), Reason::Audience),
        (with("/aud", json!([AUDIENCE, "another"])), Reason::Audience),
        (with("/aud", json!([AUDIENCE, AUDIENCE])), Reason::Audience),
        (with("/aud", json!([])), Reason::Audience),
        (with("/aud", Value::Null), Reason::Malformed),
        (with("/iss", json!("https://another")), Reason::Issuer),
        (with("/iss", Value::Null), Reason::Malformed),
        (with("/exp", json!(NOW - SKEW)), Reason::Expired),
        (with("/exp", json!(NOW - 86_400)), Reason::Expired),
        (with("/exp", json!(-1)), Reason::Malformed),
        (with("/exp", json!("soon")), Reason::Malformed),
        (with("/exp", Value::Null), Reason::Malformed),
        (with("/exp", json!(NOW + 48 * 3600)), Reason::Lifetime),
        (with("/exp", json!(u64::MAX)), Reason::Lifetime),
        (with("/iat", json!(NOW - 101)), Reason::Lifetime),
        (with("/iat", Value::Null), Reason::Malformed),
        (with("/iat", json!(NOW + SKEW + 1)), Reason::NotYet),
        (with("/nbf", json!(NOW + SKEW + 1)), Reason::NotYet),
        (with("/kubernetes.io", Value::Null), Reason::NotPodBound),
        (with("/kubernetes.io/pod", Value::Null), Reason::NotPodBound),
        (
            with("/kubernetes.io/pod/uid", json!("")),
            Reason::NotPodBound,
        ),
        (
            with("/kubernetes.io/pod/name", json!("")),
            Reason::NotPodBound,
        ),
        (
            with("/kubernetes.io/serviceaccount", Value::Null),
            Reason::Subject,
        ),
        (
            with("/kubernetes.io/serviceaccount/name", json!("admin")),
            Reason::Subject,
        ),
        (
            with("/kubernetes.io/namespace", json!("kube-system")),
            Reason::Subject,
        ),
        (
            with("/sub", json!("system:serviceaccount:shop:admin")),
            Reason::Subject,
        ),
        (with("/sub", json!("app")), Reason::Subject),
    ];
    for (claims, reason) in cases {
        let token = issuer.token(&claims);
        assert_eq!(check(&token, &issuer.jwks()), Err(reason), "{claims}");
    }
}

#[test]
fn an_audience_that_is_one_text_is_that_audience() {
    let issuer = TestIssuer::new("k1");
    let token = issuer.token(&with("/aud", json!(AUDIENCE)));
    assert!(check(&token, &issuer.jwks()).is_ok());
}

#[test]
fn clocks_may_differ_by_the_skew_and_no_more() {
    let issuer = TestIssuer::new("k1");
    for (pointer, value) in [("/exp", NOW - SKEW + 1), ("/nbf", NOW + SKEW)] {
        let mut all = with(pointer, json!(value));
        all["iat"] = json!(NOW - 100);
        assert!(
            check(&issuer.token(&all), &issuer.jwks()).is_ok(),
            "{pointer}"
        );
    }
}

#[test]
fn no_algorithm_but_public_key_signatures_is_taken() {
    let issuer = TestIssuer::new("k1");
    let good = claims(NOW, "app-0");
    for algorithm in [
        "none", "None", "NONE", "HS256", "HS384", "HS512", "PS256", "RS384", "RS512", "", "ES512",
    ] {
        let header = json!({"alg": algorithm, "kid": "k1"});
        for token in [
            format!("{}.", message(&header, &good)),
            issuer.token_with(&header, &good),
        ] {
            assert_eq!(
                check(&token, &issuer.jwks()),
                Err(Reason::Algorithm),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn a_shared_secret_made_of_the_public_key_does_not_sign() {
    let issuer = TestIssuer::new("k1");
    let text = message(&json!({"alg": "HS256", "kid": "k1"}), &claims(NOW, "app-0"));
    let public = issuer.jwks();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
    let tag = ring::hmac::sign(&key, text.as_bytes());
    let token = format!("{text}.{}", super::testing::base64url(tag.as_ref()));
    assert_eq!(check(&token, &public), Err(Reason::Algorithm));
}

#[test]
fn a_token_that_asks_for_another_family_than_its_key_has_is_refused() {
    let issuer = TestIssuer::new("k1");
    for algorithm in ["RS256", "EdDSA", "ES384"] {
        let header = json!({"alg": algorithm, "kid": "k1"});
        let token = issuer.token_with(&header, &claims(NOW, "app-0"));
        assert_eq!(
            check(&token, &issuer.jwks()),
            Err(Reason::Signature),
            "{algorithm}"
        );
    }
}

#[test]
fn the_key_is_named_by_the_token_and_known_to_the_issuer() {
    let (ours, theirs) = (TestIssuer::new("k1"), TestIssuer::new("k1"));
    let good = claims(NOW, "app-0");
    let refused = |header: Value| check(&ours.token_with(&header, &good), &ours.jwks());
    assert_eq!(refused(json!({"alg": "ES256"})), Err(Reason::NoKeyId));
    assert_eq!(
        refused(json!({"alg": "ES256", "kid": ""})),
        Err(Reason::NoKeyId)
    );
    assert_eq!(
        refused(json!({"alg": "ES256", "kid": "k2"})),
        Err(Reason::UnknownKey)
    );
    assert_eq!(
        check(&theirs.token(&good), &ours.jwks()),
        Err(Reason::Signature)
    );
}

#[test]
fn a_token_does_not_bring_its_own_key() {
    let (ours, theirs) = (TestIssuer::new("k1"), TestIssuer::new("k2"));
    let header =
        json!({"alg": "ES256", "kid": "k1", "jwk": theirs.jwk(), "jku": "https://evil/keys"});
    let token = theirs.token_with(&header, &claims(NOW, "app-0"));
    assert_eq!(check(&token, &ours.jwks()), Err(Reason::Signature));
    let critical = json!({"alg": "ES256", "kid": "k1", "crit": ["x"]});
    let token = ours.token_with(&critical, &claims(NOW, "app-0"));
    assert_eq!(check(&token, &ours.jwks()), Err(Reason::Malformed));
}

#[test]
fn an_oversized_token_is_refused_before_it_is_read() {
    let issuer = TestIssuer::new("k1");
    let mut long = claims(NOW, "app-0");
    long["jti"] = json!("x".repeat(MAX_TOKEN));
    assert_eq!(
        check(&issuer.token(&long), &issuer.jwks()),
        Err(Reason::TooLarge)
    );
}

#[test]
fn rubbish_is_malformed() {
    let issuer = TestIssuer::new("k1");
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.",
        "e30.e30.e30",
        "\u{0}",
        "Bearer x",
    ] {
        assert_eq!(
            check(text, &issuer.jwks()),
            Err(Reason::Malformed),
            "{text:?}"
        );
    }
}

#[test]
fn every_flipped_character_of_a_token_is_noticed() {
    let issuer = TestIssuer::new("k1");
    let good = issuer.token(&claims(NOW, "app-0"));
    let last = good.len() - 1;
    for at in 0..last {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bytes).unwrap();
        assert!(check(&bad, &issuer.jwks()).is_err(), "byte {at}");
    }
}

#[test]
fn rsa_and_ed25519_signatures_are_checked_too() {
    let (token, keys) = ed25519_token(&claims(NOW, "app-0"));
    assert!(check(&token, &keys).is_ok());
    // A token and the public half of its key, both made by OpenSSL.
    let keys = json!({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rsa-1", "e": "AQAB", "n": RSA_N}]});
    let keys = KeySet::parse(keys.to_string().as_bytes()).unwrap();
    let expected = Expected {
        issuer: "https://kubernetes.default.svc",
        audience: "polykey:c1",
        now: NOW,
    };
    assert_eq!(verify(RSA_TOKEN, &keys, &expected).unwrap().pod, "app-0");
    let flipped = RSA_TOKEN.replace("lALMqQc3", "lALMqQc4");
    assert_eq!(verify(&flipped, &keys, &expected), Err(Reason::Signature));
}

#[test]
fn a_key_set_is_bounded_and_never_empty() {
    let parse = |json: &str| KeySet::parse(json.as_bytes()).map(|k| k.count());
    assert!(matches!(parse("{\"keys\": []}"), Err(KeysError::Empty)));
    assert!(matches!(parse("[]"), Err(KeysError::Malformed(_))));
    assert!(matches!(
        parse(&" ".repeat(MAX_KEY_SET + 1)),
        Err(KeysError::TooLarge(_))
    ));
    let secret = json!({"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]}).to_string();
    assert!(matches!(parse(&secret), Err(KeysError::Empty)));
    let mut encrypting = TestIssuer::new("e").jwk();
    encrypting["use"] = json!("enc");
    let mixed =
        json!({"keys": [{"kty": "new-kind", "kid": "n"}, encrypting, TestIssuer::new("k").jwk()]});
    assert_eq!(parse(&mixed.to_string()).unwrap(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn no_text_makes_the_rule_panic_or_pass(text in "\\PC{0,200}", dots in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
        let issuer = TestIssuer::new("k1");
        prop_assert!(check(&text, &issuer.jwks()).is_err());
        prop_assert!(check(&dots, &issuer.jwks()).is_err());
    }
}

// Over the wire.

struct World {
    issuer: TestIssuer,
    api: ApiServer,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> World {
        let issuer = TestIssuer::new("k1");
        let api = ApiServer::start(&issuer).await;
        let (dir, store) = scratch_store();
        World {
            issuer,
            api,
            store,
            _dir: dir,
        }
    }

    fn workloads(&self, change: impl FnOnce(&mut Config)) -> Arc<Workloads> {
        let mut config = self.api.config();
        change(&mut config);
        Workloads::open(config, self.store.clone(), Metrics::new()).unwrap()
    }

    fn token(&self, pod: &str) -> String {
        self.issuer.token(&claims(unix_now(), pod))
    }
}

#[tokio::test]
async fn a_token_is_reviewed_once_a_minute_however_many_ask() {
    let world = World::new().await;
    world.api.slow(Duration::from_millis(50));
    let workloads = world.workloads(|_| {});
    let token = world.token("app-0");
    let together = futures::future::join_all((0..50).map(|_| workloads.authenticate(&token))).await;
    assert!(
        together
            .iter()
            .all(|w| w.as_ref().unwrap().mode == Mode::Review)
    );
    assert!(workloads.authenticate(&token).await.is_ok());
    assert_eq!(world.api.reviews(), 1);
    assert!(workloads.authenticate(&world.token("app-1")).await.is_ok());
    assert_eq!(world.api.reviews(), 2);
    assert_eq!(world.api.key_fetches(), 1);
}

#[tokio::test]
async fn what_the_api_server_says_decides() {
    let world = World::new().await;
    let workloads = world.workloads(|_| {});
    for (answer, outcome) in [
        (Answer::Deny, Err(Reason::ReviewDenied)),
        (Answer::OtherAudience, Err(Reason::ReviewAudience)),
        (Answer::OtherPod, Err(Reason::ReviewPod)),
        (Answer::Status(401), Err(Reason::ReviewForbidden)),
        (Answer::Status(403), Err(Reason::ReviewForbidden)),
        (Answer::Status(404), Err(Reason::ReviewForbidden)),
        (Answer::Rubbish, Err(Reason::ReviewForbidden)),
        (Answer::Status(429), Ok(Mode::Offline)),
        (Answer::Status(500), Ok(Mode::Offline)),
        (Answer::Status(503), Ok(Mode::Offline)),
        (Answer::Confirm, Ok(Mode::Review)),
    ] {
        world.api.answers(answer);
        let came = workloads.authenticate(&world.token("app-0")).await;
        assert_eq!(came.map(|w| w.mode), outcome, "{answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let world = World::new().await;
    let workloads = world.workloads(|_| {});
    let token = world.token("app-0");
    world.api.answers(Answer::Deny);
    assert!(workloads.authenticate(&token).await.is_err());
    world.api.answers(Answer::Confirm);
    assert!(workloads.authenticate(&token).await.is_ok());
}

#[tokio::test]
async fn rubbish_never_reaches_the_api_server() {
    let world = World::new().await;
    let workloads = world.workloads(|_| {});
    let stranger = TestIssuer::new("k1");
    let mut other_issuer = claims(unix_now(), "app-0");
    other_issuer["iss"] = json!("https://another");
    for bad in [
        "rubbish".to_owned(),
        stranger.token(&claims(unix_now(), "app-0")),
        world.issuer.token(&claims(unix_now() - 7200, "app-0")),
        world.issuer.token(&other_issuer),
    ] {
        assert!(workloads.authenticate(&bad).await.is_err());
    }
    assert_eq!(world.api.reviews(), 0);
}

#[tokio::test]
async fn a_silent_api_server_costs_one_deadline_and_tokens_stand_on_their_signature() {
    let world = World::new().await;
    let workloads = world.workloads(|_| {});
    assert!(workloads.authenticate(&world.token("first")).await.is_ok());
    world.api.answers(Answer::Silence);
    let start = std::time::Instant::now();
    let tokens: Vec<_> = (0..200).map(|n| world.token(&format!("app-{n}"))).collect();
    let together =
        futures::future::join_all(tokens.iter().map(|t| workloads.authenticate(t))).await;
    assert!(
        together
            .iter()
            .all(|w| w.as_ref().unwrap().mode == Mode::Offline)
    );
    assert!(workloads.offline());
    // Two hundred questions one after another would take 19 s at 32 a time.
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
    world.api.answers(Answer::Confirm);
    assert!(workloads.authenticate(&world.token("last")).await.is_ok());
    assert!(!workloads.offline());
}

#[tokio::test]
async fn a_node_starts_with_the_api_server_down_on_the_keys_that_it_kept() {
    let mut world = World::new().await;
    assert!(
        world
            .workloads(|_| {})
            .authenticate(&world.token("app-0"))
            .await
            .is_ok()
    );
    world.api.stop().await;
    let restarted = world.workloads(|_| {});
    let workload = restarted.authenticate(&world.token("app-1")).await.unwrap();
    assert_eq!(workload.mode, Mode::Offline);
    let forged = TestIssuer::new("k1").token(&claims(unix_now(), "app-1"));
    assert_eq!(
        restarted.authenticate(&forged).await.unwrap_err(),
        Reason::Signature
    );
}

#[tokio::test]
async fn without_any_key_nothing_is_believed() {
    let mut world = World::new().await;
    world.api.stop().await;
    let workloads = world.workloads(|_| {});
    let came = workloads.authenticate(&world.token("app-0")).await;
    assert_eq!(came.unwrap_err(), Reason::NoKeys);
}

#[tokio::test]
async fn an_empty_or_broken_key_set_never_replaces_a_good_one() {
    let world = World::new().await;
    let workloads = world.workloads(|_| {});
    assert!(workloads.authenticate(&world.token("app-0")).await.is_ok());
    for (status, body) in [(200, "{\"keys\": []}"), (200, ""), (500, "x"), (403, "{}")] {
        world.api.has_keys(status, body);
        assert!(workloads.issuer.fetch_now().await.is_err());
        assert!(workloads.authenticate(&world.token("app-0")).await.is_ok());
    }
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_at_most_once_a_minute() {
    let world = World::new().await;
    let workloads = world.workloads(|_| {});
    assert!(workloads.authenticate(&world.token("app-0")).await.is_ok());
    assert_eq!(world.api.key_fetches(), 1);
    let rotated = TestIssuer::new("k2");
    world.api.has_keys(200, &rotated.jwks());
    let token = rotated.token(&claims(unix_now(), "app-0"));
    for _ in 0..5 {
        assert_eq!(
            workloads.authenticate(&token).await.unwrap_err(),
            Reason::UnknownKey
        );
    }
    assert_eq!(world.api.key_fetches(), 1);
    workloads.issuer.a_minute_passes().await;
    assert!(workloads.authenticate(&token).await.is_ok());
    assert_eq!(world.api.key_fetches(), 2);
}

#[tokio::test]
async fn a_server_with_a_foreign_certificate_is_no_outage() {
    let world = World::new().await;
    assert!(
        world
            .workloads(|_| {})
            .authenticate(&world.token("app-0"))
            .await
            .is_ok()
    );
    let foreign = world.api.foreign_ca();
    let workloads = world.workloads(|c| c.ca_file = foreign);
    let came = workloads.authenticate(&world.token("app-1")).await;
    assert_eq!(came.unwrap_err(), Reason::ReviewForbidden);
}

#[tokio::test]
async fn with_review_off_the_signature_decides() {
    let world = World::new().await;
    let workloads = world.workloads(|c| c.review_url = None);
    world.api.answers(Answer::Deny);
    let workload = workloads.authenticate(&world.token("app-0")).await.unwrap();
    assert_eq!((workload.mode, world.api.reviews()), (Mode::Jwks, 0));
}

#[tokio::test]
async fn asking_again_tells_a_refusal_from_an_outage() {
    let world = World::new().await;
    let workloads = world.workloads(|_| {});
    let token = world.token("app-0");
    world.api.answers(Answer::Status(503));
    let identity = workloads.authenticate(&token).await.unwrap().identity;
    assert_eq!(
        workloads.ask_again(&token, &identity).await,
        Again::Unreachable
    );
    world.api.answers(Answer::Deny);
    assert_eq!(workloads.ask_again(&token, &identity).await, Again::Refused);
    world.api.answers(Answer::Confirm);
    assert_eq!(
        workloads.ask_again(&token, &identity).await,
        Again::Confirmed
    );
}

#[test]
fn the_issuer_of_a_token_is_read_from_it() {
    let issuer = TestIssuer::new("k1");
    let token = issuer.token(&claims(NOW, "app-0"));
    assert_eq!(token::issuer_of(&token).as_deref(), Some(ISSUER));
    assert_eq!(token::issuer_of("rubbish"), None);
}

const RSA_N: &str = "pTqF9K_gAa1xA9aFcsfhTAPowCx7Dt8N5b40f0nugEK_IWKqnjemru3LvdqPh8weO-uYZKW3CueknPJtLc6XNukKGD3uKjO3pBBOZ5-hhxiImrY0JoBA_P3IqmUKErNSTanPcWyBac0tANcFQVSS5Kmq84-BTl3AkUrTW7RnLk4z_-WDTRKxIXFNRY5_a6Q5T8EVo_p7N8COIQKVkRcMG5NilxCxbSxlUPgKujc1uryrsb41fdT9WBydcstrLwdrrKF7DzUpIQhswb2oWpmoHgTE_7WF6BBI3aWn0MysXe7YT284seIIl8rbCFN4kXr-aceUvpYnr_oizBzWsfW6pQ";
const RSA_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInJzYS0xIn0.eyJhdWQiOiBbInBvbHlrZXk6YzEiXSwgImV4cCI6IDE4MDAwMDM2MDAsICJpYXQiOiAxODAwMDAwMDAwLCAibmJmIjogMTgwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMiLCAianRpIjogImoiLCAic3ViIjogInN5c3RlbTpzZXJ2aWNlYWNjb3VudDpzaG9wOmFwcCIsICJrdWJlcm5ldGVzLmlvIjogeyJuYW1lc3BhY2UiOiAic2hvcCIsICJzZXJ2aWNlYWNjb3VudCI6IHsibmFtZSI6ICJhcHAiLCAidWlkIjogInNhLTEifSwgInBvZCI6IHsibmFtZSI6ICJhcHAtMCIsICJ1aWQiOiAicG9kLTEifSwgIm5vZGUiOiB7Im5hbWUiOiAibjEiLCAidWlkIjogIm5vZGUtMSJ9fX0.lALMqQc3Dc0TKNjxtXdFTzOHfFXWPUd7XDUhgQp3gw_c4OdbZEy3D2rpDVeJWrQTOMlUuyRLAn-OnkNC1ZIS2bBsMdCQltn6ZH_Qk8Gtg7SOQ9Bb5nSJBk5SOoo_mM5nys3ghLy7WJ9WS-UvHHmrAwoiF0dLVkLc7IFULGi8kth27VYDj5_giayds4eBLsS2dFQMr_BK-wHyi0uX1v57EeKPqT0Iy3-ASUu5DGUdKztAoMRnQzuKL_DvA3XodgiOnDk_Ry_SUWUghadopIbSrIaca5UX9kCj6BUSWd0R_3oAzui91-rW8GWDGCzltavXF9ZMWytCMt54KfDBjcn3kg";
