use super::*;
use minicbor::bytes::ByteVec;
use polykey_client::api::Secret;
use polykey_client::watch::EpochKeys;
use polykey_core::commit::Commits;
use polykey_core::control::{self, Role, SignedOp};
use polykey_core::epoch::{EpochRecord, EpochSecret, ShapeKey};
use polykey_core::keys::RootKey;
use polykey_core::tree::Edit;

const NOW: u64 = 1_800_000_000_000;

/// A vault as its owner's node has it.
struct Owner {
    key: RootKey,
    control: Control,
    commits: Commits,
    signed: Vec<SignedCommit>,
    secret: EpochSecret,
    shape: ShapeKey,
    objects: HashMap<Address, Vec<u8>>,
    root: Address,
}

impl Owner {
    fn new(seed: u8) -> Owner {
        let key = RootKey::from_seed(&[seed; 32]);
        let secret = EpochSecret::new(Zeroizing::new([seed; 32]));
        let shape = ShapeKey::new(Zeroizing::new([9; 32]));
        let record = EpochRecord {
            commitment: secret.commitment().into(),
            before: vec![],
            wraps: vec![],
        };
        // The wrap for oneself is checked where it is opened, not here.
        let place = polykey_core::epoch::Place {
            vault: &VaultId::from([0; 32]),
            epoch: &secret.id(),
            to: &key.node_id(),
            from: &key.node_id(),
        };
        let wrapped =
            polykey_core::epoch::wrap(place, &shape, &[&secret], &Zeroizing::new([3; 32])).unwrap();
        let record = EpochRecord {
            wraps: vec![wrapped],
            ..record
        };
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

    fn set(&mut self, path: &str, value: &[u8]) -> CommitId {
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
    fn content(&self, n: usize) -> Content {
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
            control: self
                .control
                .ops()
                .map(|op| ByteVec::from(op.bytes().to_vec()))
                .collect(),
            commits: vec![signed.bytes().to_vec().into()],
            body: Body::Sealed(Sealed { objects, keys }),
            more: false,
            pinned: false,
        }
    }
}

fn fresh() -> Anchor {
    Anchor {
        pin: None,
        floor: None,
    }
}

fn check(anchor: &Anchor, content: Content) -> Result<(Held, BTreeMap<String, Entry>), Rejected> {
    verify(None, anchor, Arriving::new(content, true)?, NOW)
}

fn error(result: Result<(Held, BTreeMap<String, Entry>), Rejected>) -> Rejected {
    result.err().expect("a refusal")
}

#[test]
fn a_whole_version_verifies_up_to_its_root_and_a_change_writes_only_what_differs() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    owner.set("big", &[7; 3_000]);
    let anchor = Anchor {
        pin: Some(owner.control.vault()),
        floor: None,
    };
    let (held, entries) = check(&anchor, owner.content(1)).unwrap();
    assert_eq!(held.provenance(), "content");
    let bytes = |e: &Entry| {
        if let Source::Bytes(b) = &e.source {
            b.to_vec()
        } else {
            vec![]
        }
    };
    assert_eq!(
        (bytes(&entries["a"]), bytes(&entries["big"])),
        (b"one".to_vec(), vec![7; 3_000])
    );
    owner.set("a", b"two");
    let mut change = owner.content(2);
    change.control.clear();
    let (_, entries) = verify(
        Some(&held),
        &anchor,
        Arriving::new(change, false).unwrap(),
        NOW,
    )
    .unwrap();
    assert_eq!(bytes(&entries["a"]), b"two");
    assert!(matches!(entries["big"].source, Source::Unchanged));
}

#[test]
fn another_vault_than_the_pinned_one_is_refused_however_well_it_is_signed() {
    let (mut ours, mut theirs) = (Owner::new(1), Owner::new(2));
    ours.set("a", b"right");
    theirs.set("a", b"wrong");
    let anchor = Anchor {
        pin: Some(ours.control.vault()),
        floor: None,
    };
    assert!(matches!(
        error(check(&anchor, theirs.content(0))),
        Rejected::WrongVault { .. }
    ));
    // Claiming the right id over another log.
    let mut forged = theirs.content(0);
    forged.vault = ours.control.vault();
    assert!(matches!(
        error(check(&anchor, forged)),
        Rejected::WrongVault { .. }
    ));
    let floor = Floor {
        vault: ours.control.vault(),
        version: ours.signed[0].id().into(),
        time_ms: 0,
        heads: Vec::new(),
    };
    assert!(matches!(
        error(check(
            &Anchor {
                pin: None,
                floor: Some(floor)
            },
            theirs.content(0)
        )),
        Rejected::WrongVault { .. }
    ));
}

