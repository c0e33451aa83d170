use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprArray, Field, Fields, Lit, LitStr, Meta, Path,
    UnOp,
};

use crate::names::{self, metric as metric_name, snake_case};

pub(crate) fn expand(item: &DeriveInput, root: &Path) -> syn::Result<TokenStream> {
    let fields = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            _ => return Err(invalid_set(item)),
        },
        _ => return Err(invalid_set(item)),
    };
    names::only_on(
        &item.attrs,
        "metric",
        "a field of a metric set; write `#[metrics(…)]` here",
    )?;
    let (prefix, given_root) = settings(&item.attrs)?;
    let root = given_root.as_ref().unwrap_or(root);
    let mut errors = None::<Error>;
    let mut idents = Vec::new();
    let mut registered = Vec::new();
    let mut names = Vec::new();
    for field in fields {
        match register(field, prefix.as_deref(), &mut names, root) {
            Ok(tokens) => {
                idents.push(&field.ident);
                registered.push(tokens);
            }
            // All errors are reported together.
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }
    let ident = &item.ident;
    let visibility = &item.vis;
    let (generics, arguments, clause) = item.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #ident #arguments #clause {
            /// Registers the metrics.
            #visibility fn register(
                registry: &#root::Registry,
            ) -> ::core::result::Result<Self, #root::RegisterError> {
                ::core::result::Result::Ok(Self { #(#idents: #registered?,)* })
            }
        }
    })
}

fn invalid_set(item: &DeriveInput) -> Error {
    let text = "invalid metric set: expected a struct with named fields";
    Error::new_spanned(&item.ident, text)
}

/// Returns the prefix and the path of `#[metrics(prefix = "…", crate = …)]`.
fn settings(attributes: &[Attribute]) -> syn::Result<(Option<String>, Option<Path>)> {
    let mut prefix = None;
    let mut root = None;
    for attribute in attributes {
        if !attribute.path().is_ident("metrics") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                root = Some(meta.value()?.call(Path::parse_mod_style)?);
                return Ok(());
            }
            if !meta.path.is_ident("prefix") {
                let text = "only `prefix = \"…\"` and `crate = …` can be set here";
                return Err(meta.error(text));
            }
            let literal: LitStr = meta.value()?.parse()?;
            if literal.value().ends_with('_') {
                let text = "invalid prefix: expected no underscore at the end; it is added";
                return Err(Error::new(literal.span(), text));
            }
            if prefix.replace(metric_name(&literal)?).is_some() {
                return Err(meta.error("`prefix` is set twice"));
            }
            Ok(())
        })?;
    }
    Ok((prefix, root))
}

fn register(
    field: &Field,
    prefix: Option<&str>,
    names: &mut Vec<String>,
    root: &Path,
) -> syn::Result<TokenStream> {
    names::only_on(
        &field.attrs,
        "metrics",
        "the struct; write `#[metric(…)]` here",
    )?;
    let mut name = None;
    let mut help = None;
    let mut unit = None;
    let mut buckets = None;
    for attribute in &field.attrs {
        if !attribute.path().is_ident("metric") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            let twice = |is_set: bool| match is_set {
                true => Err(meta.error("this is set twice")),
                false => Ok(()),
            };
            if meta.path.is_ident("name") {
                twice(name.is_some())?;
                name = Some(metric_name(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("help") {
                twice(help.is_some())?;
                help = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("unit") {
                twice(unit.is_some())?;
                unit = Some(metric_name(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("buckets") {
                twice(buckets.is_some())?;
                buckets = Some(bounds(meta.value()?.parse()?)?);
            } else {
                let text = "only `name`, `help`, `unit` and `buckets` can be set here";
                return Err(meta.error(text));
            }
            Ok(())
        })?;
    }
    let ident = field.ident.as_ref().map(ToString::to_string);
    let ident = ident.unwrap_or_default();
    let name = name.unwrap_or_else(|| snake_case(&ident));
    let name = match prefix {
        Some(prefix) => format!("{prefix}_{name}"),
        None => name,
    };
    if names.contains(&name) {
        let text = format!("duplicate metric name {name:?}");
        return Err(Error::new_spanned(&field.ident, text));
    }
    names.push(name.clone());
    let Some(help) = help.or_else(|| documentation(&field.attrs)) else {
        let text = "missing description: expected a doc comment or `#[metric(help = \"…\")]`";
        return Err(Error::new_spanned(&field.ident, text));
    };
    let unit = option(unit.map(|unit| quote!(#unit)));
    let buckets = option(buckets.map(|buckets| quote!(&#buckets)));
    let ty = &field.ty;
    Ok(quote_spanned! {ty.span().resolved_at(Span::call_site())=>
        <#ty as #root::Field>::register(registry, &#root::Definition {
            name: #name,
            help: #help,
            unit: #unit,
            buckets: #buckets,
        })
    })
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

/// Returns the first paragraph of the doc comment, in one line.
fn documentation(attributes: &[Attribute]) -> Option<String> {
    let texts = attributes.iter().filter_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        let is_doc = pair.path.is_ident("doc");
        match &pair.value {
            Expr::Lit(literal) if is_doc => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        }
    });
    let lines = texts.flat_map(|text| {
        // The lines of a block comment begin with a star.
        let is_block = text.contains('\n');
        let lines = text.lines().map(str::trim);
        let lines = lines.skip_while(|line| is_block && line.is_empty());
        let line = |line: &str| match line.strip_prefix('*') {
            Some(line) if is_block => line.trim().to_owned(),
            _ => line.to_owned(),
        };
        let lines: Vec<_> = lines.map(line).collect();
        if lines.is_empty() {
            vec![String::new()]
        } else {
            lines
        }
    });
    let paragraph: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    (!paragraph.is_empty()).then(|| paragraph.join(" "))
}

/// Checks that the bounds are strictly ascending numbers.
fn bounds(array: ExprArray) -> syn::Result<TokenStream> {
    let mut previous = f64::NEG_INFINITY;
    let mut values = Vec::new();
    for element in &array.elems {
        let value = number(element).ok_or_else(|| {
            Error::new_spanned(element, "invalid bucket bound: expected a number")
        })?;
        if value <= previous {
            let text = "invalid bucket bounds: expected strictly ascending numbers";
            return Err(Error::new_spanned(element, text));
        }
        previous = value;
        values.push(quote!(#value));
    }
    if values.is_empty() {
        let text = "missing bucket bounds: expected at least one; `+Inf` is added";
        return Err(Error::new_spanned(array, text));
    }
    Ok(quote!([#(#values),*]))
}

fn number(expression: &Expr) -> Option<f64> {
    let value = match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Float(value) => value.base10_parse().ok()?,
            Lit::Int(value) => value.base10_parse().ok()?,
            _ => return None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => -number(&unary.expr)?,
        _ => return None,
    };
    f64::is_finite(value).then_some(value)
}
