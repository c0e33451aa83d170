use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Parses `RUST_LOG` directives. White space around a directive and around its `=` is ignored.
///
/// All directives are parsed here: `EnvFilter` takes a level with white space for a target.
pub(crate) fn parse(directives: &str) -> Result<EnvFilter, ParseError> {
    let trimmed: Vec<_> = split(directives).map(trimmed).collect();
    EnvFilter::try_new(trimmed.join(","))
}

/// Splits at commas outside of `[…]` and `{…}`, and drops empty parts.
fn split(directives: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let is_comma = move |char| {
        match char {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        char == ',' && depth == 0
    };
    let parts = directives.split(is_comma).map(str::trim);
    parts.filter(|part| !part.is_empty())
}

/// Returns a directive without the white space around the `=` before its level.
fn trimmed(directive: &str) -> String {
    // Fields of a span may contain `=` and white space.
    match directive.rsplit_once('=') {
        Some((target, level)) if !level.contains([']', '}']) => {
            format!("{}={}", target.trim_end(), level.trim_start())
        }
        _ => directive.to_owned(),
    }
}

/// Returns whether directives name spans, such as `[request]=debug`.
pub(super) fn knows_spans(filter: &EnvFilter) -> bool {
    filter.to_string().contains('[')
}

/// Parses directives of an override.
pub(super) fn parsed(directives: &str) -> Result<EnvFilter, InvalidDirectives> {
    parse(directives).map_err(|error| InvalidDirectives {
        directives: directives.to_owned(),
        reason: error.to_string(),
    })
}

/// Parses directives that add events. They may not name spans, as their filter gets no span
/// callbacks.
pub(super) fn without_spans(directives: &str) -> Result<EnvFilter, InvalidDirectives> {
    let filter = parsed(directives)?;
    if knows_spans(&filter) {
        return Err(InvalidDirectives {
            directives: directives.to_owned(),
            reason: "directives for spans are only supported by `override_for`".to_owned(),
        });
    }
    Ok(filter)
}

/// Filter directives are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid directives {directives:?} ({reason}): expected those of RUST_LOG, such as `info,orders=debug`"
)]
#[non_exhaustive]
pub struct InvalidDirectives {
    /// The directives.
    pub directives: String,
    /// Why they are invalid.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_means_nothing() {
        #[track_caller]
        fn check(directives: &str, expected: &str) {
            let plain = EnvFilter::try_new(expected).unwrap().to_string();
            let parsed =
                parse(directives).unwrap_or_else(|error| panic!("{directives:?}: {error}"));
            assert_eq!(parsed.to_string(), plain, "{directives:?}");
        }
        for directives in [
            "info\n",
            " info",
            "info\r\n",
            "\tinfo ",
            "info,",
            " , info ,, ",
        ] {
            check(directives, "info");
        }
        check("warn, orders=debug", "warn,orders=debug");
        check(" warn ,\n orders = debug \n", "warn,orders=debug");
        check("orders::db=trace,\n  info", "orders::db=trace,info");
        check("[a{x}]=debug , info", "[a{x}]=debug,info");
        check(
            "orders[load{id=7}]=trace, warn",
            "orders[load{id=7}]=trace,warn",
        );
        check(" orders[load] ", "orders[load]");
        check("", "");
        check(" \n", "");
        assert!(parse("orders=debugg").is_err());
        assert!(parse("warn info=x").is_err());
    }
}
