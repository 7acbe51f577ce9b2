//! Reset and Resign: the founder's words take a vault back.

use super::*;

fn reset(control: &Control, new: u8, upto: Vec<OpId>, n: u8) -> SignedOp {
    let op = control
        .reset(successor(control, 0, new), upto, vec![], epoch(n))
        .unwrap();
    signed(op, WORDS)
}

#[test]
fn the_words_take_a_vault_back_from_who_has_the_key() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Reader);
    grant(&mut control, 0, 2, Role::Owner);
    let before = control.heads();
    // The thief of key 0: a puppet, and nobody else left.
    grant(&mut control, 0, 66, Role::Owner);
    for n in [1, 2] {
        let op = control
            .revoke(node(0), Target::Node(node(n)), vec![], Some(epoch(n)))
            .unwrap();
        apply(&mut control, op, 0);
    }
    let new = successor(&control, 0, 67);
    let op = control
        .replace(node(0), new, vec![], Some(epoch(3)))
        .unwrap();
    apply(&mut control, op, 0);
    let recovery = reset(&control, 100, before, 4);
    assert_eq!(control.apply(&recovery).unwrap(), Applied::Counts);
    let state = control.state();
    let mut owners = [node(2), node(100)];
    owners.sort_unstable();
    assert_eq!(state.owners(), owners);
    assert_eq!(state.role_of(&node(1), 0), Some(Role::Reader));
    assert_eq!(state.members.len(), 3);
    assert_eq!(state.epochs, [epoch(4).id()]);
    assert_eq!(control.founder_ids().len(), 2);
    // What the thief answers, on top of the reset or beside it, is nobody's.
    for by in [0, 66, 67] {
        let answer = control.revoke(node(by), Target::Node(node(100)), vec![], Some(epoch(5)));
        let answer = signed(answer.unwrap(), by);
        assert_ne!(control.apply(&answer).ok(), Some(Applied::Counts));
    }
    grant(&mut control, 100, 3, Role::Writer);
    assert_settled(&control);
}

#[test]
fn a_key_that_was_replaced_and_then_stolen_is_taken_out_too() {
    let (_, mut control) = founded();
    let new = successor(&control, 0, 10);
    let op = control
        .replace(node(0), new, vec![], Some(epoch(1)))
        .unwrap();
    apply(&mut control, op, 0);
    let recovery = reset(&control, 100, control.heads(), 2);
    control.apply(&recovery).unwrap();
    assert_eq!(control.state().owners(), [node(100)]);
}

#[test]
fn a_key_that_was_drawn_after_a_theft_is_not_among_those_that_were_stolen() {
    let (_, mut control) = founded();
    let theft = control.heads();
    let new = successor(&control, 0, 10);
    let op = control
        .replace(node(0), new, vec![], Some(epoch(1)))
        .unwrap();
    apply(&mut control, op, 0);
    for (heads, ids) in [(theft.clone(), vec![0]), (control.heads(), vec![0, 10])] {
        for n in [0, 1, 10] {
            assert_eq!(control.had_key(&heads, &node(n)), ids.contains(&n), "{n}");
        }
    }
    // So the device that drew it may take the vault back for it.
    let recovery = reset(&control, 10, theft, 2);
    assert_eq!(control.apply(&recovery).unwrap(), Applied::Counts);
    assert_eq!(control.state().owners(), [node(10)]);
    assert!(control.had_key(&control.heads(), &node(10)));
    grant(&mut control, 10, 3, Role::Writer);
    assert_settled(&control);
}

#[test]
fn a_later_reset_carries_an_earlier_one_over() {
    let (_, mut control) = founded();
    let first = reset(&control, 100, control.heads(), 1);
    control.apply(&first).unwrap();
    let op = control.grant(node(100), node(1), Role::Writer, 0, None, None);
    apply(&mut control, op, 100);
    let second = reset(&control, 101, control.heads(), 2);
    control.apply(&second).unwrap();
    let state = control.state();
    assert_eq!(state.owners(), [node(101)]);
    assert_eq!(state.role_of(&node(1), 0), Some(Role::Writer));
    assert_eq!(
        control.role_when(&[first.id().into()], &node(100)),
        Some(Role::Owner)
    );
}

#[test]
fn after_words_are_given_up_nothing_is_recovered_and_nothing_recovered_is_lost() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Owner);
    let beside = reset(&control, 101, control.heads(), 9);
    let first = reset(&control, 100, control.heads(), 1);
    control.apply(&first).unwrap();
    let resign = signed(control.resign().unwrap(), WORDS);
    control.apply(&resign).unwrap();
    let owners = control.state().owners();
    assert!(owners.contains(&node(100)), "what was recovered stays so");
    assert!(matches!(
        control.reset(
            successor(&control, 0, 102),
            control.heads(),
            vec![],
            epoch(2)
        ),
        Err(ControlError::NoRecovery(_))
    ));
    assert!(matches!(control.resign(), Err(ControlError::NoRecovery(_))));
    // Dated before the words were given up, it came after.
    assert_eq!(control.apply(&beside).unwrap(), Applied::Void);
    assert_eq!(control.state().owners(), owners);
}

#[test]
fn honest_operations_that_fall_out_are_listed() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Owner);
    let before = control.heads();
    grant(&mut control, 0, 66, Role::Owner);
    let honest = grant(&mut control, 1, 2, Role::Reader);
    let recovery = reset(&control, 100, before, 1);
    control.apply(&recovery).unwrap();
    let undone: Vec<OpId> = control.undone().iter().map(|op| op.id().into()).collect();
    assert_eq!(undone, [honest]);
}

#[test]
fn a_vault_without_a_recovery_key_has_no_second_genesis() {
    let genesis = signed(genesis(node(0), [5; 32], [6; 32], None, epoch(0)), 0);
    let mut control = Control::new(&genesis).unwrap();
    assert!(matches!(control.resign(), Err(ControlError::NoRecovery(_))));
    let op = resignation(&control);
    assert!(matches!(
        control.apply(&signed(op, WORDS)),
        Err(ControlError::NotAuthorised(_))
    ));
}
