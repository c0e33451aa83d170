use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use campanile_series::Now;

use crate::adjustment;
use crate::objective::{Feed, Objective, milliseconds, moment};
use crate::report::{ObjectiveReport, Report};
use crate::ring::Reading;
use crate::slo::OfHead;
use crate::snapshot::Saved;
use crate::source::{Input, Source, Spec};
use crate::tracker::Handle;
use crate::windows::LONGEST;
use crate::{
    AdjustError, Adjustment, BurnAlert, Lint, Maintenance, SlaBuilder, SliObserver, Slices,
    SloHandle, TrackError, Tracker, UnknownObjective, Uptime, lint,
};

mod keep;
mod statement;

pub use self::statement::{Statement, StatementError};

/// A service's objectives, and the counts that they are judged by.
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct Sla(Arc<Inner>);

struct Inner {
    objectives: Vec<Objective>,
    /// The first counts every exchange.
    sources: Vec<Arc<Source>>,
    /// Those that exchanges count for.
    exchanges: Vec<usize>,
    /// Those of them that tell no exchange from another.
    plain: Vec<Arc<Source>>,
    /// Which requests count, for the sources that ask.
    selections: Vec<(usize, OfHead)>,
    lints: Vec<Lint>,
    /// When it began.
    origin: Instant,
    service: Option<String>,
    /// Whether a snapshot was restored.
    is_restored: AtomicBool,
    /// By their beginning.
    maintenance: Mutex<Vec<Maintenance>>,
    /// What was restored and belongs to no objective.
    retained: Mutex<Saved>,
}

impl Sla {
    /// Returns a builder.
    pub fn builder() -> SlaBuilder {
        SlaBuilder::default()
    }

    pub(crate) fn new(checked: Vec<(Objective, Spec)>, service: Option<String>, now: Now) -> Self {
        let mut objectives = Vec::new();
        let mut specs = vec![Spec::default()];
        for (mut objective, spec) in checked {
            let same = specs.iter().position(|one| one.key == spec.key);
            objective.source = same.unwrap_or(specs.len());
            match same {
                Some(at) => specs[at].merge(spec),
                None => specs.push(spec),
            }
            objectives.push(objective);
        }
        let wall = milliseconds(now.wall);
        let sources: Vec<_> = specs
            .into_iter()
            .map(|spec| Arc::new(Source::new(spec, now.mono, wall)))
            .collect();
        let numbered = || sources.iter().enumerate();
        let is_fed = |(_, source): &(usize, &Arc<Source>)| source.input == Input::Exchanges;
        let requests = |(number, source): (usize, &Arc<Source>)| {
            let requests = source.select.requests.clone();
            requests.map(|requests| (number, requests))
        };
        let is_plain = |(_, source): &(usize, &Arc<Source>)| {
            let select = &source.select;
            select.routes.is_empty() && !select.has_closures()
        };
        let plain = numbered().filter(is_fed).filter(is_plain);
        Self(Arc::new(Inner {
            plain: plain.map(|(_, source)| Arc::clone(source)).collect(),
            exchanges: numbered()
                .filter(is_fed)
                .map(|(number, _)| number)
                .collect(),
            selections: numbered().filter_map(requests).collect(),
            lints: objectives.iter().flat_map(lint::lints).collect(),
            objectives,
            sources,
            origin: now.mono,
            service,
            is_restored: AtomicBool::new(false),
            maintenance: Mutex::default(),
            retained: Mutex::default(),
        }))
    }

    /// Returns the name of the [service](SlaBuilder::service), if it was given.
    pub fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    /// Returns an observer that counts each exchange that a layer sees.
    pub fn observer(&self) -> SliObserver {
        SliObserver::new(self.clone())
    }

    /// Returns what is valid about the objectives, but of less use than it looks; most often nothing. Routes that no request has matched are known only
    /// after 100 requests.
    pub fn lints(&self) -> Vec<Lint> {
        let mut lints = self.0.lints.clone();
        lints.extend(self.unmatched_routes());
        lints
    }

