use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use campanile_series::Now;

use crate::active_slo::{ActiveSlo, Feeder};
use crate::adjustment::MaintenanceWindow;
use crate::error::{RecorderError, UnknownSlo};
use crate::handle::SloHandle;
use crate::indicator::Indicator;
use crate::lint::{self, Lint};
use crate::recorder::{EventRecorder, GaugeRecorder, Recorder, UptimeRecorder};
use crate::routes::Routes;
use crate::slo::HeadPredicate;
use crate::snapshot::Saved;
use crate::spec::{IndicatorSpec, SourceKind};
use crate::time::to_millis;
use crate::windows::MAX_WINDOW;

mod exclusions;
mod monthly_report;
mod persist;
mod reports;

/// The SLOs of a service, and the counts behind them.
///
/// Most methods exist twice: without a time, for applications, and with the suffix `_at` and a
/// given time, for tests and rules.
///
/// A clone refers to the same SLOs (an `Arc`).
#[derive(Clone)]
pub struct ServiceLevels(Arc<Inner>);

struct Inner {
    slos: Vec<ActiveSlo>,
    /// The first one counts all HTTP requests.
    indicators: Vec<Arc<Indicator>>,
    /// The indices of the indicators that count HTTP requests.
    http: Vec<usize>,
    /// Those of them without routes and predicates.
    unfiltered: Vec<Arc<Indicator>>,
    /// The indices and predicates of the indicators with a filter.
    filters: Vec<(usize, HeadPredicate)>,
    lints: Vec<Lint>,
    /// The start of the process.
    origin: Instant,
    service: Option<String>,
    is_restored: AtomicBool,
    /// In ascending order.
    maintenance: Mutex<Vec<MaintenanceWindow>>,
    /// Restored counts that no SLO uses.
    retained: Mutex<Saved>,
}

impl ServiceLevels {
    pub(crate) fn new(
        checked: Vec<(ActiveSlo, IndicatorSpec)>,
        service: Option<String>,
        now: Now,
    ) -> Self {
        let mut slos = Vec::new();
        let mut specs = vec![IndicatorSpec::default()];
        for (mut slo, spec) in checked {
            let same = specs.iter().position(|other| other.key == spec.key);
            slo.indicator = same.unwrap_or(specs.len());
            match same {
                Some(at) => specs[at].merge(spec),
                None => specs.push(spec),
            }
            slos.push(slo);
        }
        let wall = to_millis(now.wall);
        let indicators: Vec<_> = specs
            .into_iter()
            .map(|spec| Arc::new(Indicator::new(spec, now.mono, wall)))
            .collect();
        let is_http = |indicator: &Indicator| indicator.kind == SourceKind::Http;
        let http = indicators.iter().enumerate();
        let http = http.filter(|(_, indicator)| is_http(indicator));
        let is_unfiltered = |indicator: &&Arc<Indicator>| {
            let filters = &indicator.filters;
            is_http(indicator) && filters.routes.is_empty() && !filters.has_closures()
        };
        let filters = indicators.iter().enumerate();
        let filters = filters.filter_map(|(number, indicator)| {
            let filter = indicator.filters.filter.clone();
            filter.map(|filter| (number, filter))
        });
        Self(Arc::new(Inner {
            http: http.map(|(number, _)| number).collect(),
            unfiltered: indicators.iter().filter(is_unfiltered).cloned().collect(),
            filters: filters.collect(),
            lints: slos.iter().flat_map(lint::lints).collect(),
            slos,
            indicators,
            origin: now.mono,
            service,
            is_restored: AtomicBool::new(false),
            maintenance: Mutex::default(),
            retained: Mutex::default(),
        }))
    }

    /// Returns the name of the [service](crate::ServiceLevelsBuilder::service), if set.
    pub fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    /// Returns a handle to an SLO: its latest state, and its events.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not known.
    pub fn slo(&self, name: &str) -> Result<SloHandle, UnknownSlo> {
        let slo = self.find(name)?;
        let indicator = Arc::clone(&self.0.indicators[slo.indicator]);
        Ok(SloHandle::new(Arc::clone(&slo.state), indicator))
    }

