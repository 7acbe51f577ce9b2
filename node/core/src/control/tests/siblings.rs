//! Grants that let a node bring in others of its gestalt, and nodes whose key becomes another.

use super::*;

/// Node 1 is a cluster's first replica: a reader that may bring in two more.
fn cluster() -> (Control, OpId) {
    let (_, mut control) = founded();
    let op = control.grant(node(0), node(1), Role::Reader, 2, Some(900), None);
    let grant = apply(&mut control, op, 0);
    (control, grant)
}

fn join(control: &Control, by: u8, grant: OpId, new: u8) -> SignedOp {
    signed(
        control.join(node(by), grant, node(new), &linked(by, new)),
        by,
    )
}

fn sibling_removal(control: &Control, by: u8, target: Target) -> SignedOp {
    signed(control.revoke(node(by), target, vec![], None).unwrap(), by)
}

#[test]
fn a_node_brings_in_as_many_of_its_own_as_it_was_granted() {
    let (mut control, grant) = cluster();
    let first = join(&control, 1, grant, 2);
    assert_eq!(control.apply(&first).unwrap(), Applied::Counts);
    let by_sibling = join(&control, 2, grant, 3);
    assert_eq!(control.apply(&by_sibling).unwrap(), Applied::Counts);
    for n in [2, 3] {
        let member = &control.state().members[&node(n)];
        assert_eq!(member.role_at(899), Some(Role::Reader));
        assert_eq!(member.role_at(900), None, "its grant's end is its own");
        assert_eq!(member.grants[0].under, Some(grant));
    }
    let over = join(&control, 1, grant, 4);
    assert_eq!(control.apply(&over).unwrap(), Applied::Void);
    assert!(!control.state().members.contains_key(&node(4)));
    assert_settled(&control);
}

#[test]
fn a_join_needs_a_link_of_the_two() {
    let (mut control, grant) = cluster();
    let with = |link: Link| signed(control.join(node(1), grant, node(2), &link), 1);
    let others = [with(linked(1, 3)), with(linked(2, 3))];
    let mut bytes = linked(1, 2).to_bytes();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let forged = op(
        &control,
        1,
        control.heads(),
        Body::Join {
            grant,
            node: node(2),
            link: bytes.into(),
        },
    );
    for op in others {
        assert!(matches!(
            control.apply(&op),
            Err(ControlError::Contradiction(_))
        ));
    }
    assert!(matches!(control.apply(&forged), Err(ControlError::Link(_))));
    let unsponsored = control.grant(node(0), node(5), Role::Reader, 0, None, None);
    let plain = apply(&mut control, unsponsored, 0);
    let op = join(&control, 5, plain, 6);
    assert!(matches!(
        control.apply(&op),
        Err(ControlError::NotAuthorised(_))
    ));
    let foreign = join(&control, 5, grant, 6);
    assert_eq!(
        control.apply(&foreign).unwrap(),
        Applied::Void,
        "another's grant"
    );
}

#[test]
fn revoking_a_node_removes_one_and_revoking_the_grant_removes_all() {
    let (mut control, grant) = cluster();
    for n in [2, 3] {
        let op = join(&control, 1, grant, n);
        control.apply(&op).unwrap();
    }
    let mut one = control.clone();
    let op = one
        .revoke(node(0), Target::Node(node(1)), vec![], Some(epoch(1)))
        .unwrap();
    apply(&mut one, op, 0);
    let members: Vec<NodeId> = one.state().members.keys().copied().collect();
    assert_eq!(members.len(), 3);
    assert!(!members.contains(&node(1)));
    assert_settled(&one);
    let op = control
        .revoke(node(0), Target::Grant(grant), vec![], Some(epoch(1)))
        .unwrap();
    apply(&mut control, op, 0);
    assert_eq!(control.state().members.len(), 1);
    assert_settled(&control);
    let back = join(&control, 2, grant, 5);
    assert_eq!(control.apply(&back).unwrap(), Applied::Void);
}

