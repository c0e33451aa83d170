use campanile_health::Health;
use campanile_metrics::Registry;
use campanile_sla::ServiceLevels;

/// The sources that rules read: metrics, health and SLOs.
///
/// A clone refers to the same sources.
#[derive(Clone, Debug)]
pub struct Sources {
    registry: Registry,
    health: Health,
    sla: ServiceLevels,
}

impl Sources {
    /// Creates the sources.
    pub fn new(registry: Registry, health: Health, sla: ServiceLevels) -> Self {
        Self {
            registry,
            health,
            sla,
        }
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &Registry {
        &self.registry
    }

    /// Returns the checks.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Returns the service levels.
    pub fn sla(&self) -> &ServiceLevels {
        &self.sla
    }
}