    /// Returns the objectives whose routes no request has matched, now or before what was restored, while many others came.
    fn unmatched_routes(&self) -> impl Iterator<Item = Lint> {
        self.0.objectives.iter().filter_map(|objective| {
            let requests = self.unmatched(objective)?;
            Some(Lint::UnmatchedRoute {
                objective: objective.name.clone(),
                routes: objective.definition.select.routes.clone(),
                requests,
            })
        })
    }

    /// Returns how many requests there were of which none has matched an objective's routes; `None` if it has none, or there were too few.
    fn unmatched(&self, objective: &Objective) -> Option<u64> {
        if objective.definition.select.routes.is_empty() {
            return None;
        }
        let windows = |source: usize| self.0.sources[source].stream.windows(self.0.origin);
        let observed = windows(0).total().valid();
        let has_matched = || {
            let windows = windows(objective.source);
            windows.total().valid() > 0 || windows.last(LONGEST).valid() > 0
        };
        (observed >= lint::OBSERVED && !has_matched()).then_some(observed)
    }

    /// Counts a valid exchange that ended at a moment, for the objectives that tell no exchange from another; a [`Tracker`] is for those that
    /// are [tracked](crate::Slo::tracked).
    ///
    /// It never waits: in the one case that another thread is moving the counts into the rings, it counts for the second before.
    #[inline]
    pub fn record(&self, good: bool, latency: Duration, at: Instant) {
        for source in &self.0.plain {
            source.record(good, latency, at);
        }
    }

    /// Returns what counts for an objective that is tracked.
    ///
    /// # Errors
    ///
    /// If there is none of this name, or it counts something else.
    pub fn tracker(&self, name: &str) -> Result<Tracker, TrackError> {
        self.handle(name, |input| matches!(input, Input::Tracked))
            .map(Tracker)
    }

    /// Returns what says whether something is up.
    ///
    /// # Errors
    ///
    /// If there is no objective of this name, or it counts something else.
    pub fn uptime(&self, name: &str) -> Result<Uptime, TrackError> {
        self.handle(name, |input| matches!(input, Input::Uptime { .. }))
            .map(Uptime)
    }

    /// Returns what takes the values of a gauge in.
    ///
    /// # Errors
    ///
    /// If there is no objective of this name, or it counts something else.
    pub fn slices(&self, name: &str) -> Result<Slices, TrackError> {
        self.handle(name, |input| matches!(input, Input::Gauge { .. }))
            .map(Slices)
    }

    fn handle(&self, name: &str, is_right: impl Fn(Input) -> bool) -> Result<Handle, TrackError> {
        let objective = self.find(name)?;
        let source = objective.source;
        let input = self.0.sources[source].input;
        let (counts, instead) = match input {
            _ if is_right(input) => {
                return Ok(Handle {
                    sla: self.clone(),
                    source,
                    name: name.into(),
                });
            }
            Input::Exchanges => ("counts exchanges", "its `observer`, or make it `tracked`"),
            Input::Tracked => ("counts what a tracker is told", "its `tracker`"),
            Input::Uptime { .. } => ("counts time", "its `uptime`"),
            Input::Gauge { .. } => ("counts slices of time", "its `slices`"),
        };
        Err(TrackError::Other {
            name: name.to_owned(),
            counts,
            instead,
        })
    }

    /// Returns how often the wall clock was found to have been set, or the machine to have been suspended: it was 2 s ahead, or 5 minutes
    /// behind for a minute.
    pub fn clock_steps(&self) -> u64 {
        let now = self.0.origin;
        self.0.sources[0].stream.windows(now).steps()
    }

    /// Returns the number of gaps of more than 30 s between two calls of [`advance`](Self::advance): the process was paused, or its threads were
    /// blocked.
    pub fn stalls(&self) -> u64 {
        let now = self.0.origin;
        self.0.sources[0].stream.windows(now).stalls()
    }

    /// Returns the name of each uptime that the health checks are asked for, and the check, if it is one of them.
    pub fn uptimes(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let objectives = self.0.objectives.iter();
        objectives.filter_map(|objective| match &objective.feed {
            Feed::Health(check) => Some((&*objective.name, check.as_deref())),
            Feed::Host | Feed::Series(_) => None,
        })
    }

