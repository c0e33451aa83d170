use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::grpc::Methods;
use crate::{Clock, RequestHead, Route};

pub(super) type RouteFn = Box<dyn Fn(&RequestHead<'_>) -> Option<Route> + Send + Sync>;
pub(super) type ExcludeFn = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// The state that a layer, its clones, their services and the open exchanges share.
pub(super) struct Shared<O> {
    pub(super) observer: O,
    pub(super) route: Option<RouteFn>,
    pub(super) exclude: Vec<ExcludeFn>,
    pub(super) excludes_grpc_health: bool,
    pub(super) clock: Clock,
    pub(super) methods: Methods,
    pub(super) observer_panics: AtomicU64,
    pub(super) warned_of_unmatched: AtomicBool,
}
