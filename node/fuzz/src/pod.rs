//! What a node sends to a pod, verified as the sidecar does. Apart from the other decoders, since the node knows no sidecar: `sidecar/tests/decoder.rs` runs it on the seeds.

mod pieces;

use pieces::pieces;
use polykey_client::api::Secret;
use polykey_client::watch::{Body, Content, EpochKeys, Frame, Sealed};
use polykey_core::commit::{Commits, SignedCommit};
use polykey_core::control::{Control, SignedOp, genesis};
use polykey_core::epoch::{EpochRecord, EpochSecret, ShapeKey};
use polykey_core::ids::Address;
use polykey_core::keys::RootKey;
use polykey_core::seal::{self, Kind};
use polykey_sidecar::files::Entry;
use polykey_sidecar::verify::{Anchor, Arriving, Held, Rejected, verify};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const NOW: u64 = 1_800_000_000_000;

/// Bytes from a node. After a 0 they are a watch stream as it comes. After anything else they are the bodies of objects, which a writer with the right keys seals, each pointing
/// to the one before it, and signs the last as a version.
pub fn pod_version(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, stream)) => watch(stream),
        Some((_, bodies)) => written(bodies),
        None => {}
    }
}

/// Takes every version of a stream, one on the other.
fn watch(stream: &[u8]) {
    let mut buffer = stream.to_vec();
    let (mut arriving, mut held): (Option<Arriving>, Option<Held>) = (None, None);
    while let Ok(Some(frame)) = Frame::split(&mut buffer) {
        arriving = match (frame, arriving.take()) {
            (Frame::Snapshot(content), _) => Arriving::new(content, true).ok(),
            (Frame::Change(content), _) => Arriving::new(content, false).ok(),
            (Frame::Part(part), Some(mut on)) => on.push(part).is_ok().then_some(on),
            (_, on) => on,
        };
        let Some(whole) = arriving.take_if(|a| a.complete()) else {
            continue;
        };
        let anchor = Anchor {
            pin: None,
            floor: held.as_ref().map(Held::floor),
        };
        if let Ok((newer, entries)) = verify(held.as_ref(), &anchor, whole, NOW) {
            if let Some(older) = &held {
                assert_eq!(older.floor().vault, newer.floor().vault, "the vault stays");
            }
            check(&newer, &entries);
            held = Some(newer);
        }
    }
}

/// Verifies a version whose tree is made of these bodies.
fn written(bodies: &[u8]) {
    let (secret, control, key) = vault();
    let keys = secret.object_keys();
    let (mut objects, mut below): (Vec<Vec<u8>>, Vec<Address>) = (Vec::new(), Vec::new());
    for body in pieces(bodies).take(64) {
        let Some((form, body)) = body.split_first() else {
            continue;
        };
        let (kind, level) = match form % 4 {
            0 => (Kind::Blob, 0),
            1 => (Kind::List, 0),
            _ => (Kind::Page, form >> 4),
        };
        let refs = if kind == Kind::Blob { &[][..] } else { &below };
        if let Ok((address, object)) = seal::seal(&keys, &control.vault(), kind, level, refs, body)
        {
            objects.push(object);
            below = vec![address];
        }
    }
    let Some(root) = below.first() else {
        return;
    };
    if let Ok((held, entries)) = taken(content(&control, &key, &secret, *root, objects)) {
        assert_eq!(held.provenance(), "content");
        check(&held, &entries);
    }
}

/// Every name is a path, whatever a node or a writer says.
fn check(held: &Held, entries: &BTreeMap<String, Entry>) {
    assert!(!held.heads().is_empty());
    for path in entries.keys() {
        assert!(polykey_core::path::check(path).is_ok(), "{path:?}");
    }
}

/// Takes a whole version that a node sent, trusting whichever vault it is of.
///
/// # Errors
/// When it does not verify.
pub fn taken(content: Content) -> Result<(Held, BTreeMap<String, Entry>), Rejected> {
    let anchor = Anchor {
        pin: None,
        floor: None,
    };
    verify(None, &anchor, Arriving::new(content, true)?, NOW)
}

/// A vault of one owner: the secret of its epoch, its log and its owner.
pub fn vault() -> (EpochSecret, Control, RootKey) {
    let key = RootKey::from_seed(&[1; 32]);
    let secret = EpochSecret::new(Zeroizing::new([1; 32]));
    let record = EpochRecord {
        commitment: secret.commitment().into(),
        before: Vec::new(),
        wraps: Vec::new(),
    };
    let op = genesis(key.node_id(), [3; 32], shape().commitment(), None, record);
    let control = Control::new(&SignedOp::sign(op, &key)).expect("a genesis");
    (secret, control, key)
}

/// The shape key of that vault.
pub fn shape() -> ShapeKey {
    ShapeKey::new(Zeroizing::new([2; 32]))
}

/// The first version of that vault, of a tree in these objects.
pub fn content(
    control: &Control,
    key: &RootKey,
    secret: &EpochSecret,
    root: Address,
    objects: Vec<Vec<u8>>,
) -> Content {
    let commit = Commits::new().next(&[], key.node_id(), control, root, [4; 16], NOW);
    let commit = SignedCommit::sign(commit, key);
    let keys = EpochKeys {
        epoch: secret.id(),
        keys: Secret(secret.object_keys().to_bytes()),
    };
    Content {
        rule: "shop/app#1@1".to_owned(),
        name: "app".to_owned(),
        vault: control.vault(),
        version: commit.id().into(),
        signers: Vec::new(),
        delivery: b"{}".to_vec().into(),
        control: control.ops().map(|op| op.bytes().to_vec().into()).collect(),
        commits: vec![commit.bytes().to_vec().into()],
        body: Body::Sealed(Sealed {
            objects: objects.into_iter().map(Into::into).collect(),
            keys: vec![keys],
        }),
        more: false,
        pinned: false,
    }
}
