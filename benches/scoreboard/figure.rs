use serde::Serialize;

/// How much to measure.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// The number of rounds. In each round every side runs once.
    pub(crate) rounds: usize,
    /// How many times the usual work of a round.
    pub(crate) scale: f64,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 21,
        scale: 1.0,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 9,
        scale: 0.2,
    };

    /// A number of operations, by the scale.
    pub(crate) fn of(self, operations: usize) -> usize {
        (operations as f64 * self.scale) as usize
    }
}

/// A row of the table.
#[derive(Serialize)]
pub(crate) struct Figure {
    figure: &'static str,
    unit: &'static str,
    /// The median of our rounds.
    ours: f64,
    min: f64,
    max: f64,
    /// The median of the peer's rounds.
    peer: f64,
    peer_name: &'static str,
    ratio: f64,
    goal: String,
    met: bool,
}

pub(crate) const HEADER: &str = "| figure | unit | ours | min | max | peer | peer's name | ratio | goal | met |\n\
                                 |---|---|---|---|---|---|---|---|---|---|";

impl Figure {
    /// Compares the rounds of two sides. The goal is met if ours is at most `goal` times the
    /// peer's.
    pub(crate) fn compare(
        name: (&'static str, &'static str),
        ours: &[f64],
        peer: (&'static str, &[f64]),
        goal: f64,
    ) -> Self {
        let figure = Self::new(name, ours, peer);
        Self {
            goal: format!("ratio<={goal:.2}"),
            met: figure.peer > 0.0 && figure.ours <= goal * figure.peer,
            ..figure
        }
    }

    /// Shows the rounds of two sides; the goal is met if ours is at most `goal`.
    pub(crate) fn at_most(
        name: (&'static str, &'static str),
        ours: &[f64],
        peer: (&'static str, &[f64]),
        goal: f64,
    ) -> Self {
        let figure = Self::new(name, ours, peer);
        Self {
            goal: format!("{}<={goal}", figure.unit),
            met: figure.ours <= goal,
            ..figure
        }
    }

    /// As [`at_most`](Self::at_most), and the goal is met only if ours is also at most `ratio`
    /// times the peer's.
    pub(crate) fn at_most_and(
        name: (&'static str, &'static str),
        ours: &[f64],
        peer: (&'static str, &[f64]),
        goal: f64,
        ratio: f64,
    ) -> Self {
        let figure = Self::at_most(name, ours, peer, goal);
        Self {
            goal: format!("{}, ratio<={ratio}", figure.goal),
            met: figure.met && figure.ours <= ratio * figure.peer,
            ..figure
        }
    }

    fn new(
        (figure, unit): (&'static str, &'static str),
        ours: &[f64],
        (peer_name, peer): (&'static str, &[f64]),
    ) -> Self {
        let (min, max) = ours
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), &one| {
                (one.min(min), one.max(max))
            });
        let (ours, peer) = (median(ours), median(peer));
        Self {
            figure,
            unit,
            ours,
            min,
            max,
            peer,
            peer_name,
            ratio: ours / peer,
            goal: String::new(),
            met: false,
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{}: {error}", self.figure))
    }

    pub(crate) fn to_row(&self) -> String {
        let Self {
            figure,
            unit,
            ours,
            min,
            max,
            peer,
            peer_name,
            ratio,
            goal,
            met,
        } = self;
        let met = if *met { "yes" } else { "no" };
        format!(
            "| `{figure}` | {unit} | {ours:.2} | {min:.2} | {max:.2} | {peer:.2} | {peer_name} | {ratio:.2} | {goal} | {met} |"
        )
    }
}

fn median(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
