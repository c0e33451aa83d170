use campanile_metrics::observe;

#[observe(ok_if = |_| true)]
fn infallible() -> u32 {
    7
}

fn is_missing(error: &std::fmt::Error) -> bool {
    *error == std::fmt::Error
}

#[observe(ok_if = is_missing)]
async fn of_another_error() -> Result<(), String> {
    Ok(())
}

fn main() {
    infallible();
    drop(of_another_error());
}
