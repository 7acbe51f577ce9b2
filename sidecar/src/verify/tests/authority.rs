//! Whose word counts: the pinned vault's, a live writer's, and none that is older than what was seen.

use super::*;
use polykey_core::control::Role;
use polykey_core::keys::RootKey;

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
    let stolen = owner.content_by(&thief);
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
    owner.grant(writer.node_id(), Role::Writer);
    let mut content = owner.content_by(&writer);
    assert!(
        check(&fresh(), copy(&content)).is_ok(),
        "while it is a writer"
    );
    owner.remove(writer.node_id());
    content.control = owner.log();
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
