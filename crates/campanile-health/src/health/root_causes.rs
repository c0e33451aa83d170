//! Root causes among failed checks.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Inner;
use crate::Status;

impl Inner {
    /// Returns for each check whether it is a root cause: it is not healthy, and all its
    /// dependencies are.
    pub(crate) fn root_causes(&self, statuses: &[Status]) -> Vec<bool> {
        let is_down = |number: usize| statuses[number] != Status::Healthy;
        // Whether any dependency is down, once known. The builder rejects cycles.
        let mut below = vec![None; statuses.len()];
        for start in 0..statuses.len() {
            let mut open = vec![start];
            while let Some(&number) = open.last() {
                let mut has_down = false;
                let mut unknown = None;
                for &dependency in &self.checks[number].depends_on {
                    match below[dependency] {
                        Some(is_below) => has_down |= is_below || is_down(dependency),
                        None => unknown = Some(dependency),
                    }
                }
                match unknown.filter(|_| below[number].is_none()) {
                    Some(dependency) => open.push(dependency),
                    None => {
                        below[number] = Some(has_down);
                        open.pop();
                    }
                }
            }
        }
        let below = below.into_iter().enumerate();
        below
            .map(|(number, below)| is_down(number) && below != Some(true))
            .collect()
    }

    /// Returns the root causes among the direct and indirect dependencies of a failed check.
    pub(super) fn causes_of(
        &self,
        number: usize,
        statuses: &[Status],
        root_causes: &[bool],
    ) -> Vec<Arc<str>> {
        if statuses[number] == Status::Healthy || root_causes[number] {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let mut open = self.checks[number].depends_on.clone();
        while let Some(dependency) = open.pop() {
            if seen.insert(dependency) {
                open.extend(&self.checks[dependency].depends_on);
            }
        }
        let causes = seen.into_iter().filter(|&number| root_causes[number]);
        causes
            .map(|number| Arc::clone(&self.checks[number].name))
            .collect()
    }
}