#[test]
fn a_version_by_no_writer_or_another_signer_is_refused() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    let thief = RootKey::from_seed(&[6; 32]);
    let mut stolen = owner.content(0);
    let commit = owner.commits.next(
        &owner.commits.heads(),
        thief.node_id(),
        &owner.control,
        owner.root,
        [8; 16],
        NOW - 5,
    );
    let signed = SignedCommit::sign(commit, &thief);
    stolen.version = signed.id().into();
    stolen.commits = vec![signed.bytes().to_vec().into()];
    assert!(matches!(
        error(check(&fresh(), stolen)),
        Rejected::Commit(_)
    ));
    let mut listed = owner.content(0);
    listed.signers = vec![thief.node_id()];
    let refused = error(check(&fresh(), listed));
    assert_eq!(refused.reason(), "SignerNotListed");
    let mut another = owner.content(0);
    another.version = CommitId::from([1; 32]);
    assert!(matches!(
        error(check(&fresh(), another)),
        Rejected::NotTheVersion
    ));
}

#[test]
fn a_removed_writer_signs_nothing_new() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    let writer = RootKey::from_seed(&[4; 32]);
    let grant = owner.control.grant(
        owner.key.node_id(),
        writer.node_id(),
        Role::Writer,
        0,
        None,
        None,
    );
    owner
        .control
        .apply(&SignedOp::sign(grant, &owner.key))
        .unwrap();
    let commit = owner.commits.next(
        &owner.commits.heads(),
        writer.node_id(),
        &owner.control,
        owner.root,
        [8; 16],
        NOW - 5,
    );
    let signed = SignedCommit::sign(commit, &writer);
    let mut content = owner.content(0);
    content.version = signed.id().into();
    content.commits = vec![signed.bytes().to_vec().into()];
    content.control = owner
        .control
        .ops()
        .map(|op| ByteVec::from(op.bytes().to_vec()))
        .collect();
    assert!(
        check(&fresh(), copy(&content)).is_ok(),
        "while it is a writer"
    );
    let secret = EpochSecret::new(Zeroizing::new([8; 32]));
    let me = owner.key.node_id();
    let (vault, id) = (owner.control.vault(), secret.id());
    let place = polykey_core::epoch::Place {
        vault: &vault,
        epoch: &id,
        to: &me,
        from: &me,
    };
    let wrapped =
        polykey_core::epoch::wrap(place, &owner.shape, &[&secret], &Zeroizing::new([3; 32]))
            .unwrap();
    let live = owner.control.state().epochs[0];
    let boxed = polykey_core::epoch::Boxed {
        epoch: live,
        sealed: secret.box_before(0, &owner.secret).into(),
    };
    let record = EpochRecord {
        commitment: secret.commitment().into(),
        before: vec![boxed],
        wraps: vec![wrapped],
    };
    let revoke = owner
        .control
        .revoke(
            me,
            control::Target::Node(writer.node_id()),
            owner.commits.heads(),
            Some(record),
        )
        .unwrap();
    owner
        .control
        .apply(&SignedOp::sign(revoke, &owner.key))
        .unwrap();
    content.control = owner
        .control
        .ops()
        .map(|op| ByteVec::from(op.bytes().to_vec()))
        .collect();
    assert!(matches!(
        error(check(&fresh(), content)),
        Rejected::Commit(_)
    ));
}

#[test]
fn no_version_older_than_one_that_was_seen_unless_it_is_pinned() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    owner.set("a", b"two");
    let (held, _) = check(&fresh(), owner.content(1)).unwrap();
    let anchor = Anchor {
        pin: None,
        floor: Some(held.floor()),
    };
    assert!(matches!(
        error(check(&anchor, owner.content(0))),
        Rejected::Older
    ));
    assert!(
        check(&anchor, owner.content(1)).is_ok(),
        "the same again is fine"
    );
    let mut pinned = owner.content(0);
    pinned.pinned = true;
    assert!(check(&anchor, pinned).is_ok());
}

/// A frame of these versions side by side, in plain files.
fn together(owner: &Owner, versions: &[usize]) -> Content {
    let mut heads: Vec<CommitId> = Vec::new();
    let mut commits = Vec::new();
    for at in versions {
        heads.push(owner.signed[*at].id().into());
        commits.push(owner.signed[*at].bytes().to_vec().into());
    }
    heads.sort_unstable();
    Content {
        version: view::version(&heads).unwrap(),
        commits,
        body: Body::Files(Files {
            put: vec![],
            removed: vec![],
        }),
        ..owner.content(0)
    }
}

