//! Metric and label names in Prometheus' data model.

use syn::{Attribute, LitStr};

/// Converts a name to snake case: `MobileApp` to `mobile_app`, `HTTPServer` to `http_server`.
pub(crate) fn snake_case(name: &str) -> String {
    let name = name.strip_prefix("r#").unwrap_or(name);
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (at, char) in chars.iter().enumerate() {
        let previous = at.checked_sub(1).map(|at| chars[at]);
        let next = chars.get(at + 1);
        let begins = previous.is_some_and(|previous| {
            previous != '_'
                && (!previous.is_uppercase() || next.is_some_and(|next| next.is_lowercase()))
        });
        if char.is_uppercase() && begins {
            snake.push('_');
        }
        snake.extend(char.to_lowercase());
    }
    snake
}

/// Checks a metric name, or its prefix.
pub(crate) fn metric(name: &LitStr) -> syn::Result<String> {
    checked(name, "metric", |char| char == ':')
}

/// Checks a label name.
pub(crate) fn label(name: &LitStr) -> syn::Result<String> {
    let value = checked(name, "label", |_| false)?;
    if matches!(&*value, "le" | "quantile") || value.starts_with("__") {
        let text = format!(
            "reserved label name {value:?}: expected a name other than `le`, `quantile` and `__…`"
        );
        return Err(syn::Error::new(name.span(), text));
    }
    Ok(value)
}

/// Rejects an attribute in a place where it has no effect.
pub(crate) fn only_on(attributes: &[Attribute], name: &str, place: &str) -> syn::Result<()> {
    match attributes
        .iter()
        .find(|attribute| attribute.path().is_ident(name))
    {
        Some(attribute) => {
            let text = format!("invalid place of `#[{name}(…)]`: expected it on {place}");
            Err(syn::Error::new_spanned(attribute.path(), text))
        }
        None => Ok(()),
    }
}

fn checked(name: &LitStr, what: &str, also: impl Fn(char) -> bool) -> syn::Result<String> {
    let value = name.value();
    let is_valid = !value.starts_with(|char: char| char.is_ascii_digit())
        && !value.is_empty()
        && (value.chars()).all(|char| char.is_ascii_alphanumeric() || char == '_' || also(char));
    if is_valid {
        return Ok(value);
    }
    let text = format!(
        "invalid {what} name {value:?}: expected letters, digits and underscores, no digit first"
    );
    Err(syn::Error::new(name.span(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (name, snake) in [
            ("Web", "web"),
            ("MobileApp", "mobile_app"),
            ("mobile_app", "mobile_app"),
            ("HTTPServer", "http_server"),
            ("GetV2", "get_v2"),
            ("USD", "usd"),
            ("r#type", "type"),
            ("A", "a"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }
}