    /// Returns warnings about valid SLOs of little use; usually none.
    ///
    /// Unmatched routes are reported only after 100 requests.
    pub fn lints(&self) -> Vec<Lint> {
        let mut lints = self.0.lints.clone();
        for slo in &self.0.slos {
            if let Some(requests) = self.unmatched(slo) {
                lints.push(Lint::UnmatchedRoute {
                    slo: slo.name.clone(),
                    routes: slo.definition.filters.routes.clone(),
                    requests,
                });
            }
            if slo.state.has_ignored() {
                lints.push(Lint::IgnoredEvents {
                    slo: slo.name.clone(),
                });
            }
        }
        lints
    }

    /// Returns the number of requests of which none has matched an SLO's routes; `None` if it has
    /// no routes, or after too few requests.
    fn unmatched(&self, slo: &ActiveSlo) -> Option<u64> {
        if slo.definition.filters.routes.is_empty() {
            return None;
        }
        let windows = |indicator: usize| self.0.indicators[indicator].stream.windows(self.0.origin);
        let observed = windows(0).total().valid();
        let has_matched = || {
            let windows = windows(slo.indicator);
            windows.total().valid() > 0 || windows.last(MAX_WINDOW).valid() > 0
        };
        (observed >= lint::MIN_REQUESTS && !has_matched()).then_some(observed)
    }

    /// Counts a valid HTTP request that took `latency` and ended at `at`, for the SLOs without a
    /// route or predicate.
    ///
    /// The [observer](Self::observer) counts requests for all SLOs. Events of other sources are
    /// counted by [`SloHandle::good`] and [`SloHandle::bad`].
    ///
    /// It does not wait for a lock: if another thread is moving the counts into the rings, the
    /// request may count in the second before.
    #[inline]
    pub fn record_at(&self, good: bool, latency: Duration, at: Instant) {
        for indicator in &self.0.unfiltered {
            indicator.record(good, latency, at);
        }
    }

    /// Returns a recorder of the events of an SLO with [`Source::Manual`](crate::Source::Manual).
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not known, or the SLO has another source or kind.
    pub fn event_recorder(&self, name: &str) -> Result<EventRecorder, RecorderError> {
        self.recorder(name, |kind| matches!(kind, SourceKind::Manual))
            .map(EventRecorder)
    }

    /// Returns a recorder of the state of an [uptime](crate::Slo::uptime) SLO.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not known, or the SLO has another kind.
    pub fn uptime_recorder(&self, name: &str) -> Result<UptimeRecorder, RecorderError> {
        self.recorder(name, |kind| matches!(kind, SourceKind::Uptime { .. }))
            .map(UptimeRecorder)
    }

    /// Returns a recorder of the values of a [gauge](crate::Slo::gauge) SLO.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not known, or the SLO has another kind.
    pub fn gauge_recorder(&self, name: &str) -> Result<GaugeRecorder, RecorderError> {
        self.recorder(name, |kind| matches!(kind, SourceKind::Gauge { .. }))
            .map(GaugeRecorder)
    }

    fn recorder(
        &self,
        name: &str,
        matches: impl Fn(SourceKind) -> bool,
    ) -> Result<Recorder, RecorderError> {
        let slo = self.find(name)?;
        let indicator = &self.0.indicators[slo.indicator];
        let expected = match indicator.kind {
            kind if matches(kind) => {
                return Ok(Recorder {
                    indicator: Arc::clone(indicator),
                    slo: name.into(),
                });
            }
            SourceKind::Http => "`observer`, or `Slo::source(Source::Manual)`",
            SourceKind::Manual => "`event_recorder`",
            SourceKind::Uptime { .. } => "`uptime_recorder`",
            SourceKind::Gauge { .. } => "`gauge_recorder`",
        };
        Err(RecorderError::Mismatch {
            name: name.to_owned(),
            expected,
        })
    }

    /// Returns the number of detected clock steps: the wall clock was 2 s ahead, or 5 minutes
    /// behind for a minute. Suspends of the machine are included.
    pub fn clock_steps(&self) -> u64 {
        let now = self.0.origin;
        self.0.indicators[0].stream.windows(now).steps()
    }

