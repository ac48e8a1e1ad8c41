//! The gate, step by step, with the time as a number.

use super::gate::{CLOSED_MS_MAX, Check, Gate, Quota, Sent};

const FAITH_MS: u64 = 60_000;
const START: u64 = 1_000_000_000;

fn ms(ms: u64) -> u64 {
    START + ms * 1_000
}

fn gate() -> Gate {
    Gate::new(FAITH_MS, START)
}

fn quota(remaining: u64, resets_in_ms: u64) -> Option<Quota> {
    Some(Quota {
        remaining,
        resets_in_ms,
    })
}

/// Sends until the gate says no.
fn send_all(gate: &mut Gate, now_us: u64) -> Vec<Sent> {
    let mut sent = Vec::new();
    while gate.check(now_us) == Check::Open && sent.len() < 1_000 {
        sent.push(gate.send(now_us));
    }
    sent
}

fn pass(gate: &mut Gate, sent: Sent, now_us: u64) {
    gate.passed(sent, None, now_us);
    gate.end(sent);
}

fn refuse(gate: &mut Gate, sent: Sent, wait_ms: Option<u64>, now_us: u64) {
    gate.refused(sent, wait_ms, None, now_us);
    gate.end(sent);
}

fn closed(until_ms: u64) -> Check {
    Check::Closed { until_us: ms(until_ms) }
}

fn busy(until_ms: u64) -> Check {
    Check::Busy { until_us: ms(until_ms) }
}

#[test]
fn nothing_known_is_no_limit() {
    assert_eq!(send_all(&mut gate(), START).len(), 1_000);
}

#[test]
fn as_many_as_are_left_are_under_way_and_none_more_until_the_reset() {
    let mut gate = gate();
    let first = gate.send(ms(0));
    gate.passed(first, quota(3, 5_000), ms(10));
    gate.end(first);
    let sent = send_all(&mut gate, ms(10));
    assert_eq!(sent.len(), 3);
    // Answers of those three count down.
    for (left, sent) in [2, 1, 0].into_iter().zip(sent) {
        gate.passed(sent, quota(left, 4_900), ms(110));
        gate.end(sent);
    }
    assert_eq!(gate.check(ms(110)), closed(5_010));
    assert_eq!(gate.check(ms(5_009)), closed(5_010));
    // Then it is unknown how many may go: one goes to see.
    let probe = send_all(&mut gate, ms(5_010));
    assert_eq!(probe.len(), 1);
    assert_eq!(gate.check(ms(5_010)), busy(6_010));
    gate.passed(probe[0], quota(4, 5_000), ms(5_020));
    gate.end(probe[0]);
    assert_eq!(send_all(&mut gate, ms(5_020)).len(), 4);
}

#[test]
fn an_older_answer_does_not_raise_the_count() {
    let mut gate = gate();
    let (first, second) = (gate.send(ms(0)), gate.send(ms(0)));
    gate.passed(second, quota(1, 5_000), ms(10));
    gate.end(second);
    gate.passed(first, quota(2, 5_000), ms(11));
    gate.end(first);
    assert_eq!(send_all(&mut gate, ms(12)).len(), 1);
    let third = Sent::default();
    gate.passed(third, quota(0, 5_000), ms(13));
    assert_eq!(gate.check(ms(13)), closed(5_013));
}

#[test]
fn of_requests_under_way_together_the_lowest_count_holds() {
    let mut gate = gate();
    let sent: Vec<_> = (0..4).map(|_| gate.send(ms(0))).collect();
    // The provider took them in another order than they were sent, and its answers come in a third.
    for (index, remaining) in [(2, 0), (0, 2), (3, 3), (1, 1)] {
        gate.passed(sent[index], quota(remaining, 5_000), ms(10));
        gate.end(sent[index]);
    }
    assert_eq!(gate.check(ms(10)), closed(5_010));
    // One sent after all answers says what is true now.
    let mut gate = self::gate();
    let first = gate.send(ms(0));
    gate.passed(first, quota(1, 5_000), ms(10));
    gate.end(first);
    let second = gate.send(ms(20));
    gate.passed(second, quota(30, 5_000), ms(30));
    gate.end(second);
    assert_eq!(send_all(&mut gate, ms(30)).len(), 30, "it was filled up meanwhile");
}

