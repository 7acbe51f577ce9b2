//! The local API, texts and tokens.

use super::signed::a_commit;
use super::{Example, blob, id, key, node, person, pieces, vault};
use polykey_client::api::{Edit, Edits, Put, Secret};
use polykey_client::tls;
use polykey_client::watch::{
    Body as Contents, Content, EpochKeys, File, Files, Frame, Named, NodeAddress, Part, Refusal,
    Sealed,
};
use polykey_core::commit::SignedCommit;
use polykey_core::enc;
use polykey_core::ids::{CommitId, EpochId};
use polykey_core::keys::Words;
use zeroize::Zeroizing;

fn secret(bytes: &[u8]) -> Secret {
    Secret(Zeroizing::new(bytes.to_vec()))
}

pub fn requests() -> Vec<Example> {
    let put = Edit::Put(Put {
        path: "db/password".to_owned(),
        mode: 0o444,
        value: secret(b"hunter2"),
    });
    let edits = Edits {
        expect: Some(id(3)),
        edits: vec![put, Edit::Remove("old/".to_owned())],
    };
    let json = |first: u8, text: &str| [&[first][..], text.as_bytes()].concat();
    let (n, v) = (node(2), vault());
    vec![
        ("edits", "put-and-remove", enc::encode(&edits)),
        (
            "edits",
            "nothing",
            enc::encode(&Edits {
                expect: None,
                edits: Vec::new(),
            }),
        ),
        ("api_request", "vault", json(0, r#"{"name":"app"}"#)),
        (
            "api_request",
            "grant",
            json(
                1,
                &format!(
                    r#"{{"node":"{n}","role":"reader","expires":1800000000,"caveat":{{"cluster":"u","namespaces":["shop"],"serviceAccounts":[],"paths":["db/"]}}}}"#
                ),
            ),
        ),
        (
            "api_request",
            "peer",
            json(2, &format!(r#"{{"node":"{n}","address":"host:1314"}}"#)),
        ),
        (
            "api_request",
            "ack",
            json(
                3,
                &format!(
                    r#"{{"name":"app","version":"{}","state":"written","provenance":"content"}}"#,
                    id::<CommitId>(3)
                ),
            ),
        ),
        (
            "api_request",
            "access",
            json(
                5,
                &format!(
                    r#"{{"source":"k8s:u","revision":{{"polykeyvaults":"1"}},"set":"","restored":false,"rules":[{{"id":"shop/app#u@1","namespace":"shop","name":"app","vault":"{v}","subjects":["shop:app"],"paths":["db/"],"version":null,"signers":["{n}"],"suspend":false,"purpose":"mount","delivery":{{}}}}],"peers":[{{"node":"{n}","addresses":["host:1314"],"namespaces":["*"],"vaults":["{v}"],"expires":null}}],"siblings":[{{"node":"{n}","addresses":[]}}]}}"#
                ),
            ),
        ),
    ]
}

pub fn answers() -> Vec<Example> {
    let json = |first: u8, text: &str| [&[first][..], text.as_bytes()].concat();
    let (n, v, c) = (node(2), vault(), id::<CommitId>(3));
    let a_vault = format!(
        r#"{{"id":"{v}","name":"app","role":"owner","version":"{c}","author":"{n}","committedMs":1,"owners":["{n}"],"members":2,"state":"ok"}}"#
    );
    vec![
        (
            "api_answer",
            "status",
            json(
                0,
                &format!(
                    r#"{{"nodeId":"{n}","softwareVersion":"0.1.0","nodePath":"/x","unlockMethod":"keyfile","boot":3,"listen":"[::]:1","uptimeSeconds":9,"accessSet":null,"accessAgeSeconds":null,"consumers":0,"vaults":[{a_vault}],"peers":[]}}"#
                ),
            ),
        ),
        (
            "api_answer",
            "entries",
            json(
                2,
                &format!(
                    r#"{{"version":"{c}","entries":[{{"path":"a","size":3,"mode":292,"version":"{c}","changedMs":1,"by":"{n}","conflict":false}}]}}"#
                ),
            ),
        ),
        (
            "api_answer",
            "log",
            json(
                3,
                &format!(
                    r#"{{"versions":[{{"version":"{c}","author":"{n}","committedMs":1,"changes":[{{"path":"a","change":"added"}}]}}]}}"#
                ),
            ),
        ),
        (
            "api_answer",
            "consumers",
            json(
                4,
                &format!(r#"{{"consumers":[],"rules":[],"vaults":[{a_vault}],"peers":[]}}"#),
            ),
        ),
        (
            "api_answer",
            "error",
            json(
                7,
                r#"{"code":"NotFound","message":"no such vault","hint":"see them all","next":["polykey vault ls"]}"#,
            ),
        ),
    ]
}

pub fn watches() -> Vec<Example> {
    let content = |body| Content {
        rule: "shop/app#u@1".to_owned(),
        name: "app".to_owned(),
        vault: vault(),
        version: id(3),
        signers: vec![node(1)],
        delivery: b"{}".to_vec().into(),
        control: vec![vec![1; 70].into()],
        commits: vec![
            SignedCommit::sign(a_commit(1, 1, &[], Vec::new()), &person(1))
                .bytes()
                .to_vec()
                .into(),
        ],
        body,
        more: true,
        pinned: false,
    };
    let keys = EpochKeys {
        epoch: EpochId::from([1; 16]),
        keys: secret(&[2; 64]),
    };
    let sealed = || {
        Contents::Sealed(Sealed {
            objects: vec![blob(b"hello").1.into()],
            keys: Vec::new(),
        })
    };
    let with_keys = Contents::Sealed(Sealed {
        objects: Vec::new(),
        keys: vec![keys],
    });
    let files = Contents::Files(Files {
        put: vec![File {
            path: "a".to_owned(),
            mode: 0o444,
            value: secret(b"one"),
            rest: Some(40),
        }],
        removed: vec!["b".to_owned()],
    });
    let refusal = || Refusal {
        name: "app".to_owned(),
        reason: "NoRule".to_owned(),
        message: "no".to_owned(),
    };
    let stream = |frames: &[Frame]| frames.iter().flat_map(Frame::to_bytes).collect::<Vec<u8>>();
    let nodes = Frame::Nodes(vec![NodeAddress {
        node: node(1),
        address: "polykey-0:1315".to_owned(),
    }]);
    let part = Frame::Part(Part {
        name: "app".to_owned(),
        body: sealed(),
        more: false,
    });
    let named = || Named {
        name: "app".to_owned(),
    };
    vec![
        (
            "watch_stream",
            "snapshot",
            stream(&[nodes, Frame::Snapshot(content(with_keys)), part]),
        ),
        (
            "watch_stream",
            "change",
            stream(&[Frame::Change(content(files)), Frame::Ping]),
        ),
        (
            "watch_stream",
            "others",
            stream(&[
                Frame::Current(named()),
                Frame::Behind(named()),
                Frame::Refused(refusal()),
                Frame::Gone(refusal()),
                Frame::Bye("token".to_owned()),
            ]),
        ),
    ]
}

pub fn texts() -> Vec<Example> {
    let words = Words::from_entropy(&[7; 32]);
    let reference = |name, text: &str| ("reference", name, text.as_bytes().to_vec());
    let text = |name, text: &str| ("text", name, text.as_bytes().to_vec());
    vec![
        reference("typed", "app:db/password#user@~1"),
        reference("uri", "pk://my%20vault/db/pass%23word#user?v=0a1b2c3d"),
        reference("time", ":mail/ben@example.com@2026-11-20T09:00:30+01:00"),
        reference("scope", "pk://app/folder/"),
        text("node", &node(1).to_string()),
        text("vault", &vault().to_string()),
        text("version", &id::<CommitId>(3).to_string()),
        text("epoch", &EpochId::from([1; 16]).to_string()),
        text("address", "[2001:db8::1]:1314"),
        text("name", "polykey-0.peers.svc:1314"),
        text("rule", "prod/\nprod/db/password"),
        text("words", words.as_str()),
    ]
}

pub fn tokens() -> Vec<Example> {
    let claims = r#"{"iss":"https://issuer","aud":["polykey"],"sub":"system:serviceaccount:shop:app","exp":1800003000,"iat":1799999700,"nbf":1799999700,"kubernetes.io":{"namespace":"shop","node":{"name":"n","uid":"1"},"pod":{"name":"web-0","uid":"2"},"serviceaccount":{"name":"app","uid":"3"}}}"#;
    let header = r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#;
    let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"EC","crv":"P-256","kid":"ec","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},{"kty":"RSA","kid":"rsa","alg":"RS256","n":"sXchfQ","e":"AQAB"}]}"#;
    let leaf = tls::leaf(&key(8)).expect("a leaf").certificate;
    vec![
        (
            "token",
            "signed",
            pieces(&[header.as_bytes().to_vec(), claims.as_bytes().to_vec()]),
        ),
        (
            "token",
            "text",
            b"eyJhbGciOiJFUzI1NiIsImtpZCI6ImVkIn0.eyJpc3MiOiJodHRwczovL2lzc3VlciJ9.AAAA".to_vec(),
        ),
        ("key_set", "three", keys.as_bytes().to_vec()),
        ("leaf", "ed25519", leaf.to_vec()),
    ]
}