    /// Returns the name of each gauge that is to be read from a [series](crate::Slo::series), and the series.
    pub fn series(&self) -> impl Iterator<Item = (&str, &str)> {
        let objectives = self.0.objectives.iter();
        objectives.filter_map(|objective| match &objective.feed {
            Feed::Series(series) => Some((&*objective.name, &**series)),
            Feed::Host | Feed::Health(_) => None,
        })
    }

    /// Compares its time with the wall clock, to leave a gap where the machine was suspended, and takes note of how the objectives
    /// [stand](Self::slo) and of [incidents](crate::Incident); to be called every few seconds.
    ///
    /// The first call begins a watch, and each call extends it by 30 s. Time beyond that is not covered, and an uptime's state is then unknown, or
    /// down with [`down_while_gone`](crate::Slo::down_while_gone). [`stalls`](Self::stalls) counts such gaps.
    pub fn advance(&self, now: Now) {
        self.compare(now, true);
    }

    fn compare(&self, now: Now, is_look: bool) {
        let wall = milliseconds(now.wall);
        let times: Vec<_> = self.maintenance().iter().map(Maintenance::bounds).collect();
        for (number, source) in self.0.sources.iter().enumerate() {
            let mut windows = source.stream.windows(now.mono);
            if let Some(by) = source.stream.compare(&mut windows, wall, &times) {
                self.shift_history(number, by);
            }
            if is_look {
                windows.look();
            }
            if let Some(slices) = &source.slices {
                slices.settle(&mut windows);
            }
            drop(windows);
            if let Some(routes) = source.routes.as_ref().filter(|_| is_look) {
                routes.drop_unused(now.mono);
            }
            for (_, stream) in source.routes.iter().flat_map(crate::source::Routes::all) {
                stream.compare(&mut stream.windows(now.mono), wall, &times);
            }
        }
        for objective in &self.0.objectives {
            let source = &self.0.sources[objective.source];
            objective.look(source, &source.stream.windows(now.mono));
        }
    }

    /// Moves the adjustments and incidents of a source's objectives with its counts.
    fn shift_history(&self, source: usize, by: i64) {
        let mut objectives = self.0.objectives.iter();
        while let Some(objective) = objectives.find(|one| one.source == source) {
            objective.history().shift(by);
        }
    }

    /// Returns what tells how an objective stood at the last [look](Self::advance), without a lock.
    ///
    /// # Errors
    ///
    /// If there is none of this name.
    pub fn slo(&self, name: &str) -> Result<SloHandle, UnknownObjective> {
        let objective = self.find(name)?;
        Ok(SloHandle(Arc::clone(&objective.kept)))
    }

