use quote::format_ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Ident, LitStr, Path, Token, parenthesized};

use crate::names;

/// The arguments of `#[observe(…)]`.
pub(super) struct Arguments {
    pub(super) name: Option<String>,
    pub(super) prefix: Option<String>,
    /// Names, and the expressions of their values.
    pub(super) labels: Vec<(String, Expr)>,
    pub(super) on_ok: Option<Expr>,
    /// The errors that count as ok.
    pub(super) ok_if: Option<Expr>,
    /// The level of logged errors, or `None` if errors are not logged.
    pub(super) err: Option<Ident>,
    /// The level of the span.
    pub(super) level: Ident,
    /// The path of the crate that exports the macro.
    pub(super) root: Option<Path>,
}

/// The labels that each call has.
const BUILT_IN: [&str; 4] = ["function", "module", "outcome", "error"];

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self {
            name: None,
            prefix: None,
            labels: Vec::new(),
            on_ok: None,
            ok_if: None,
            err: Some(format_ident!("ERROR")),
            level: format_ident!("INFO"),
            root: None,
        };
        let mut seen = Vec::new();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            if seen.contains(&key) {
                return Err(Error::new(key.span(), format!("`{key}` is set twice")));
            }
            match &*key.to_string() {
                "labels" => arguments.labels = labels(input)?,
                "name" => {
                    let name: LitStr = value(input)?;
                    if name.value().is_empty() {
                        return Err(Error::new(
                            name.span(),
                            "invalid name \"\": expected at least one character",
                        ));
                    }
                    arguments.name = Some(name.value());
                }
                "prefix" => arguments.prefix = Some(names::metric(&value(input)?)?),
                "on_ok" => arguments.on_ok = Some(value(input)?),
                "ok_if" => arguments.ok_if = Some(value(input)?),
                "err" => arguments.err = err(&value(input)?)?,
                "level" => arguments.level = level(&value(input)?)?,
                "crate" => {
                    input.parse::<Token![=]>()?;
                    arguments.root = Some(input.call(Path::parse_mod_style)?);
                }
                _ => {
                    let text = "only `name`, `prefix`, `labels(…)`, `on_ok`, `ok_if`, `err`, `level` and `crate` can be set here";
                    return Err(Error::new(key.span(), text));
                }
            }
            seen.push(key);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// `(a, b = expression)`
fn labels(input: ParseStream<'_>) -> syn::Result<Vec<(String, Expr)>> {
    let content;
    parenthesized!(content in input);
    let mut labels = Vec::<(String, Expr)>::new();
    while !content.is_empty() {
        let ident: Ident = content.parse()?;
        let name = names::label(&LitStr::new(&ident.unraw().to_string(), ident.span()))?;
        if BUILT_IN.contains(&&*name) {
            let text = format!("reserved label name {name:?}: each call has this label already");
            return Err(Error::new(ident.span(), text));
        }
        if labels.iter().any(|(label, _)| *label == name) {
            let text = format!("duplicate label name {name:?}");
            return Err(Error::new(ident.span(), text));
        }
        let value = if content.peek(Token![=]) {
            value(&content)?
        } else {
            syn::parse_quote!(#ident)
        };
        labels.push((name, value));
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(labels)
}

fn level(literal: &LitStr) -> syn::Result<Ident> {
    let level = literal.value();
    match &*level {
        "trace" | "debug" | "info" | "warn" | "error" => {
            Ok(Ident::new(&level.to_uppercase(), literal.span()))
        }
        _ => {
            let text =
                "unknown level: expected \"trace\", \"debug\", \"info\", \"warn\" or \"error\"";
            Err(Error::new(literal.span(), text))
        }
    }
}

fn err(literal: &LitStr) -> syn::Result<Option<Ident>> {
    match &*literal.value() {
        "off" => Ok(None),
        "debug" | "info" | "warn" | "error" => level(literal).map(Some),
        other => {
            let text = format!(
                "unknown level {other:?} for errors: expected \"debug\", \"info\", \"warn\", \"error\" or \"off\""
            );
            Err(Error::new(literal.span(), text))
        }
    }
}
