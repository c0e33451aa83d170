use campanile_sla::{Adjustment, RestoreError, Sla, Slo, merge};

use super::*;

fn sla(now: Now) -> Sla {
    let builder = Sla::builder()
        .objective(Slo::availability("a", "99.9%").per_route(3))
        .objective(Slo::latency("l", "99%", SECOND).tracked())
        .objective(Slo::percentile("p", "99%", SECOND).tracked())
        .objective(Slo::throughput("t", 1.0).over(HOUR));
    builder.build(now).unwrap()
}

/// A replica with random counts, of random times in the last days.
fn replica(seed: u64, start: Now) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let sla = sla(start);
    let mut now = start;
    sla.record(false, SECOND, now.mono);
    for _ in 0..random.usize(..40) {
        now = now + HOUR.mul_f64(random.f64() * 3.0);
        if random.u8(..8) == 0 {
            now.wall += HOUR * 5;
        }
        sla.advance(now);
        let latency = SECOND.mul_f64(random.f64() * 2.0);
        for _ in 0..random.u8(..5) {
            sla.record(random.bool(), latency, now.mono);
            for name in ["l", "p"] {
                sla.tracker(name)
                    .unwrap()
                    .record(random.bool(), latency, now.mono);
            }
        }
    }
    let adjustment = Adjustment {
        at: start.wall,
        bad: 1,
        reason: format!("test {}", random.u8(..4)),
        author: "ada".to_owned(),
    };
    sla.adjust("a", adjustment, now).unwrap();
    sla.snapshot(now)
}

#[test]
fn the_order_makes_no_difference() {
    let start = start();
    for seed in 0..200 {
        let [a, b, c] = [0, 1, 2].map(|number| replica(seed * 3 + number, start));
        let ab = merge(&a, &b).unwrap();
        assert_eq!(ab, merge(&b, &a).unwrap(), "{seed}");
        let left = merge(&ab, &c).unwrap();
        let right = merge(&a, &merge(&b, &c).unwrap()).unwrap();
        assert_eq!(left, right, "{seed}");
    }
}

#[test]
fn counts_are_added_and_time_is_not() {
    let start = start();
    let [one, other] = [sla(start), sla(start)];
    for (sla, count) in [(&one, 300), (&other, 60)] {
        for number in 0..count {
            sla.record(number % 10 > 0, SECOND, (start + SECOND * number).mono);
        }
    }
    let now = start + MINUTE * 10;
    let merged = merge(&one.snapshot(now), &other.snapshot(now)).unwrap();
    let both = sla(now);
    both.restore(&merged, now).unwrap();
    let availability = both.objective("a", now).unwrap();
    assert_eq!((availability.samples, availability.bad), (360, 36));
    // Both together, in each second.
    let throughput = both.objective("t", now).unwrap();
    assert_eq!(throughput.current, Some(0.6));
    assert_eq!(throughput.coverage, 1.0 / 6.0);
}

#[test]
fn what_is_no_snapshot_is_not_merged() {
    let whole = sla(start()).snapshot(start());
    assert_eq!(merge(&whole, b"CSLA\x01"), Err(RestoreError::Unknown));
    assert_eq!(
        merge(&whole[..whole.len() - 1], &whole),
        Err(RestoreError::Damaged)
    );
}

#[test]
fn incidents_of_several_replicas_end() {
    let start = start();
    let replica = |after: Duration| {
        let sla = sla(start);
        for number in 0..200 {
            sla.record(number > 100, SECOND, (start + after).mono);
        }
        sla.advance(start + after);
        sla.snapshot(start + after)
    };
    let merged = merge(&replica(MINUTE * 6), &replica(MINUTE * 7)).unwrap();
    let both = sla(start);
    both.restore(&merged, start).unwrap();
    let open = |now| {
        let incidents = both.objective("a", now).unwrap().incidents;
        let open = incidents.iter().filter(|one| one.until.is_none()).count();
        (incidents.len(), open)
    };
    assert_eq!(open(start), (2, 2));
    both.advance(start + DAY);
    assert_eq!(open(start + DAY), (2, 0));
}

#[test]
fn maintenance_that_ended_early_has_ended_everywhere() {
    let start = start();
    let maintenance = campanile_sla::Maintenance {
        from: start.wall,
        until: start.wall + HOUR,
        reason: "an upgrade".to_owned(),
        author: "ada".to_owned(),
    };
    let [one, other] = [sla(start), sla(start)];
    for sla in [&one, &other] {
        sla.maintain(maintenance.clone(), start).unwrap();
    }
    let now = start + MINUTE;
    assert!(one.end_maintenance(now));
    let merged = merge(&one.snapshot(now), &other.snapshot(now)).unwrap();
    let both = sla(now);
    both.restore(&merged, now).unwrap();
    let maintenance = both.report(now).maintenance;
    assert_eq!(maintenance.len(), 1);
    assert_eq!(maintenance[0].until, now.wall);
}

/// Snapshots whose checksum is right, and whose content no replica has.
#[test]
fn absurd_snapshots_are_refused() {
    let start = start();
    let whole = sla(start).snapshot(start);
    for number in 0..2_000u64 {
        let mut random = fastrand::Rng::with_seed(number);
        let mut bytes = whole[..whole.len() - 4].to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(5..bytes.len());
            bytes[at] = random.u8(..);
        }
        if random.bool() {
            let at = random.usize(5..bytes.len());
            bytes.splice(at..at, [0xff; 9]);
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let sla = sla(start);
        if sla.restore(&bytes, start).is_ok() {
            for second in [0, 1, 100_000] {
                sla.advance(start + SECOND * second);
                sla.report(start + SECOND * second);
            }
        }
    }
}

/// Counts are added, so that a second time would double them.
#[test]
fn a_snapshot_is_restored_once() {
    let start = start();
    let before = sla(start);
    record(&before, 90, 10, start);
    let snapshot = before.snapshot(start);
    let after = sla(start);
    // What is damaged was not restored.
    assert!(after.restore(&snapshot[1..], start).is_err());
    assert_eq!(after.restore(&snapshot, start), Ok(()));
    assert_eq!(
        after.restore(&snapshot, start),
        Err(RestoreError::Duplicate)
    );
    let report = after.objective("a", start).unwrap();
    assert_eq!((report.samples, report.bad), (100, 10));
}