#[test]
fn a_count_whose_time_is_over_says_nothing() {
    let mut gate = gate();
    let sent = gate.send(ms(0));
    gate.passed(sent, quota(0, 0), ms(10));
    assert_eq!(gate.check(ms(10)), Check::Open);
}

#[test]
fn a_refusal_closes_until_the_time_it_told_then_one_probes_and_the_rest_follow() {
    let mut gate = gate();
    refuse(&mut gate, Sent::default(), Some(2_000), ms(0));
    assert_eq!(gate.check(ms(0)), closed(2_000));
    assert_eq!(gate.check(ms(1_999)), closed(2_000));
    let mut now = 2_000;
    for expected in [1, 2, 4, 8, 16] {
        let sent = send_all(&mut gate, ms(now));
        assert_eq!(sent.len(), expected);
        now += 10;
        for sent in sent {
            pass(&mut gate, sent, ms(now));
        }
    }
}

#[test]
fn a_slow_probe_does_not_hold_everybody_up() {
    let mut gate = gate();
    refuse(&mut gate, Sent::default(), Some(2_000), ms(0));
    for now in [2_000, 3_000, 4_000] {
        assert_eq!(send_all(&mut gate, ms(now)).len(), 1);
        assert_eq!(gate.check(ms(now + 999)), busy(now + 1_000));
    }
}

#[test]
fn refusals_that_tell_no_time_double_the_wait() {
    let mut gate = gate();
    let (mut now, mut waits) = (0, Vec::new());
    let mut sent = Sent::default();
    for _ in 0..7 {
        refuse(&mut gate, sent, None, ms(now));
        let Check::Closed { until_us } = gate.check(ms(now)) else {
            panic!("a refusal closes");
        };
        waits.push((until_us - ms(now)) / 1_000);
        now += waits.last().unwrap();
        assert_eq!(gate.check(ms(now)), Check::Open);
        sent = gate.send(ms(now));
    }
    assert_eq!(waits, [3_000, 6_000, 12_000, 24_000, 48_000, 60_000, 60_000]);
    // One that passes begins anew.
    pass(&mut gate, sent, ms(now));
    let sent = gate.send(ms(now));
    refuse(&mut gate, sent, None, ms(now));
    assert_eq!(gate.check(ms(now)), closed(now + 3_000));
}

#[test]
fn refusals_of_requests_sent_before_the_opening_do_not_close_again() {
    let mut gate = gate();
    let early: Vec<_> = (0..10).map(|_| gate.send(ms(0))).collect();
    refuse(&mut gate, early[0], Some(1_000), ms(10));
    refuse(&mut gate, early[1], Some(1_500), ms(20));
    assert_eq!(gate.check(ms(20)), closed(1_520), "the longest counts");
    for sent in &early[2..9] {
        pass(&mut gate, *sent, ms(30));
    }
    let open = Check::Open;
    assert_eq!(
        gate.check(ms(1_520)),
        open,
        "one that is still under way does not matter"
    );
    refuse(&mut gate, early[9], Some(9_000), ms(1_600));
    assert_eq!(gate.check(ms(1_600)), Check::Open);
}

/// A provider that lets `limit` through in each second and tells it with the refusal only; callers without end. Gives how
/// many passed and how many it refused from one second to another.
fn ask_for(gate: &mut Gate, limit: u64, seconds: std::ops::Range<u64>) -> (u64, u64) {
    let (mut passed, mut refused) = (0, 0);
    let mut in_window = (0, 0);
    for now in (seconds.start * 1_000..seconds.end * 1_000).step_by(10) {
        for sent in send_all(gate, ms(now)) {
            if in_window.0 != now / 1_000 {
                in_window = (now / 1_000, 0);
            }
            in_window.1 += 1;
            if in_window.1 <= limit {
                passed += 1;
                pass(gate, sent, ms(now + 5));
            } else {
                refused += 1;
                refuse(gate, sent, Some(1_000 - now % 1_000), ms(now + 5));
            }
        }
    }
    (passed, refused)
}

