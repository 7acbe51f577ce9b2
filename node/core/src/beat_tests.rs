use super::*;
use crate::control::{Control, Target};
use crate::testing::{self, NOW, epoch, key, node};
use proptest::prelude::*;

/// Node 0 is its owner, 1 a second one, 2 a writer, 3 a reader.
fn vault() -> Control {
    testing::vault([(1, Role::Owner), (2, Role::Writer), (3, Role::Reader)])
}

fn beat(control: &Control, by: u8, time_ms: u64) -> SignedBeat {
    let beat = Beat {
        version: 1,
        vault: control.vault(),
        author: node(by),
        time_ms,
        control: hash_of_ops(&control.heads()).into(),
        heads: hash_of_commits(&[]).into(),
    };
    Signed::sign(beat, key(by))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64), ..ProptestConfig::default() })]

    /// Whatever beats arrive, in whatever order and however often: the moment of an owner's last word never goes back and is never later than the latest
    /// that an owner signed, so without owners the age only grows.
    #[test]
    fn beat_age_monotone(beats in proptest::collection::vec((0_u8..4, 0_u64..3_000), 1..30), replay in any::<prop::sample::Index>()) {
        let control = vault();
        let mut kept = Beats::default();
        let (mut fresh, mut signed) = (None, None);
        let replayed = beats[replay.index(beats.len())];
        for (by, at) in beats.iter().copied().chain([replayed]) {
            let time = NOW + at * 1_000;
            let result = kept.take(beat(&control, by, time), &control.vault(), control.state(), NOW);
            let expected = by < 3 && time <= NOW + MAX_AHEAD_MS;
            prop_assert_eq!(result.is_ok(), expected || kept.of(&node(by)) >= Some(time));
            if by < 2 && expected {
                signed = signed.max(Some(time));
            }
            let now = kept.fresh_at(control.state(), |_| None);
            prop_assert!(now >= fresh);
            prop_assert_eq!(now, signed);
            fresh = now;
            if let Some(at) = fresh {
                let ages: Vec<u64> = (0..5).map(|n| age_ms(at, NOW + n * 60_000)).collect();
                prop_assert!(ages.windows(2).all(|pair| pair[0] <= pair[1]));
            }
        }
    }

    #[test]
    fn a_changed_beat_is_not_taken(bit in any::<prop::sample::Index>()) {
        let control = vault();
        let signed = beat(&control, 0, NOW);
        prop_assert!(signed.bytes().len() <= MAX_BEAT);
        let mut changed = signed.bytes().to_vec();
        let at = bit.index(changed.len() * 8);
        changed[at / 8] ^= 1 << (at % 8);
        let mut beats = Beats::default();
        if let Ok(changed) = SignedBeat::parse(&changed) {
            prop_assert!(beats.take(changed, &control.vault(), control.state(), NOW).is_err());
        }
        prop_assert_eq!(beats.fresh_at(control.state(), |_| None), None);
    }
}

#[test]
fn who_was_removed_keeps_nothing_fresh_and_is_not_passed_on() {
    let mut control = vault();
    let mut beats = Beats::default();
    for by in [1, 2] {
        let signed = beat(&control, by, NOW + u64::from(by));
        assert!(
            beats
                .take(signed, &control.vault(), control.state(), NOW)
                .unwrap()
        );
    }
    let none = BTreeMap::new();
    assert_eq!(beats.beyond(&none, control.state(), NOW, 9).len(), 2);
    assert_eq!(beats.beyond(&none, control.state(), NOW, 1).len(), 1);
    let told = BTreeMap::from([(node(1), NOW + 1)]);
    assert_eq!(beats.beyond(&told, control.state(), NOW, 9).len(), 1);
    assert_eq!(beats.fresh_at(control.state(), |_| None), Some(NOW + 1));
    let target = Target::Node(node(1));
    let revoke = control
        .revoke(node(0), target, vec![], Some(epoch(9)))
        .unwrap();
    control.apply(&Signed::sign(revoke, key(0))).unwrap();
    assert_eq!(beats.fresh_at(control.state(), |_| None), None);
    assert_eq!(beats.beyond(&none, control.state(), NOW, 9).len(), 1);
    let late = beats.take(
        beat(&control, 1, NOW + 9),
        &control.vault(),
        control.state(),
        NOW,
    );
    assert!(matches!(late, Err(BeatError::NotWriter(_))));
    assert_eq!(
        beats.fresh_at(control.state(), |_| Some(NOW - 5)),
        Some(NOW - 5)
    );
}

#[test]
fn encodings_are_those_of_the_formats_reference() {
    let control = vault();
    let signed = beat(&control, 0, 5);
    let expected = [
        &[0x86, 0x01, 0x58, 0x20][..],
        control.vault().as_bytes(),
        &[0x58, 0x20],
        node(0).as_bytes(),
        &[0x05, 0x58, 0x20],
        &hash_of_ops(&control.heads()),
        &[0x58, 0x20],
        blake3::hash(b"").as_bytes(),
    ]
    .concat();
    assert_eq!(signed.bytes()[..expected.len()], expected);
    assert_eq!(signed.bytes().len(), expected.len() + SIGNATURE);
}
