use campanile_metrics::observe;

#[observe]
const fn constant() {}

#[observe]
struct NoFunction;

#[observe(lables(kind))]
fn misspelt(_kind: bool) {}

#[observe(labels(outcome))]
fn reserved(_outcome: bool) {}

#[observe(labels(kind = true, kind = false))]
fn twice(_kind: bool) {}

#[observe(prefix = "a b")]
fn prefix() {}

#[observe(level = "loud")]
fn level() {}

#[observe(name = "a", name = "b")]
fn names() {}

trait Service {
    #[observe]
    fn no_body(&self);
}

fn main() {}
