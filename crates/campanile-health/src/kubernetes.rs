use std::fmt::Write;

use crate::Health;

impl Health {
    /// Returns the probes of a Kubernetes container as YAML, for a port by number or name. Paste it
    /// next to the container's `ports`. The port must serve the [paths](Self::PATHS).
    ///
    /// If the [watchdog](crate::Watchdog) listens, the liveness probe has its port, so that it
    /// responds while the runtime is stuck. A watchdog on a loopback address is ignored, since
    /// kubelet connects to the pod's address.
    ///
    /// The startup probe may fail for 5 min, or for three intervals of the slowest check of the
    /// group `startup` if that is longer. The timeout of a probe is 1 s, since no probe runs a
    /// check.
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
        let watchdog_port = self.watchdog_port().map(|port| port.to_string());
        self.probes(|group, path| {
            let port = match &watchdog_port {
                Some(port) if group == "liveness" => port,
                _ => port,
            };
            format!("httpGet:\n    path: {path}\n    port: {port}")
        })
    }

    /// Returns the probes of a Kubernetes container as YAML, for the gRPC service of
    /// [`Health::grpc`]. The `service` of each probe is its group.
    ///
    /// A liveness probe without a `service`, as in Kubernetes' own example, checks readiness. It
    /// restarts containers because of a failed dependency.
    #[cfg(feature = "grpc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
    #[must_use]
    pub fn grpc_probes_yaml(&self, port: u16) -> String {
        self.probes(|group, _| format!("grpc:\n    port: {port}\n    service: {group}"))
    }

    /// Renders the probes, each with the action for its group and path.
    fn probes(&self, action: impl Fn(&str, &str) -> String) -> String {
        let inner = self.inner();
        let startup = inner
            .group("startup")
            .map_or(&[][..], |group| &group.members);
        let intervals = startup
            .iter()
            .map(|&number| inner.checks[number].check.interval.as_secs());
        let slowest = intervals.max().unwrap_or(0);
        // One probe every 2 s.
        let starting = slowest.saturating_mul(3).max(300).div_ceil(2);
        let probes = [
            ("startup", "/startupz", 2, starting),
            ("liveness", "/livez", 10, 3),
            ("readiness", "/readyz", 2, 2),
        ];
        let mut out = String::new();
        for (group, path, period, failures) in probes {
            let action = action(group, path);
            // Writing to a `String` cannot fail.
            let _ = write!(
                out,
                "{group}Probe:\n  {action}\n  periodSeconds: {period}\n  timeoutSeconds: 1\n  \
                 failureThreshold: {failures}\n"
            );
        }
        out
    }
}