    /// Returns the number of gaps of more than 30 s between two calls of [`tick`](Self::tick), in
    /// which the process was paused or its threads were blocked.
    pub fn stalls(&self) -> u64 {
        let now = self.0.origin;
        self.0.indicators[0].stream.windows(now).stalls()
    }

    /// Returns the name of each uptime SLO that is fed from the health, and its check, if set.
    pub fn uptimes(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let slos = self.0.slos.iter();
        slos.filter_map(|slo| match &slo.feeder {
            Feeder::Health(check) => Some((&*slo.name, check.as_deref())),
            Feeder::Application | Feeder::Series(_) => None,
        })
    }

    /// Returns the name of each gauge SLO with [`Source::Series`](crate::Source::Series), and its
    /// selector.
    pub fn series(&self) -> impl Iterator<Item = (&str, &str)> {
        let slos = self.0.slos.iter();
        slos.filter_map(|slo| match &slo.feeder {
            Feeder::Series(selector) => Some((&*slo.name, &**selector)),
            Feeder::Application | Feeder::Health(_) => None,
        })
    }

    /// Updates the state of all [SLOs](Self::slo) and their [incidents](crate::Incident), and
    /// compares the time with the wall clock. Call it every few seconds; the monitor does so.
    ///
    /// Each call marks the next 30 s as observed. Time beyond that is not covered. An uptime's
    /// state is then unknown, or down with
    /// [`count_restart_as_down`](crate::Slo::count_restart_as_down). [`stalls`](Self::stalls)
    /// counts such gaps.
    pub fn tick(&self, now: Now) {
        self.update(now, true);
    }

    fn update(&self, now: Now, is_tick: bool) {
        let wall = to_millis(now.wall);
        let maintenance = self.maintenance();
        let maintenance: Vec<_> = maintenance.iter().map(MaintenanceWindow::bounds).collect();
        for (number, indicator) in self.0.indicators.iter().enumerate() {
            let mut windows = indicator.stream.windows(now.mono);
            if let Some(by) = indicator.stream.compare(&mut windows, wall, &maintenance) {
                self.shift_history(number, by);
            }
            if is_tick {
                windows.observe();
            }
            if let Some(slices) = &indicator.slices {
                slices.settle(&mut windows);
            }
            drop(windows);
            if let Some(routes) = indicator.routes.as_ref().filter(|_| is_tick) {
                routes.drop_unused(now.mono);
            }
            for (_, stream) in indicator.routes.iter().flat_map(Routes::all) {
                stream.compare(&mut stream.windows(now.mono), wall, &maintenance);
            }
        }
        for slo in &self.0.slos {
            let indicator = &self.0.indicators[slo.indicator];
            slo.update(indicator, &indicator.stream.windows(now.mono));
        }
    }

    /// Moves the adjustments and incidents of an indicator's SLOs with its counts.
    fn shift_history(&self, indicator: usize, by: i64) {
        let slos = self.0.slos.iter();
        for slo in slos.filter(|slo| slo.indicator == indicator) {
            slo.history().shift(by);
        }
    }

    fn maintenance(&self) -> MutexGuard<'_, Vec<MaintenanceWindow>> {
        let maintenance = self.0.maintenance.lock();
        maintenance.unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<&ActiveSlo, UnknownSlo> {
        let mut slos = self.0.slos.iter();
        let found = slos.find(|slo| slo.name == name);
        found.ok_or_else(|| UnknownSlo {
            name: name.to_owned(),
            known: self.0.slos.iter().map(|slo| slo.name.clone()).collect(),
        })
    }

    pub(crate) fn slos(&self) -> &[ActiveSlo] {
        &self.0.slos
    }

    pub(crate) fn filters(&self) -> &[(usize, HeadPredicate)] {
        &self.0.filters
    }

    /// Returns the indicators that count HTTP requests.
    #[inline]
    pub(crate) fn http_indicators(&self) -> impl Iterator<Item = (usize, &Indicator)> {
        let http = self.0.http.iter();
        http.map(|number| (*number, &*self.0.indicators[*number]))
    }
}

impl fmt::Debug for ServiceLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceLevels")
            .field("slos", &self.0.slos.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
