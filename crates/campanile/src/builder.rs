use std::fmt;

use campanile_http::{ObserveBuilder, ObserveLayer};
#[cfg(feature = "metrics")]
use campanile_metrics::Registry;

use crate::campanile::Parts;
use crate::{BuildError, Campanile, CampanileLayer, Observers, Problem};

/// Settings of a [`Campanile`].
///
/// | setting | default |
/// |---|---|
/// | [`registry`](Self::registry) | a new [`Registry`] |
/// | [`check`](Self::check) | none |
/// | [`observe`](Self::observe) | every exchange, with the route from `MatchedPath` or an extension |
#[must_use = "a builder does nothing until `build` or `install` is called"]
pub struct Builder {
    name: String,
    #[cfg(feature = "metrics")]
    registry: Option<Registry>,
    #[cfg(feature = "health")]
    health: campanile_health::HealthBuilder,
    observe: Configure,
}

type Configure = Box<dyn FnOnce(ObserveBuilder<Observers>) -> ObserveBuilder<Observers>>;

impl Builder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            #[cfg(feature = "metrics")]
            registry: None,
            #[cfg(feature = "health")]
            health: campanile_health::Health::builder(),
            observe: Box::new(|layer| layer),
        }
    }

    /// Sets the registry that the HTTP metrics go to and `/metrics` shows, for other caps or buckets than the defaults.
    ///
    /// Defaults to [`Registry::new`].
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Adds a health check, which [`serve`](Campanile::serve) and [`run`](Campanile::run) run in the background, and the probes
    /// read.
    ///
    /// Defaults to none.
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    pub fn check(mut self, check: campanile_health::Check) -> Self {
        self.health = self.health.check(check);
        self
    }

    /// Sets how the layer observes: which exchanges it leaves out, and where it finds their routes.
    ///
    /// ```
    /// use campanile::Campanile;
    ///
    /// let campanile = Campanile::builder("orders").observe(|layer| layer.exclude_probes_and_scrapes()).build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to observing every exchange. A second call replaces the first.
    pub fn observe(
        mut self,
        observe: impl FnOnce(ObserveBuilder<Observers>) -> ObserveBuilder<Observers> + 'static,
    ) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Returns the campanile. Nothing global changes, so that a process may hold several.
    ///
    /// # Errors
    ///
    /// If a setting is not valid: the error lists all of them.
    pub fn build(self) -> Result<Campanile, BuildError> {
        let mut problems = Vec::new();
        if self.name.is_empty()
            || self.name.chars().count() > 255
            || self.name.contains(char::is_control)
        {
            problems.push(Problem::ServiceName {
                name: self.name.clone(),
            });
        }
        #[cfg(feature = "health")]
        let health = self
            .health
            .build()
            .map_err(|error| problems.push(error.into()));
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        #[cfg(feature = "health")]
        let Ok(health) = health else {
            return Err(BuildError { problems });
        };
        #[cfg(feature = "metrics")]
        let registry = self.registry.unwrap_or_default();
        let observers = Observers::new(
            #[cfg(feature = "metrics")]
            &registry,
        );
        let observe = (self.observe)(ObserveLayer::builder(observers)).build();
        Ok(Campanile::new(Parts {
            name: self.name,
            layer: CampanileLayer::new(observe),
            #[cfg(feature = "health")]
            health,
            #[cfg(feature = "metrics")]
            registry,
        }))
    }

    /// Builds, and makes the registry the process's recorder: the `metrics` macros then write to it from everywhere.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and if the process has a recorder already.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn install(self) -> Result<Campanile, crate::InstallError> {
        let campanile = self.build()?;
        campanile.metrics().install()?;
        Ok(campanile)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_can_be_shared() {
        fn check<T: Send + Sync + fmt::Debug + 'static>() {}
        check::<(Campanile, CampanileLayer, Observers, BuildError, Problem)>();
        fn check_send<T: Send + fmt::Debug + 'static>() {}
        check_send::<crate::Serve<()>>();
    }

    #[test]
    fn the_service_name_is_checked() {
        #[track_caller]
        fn check(name: &str, valid: bool) {
            match Campanile::builder(name).build() {
                Ok(campanile) => assert_eq!((campanile.name(), valid), (name, true)),
                Err(error) => {
                    assert!(!valid);
                    assert_eq!(
                        error.problems(),
                        [Problem::ServiceName { name: name.into() }]
                    );
                    assert!(error.to_string().contains(&format!("{name:?}")));
                }
            }
        }
        check("orders", true);
        check("Bestellungen für Köln", true);
        check(&"ü".repeat(255), true);
        check(&"u".repeat(256), false);
        check("", false);
        check("orders\n", false);
    }

    #[cfg(feature = "health")]
    #[test]
    fn all_mistakes_are_told_together() {
        let check = || campanile_health::Check::new("a b", || async { Ok::<_, &str>(()) });
        let error = Campanile::builder("").check(check()).build().unwrap_err();
        assert!(
            matches!(
                error.problems(),
                [Problem::ServiceName { .. }, Problem::Health(_)]
            ),
            "{error}"
        );
    }
}
