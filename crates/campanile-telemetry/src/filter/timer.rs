//! The thread `campanile-filter`, which runs while an override is active and ends it.

use std::sync::{Arc, Weak};

use super::state::{State, Timer};
use crate::clock;

/// Starts the thread, or wakes it if it runs.
pub(super) fn start(state: &Arc<State>, timer: &mut Timer) {
    if let Some(thread) = &timer.thread {
        thread.unpark();
        return;
    }
    let state = Arc::downgrade(state);
    let thread = std::thread::Builder::new().name("campanile-filter".to_owned());
    match thread.spawn(move || run(&state)) {
        Ok(started) => timer.thread = Some(started.thread().clone()),
        Err(error) => {
            tracing::warn!(%error, "failed to start the filter timer; the temporary filter stays until `reset`");
        }
    }
}

/// Ends overrides until none is left.
fn run(state: &Weak<State>) {
    loop {
        let next = {
            let Some(state) = state.upgrade() else {
                return;
            };
            let mut timer = state.timer();
            let (next, has_changed) = state.expire(&mut timer, clock::instant());
            if next.is_none() {
                timer.thread = None;
            }
            if has_changed {
                let current = state.current().to_string();
                state.notify(&format!(
                    "temporary log filter ended: it is now {current:?}"
                ));
            }
            drop(timer);
            if has_changed {
                tracing::callsite::rebuild_interest_cache();
            }
            next
        };
        match next {
            // A change wakes the thread earlier.
            Some(next) => {
                std::thread::park_timeout(next.saturating_duration_since(clock::instant()));
            }
            None => return,
        }
    }
}