#[test]
fn versions_side_by_side_are_taken_when_every_one_of_them_verifies_and_none_that_was_seen_is_missing()
 {
    let mut owner = Owner::new(1);
    owner.set("a", b"before");
    let apart = owner.commits.clone();
    owner.set("a", b"one");
    owner.commits = apart;
    owner.set("a", b"other");
    let (held, _) = check(&fresh(), together(&owner, &[2, 1])).unwrap();
    assert_eq!(
        held.provenance(),
        "commit",
        "no one signed what they show together"
    );
    assert_eq!((held.heads().len(), held.floor().heads.len()), (2, 2));
    let floor = |held: &Held| Anchor {
        pin: None,
        floor: Some(held.floor()),
    };
    for seen in [
        floor(&held),
        floor(&check(&fresh(), owner.content(2)).unwrap().0),
    ] {
        assert!(check(&seen, together(&owner, &[1, 2])).is_ok());
    }
    for fewer in [owner.content(1), owner.content(2)] {
        assert!(matches!(
            error(check(&floor(&held), fewer)),
            Rejected::Older
        ));
    }
    let mut one_is_missing = together(&owner, &[1, 2]);
    one_is_missing.commits.pop();
    assert!(matches!(
        error(check(&fresh(), one_is_missing)),
        Rejected::NotTheVersion
    ));
    let mut twice = owner.content(1);
    twice.commits.push(twice.commits[0].clone());
    assert!(matches!(
        error(check(&fresh(), twice)),
        Rejected::NotTheVersion
    ));
    let mut none = owner.content(1);
    none.commits.clear();
    assert!(matches!(error(check(&fresh(), none)), Rejected::Incomplete));
    let mut sealed = together(&owner, &[1, 2]);
    sealed.body = owner.content(1).body;
    assert!(matches!(error(check(&fresh(), sealed)), Rejected::Mixed));
    let mut signers = together(&owner, &[1, 2]);
    signers.signers = vec![NodeId::from([7; 32])];
    assert!(matches!(
        error(check(&fresh(), signers)),
        Rejected::Signer(_)
    ));
}

#[test]
fn every_missing_or_changed_object_or_signed_byte_is_a_refusal() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    owner.set("big", &[7; 3_000]);
    let needed = tree::difference(&Both(&owner.objects, None), &[], &owner.root).unwrap();
    for address in needed {
        let mut lacking = owner.content(1);
        let Body::Sealed(sealed) = &mut lacking.body else {
            unreachable!()
        };
        let at = sealed
            .objects
            .iter()
            .position(|o| seal::address(o) == address)
            .unwrap();
        let mut changed = sealed.objects.remove(at);
        assert!(
            matches!(
                error(check(&fresh(), copy(&lacking))),
                Rejected::Contents(_)
            ),
            "{address} is missing"
        );
        changed[60] ^= 1;
        let Body::Sealed(sealed) = &mut lacking.body else {
            unreachable!()
        };
        sealed.objects.push(changed);
        assert!(
            matches!(error(check(&fresh(), lacking)), Rejected::Contents(_)),
            "{address} is changed"
        );
    }
    let whole = owner.content(1);
    for at in 0..whole.commits[0].len() {
        let mut bad = copy(&whole);
        bad.commits[0][at] ^= 1;
        assert!(check(&fresh(), bad).is_err(), "byte {at} of the commit");
    }
    for at in (0..whole.control[0].len()).step_by(7) {
        let mut bad = copy(&whole);
        bad.control[0][at] ^= 1;
        assert!(check(&fresh(), bad).is_err(), "byte {at} of the log");
    }
}

#[test]
fn parts_make_the_version_whole_and_strange_parts_are_refused() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    let mut first = owner.content(0);
    let Body::Sealed(sealed) = &mut first.body else {
        unreachable!()
    };
    let objects = std::mem::take(&mut sealed.objects);
    first.more = true;
    let part = |more| Part {
        name: "app".into(),
        body: Body::Sealed(Sealed {
            objects: objects.clone(),
            keys: vec![],
        }),
        more,
    };
    let mut arriving = Arriving::new(first, true).unwrap();
    assert!(!arriving.complete());
    let files = Part {
        name: "app".into(),
        body: Body::Files(Files {
            put: vec![],
            removed: vec![],
        }),
        more: false,
    };
    assert!(matches!(arriving.push(files), Err(Rejected::Mixed)));
    arriving.push(part(false)).unwrap();
    assert!(arriving.complete());
    assert!(matches!(
        arriving.push(part(false)),
        Err(Rejected::NothingArriving)
    ));
    assert!(verify(None, &fresh(), arriving, NOW).is_ok());
    let change = owner.content(0);
    assert!(matches!(
        error(verify(
            None,
            &fresh(),
            Arriving::new(change, false).unwrap(),
            NOW
        )),
        Rejected::Incomplete
    ));
}

