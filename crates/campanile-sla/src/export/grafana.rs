use super::definition::Export;
use super::yaml;

/// The prefix of a dashboard's identifier.
const UID_PREFIX: &str = "campanile-slo-";
/// Grafana's limit of an identifier, in characters.
const MAX_UID: usize = 40;

impl Export {
    /// Returns a Grafana dashboard in JSON.
    ///
    /// It shows each service with [Sloth's series](Self::prometheus_rules). Only its panel "Events"
    /// is limited to the counters that the matchers select. The dashboard's `uid` and title contain
    /// the service, so dashboards of several services can be imported.
    #[must_use]
    pub fn grafana_dashboard(&self) -> String {
        let matchers = self.matchers.iter().map(|matcher| format!("{matcher}, "));
        let matchers = yaml::quoted(&matchers.collect::<String>());
        // The placeholders are within JSON strings.
        include_str!("grafana.json")
            .replace("@uid@", &self.grafana_uid())
            .replace("@service@", &self.service)
            .replace("@matchers@", &matchers[1..matchers.len() - 1])
    }

    /// Returns the dashboard's identifier, which is derived from the service's name and has at most
    /// 40 characters of `[A-Za-z0-9_-]`.
    fn grafana_uid(&self) -> String {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_short = self.service.len() <= MAX_UID - UID_PREFIX.len();
        if is_short && self.service.bytes().all(is_valid) {
            return format!("{UID_PREFIX}{}", self.service);
        }
        // A hash (FNV-1a) keeps the identifiers of two long names distinct.
        let bytes = self.service.bytes();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{UID_PREFIX}{hash:016x}")
    }
}
