//! The formats by fixed bytes: what any other implementation of them must produce and accept.
//!
//! `vectors.json` was made by programs in another language with other libraries; `recovery-codes.json` by Polykey's own nodes.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256 as K;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use minicbor::bytes::ByteArray;
use polykey_core::epoch::{self, EpochSecret, Place, ShapeKey, Wrapped};
use polykey_core::ids::{Address, NodeId, VaultId};
use polykey_core::keys::{self, RootKey, Words};
use polykey_core::row::RowKey;
use polykey_core::seal::{self, Kind, ObjectKeys};
use polykey_core::unlock::{self, Cost, Fresh, Secret, Unlocked};
use polykey_core::{audit, enc, ids, sign};
use serde_json::Value;
use std::convert::Infallible;
use zeroize::Zeroizing;

/// One group of vectors.
struct Group(Value);

fn group(name: &str) -> Group {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    Group(all[name].clone())
}

impl Group {
    fn text(&self, name: &str) -> &str {
        self.0[name]
            .as_str()
            .unwrap_or_else(|| panic!("no text {name}"))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex(self.text(name))
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name)
            .try_into()
            .unwrap_or_else(|_| panic!("{name} has another size"))
    }

    fn key(&self, name: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.array(name))
    }

    fn vault(&self) -> VaultId {
        self.array("vault").into()
    }

    fn inner(&self, name: &str) -> Group {
        Group(self.0[name].clone())
    }
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn words() -> Words {
    Words::parse(group("identity").text("words")).unwrap_or_else(|e| panic!("{e}"))
}

fn root() -> RootKey {
    words().identity().root
}

fn first_epoch() -> EpochSecret {
    EpochSecret::new(group("epoch").key("secret"))
}

#[test]
fn words_give_the_keys_of_a_node() {
    let v = group("identity");
    let identity = words().identity();
    assert_eq!(identity.root.node_id(), NodeId::from(v.array("node_id")));
    assert_eq!(
        identity.recovery.node_id(),
        NodeId::from(v.array("recovery_public"))
    );
    assert_eq!(
        keys::x25519_public(&identity.root.node_id()),
        Some(v.array("x25519_public"))
    );
    assert_eq!(*identity.root.local_kek(), v.array("local_kek"));
}

#[test]
fn recovery_codes_of_polykey_give_the_same_node_ids() {
    let codes: Vec<Value> = serde_json::from_str(include_str!("recovery-codes.json")).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for code in &codes {
        let text = code["recovery_code"].as_str().unwrap();
        lengths.insert(text.split(' ').count());
        let words = Words::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let root = words.identity().root;
        assert_eq!(
            root.seed().to_vec(),
            hex(code["private_key_hex"].as_str().unwrap())
        );
        assert_eq!(
            root.node_id().as_bytes().to_vec(),
            hex(code["public_key_hex"].as_str().unwrap())
        );
        assert_eq!(
            root.node_id().to_string(),
            code["node_id"].as_str().unwrap()
        );
    }
    assert_eq!(
        lengths.into_iter().collect::<Vec<_>>(),
        [12, 24],
        "both lengths are covered"
    );
}

#[test]
fn ids_have_these_texts() {
    let v = group("texts");
    assert_eq!(root().node_id().to_string(), v.text("node"));
    assert_eq!(
        VaultId::from(v.array("vault_bytes")).to_string(),
        v.text("vault")
    );
}

#[test]
fn an_epoch_secret_gives_its_commitment_id_and_keys() {
    let v = group("epoch");
    let secret = first_epoch();
    assert_eq!(secret.commitment(), v.array("commitment"));
    assert_eq!(secret.id().as_bytes(), &v.array("id"));
    let keys = [v.bytes("object_key"), v.bytes("nonce_key")].concat();
    assert_eq!(secret.object_keys().to_bytes().to_vec(), keys);
}

#[test]
fn concurrent_epochs_join_and_a_box_opens_the_one_before() {
    let v = group("epoch");
    let second = EpochSecret::new(v.key("second_secret"));
    // The chain key has no other way out than this box.
    assert_eq!(
        second.box_before(0, &first_epoch()),
        v.array("box_of_first_under_second")
    );
    let opened = second.open_box(
        0,
        &first_epoch().id(),
        &v.array("box_of_first_under_second"),
    );
    assert_eq!(opened.ok().unwrap().expose(), first_epoch().expose());
    for order in [
        [first_epoch(), second],
        [EpochSecret::new(v.key("second_secret")), first_epoch()],
    ] {
        assert_eq!(epoch::join(&order).expose(), &v.array("join"));
    }
}