#[test]
fn a_large_file_is_checked_chunk_by_chunk_up_to_the_signed_root() {
    let large: Vec<u8> = (0u64..).flat_map(u64::to_le_bytes).take(300_000).collect();
    let mut owner = Owner::new(1);
    owner.set("large", &large);
    let (_, entries) = check(&fresh(), owner.content(0)).unwrap();
    let Source::Bytes(bytes) = &entries["large"].source else {
        panic!("bytes")
    };
    assert!(**bytes == large);
    // Each object that is left out, or changed, is missed.
    let n = owner.objects.len();
    for at in 0..n {
        let mut content = owner.content(0);
        let Body::Sealed(sealed) = &mut content.body else {
            unreachable!()
        };
        let header = seal::header(&sealed.objects[at]).unwrap();
        let unused = header.kind == seal::Kind::Page && header.refs.is_empty();
        sealed.objects.swap_remove(at);
        assert_eq!(check(&fresh(), content).is_ok(), unused);
    }
}

#[test]
fn pieces_of_a_file_are_joined_and_those_that_do_not_fit_are_refused() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    let piece = |path: &str, value: &[u8], rest: Option<u64>| File {
        path: path.into(),
        mode: 0o444,
        value: Secret(Zeroizing::new(value.to_vec())),
        rest,
    };
    let sent = |parts: Vec<Vec<File>>| {
        let last = parts.len() - 1;
        let mut arriving: Option<Arriving> = None;
        for (at, put) in parts.into_iter().enumerate() {
            let removed = vec![];
            let body = Body::Files(Files { put, removed });
            let more = at < last;
            match &mut arriving {
                None => {
                    let content = Content {
                        body,
                        more,
                        ..owner.content(0)
                    };
                    arriving = Some(Arriving::new(content, true)?);
                }
                Some(arriving) => arriving.push(Part {
                    name: "app".into(),
                    body,
                    more,
                })?,
            }
        }
        verify(None, &fresh(), arriving.unwrap(), NOW).map(|(_, entries)| {
            let text = |e: &Entry| match &e.source {
                Source::Bytes(b) => String::from_utf8(b.to_vec()).unwrap(),
                _ => panic!("bytes"),
            };
            let files = entries.iter().map(|(p, e)| format!("{p}={}", text(e)));
            files.collect::<Vec<_>>().join(" ")
        })
    };
    let fits = vec![
        vec![piece("a", b"1", None), piece("b", b"12", Some(5))],
        vec![piece("b", b"345", Some(2))],
        vec![piece("b", b"67", None), piece("c", b"", None)],
    ];
    assert_eq!(sent(fits).unwrap(), "a=1 b=1234567 c=");
    for (what, parts) in [
        ("nothing follows", vec![vec![piece("b", b"12", Some(5))]]),
        (
            "another file follows",
            vec![vec![piece("b", b"1", Some(1)), piece("c", b"2", None)]],
        ),
        (
            "more follows than was said",
            vec![vec![piece("b", b"1", Some(1)), piece("b", b"23", None)]],
        ),
        (
            "less follows than was said",
            vec![vec![piece("b", b"1", Some(2)), piece("b", b"2", None)]],
        ),
        (
            "the rest grows",
            vec![vec![piece("b", b"1", Some(1)), piece("b", b"2", Some(9))]],
        ),
        (
            "an empty piece",
            vec![vec![piece("b", b"1", Some(0)), piece("b", b"", Some(0))]],
        ),
        (
            "a sum past every number",
            vec![vec![
                piece("b", b"1", Some(1)),
                piece("b", b"2", Some(u64::MAX)),
            ]],
        ),
    ] {
        assert!(matches!(sent(parts), Err(Rejected::Pieces)), "{what}");
    }
    let huge = vec![vec![piece("b", b"1", Some(1 << 40))]];
    assert!(matches!(sent(huge), Err(Rejected::TooLarge)));
}

fn copy(content: &Content) -> Content {
    polykey_core::enc::decode(&polykey_core::enc::encode(content)).unwrap()
}
