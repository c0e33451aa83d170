use campanile_sla::{Adjustment, RestoreError, ServiceLevels, Slo, Source, merge};

use super::*;

fn sla(now: Now) -> ServiceLevels {
    let builder = ServiceLevels::builder()
        .slo(Slo::availability("a", "99.9%").per_route(3))
        .slo(Slo::latency("l", "99%", SECOND).source(Source::Manual))
        .slo(Slo::latency_percentile("p", "99%", SECOND).source(Source::Manual))
        .slo(Slo::throughput("t", 1.0).over(HOUR));
    builder.build_at(now).unwrap()
}

/// A replica with random counts, of random times in the last days.
fn replica(seed: u64, start: Now) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let sla = sla(start);
    let mut now = start;
    sla.record_at(false, SECOND, now.mono);
    for _ in 0..random.usize(..40) {
        now = now + HOUR.mul_f64(random.f64() * 3.0);
        if random.u8(..8) == 0 {
            now.wall += HOUR * 5;
        }
        sla.tick(now);
        let latency = SECOND.mul_f64(random.f64() * 2.0);
        for _ in 0..random.u8(..5) {
            sla.record_at(random.bool(), latency, now.mono);
            for name in ["l", "p"] {
                sla.event_recorder(name)
                    .unwrap()
                    .record_at(random.bool(), latency, now.mono);
            }
        }
    }
    let adjustment = Adjustment::new(start.wall, 1)
        .reason(format!("test {}", random.u8(..4)))
        .author("ada");
    sla.exclude_failures_at("a", adjustment, now).unwrap();
    sla.snapshot_at(now)
}

#[test]
fn the_order_of_merges_is_irrelevant() {
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
fn counts_are_added_and_coverage_is_not() {
    let start = start();
    let [one, other] = [sla(start), sla(start)];
    for (sla, count) in [(&one, 300), (&other, 60)] {
        for number in 0..count {
            sla.record_at(number % 10 > 0, SECOND, (start + SECOND * number).mono);
        }
    }
    let now = start + MINUTE * 10;
    let merged = merge(&one.snapshot_at(now), &other.snapshot_at(now)).unwrap();
    let both = sla(now);
    both.restore_at(&merged, now).unwrap();
    let availability = both.slo_report_at("a", now).unwrap();
    assert_eq!((availability.samples, availability.bad), (360, 36));
    // Both replicas, in each second.
    let throughput = both.slo_report_at("t", now).unwrap();
    assert_eq!(throughput.current, Some(0.6));
    assert_eq!(throughput.coverage, 1.0 / 6.0);
}

#[test]
fn invalid_snapshots_are_not_merged() {
    let whole = sla(start()).snapshot_at(start());
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
            sla.record_at(number > 100, SECOND, (start + after).mono);
        }
        sla.tick(start + after);
        sla.snapshot_at(start + after)
    };
    let merged = merge(&replica(MINUTE * 6), &replica(MINUTE * 7)).unwrap();
    let both = sla(start);
    both.restore_at(&merged, start).unwrap();
    let open = |now| {
        let incidents = both.slo_report_at("a", now).unwrap().incidents;
        let open = incidents.iter().filter(|one| one.until.is_none()).count();
        (incidents.len(), open)
    };
    assert_eq!(open(start), (2, 2));
    both.tick(start + DAY);
    assert_eq!(open(start + DAY), (2, 0));
}

#[test]
fn maintenance_that_ended_early_has_ended_everywhere() {
    let start = start();
    let maintenance = campanile_sla::MaintenanceWindow::new(start.wall, start.wall + HOUR)
        .reason("an upgrade")
        .author("ada");
    let [one, other] = [sla(start), sla(start)];
    for sla in [&one, &other] {
        sla.schedule_maintenance_at(maintenance.clone(), start)
            .unwrap();
    }
    let now = start + MINUTE;
    assert!(one.end_maintenance_at(now));
    let merged = merge(&one.snapshot_at(now), &other.snapshot_at(now)).unwrap();
    let both = sla(now);
    both.restore_at(&merged, now).unwrap();
    let maintenance = both.report_at(now).maintenance;
    assert_eq!(maintenance.len(), 1);
    assert_eq!(maintenance[0].until, now.wall);
}

/// Snapshots with a valid checksum and impossible values.
#[test]
fn impossible_snapshots_are_rejected() {
    let start = start();
    let whole = sla(start).snapshot_at(start);
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
        if sla.restore_at(&bytes, start).is_ok() {
            for second in [0, 1, 100_000] {
                sla.tick(start + SECOND * second);
                sla.report_at(start + SECOND * second);
            }
        }
    }
}

/// Counts are added, so a second restore would double them.
#[test]
fn a_snapshot_is_restored_once() {
    let start = start();
    let before = sla(start);
    record(&before, 90, 10, start);
    let snapshot = before.snapshot_at(start);
    let after = sla(start);
    // A damaged snapshot does not count as restored.
    assert!(after.restore_at(&snapshot[1..], start).is_err());
    assert_eq!(after.restore_at(&snapshot, start), Ok(()));
    assert_eq!(
        after.restore_at(&snapshot, start),
        Err(RestoreError::Duplicate)
    );
    let report = after.slo_report_at("a", start).unwrap();
    assert_eq!((report.samples, report.bad), (100, 10));
}