#[test]
fn a_shape_key_decides_where_pages_end() {
    let v = group("shape");
    let shape = ShapeKey::new(v.key("key"));
    assert_eq!(shape.commitment(), v.array("commitment"));
    assert_eq!(
        u64::from(shape.z(v.text("path").as_bytes())),
        v.0["z"].as_u64().unwrap()
    );
    let zeros = v.bytes("keyed_hash")[0].leading_zeros();
    assert_eq!(
        shape.z(v.text("path").as_bytes()),
        zeros,
        "of the hash in the vector"
    );
}

#[test]
fn bodies_are_padded_to_these_sizes() {
    for pair in group("padding").0.as_array().unwrap() {
        let size = |at: usize| usize::try_from(pair[at].as_u64().unwrap()).unwrap();
        assert_eq!(seal::pad(size(0)), size(1));
    }
}

#[test]
fn objects_seal_to_these_bytes_and_open_again() {
    let v = group("objects");
    let keys = first_epoch().object_keys();
    let blob = v.inner("blob");
    let (address, bytes) =
        seal::seal(&keys, &v.vault(), Kind::Blob, 0, &[], &blob.bytes("body")).unwrap();
    assert_eq!(bytes[24..48], blob.bytes("nonce"));
    assert_eq!(
        (address, bytes),
        (blob.array("address").into(), blob.bytes("bytes"))
    );

    let page = v.inner("page");
    let sealed = seal::seal(
        &keys,
        &v.vault(),
        Kind::Page,
        0,
        &[address],
        &page.bytes("body"),
    )
    .unwrap();
    assert_eq!(sealed, (page.array("address").into(), page.bytes("bytes")));
    let (header, body) = seal::open(&keys, &v.vault(), &page.bytes("bytes")).unwrap();
    assert_eq!(
        (header.refs, body.to_vec()),
        (vec![address], page.bytes("body"))
    );

    let empty = v.inner("empty_tree");
    let (address, _) =
        seal::seal(&keys, &v.vault(), Kind::Page, 0, &[], &empty.bytes("body")).unwrap();
    assert_eq!(address, Address::from(empty.array("address")));
}

#[test]
fn keys_handed_to_a_sidecar_open_the_same_objects() {
    let v = group("objects");
    let epoch = first_epoch();
    let handed = ObjectKeys::from_bytes(epoch.id(), &epoch.object_keys().to_bytes()).unwrap();
    let (_, body) = seal::open(&handed, &v.vault(), &v.inner("blob").bytes("bytes")).unwrap();
    assert_eq!(body.to_vec(), b"hello");
    for length in [0, 63, 65] {
        assert!(ObjectKeys::from_bytes(epoch.id(), &vec![1; length]).is_none());
    }
}

#[test]
fn a_commit_has_this_tag() {
    let v = group("tag");
    let seq = v.0["seq"].as_u64().unwrap();
    let tag = ids::tag(&v.vault(), &root().node_id(), seq, &v.array("nonce"));
    assert_eq!(tag.as_bytes(), &v.array("tag"));
}

#[test]
fn a_payload_has_this_id_and_signature() {
    let v = group("signature");
    let id = sign::id(v.text("context"), v.text("payload").as_bytes());
    assert_eq!(id, v.array("id"));
    let signature = root().sign(v.text("context"), &id);
    assert_eq!(signature, v.array::<64>("signature"));
    sign::verify(v.text("context"), &id, &signature, &root().node_id()).unwrap();
    assert!(
        sign::verify("polykey/1 op", &id, &signature, &root().node_id()).is_err(),
        "another context"
    );
}

#[test]
fn a_key_of_small_order_signs_nothing_and_receives_nothing() {
    // The neutral point: a lenient verifier takes this signature for every message.
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let node = NodeId::from(identity);
    assert!(sign::verify("polykey/1 op", &[7; 32], &signature, &node).is_err());
    assert_eq!(keys::x25519_public(&node), None);
}

/// RFC 9180, appendix A.2.1: the library that wraps are made with is the one of the standard.
#[test]
fn hpke_is_that_of_rfc_9180() {
    let v = group("rfc9180_a2");
    let public = <K as Kem>::PublicKey::from_bytes(&v.bytes("pkR")).unwrap();
    let (enc, ct) = seal_with_suite(&v, &public);
    assert_eq!((enc, ct), (v.bytes("enc"), v.bytes("ct")));

    let secret = <K as Kem>::PrivateKey::from_bytes(&v.bytes("skR")).unwrap();
    let enc = <K as Kem>::EncappedKey::from_bytes(&v.bytes("enc")).unwrap();
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        &secret,
        &enc,
        &v.bytes("info"),
        &v.bytes("ct"),
        &v.bytes("aad"),
    );
    assert_eq!(opened.unwrap(), v.bytes("pt"));
}