#[test]
fn a_sibling_removes_a_sibling_without_an_epoch_and_an_owner_is_due() {
    let (mut control, grant) = cluster();
    let op = join(&control, 1, grant, 2);
    control.apply(&op).unwrap();
    // Node 2 is a writer too, by the owner's own hand: no sibling can take that.
    self::grant(&mut control, 0, 2, Role::Writer);
    assert!(!control.state().rotation_pending);
    let removal = sibling_removal(&control, 1, Target::Node(node(2)));
    assert_eq!(control.apply(&removal).unwrap(), Applied::Counts);
    assert_eq!(control.state().role_of(&node(2), 0), Some(Role::Writer));
    assert_eq!(control.state().members[&node(2)].grants.len(), 1);
    assert!(control.state().rotation_pending);
    assert_settled(&control);
    let rejoin = join(&control, 1, grant, 3);
    assert_eq!(
        control.apply(&rejoin).unwrap(),
        Applied::Counts,
        "its room is free"
    );
    let rotate = control.rotate(node(0), epoch(9));
    apply(&mut control, rotate, 0);
    assert!(!control.state().rotation_pending);
    assert_settled(&control);
    let stranger = Target::Node(node(0));
    let removal = control.revoke(node(1), stranger, vec![], None);
    assert!(removal.is_err(), "the owner is no sibling");
    let body = Body::Revoke {
        target: Target::Node(node(2)),
        upto: control.heads(),
        cut: vec![],
        epoch: None,
    };
    let op = super::op(&control, 1, control.heads(), body);
    assert_eq!(control.apply(&op).unwrap(), Applied::Void);
}

#[test]
fn a_reader_may_leave_by_itself() {
    let (mut control, _) = cluster();
    let leave = sibling_removal(&control, 1, Target::Node(node(1)));
    assert_eq!(control.apply(&leave).unwrap(), Applied::Counts);
    assert_eq!(control.state().role_of(&node(1), 0), None);
}

#[test]
fn a_replaced_key_has_nothing_and_the_new_one_what_it_had() {
    let (mut control, grant) = cluster();
    let op = join(&control, 1, grant, 2);
    control.apply(&op).unwrap();
    let heads = control.heads();
    let op = control
        .replace(node(1), successor(&control, 1, 11), vec![], None)
        .unwrap();
    apply(&mut control, op, 1);
    assert_eq!(control.state().role_of(&node(1), 0), None);
    assert_eq!(control.state().members[&node(11)].grants[0].id, grant);
    assert!(
        control.state().rotation_pending,
        "the old key knows the epoch"
    );
    assert_settled(&control);
    let by_new = join(&control, 11, grant, 3);
    assert_eq!(control.apply(&by_new).unwrap(), Applied::Counts);
    let late = signed(control.join(node(1), grant, node(4), &linked(1, 4)), 1);
    assert_eq!(control.apply(&late).unwrap(), Applied::Void);
    let mut beside = control.clone();
    let body = Body::Join {
        grant,
        node: node(4),
        link: linked(1, 4).to_bytes().into(),
    };
    let old = super::op(&control, 1, heads, body);
    assert_eq!(beside.apply(&old).unwrap(), Applied::Void);
    let op = control
        .revoke(node(0), Target::Grant(grant), vec![], Some(epoch(1)))
        .unwrap();
    apply(&mut control, op, 0);
    assert_eq!(control.state().members.len(), 1, "with the grant all end");
}

#[test]
fn the_only_owner_may_change_its_key() {
    let (_, mut control) = founded();
    let unproved = Successor {
        proof: [0; 64],
        ..successor(&control, 0, 11)
    };
    assert!(matches!(
        control.replace(node(0), unproved, vec![], None),
        Err(ControlError::Proof(_))
    ));
    let new = successor(&control, 0, 11);
    let op = control
        .replace(node(0), new, vec![], Some(epoch(1)))
        .unwrap();
    apply(&mut control, op, 0);
    assert_eq!(control.state().owners(), [node(11)]);
    assert!(!control.state().rotation_pending);
    assert_eq!(control.state().epochs, [epoch(1).id()]);
    grant(&mut control, 11, 1, Role::Reader);
}

#[test]
fn of_a_revoke_and_a_replace_beside_each_other_the_removal_wins() {
    for revoker in [0, 2] {
        let (_, mut control) = founded();
        grant(&mut control, 0, 1, Role::Owner);
        grant(&mut control, 0, 2, Role::Owner);
        let revoke = control
            .revoke(node(revoker), Target::Node(node(1)), vec![], Some(epoch(1)))
            .unwrap();
        let revoke = signed(revoke, revoker);
        let new = successor(&control, 1, 11);
        let replace = control
            .replace(node(1), new, vec![], Some(epoch(2)))
            .unwrap();
        let replace = signed(replace, 1);
        for order in [[&revoke, &replace], [&replace, &revoke]] {
            let mut control = control.clone();
            for op in order {
                control.apply(op).unwrap();
            }
            let mut owners = [node(0), node(2)];
            owners.sort_unstable();
            assert_eq!(control.state().owners(), owners);
        }
    }
}
