use std::fmt::Write;

use crate::Health;

impl Health {
    /// Returns the probes of a container in Kubernetes, in YAML: paste it below the container's `ports`. The port is the one that serves the
    /// [paths](crate#paths), by its number or its name.
    ///
    /// If the [watchdog](crate::Watchdog) listens, liveness is asked of it: then its address must be one that the container can be reached at.
    ///
    /// The startup probe may fail for 5 min, or for three periods of the slowest check of the group
    /// `startup` if that is longer. A probe's timeout is 1 s, since no probe runs a check.
    ///
    /// ```
    /// use campanile_health::Health;
    ///
    /// let health = Health::builder().build()?;
    /// assert!(health.probes_yaml("http").starts_with("startupProbe:\n  httpGet:\n    path: /startupz\n    port: http\n"));
    /// # Ok::<_, campanile_health::BuildError>(())
    /// ```
    #[must_use]
    pub fn probes_yaml(&self, port: &str) -> String {
        let inner = self.inner();
        let startup = inner
            .group("startup")
            .map_or(&[][..], |group| &group.members);
        let periods = startup
            .iter()
            .map(|&number| inner.checks[number].check.period.as_secs());
        let slowest = periods.max().unwrap_or(0);
        // One every 2 s.
        let starting = slowest.saturating_mul(3).max(300).div_ceil(2);
        let probes = [
            ("startupProbe", "/startupz", 2, starting),
            ("livenessProbe", "/livez", 10, 3),
            ("readinessProbe", "/readyz", 2, 2),
        ];
        let mut out = String::new();
        // Where the watchdog listens, liveness has an answer even if the runtime is stuck.
        let of_watchdog = self.watchdog_port().map(|port| port.to_string());
        for (name, path, period, failures) in probes {
            let port = match (&of_watchdog, path) {
                (Some(port), "/livez") => port,
                _ => port,
            };
            // A `String` takes whatever is written.
            let _ = write!(
                out,
                "{name}:\n  httpGet:\n    path: {path}\n    port: {port}\n  periodSeconds: {period}\n  timeoutSeconds: 1\n  \
                 failureThreshold: {failures}\n"
            );
        }
        out
    }
}