    /// Returns the counts of all requests in a window up to now, of at most 93 days.
    pub fn read(&self, window: Duration, now: Now) -> Reading {
        let windows = self.0.sources[0].stream.windows(now.mono);
        windows.last(u64::try_from(window.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the name of each objective that has a budget, and all that was counted for it since the process began, without what was
    /// restored or forgiven: counts that only grow, for who keeps a history of them.
    pub fn totals(&self, now: Now) -> Vec<(&str, Reading)> {
        let objectives = self.0.objectives.iter();
        let objectives = objectives.filter(|objective| objective.target.allowed().is_some());
        let total = |objective: &'_ Objective| {
            let stream = &self.0.sources[objective.source].stream;
            stream.windows(now.mono).total()
        };
        objectives
            .map(|objective| (&*objective.name, total(objective)))
            .collect()
    }

    /// Returns how all objectives stand.
    pub fn report(&self, now: Now) -> Report {
        let objectives = self.0.objectives.iter();
        Report::new(
            objectives.map(|one| self.judge(one, now)).collect(),
            self.maintenance().clone(),
            now.wall,
        )
    }

    /// Returns how one objective stands; `None` if there is none of this name.
    pub fn objective(&self, name: &str, now: Now) -> Option<ObjectiveReport> {
        let objective = self.find(name).ok()?;
        Some(self.judge(objective, now))
    }

    fn judge(&self, objective: &Objective, now: Now) -> ObjectiveReport {
        let source = &self.0.sources[objective.source];
        let report = objective.report(source, &source.stream.windows(now.mono));
        ObjectiveReport {
            routes: objective.worst_routes(source, now.mono),
            unmatched_routes: match self.unmatched(objective) {
                Some(_) => objective.definition.select.routes.clone(),
                None => Vec::new(),
            },
            ..report
        }
    }

    /// Returns the alerts on the budgets of all objectives, and whether they ring.
    pub fn burn_alerts(&self, now: Now) -> Vec<BurnAlert> {
        let objectives = self.0.objectives.iter();
        let alerts = objectives.flat_map(|objective| {
            let stream = &self.0.sources[objective.source].stream;
            objective.burn_alerts(&stream.windows(now.mono))
        });
        alerts.collect()
    }

    /// Excludes past failures of an objective: those of a dependency that doesn't count, or of a test. Each such decision is kept with its author and
    /// reason, and shown in the report. Future failures are never excluded: there must be as many failures as are given.
    ///
    /// # Errors
    ///
    /// If there is no objective of this name, it has no budget, the adjustment is not valid, or there were fewer failures at that time
    /// ([`AdjustError::TooManyBad`] says how many); nothing changes then.
    pub fn adjust(&self, name: &str, adjustment: Adjustment, now: Now) -> Result<(), AdjustError> {
        let objective = self.find(name)?;
        if objective.target.allowed().is_none() {
            return Err(AdjustError::NoBudget {
                name: name.to_owned(),
            });
        }
        let wall = milliseconds(now.wall);
        let adjustment = adjustment.checked(wall)?;
        let stream = &self.0.sources[objective.source].stream;
        objective.adjust(&stream.windows(now.mono), adjustment, wall)
    }

    /// Plans a time in which nothing counts for any objective, from now or later on.
    ///
    /// # Errors
    ///
    /// If it is not valid; nothing changes then.
    pub fn maintain(&self, maintenance: Maintenance, now: Now) -> Result<(), AdjustError> {
        let maintenance = maintenance.checked(now)?;
        let wall = milliseconds(now.wall);
        adjustment::add(&mut self.maintenance(), maintenance, wall, |one| one.until)?;
        self.compare(now, false);
        Ok(())
    }

    /// Ends the maintenance that is, and returns whether there was one.
    pub fn end_maintenance(&self, now: Now) -> bool {
        let mut has_ended = false;
        for maintenance in self.maintenance().iter_mut() {
            if (maintenance.from..maintenance.until).contains(&now.wall) {
                maintenance.until = moment(milliseconds(now.wall));
                has_ended = true;
            }
        }
        self.compare(now, false);
        has_ended
    }

    fn maintenance(&self) -> MutexGuard<'_, Vec<Maintenance>> {
        let maintenance = self.0.maintenance.lock();
        maintenance.unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<&Objective, UnknownObjective> {
        let mut objectives = self.0.objectives.iter();
        let found = objectives.find(|slo| slo.name == name);
        found.ok_or_else(|| {
            let known = self.0.objectives.iter().map(|slo| slo.name.clone());
            UnknownObjective {
                name: name.to_owned(),
                known: known.collect(),
            }
        })
    }

    pub(crate) fn objectives(&self) -> &[Objective] {
        &self.0.objectives
    }

    pub(crate) fn source(&self, number: usize) -> &Source {
        &self.0.sources[number]
    }

    pub(crate) fn selections(&self) -> &[(usize, OfHead)] {
        &self.0.selections
    }

    /// Returns the sources that exchanges count for.
    #[inline]
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = (usize, &Source)> {
        let exchanges = self.0.exchanges.iter();
        exchanges.map(|number| (*number, &*self.0.sources[*number]))
    }
}

impl fmt::Debug for Sla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sla")
            .field("objectives", &self.0.objectives.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
