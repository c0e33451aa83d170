use std::io;

use metrics_exporter_prometheus::PrometheusHandle;

use super::Source;

impl Source for PrometheusHandle {
    fn write(&self, mut out: &mut dyn io::Write) -> io::Result<()> {
        self.render_to_write(&mut out)
    }

    fn upkeep(&self) {
        self.run_upkeep();
    }
}