fn seal_with_suite(v: &Group, public: &<K as Kem>::PublicKey) -> (Vec<u8>, Vec<u8>) {
    let (enc, ct) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        public,
        &v.bytes("info"),
        &v.bytes("pt"),
        &v.bytes("aad"),
        &mut Once(v.array("ikmE")),
    )
    .unwrap();
    (enc.to_bytes().to_vec(), ct)
}

/// Gives these bytes to the first question, which must be for all of them.
struct Once([u8; 32]);

impl TryRng for Once {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("HPKE asks for key material")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("HPKE asks for key material")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Once {}

#[test]
fn a_wrap_made_elsewhere_opens() {
    let v = group("wrap");
    let (to, from, epoch) = (
        root().node_id(),
        NodeId::from(v.array("from")),
        first_epoch().id(),
    );
    let wrapped = Wrapped {
        to,
        enc: ByteArray::from(v.array("enc")),
        sealed: v.bytes("ct").into(),
    };
    let place = Place {
        vault: &v.vault(),
        epoch: &epoch,
        to: &to,
        from: &from,
    };
    let shape = ShapeKey::new(group("shape").key("key"));
    let (opened, secrets) = epoch::unwrap(place, &wrapped, &root(), &shape.commitment())
        .ok()
        .unwrap();
    assert_eq!(opened.expose(), shape.expose());
    assert_eq!(
        (secrets.len(), secrets[0].expose()),
        (1, first_epoch().expose())
    );
}

#[test]
fn a_row_of_the_store_is_sealed_like_this() {
    let v = group("row");
    let rows = RowKey::new(v.key("key"));
    let table = u8::try_from(v.0["table"].as_u64().unwrap()).unwrap();
    let (key, plain) = (v.text("row_key").as_bytes(), v.text("plain").as_bytes());
    assert_eq!(rows.seal(table, key, plain, [0x66; 24]), v.bytes("sealed"));
    assert_eq!(
        rows.open(table, key, &v.bytes("sealed")).unwrap().to_vec(),
        plain
    );
}

#[test]
fn an_identity_file_of_each_method_opens_and_is_written_the_same() {
    let v = group("unlock");
    let key_file = v.bytes("key_file");
    let cost = Cost {
        memory_kib: 19 << 10,
        passes: 2,
        lanes: 1,
    };
    let recovery = words().identity().recovery.node_id();
    let cases = [
        (
            "passphrase_file",
            Secret::Passphrase(v.text("passphrase")),
            Some(*recovery.as_bytes()),
        ),
        ("key_file_file", Secret::KeyFile(&key_file), None),
    ];
    for (file, secret, recovery) in cases {
        let opened =
            unlock::open(&v.bytes(file), &secret).unwrap_or_else(|e| panic!("{file}: {e}"));
        check_unlocked(&v, &opened);
        assert_eq!(opened.recovery, recovery, "{file}");
        let fresh = Fresh {
            salt: [1; 16],
            nonce: [2; 24],
            inner: [3; 24],
        };
        assert_eq!(
            unlock::seal(&opened, &secret, cost, &fresh).unwrap(),
            v.bytes(file),
            "{file}"
        );
        let by_words = unlock::open_by_root(&v.bytes(file), root(), recovery);
        check_unlocked(&v, &by_words.unwrap_or_else(|e| panic!("{file}: {e}")));
    }
}

fn check_unlocked(v: &Group, opened: &Unlocked) {
    assert_eq!(opened.root.node_id(), root().node_id());
    let rows = RowKey::new(v.key("database_key"));
    let row = rows.seal(1, b"key", b"plain", [8; 24]);
    assert_eq!(
        opened.rows.open(1, b"key", &row).unwrap().to_vec(),
        b"plain"
    );
}

#[test]
fn an_audit_entry_has_this_encoding_and_hash() {
    let v = group("audit");
    let subject = audit::Subject {
        vault: Some([0x22; 32].into()),
        path: None,
        detail: String::new(),
    };
    let entry = audit::Chain::default().entry(
        1000,
        audit::Kind::Read,
        "local",
        subject,
        audit::Outcome::Done,
    );
    assert_eq!(enc::encode(&entry), v.bytes("entry"));
    assert_eq!(entry.hash(), v.array("hash"));
}
