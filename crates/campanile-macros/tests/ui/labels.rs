use campanile_metrics::Labels;

#[derive(Labels)]
union Neither {
    a: u32,
}

#[derive(Labels)]
struct Tuple(bool);

#[derive(Labels)]
enum Empty {}

#[derive(Labels)]
enum Twice {
    One,
    #[label(value = "one")]
    Two,
}

#[derive(Labels)]
struct Reserved {
    le: bool,
}

#[derive(Labels)]
struct Name {
    #[label(name = "a-b")]
    a: bool,
}

#[derive(Labels)]
enum Key {
    #[label(name = "a")]
    A,
}

#[derive(Labels)]
#[label(name = "x")]
struct Named {
    a: bool,
}

#[derive(Labels)]
enum Quantile {
    P50,
}

#[derive(Labels)]
enum Größe {
    S,
}

#[derive(Labels)]
enum Size {
    #[label(value = "")]
    None,
    Some,
}

fn main() {}
