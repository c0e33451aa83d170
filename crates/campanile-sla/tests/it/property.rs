//! Comparison of windows with a list of all events.

use std::ops::Range;
use std::time::SystemTime;

use campanile_sla::{ServiceLevels, Slo, Window, merge};

use super::*;

/// An event with its time.
#[derive(Clone, Copy)]
struct Event {
    at: SystemTime,
    good: bool,
}

/// A sequence of processes, and the list of events.
struct World {
    now: Now,
    sla: ServiceLevels,
    events: Vec<Event>,
    /// The times in which a process ran.
    watched: Vec<(SystemTime, SystemTime)>,
    /// The time of the last tick.
    looked: Option<SystemTime>,
}

const WINDOWS: [(&str, Duration, Duration); 5] = [
    ("minute", MINUTE, SECOND),
    ("hour", HOUR, SECOND.saturating_mul(10)),
    ("day", DAY, MINUTE.saturating_mul(5)),
    ("month", DAY.saturating_mul(30), HOUR),
    ("quarter", DAY.saturating_mul(90), HOUR),
];

fn sla(now: Now) -> ServiceLevels {
    let builder = WINDOWS
        .iter()
        .fold(ServiceLevels::builder(), |builder, (name, window, _)| {
            builder.slo(Slo::availability(*name, "99%").over(*window))
        });
    let calendar = Slo::availability("calendar", "99%").over(Window::month("UTC"));
    builder.slo(calendar).build_at(now).unwrap()
}

impl World {
    fn new() -> Self {
        let now = start();
        Self {
            now,
            sla: sla(now),
            events: Vec::new(),
            watched: Vec::new(),
            looked: None,
        }
    }

    fn advance(&mut self) {
        self.sla.tick(self.now);
        self.looked = Some(self.now.wall);
    }

    fn step(&mut self, random: &mut fastrand::Rng) {
        let most = [SECOND, MINUTE, HOUR, DAY * 3][random.usize(..4)];
        let time = Duration::from_millis(most.mul_f64(random.f64()).as_millis() as u64);
        match random.u8(..12) {
            0..7 => {
                let (from, to) = (self.now.wall, self.now.wall + time);
                // Time is observed for half a minute after a tick.
                let end = self.looked.map_or(to, |looked| looked + SECOND * 30);
                self.watched.push((from, end.clamp(from, to)));
                self.now = self.now + time;
                if time < MINUTE {
                    self.advance();
                }
            }
            // The machine is suspended.
            7 => {
                self.now.wall += time + SECOND * 3;
                self.advance();
            }
            // The process is killed and restarted.
            8 => {
                let snapshot = self.sla.snapshot_at(self.now);
                self.now.wall += time;
                (self.sla, self.looked) = (sla(self.now), None);
                self.sla.restore_at(&snapshot, self.now).unwrap();
            }
            // The counts of another replica at the same time are merged.
            9 => {
                let other = sla(self.now);
                for _ in 0..random.u8(..4) {
                    let good = random.bool();
                    other.record_at(good, SECOND, self.now.mono);
                    self.events.push(Event {
                        at: self.now.wall,
                        good,
                    });
                }
                let both = merge(
                    &self.sla.snapshot_at(self.now),
                    &other.snapshot_at(self.now),
                );
                (self.sla, self.looked) = (sla(self.now), None);
                self.sla.restore_at(&both.unwrap(), self.now).unwrap();
            }
            // The clock is set back by less than a detected step, and forward again.
            10 => {
                let set = Now {
                    wall: self.now.wall - time,
                    ..self.now
                };
                self.sla.tick(set);
                self.advance();
            }
            _ => {}
        }
        for _ in 0..random.u8(..3) {
            let good = random.bool();
            self.sla.record_at(good, SECOND, self.now.mono);
            self.events.push(Event {
                at: self.now.wall,
                good,
            });
        }
    }

    /// Compares an SLO with the list of events. Those in the first bucket of the window may or may not
    /// count; all others are exact.
    fn check(&self, seed: u64, name: &str, from: SystemTime, bucket: Duration) {
        let report = self.sla.slo_report_at(name, self.now).unwrap();
        let outer = from - bucket;
        // An event of the current second may count in the second before.
        let count = |good: bool, from: SystemTime| {
            let events = self.events.iter();
            let events = events.filter(|event| event.good == good && event.at > from);
            events.count() as u64
        };
        let good = report.samples - report.bad;
        for (found, is_good) in [(good, true), (report.bad, false)] {
            let range = count(is_good, from + SECOND)..=count(is_good, outer - SECOND);
            assert!(
                range.contains(&found),
                "{seed} {name}: {found} of {range:?}"
            );
        }
        let part = |(start, end): &(SystemTime, SystemTime), from: SystemTime| {
            end.duration_since((*start).max(from)).unwrap_or_default()
        };
        let watched = |from| {
            self.watched
                .iter()
                .map(|one| part(one, from))
                .sum::<Duration>()
        };
        let window = self.now.wall.duration_since(from).unwrap();
        let covered = window.mul_f64(report.coverage);
        // A lead of the clock of up to 2 s is not a detected step.
        let slack = SECOND * 8;
        assert!(
            covered <= watched(outer) + slack,
            "{seed} {name}: {covered:?}"
        );
        assert!(
            covered + slack >= watched(from).min(window),
            "{seed} {name}: {covered:?}"
        );
    }
}

#[test]
fn windows_match_a_list() {
    compare(0..5_000);
}

/// The other half of 10,000 cases, in parallel.
#[test]
fn windows_match_a_list_again() {
    compare(5_000..10_000);
}

fn compare(seeds: Range<u64>) {
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        for _ in 0..random.usize(1..25) {
            world.step(&mut random);
        }
        for (name, window, bucket) in WINDOWS {
            world.check(seed, name, world.now.wall - window, bucket);
        }
        let report = world.sla.slo_report_at("calendar", world.now).unwrap();
        // The start is a full hour, so no bucket crosses it.
        world.check(
            seed,
            "calendar",
            report.from - Duration::from_millis(1),
            Duration::ZERO,
        );
    }
}
