use campanile_metrics::observe;

#[observe(labels(user))]
async fn unbounded(user: String) {}

#[observe(labels(kind))]
fn unknown() {}

#[observe(on_ok = seen)]
fn other_type() -> Result<u32, ()> {
    Ok(1)
}

fn seen(_: &String) {}

fn main() {}
