use std::num::{NonZeroU64, NonZeroU128};

use campanile_correlation::TraceParent;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

use crate::otel::{Recording, is_decided};

/// Decides which traces are exported.
///
/// ```
/// use campanile_telemetry::Sampler;
///
/// let tenth = Sampler::parent_based(Sampler::trace_id_ratio(0.1));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    AlwaysOn,
    AlwaysOff,
    TraceIdRatio(f64),
    ParentBased(Box<Self>),
}

/// The number of random bits of a trace id: W3C Trace Context, level 2.
const RANDOM_BITS: u32 = 56;

impl Sampler {
    /// Creates a sampler that exports all traces.
    #[must_use]
    pub fn always_on() -> Self {
        Self(Kind::AlwaysOn)
    }

    /// Creates a sampler that exports no trace.
    #[must_use]
    pub fn always_off() -> Self {
        Self(Kind::AlwaysOff)
    }

    /// Creates a sampler that exports a ratio of the traces, from 0 to 1, by trace id. Services
    /// with the same ratio export the same traces. A larger ratio adds traces.
    ///
    /// A trace is exported if the last 56 bits of its id are at least (1 − ratio) · 2^56, as in the
    /// consistent sampling of OpenTelemetry. A ratio outside of 0 to 1 is an error of
    /// [`build`](crate::TelemetryBuilder::build).
    #[must_use]
    pub fn trace_id_ratio(share: f64) -> Self {
        Self(Kind::TraceIdRatio(share))
    }

    /// Creates a sampler that follows the parent: a remote trace is exported if its parent is
    /// sampled, and `root` decides about root traces.
    ///
    /// Any client that may send a `traceparent` decides then. To restrict that, set the
    /// [trust](campanile_correlation::CorrelationIdLayer::trust) of the correlation id layer.
    #[must_use]
    pub fn parent_based(root: Self) -> Self {
        Self(Kind::ParentBased(Box::new(root.0)))
    }

    /// Returns the sampler of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`; `None` if they
    /// are invalid.
    pub(crate) fn of_env(name: &str, argument: Option<&str>) -> Option<Self> {
        let share = || match argument {
            None => Some(1.0),
            Some(argument) => argument.trim().parse().ok(),
        };
        let sampler = match name {
            "always_on" => Self::always_on(),
            "always_off" => Self::always_off(),
            "traceidratio" => Self::trace_id_ratio(share()?),
            "parentbased_always_on" => Self::parent_based(Self::always_on()),
            "parentbased_always_off" => Self::parent_based(Self::always_off()),
            "parentbased_traceidratio" => Self::parent_based(Self::trace_id_ratio(share()?)),
            _ => return None,
        };
        sampler.is_valid().then_some(sampler)
    }

    pub(crate) fn is_valid(&self) -> bool {
        let mut kind = &self.0;
        while let Kind::ParentBased(root) = kind {
            kind = root;
        }
        !matches!(kind, Kind::TraceIdRatio(share) if !(0.0..=1.0).contains(share))
    }

    /// Decides about a span, which still has the sampled flag of its parent.
    pub(crate) fn samples(&self, place: &TraceParent, has_parent: bool) -> bool {
        let mut kind = &self.0;
        loop {
            match kind {
                Kind::AlwaysOn => return true,
                Kind::AlwaysOff => return false,
                Kind::TraceIdRatio(share) => return is_within(*share, place),
                Kind::ParentBased(_) if has_parent => return place.is_sampled(),
                Kind::ParentBased(root) => kind = root,
            }
        }
    }
}

impl ShouldSample for Sampler {
    /// Spans with a local parent follow it. Spans of a flight recording are recorded, since the
    /// recording may be exported.
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let nowhere = Context::new();
        let context = parent.unwrap_or(&nowhere);
        let span = context.span();
        let parent = span.span_context();
        let is_sampled = match parent.is_valid() && !parent.is_remote() {
            true => parent.is_sampled(),
            false => {
                let trace_id = NonZeroU128::new(u128::from_be_bytes(trace_id.to_bytes()));
                let place = TraceParent::new(trace_id.unwrap_or(NonZeroU128::MIN), NonZeroU64::MIN);
                let is_decided = is_decided(context);
                self.samples(
                    &place.sampled(parent.is_sampled()),
                    parent.is_valid() && is_decided,
                )
            }
        };
        let recording = || context.get::<Recording>();
        let decision = match is_sampled {
            true => SamplingDecision::RecordAndSample,
            false if recording().is_some_and(|recording| !recording.0.has_ended()) => {
                SamplingDecision::RecordOnly
            }
            false => SamplingDecision::Drop,
        };
        SamplingResult {
            decision,
            attributes: Vec::new(),
            trace_state: parent.trace_state().clone(),
        }
    }
}

fn is_within(share: f64, place: &TraceParent) -> bool {
    let random = place.trace_id().get() as u64 & ((1 << RANDOM_BITS) - 1);
    let all = (1_u64 << RANDOM_BITS) as f64;
    random >= ((1.0 - share) * all) as u64
}

/// Exports every root trace, and remote traces whose parent is sampled (`parentbased_always_on`).
impl Default for Sampler {
    fn default() -> Self {
        Self::parent_based(Self::always_on())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept_and_grows_by_adding() {
        let places: Vec<_> = (0..10_000).map(|_| TraceParent::generate()).collect();
        let count = |share: f64| {
            let sampler = Sampler::trace_id_ratio(share);
            let sampled = places.iter().filter(|place| sampler.samples(place, true));
            sampled.count()
        };
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        // The standard deviation is 30.
        assert!((800..1_200).contains(&count(0.1)), "{}", count(0.1));
        let (some, more) = (Sampler::trace_id_ratio(0.2), Sampler::trace_id_ratio(0.6));
        let is_subset =
            |place: &TraceParent| !some.samples(place, true) || more.samples(place, true);
        assert!(places.iter().all(is_subset));
    }

    #[test]
    fn a_parent_decides_only_where_it_is_asked() {
        let asked = TraceParent::generate().sampled(true);
        let unasked = asked.sampled(false);
        let off = Sampler::parent_based(Sampler::always_off());
        assert!(off.samples(&asked, true) && !off.samples(&unasked, true));
        assert!(!off.samples(&asked, false));
        assert!(Sampler::always_on().samples(&unasked, true));
        assert!(!Sampler::always_off().samples(&asked, true));
        assert!(Sampler::default().samples(&unasked, false));
    }

    #[test]
    fn the_names_of_the_environment_are_those_of_opentelemetry() {
        let of = Sampler::of_env;
        assert_eq!(of("always_on", None), Some(Sampler::always_on()));
        assert_eq!(of("traceidratio", None), Some(Sampler::trace_id_ratio(1.0)));
        assert_eq!(
            of("parentbased_traceidratio", Some("0.25")),
            Some(Sampler::parent_based(Sampler::trace_id_ratio(0.25)))
        );
        for (name, argument) in [
            ("jaeger_remote", None),
            ("traceidratio", Some("2")),
            ("traceidratio", Some("NaN")),
            ("traceidratio", Some("x")),
            ("", None),
        ] {
            assert_eq!(of(name, argument), None, "{name} {argument:?}");
        }
        assert!(!Sampler::parent_based(Sampler::trace_id_ratio(-0.1)).is_valid());
    }
}
