//! A vault as its owner's node has it, and the frames that it would send of it.

use super::*;
use minicbor::bytes::ByteVec;
use polykey_client::api::Secret;
use polykey_client::watch::EpochKeys;
use polykey_core::commit::Commits;
use polykey_core::control::{self, Role, SignedOp, Target};
use polykey_core::epoch::{Boxed, EpochRecord, EpochSecret, Place, ShapeKey, wrap};
use polykey_core::keys::RootKey;
use polykey_core::tree::Edit;

/// The vault and its owner.
pub struct Owner {
    pub key: RootKey,
    pub control: Control,
    pub commits: Commits,
    pub signed: Vec<SignedCommit>,
    pub secret: EpochSecret,
    pub shape: ShapeKey,
    pub objects: HashMap<Address, Vec<u8>>,
    pub root: Address,
}

impl Owner {
    pub fn new(seed: u8) -> Owner {
        let key = RootKey::from_seed(&[seed; 32]);
        let secret = EpochSecret::new(Zeroizing::new([seed; 32]));
        let shape = ShapeKey::new(Zeroizing::new([9; 32]));
        // The wrap for oneself is checked where it is opened, not here.
        let record = epoch(&VaultId::from([0; 32]), &key, &shape, &secret, vec![]);
        let op = control::genesis(key.node_id(), [seed; 32], shape.commitment(), None, record);
        let control = Control::new(&SignedOp::sign(op, &key)).unwrap();
        let (root, object) = tree::empty(&secret.object_keys(), &control.vault()).unwrap();
        Owner {
            key,
            commits: Commits::new(),
            signed: vec![],
            secret,
            shape,
            objects: HashMap::from([(root, object)]),
            root,
            control,
        }
    }

    /// Commits a value.
    pub fn set(&mut self, path: &str, value: &[u8]) -> CommitId {
        let me = self.key.node_id();
        let n = u8::try_from(self.signed.len()).unwrap();
        let ring = self.ring();
        let both = Both(&self.objects, None);
        let tag = self
            .commits
            .next_tag(&self.commits.heads(), me, &self.control, [n; 16]);
        let edit = Edit::Put {
            path: path.into(),
            mode: 0o444,
            value: Zeroizing::new(value.to_vec()),
        };
        let tree = Tree::new(&both, &ring, self.control.vault(), self.root);
        let edited = tree
            .edit(vec![edit], tag, &self.shape, &self.secret.object_keys())
            .unwrap();
        self.root = edited.root;
        self.objects.extend(edited.objects);
        let commit = self.commits.next(
            &self.commits.heads(),
            me,
            &self.control,
            self.root,
            [n; 16],
            NOW - 1_000_000 + u64::from(n),
        );
        let signed = SignedCommit::sign(commit, &self.key);
        self.commits.accept(&signed, &self.control, NOW).unwrap();
        let id = signed.id().into();
        self.signed.push(signed);
        id
    }

    fn ring(&self) -> Ring {
        Ring(HashMap::from([(
            self.secret.id(),
            self.secret.object_keys(),
        )]))
    }

    /// A frame of the `n`-th version with everything in it.
    pub fn content(&self, n: usize) -> Content {
        let signed = &self.signed[n];
        let objects = self
            .objects
            .values()
            .map(|o| ByteVec::from(o.clone()))
            .collect();
        let keys = vec![EpochKeys {
            epoch: self.secret.id(),
            keys: Secret(self.secret.object_keys().to_bytes()),
        }];
        Content {
            rule: "shop/app#1@1".into(),
            name: "app".into(),
            vault: self.control.vault(),
            version: signed.id().into(),
            signers: vec![],
            delivery: b"{}".to_vec().into(),
            control: self.log(),
            commits: vec![signed.bytes().to_vec().into()],
            body: Body::Sealed(Sealed { objects, keys }),
            more: false,
            pinned: false,
        }
    }

    /// The control log as it is sent.
    pub fn log(&self) -> Vec<ByteVec> {
        let ops = self.control.ops();
        ops.map(|op| ByteVec::from(op.bytes().to_vec())).collect()
    }

    /// A frame of a version that `key` signed, with the contents of the newest.
    pub fn content_by(&self, key: &RootKey) -> Content {
        let commit = self.commits.next(
            &self.commits.heads(),
            key.node_id(),
            &self.control,
            self.root,
            [8; 16],
            NOW - 5,
        );
        let signed = SignedCommit::sign(commit, key);
        Content {
            version: signed.id().into(),
            commits: vec![signed.bytes().to_vec().into()],
            ..self.content(self.signed.len() - 1)
        }
    }

    /// The owner lets `node` in.
    pub fn grant(&mut self, node: NodeId, role: Role) {
        let me = self.key.node_id();
        let grant = self.control.grant(me, node, role, 0, None, None);
        let grant = SignedOp::sign(grant, &self.key);
        self.control.apply(&grant).unwrap();
    }

    /// The owner removes `node` and begins a new epoch.
    pub fn remove(&mut self, node: NodeId) {
        let secret = EpochSecret::new(Zeroizing::new([8; 32]));
        let boxed = Boxed {
            epoch: self.control.state().epochs[0],
            sealed: secret.box_before(0, &self.secret).into(),
        };
        let vault = self.control.vault();
        let record = epoch(&vault, &self.key, &self.shape, &secret, vec![boxed]);
        let revoke = self.control.revoke(
            self.key.node_id(),
            Target::Node(node),
            self.commits.heads(),
            Some(record),
        );
        let revoke = SignedOp::sign(revoke.unwrap(), &self.key);
        self.control.apply(&revoke).unwrap();
    }
}

/// The epoch of `secret`, wrapped for `key` alone.
fn epoch(
    vault: &VaultId,
    key: &RootKey,
    shape: &ShapeKey,
    secret: &EpochSecret,
    before: Vec<Boxed>,
) -> EpochRecord {
    let (me, id) = (key.node_id(), secret.id());
    let place = Place {
        vault,
        epoch: &id,
        to: &me,
        from: &me,
    };
    let wrapped = wrap(place, shape, &[secret], &Zeroizing::new([3; 32])).unwrap();
    EpochRecord {
        commitment: secret.commitment().into(),
        before,
        wraps: vec![wrapped],
    }
}
