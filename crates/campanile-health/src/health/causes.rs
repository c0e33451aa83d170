//! Which failed checks are root causes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Inner;
use crate::Status;

impl Inner {
    /// Returns for each check whether it is a root cause: it is not healthy, and all its dependencies are.
    pub(crate) fn culprits(&self, statuses: &[Status]) -> Vec<bool> {
        let is_down = |number: usize| statuses[number] != Status::Healthy;
        // Whether any dependency is down, once known. The builder rejects cycles.
        let mut below = vec![None; statuses.len()];
        for start in 0..statuses.len() {
            let mut open = vec![start];
            while let Some(&number) = open.last() {
                let mut has_down = false;
                let mut unknown = None;
                for &next in &self.checks[number].depends_on {
                    match below[next] {
                        Some(more) => has_down |= more || is_down(next),
                        None => unknown = Some(next),
                    }
                }
                match unknown.filter(|_| below[number].is_none()) {
                    Some(next) => open.push(next),
                    None => {
                        below[number] = Some(has_down);
                        open.pop();
                    }
                }
            }
        }
        let below = below.into_iter().enumerate();
        let all = below.map(|(number, below)| is_down(number) && below != Some(true));
        all.collect()
    }

    /// Returns the root causes among the direct and indirect dependencies of a failed check.
    pub(super) fn to_blame(
        &self,
        number: usize,
        statuses: &[Status],
        culprits: &[bool],
    ) -> Vec<Arc<str>> {
        if statuses[number] == Status::Healthy || culprits[number] {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let mut open = self.checks[number].depends_on.clone();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(&self.checks[next].depends_on);
            }
        }
        let found = seen.into_iter().filter(|&number| culprits[number]);
        found
            .map(|number| Arc::clone(&self.checks[number].name))
            .collect()
    }
}