#[test]
fn the_pace_is_learned_from_what_passes_between_opening_and_refusal() {
    let mut gate = gate();
    refuse(&mut gate, Sent::default(), Some(1_000), ms(0));
    let (passed, refused) = ask_for(&mut gate, 5, 1..61);
    assert!(passed >= 270, "{passed} of the 300 possible");
    assert!(refused <= 12, "{refused} refused");
}

#[test]
fn the_pace_follows_a_limit_that_changes() {
    let mut gate = gate();
    refuse(&mut gate, Sent::default(), Some(1_000), ms(0));
    ask_for(&mut gate, 50, 1..11);
    let (passed, refused) = ask_for(&mut gate, 5, 11..71);
    assert!(passed >= 250 && refused <= 70, "{passed} of 300, {refused} refused");
    let (passed, refused) = ask_for(&mut gate, 50, 71..671);
    assert!(
        passed >= 15_000 && refused <= 1_500,
        "{passed} of 30000, {refused} refused"
    );
}

#[test]
fn an_announced_long_wait_is_tried_one_by_one_and_a_refusal_is_its_proof() {
    let mut gate = gate();
    let sent = gate.send(ms(0));
    gate.passed(sent, quota(0, 600_000), ms(0));
    gate.end(sent);
    let probe = send_all(&mut gate, ms(1));
    assert_eq!(probe.len(), 1);
    gate.passed(probe[0], quota(0, 600_000), ms(2));
    gate.end(probe[0]);
    let probe = send_all(&mut gate, ms(3));
    assert_eq!(probe.len(), 1);
    gate.refused(probe[0], Some(600_000), Some(0), ms(4));
    gate.end(probe[0]);
    assert_eq!(gate.check(ms(5)), closed(600_004));
}

#[test]
fn a_refusal_in_spite_of_a_count_distrusts_the_count() {
    let mut gate = gate();
    refuse(&mut gate, Sent::default(), Some(0), ms(0));
    let probe = send_all(&mut gate, ms(1))[0];
    gate.passed(probe, quota(4_000, 60_000), ms(2));
    gate.end(probe);
    let sent = send_all(&mut gate, ms(3));
    assert_eq!(sent.len(), 1_000, "the count is trusted at first");
    gate.refused(sent[0], Some(1_000), Some(3_900), ms(4));
    gate.end(sent[0]);
    for sent in &sent[1..] {
        pass(&mut gate, *sent, ms(5));
    }
    let probe = send_all(&mut gate, ms(1_004));
    assert_eq!(probe.len(), 1);
    gate.passed(probe[0], quota(3_800, 60_000), ms(1_005));
    gate.end(probe[0]);
    assert_eq!(send_all(&mut gate, ms(1_006)).len(), 2);
}

#[test]
fn no_wait_is_longer_than_the_limit_and_a_clock_that_jumps_back_does_not_prolong_it() {
    let mut gate = gate();
    refuse(&mut gate, Sent::default(), Some(u64::MAX), ms(0));
    assert_eq!(gate.check(ms(0)), closed(CLOSED_MS_MAX));
    let back = START - 500_000_000;
    let Check::Closed { until_us } = gate.check(back) else {
        panic!("it is still closed");
    };
    assert_eq!(until_us, back + CLOSED_MS_MAX * 1_000);
    assert_eq!(gate.check(until_us), Check::Open);
    // And one that jumps far ahead opens.
    refuse(&mut gate, Sent::default(), Some(60_000), until_us);
    assert_eq!(gate.check(u64::MAX / 2), Check::Open);
}

#[test]
fn a_limit_not_heard_of_is_forgotten() {
    let mut gate = gate();
    assert!(!gate.is_forgettable(ms(599_999)));
    assert!(gate.is_forgettable(ms(600_000)));
    refuse(&mut gate, Sent::default(), Some(3_000_000), ms(600_000));
    assert!(!gate.is_forgettable(ms(2_000_000)), "closed");
    let sent = gate.send(ms(3_600_000));
    assert!(!gate.is_forgettable(ms(4_000_000)), "under way");
    pass(&mut gate, sent, ms(4_000_000));
    assert!(gate.is_forgettable(ms(4_000_001)));
}
