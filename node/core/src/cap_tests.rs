use super::*;
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000_000;

fn author(n: u8) -> NodeId {
    NodeId::from([n; 32])
}

/// Whether it is taken; then it counts.
fn take(caps: &mut Caps, by: u8, dated: u64, at: u64) -> bool {
    let taken = caps.check(&author(by), dated, at) == Verdict::Within;
    if taken {
        caps.count(&author(by), dated, at);
    }
    taken
}

fn taken(caps: &mut Caps, commits: impl Iterator<Item = (u64, u64)>) -> u64 {
    commits
        .map(|(dated, at)| u64::from(take(caps, 1, dated, at)))
        .sum()
}

#[test]
fn a_flood_of_today_gets_a_minute_at_once_and_then_twenty_a_second() {
    let mut caps = Caps::default();
    // A thousand a second for ten seconds, dated as they come.
    let flood = (0..10_000).map(|n| (NOW + n, n));
    assert_eq!(taken(&mut caps, flood), 1_200 + 199);
    let later = (10_000..20_000).map(|n| (NOW + n, n));
    assert_eq!(taken(&mut caps, later), 200);
}

#[test]
fn a_flood_dated_ahead_gains_no_more_than_another_minute() {
    let mut caps = Caps::default();
    let flood = (0..10_000).map(|n| (NOW + n * 60, 0));
    assert_eq!(
        taken(&mut caps, flood.take(11)),
        11,
        "it looks like any history"
    );
    let ahead = (0..5_000).map(|n| (NOW + 600_000 + n, 0));
    assert!(taken(&mut caps, ahead) <= 1_400);
}

#[test]
fn a_history_of_days_is_taken_at_once() {
    let mut caps = Caps::default();
    // One a second for three days, all in one breath.
    let history = (0..3 * 86_400).map(|n| (NOW + n * 1_000, 5));
    assert_eq!(taken(&mut caps, history), 3 * 86_400);
    assert!(caps.held_back(5).is_empty());
    // And the author goes on as before, live.
    let live = (1..100).map(|n| (NOW + 3 * 86_400_000 + n * 1_000, 5 + n * 1_000));
    assert_eq!(taken(&mut caps, live), 99);
}

#[test]
fn who_is_cloned_may_have_written_at_any_pace() {
    let dense = |at: u64| (0..5_000).map(move |n| (NOW + n, at));
    let mut clone = Caps::of_a_clone(7);
    assert_eq!(taken(&mut clone, dense(7)), 5_000);
    assert_eq!(
        taken(&mut Caps::of_a_clone(7), dense(7 + CLONE_MS)),
        1_200 + 99
    );
}

#[test]
fn a_history_that_is_made_up_ends() {
    let mut caps = Caps::default();
    let flood = (0..2 * MAX_PAST).map(|n| (n * 1_000, 0));
    assert_eq!(taken(&mut caps, flood), MAX_PAST);
    let again = (0..2 * MAX_PAST).map(|n| (n * 1_000, 10_000));
    assert_eq!(
        taken(&mut caps, again),
        200,
        "a stretch of time counts once"
    );
}

#[test]
fn somebody_hears_of_it_once_until_it_was_quiet() {
    let mut caps = Caps::default();
    let _ = taken(&mut caps, (0..1_300).map(|_| (NOW, 0)));
    let wait = |caps: &mut Caps, at| caps.check(&author(1), NOW, at);
    assert_eq!(caps.held_back(0), [author(1)]);
    assert_eq!(wait(&mut caps, 0), Verdict::Beyond { news: false });
    let _ = taken(&mut caps, (0..2_000).map(|_| (NOW, HELD_FOR_MS)));
    assert_eq!(caps.held_back(HELD_FOR_MS), [author(1)]);
    assert!(caps.held_back(2 * HELD_FOR_MS).is_empty());
    let _ = taken(&mut caps, (0..1_199).map(|_| (NOW, 2 * HELD_FOR_MS)));
    caps.count(&author(1), NOW, 2 * HELD_FOR_MS);
    assert_eq!(
        wait(&mut caps, 2 * HELD_FOR_MS),
        Verdict::Beyond { news: true }
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96), ..ProptestConfig::default() })]

    /// Whatever dates an author gives its commits and however they come: no more than the past and twenty a second are taken, and nobody else has less for it.
    #[test]
    fn no_dates_get_more_than_the_past_and_the_pace(cloned: bool, steps in proptest::collection::vec((0..40_000u64, 0..50_000u64, any::<bool>(), 0..3_000u64), 1..60)) {
        let mut caps = if cloned { Caps::of_a_clone(0) } else { Caps::default() };
        let (mut dated, mut at, mut all) = (NOW, 0, 0);
        for (count, stride, back, pause) in steps {
            at += pause;
            dated = if back { NOW - 50_000_000_000 } else { dated };
            for _ in 0..count {
                dated += stride;
                all += u64::from(take(&mut caps, 1, dated, at));
            }
            prop_assert!(all * COST_MS <= MAX_PAST * COST_MS + at, "{} by {}", all, at);
            prop_assert!(take(&mut caps, 2, NOW + at, at));
        }
    }

    /// An author whose dates keep to the pace is never held up, whenever and in whatever portions the commits come.
    #[test]
    fn who_keeps_to_the_pace_is_never_held_up(steps in proptest::collection::vec((1..1_000u64, 0..100_000u64, 0..5_000_000u64), 1..60)) {
        let mut caps = Caps::default();
        let (mut dated, mut at) = (NOW, 0);
        for (count, quiet, pause) in steps {
            at += pause;
            dated += quiet;
            for _ in 0..count {
                dated += COST_MS;
                prop_assert!(take(&mut caps, 1, dated, at));
            }
        }
        prop_assert!(caps.held_back(at).is_empty());
    }

    /// What had to wait is taken once there is room, in the order in which it was made.
    #[test]
    fn what_waits_is_taken_at_last(count in 1..6_000u64, spread in 0..100u64, pause in 1..120_000u64) {
        let mut caps = Caps::default();
        let mut waiting: std::collections::VecDeque<u64> = (0..count).map(|n| NOW + n * spread).collect();
        let mut at = 0;
        while let Some(dated) = waiting.front() {
            if take(&mut caps, 1, *dated, at) {
                waiting.pop_front();
            } else {
                at += pause;
            }
            prop_assert!(at <= count * COST_MS + pause * count);
        }
    }
}
