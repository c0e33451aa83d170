use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DataEnum, DeriveInput, Error, Fields, LitStr, Path, parse_quote};

use crate::names;

pub(crate) fn expand(item: &DeriveInput, root: &Path) -> syn::Result<TokenStream> {
    match &item.data {
        Data::Enum(data) => expand_enum(item, data, root),
        Data::Struct(data) => expand_struct(item, &data.fields, root),
        Data::Union(data) => Err(Error::new_spanned(
            data.union_token,
            "expected a struct or an enum of labels",
        )),
    }
}

fn expand_enum(item: &DeriveInput, data: &DataEnum, root: &Path) -> syn::Result<TokenStream> {
    let ident = &item.ident;
    let (name, given_root) = settings(&item.attrs, "name")?;
    let root = given_root.as_ref().unwrap_or(root);
    let name = match name {
        Some(name) => names::label(&name)?,
        None => {
            let name = names::snake_case(&ident.to_string());
            names::label(&LitStr::new(&name, ident.span()))?
        }
    };
    if data.variants.is_empty() {
        let text = "invalid labels: expected an enum with at least one variant";
        return Err(Error::new_spanned(ident, text));
    }
    let mut values = Vec::<String>::new();
    let mut arms = Vec::new();
    for (index, variant) in data.variants.iter().enumerate() {
        let given = attribute(&variant.attrs, "value")?;
        let ident = &variant.ident;
        let value = match &given {
            Some(value) => value.value(),
            None => names::snake_case(&ident.to_string()),
        };
        if let Some(given) = given.as_ref().filter(|_| value.is_empty()) {
            let text = "invalid label value \"\": expected at least one character, since a label without a value counts as none";
            return Err(Error::new(given.span(), text));
        }
        if values.contains(&value) {
            let text = format!("duplicate label value {value:?}");
            return Err(match given {
                Some(given) => Error::new(given.span(), text),
                None => Error::new_spanned(ident, text),
            });
        }
        values.push(value);
        arms.push(quote!(Self::#ident { .. } => #index,));
    }
    let (generics, arguments, clause) = item.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #root::LabelValue for #ident #arguments #clause {
            const VALUES: ::core::option::Option<&'static [&'static str]> =
                ::core::option::Option::Some(&[#(#values),*]);

            fn index(&self) -> usize {
                match self { #(#arms)* }
            }

            fn text(&self) -> ::std::borrow::Cow<'_, str> {
                const VALUES: &[&str] = &[#(#values),*];
                ::std::borrow::Cow::Borrowed(VALUES[#root::LabelValue::index(self)])
            }
        }

        #[automatically_derived]
        impl #generics #root::Bounded for #ident #arguments #clause {}

        #[automatically_derived]
        impl #generics #root::Labels for #ident #arguments #clause {
            const LABELS: &'static [(
                &'static str,
                ::core::option::Option<&'static [&'static str]>,
            )] = &[(#name, ::core::option::Option::Some(&[#(#values),*]))];

            fn index(&self) -> usize {
                #root::LabelValue::index(self)
            }

            fn values(&self) -> ::std::vec::Vec<::std::borrow::Cow<'_, str>> {
                ::std::vec![#root::LabelValue::text(self)]
            }
        }
    })
}

fn expand_struct(item: &DeriveInput, fields: &Fields, root: &Path) -> syn::Result<TokenStream> {
    let Fields::Named(fields) = fields else {
        let text = "invalid labels: expected a struct with named fields";
        return Err(Error::new_spanned(&item.ident, text));
    };
    let (_, given_root) = settings(&item.attrs, "")?;
    let root = given_root.as_ref().unwrap_or(root);
    let mut labels = Vec::<String>::new();
    let mut idents = Vec::new();
    let mut types = Vec::new();
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        let label = match attribute(&field.attrs, "name")? {
            Some(name) => names::label(&name)?,
            None => {
                let name = names::snake_case(&ident.to_string());
                names::label(&LitStr::new(&name, ident.span()))?
            }
        };
        if labels.contains(&label) {
            let text = format!("duplicate label name {label:?}");
            return Err(Error::new_spanned(ident, text));
        }
        labels.push(label);
        idents.push(ident);
        types.push(&field.ty);
    }
    let ident = &item.ident;
    let mut generics = item.generics.clone();
    if !generics.params.is_empty() {
        let clause = generics.make_where_clause();
        for ty in &types {
            clause.predicates.push(parse_quote!(#ty: #root::LabelValue));
        }
    }
    let (generics, arguments, clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #root::Labels for #ident #arguments #clause {
            const LABELS: &'static [(
                &'static str,
                ::core::option::Option<&'static [&'static str]>,
            )] = &[#((#labels, <#types as #root::LabelValue>::VALUES)),*];

            fn index(&self) -> usize {
                let index = 0_usize;
                #(
                    let index = match <#types as #root::LabelValue>::VALUES {
                        ::core::option::Option::Some(values) => index.saturating_mul(values.len()),
                        ::core::option::Option::None => index,
                    };
                    let index = index.saturating_add(#root::LabelValue::index(&self.#idents));
                )*
                index
            }

            fn values(&self) -> ::std::vec::Vec<::std::borrow::Cow<'_, str>> {
                ::std::vec![#(#root::LabelValue::text(&self.#idents)),*]
            }
        }
    })
}

/// Returns the value of `#[label(key = "…")]`. Other keys are errors.
fn attribute(attributes: &[Attribute], key: &str) -> syn::Result<Option<LitStr>> {
    let (text, root) = settings(attributes, key)?;
    match root {
        Some(root) => {
            let text = "invalid place of `crate`: expected it on the struct or the enum";
            Err(Error::new_spanned(root, text))
        }
        None => Ok(text),
    }
}

/// Returns the value and the path of `#[label(key = "…", crate = …)]`. With an empty key, only
/// `crate` is allowed.
fn settings(attributes: &[Attribute], key: &str) -> syn::Result<(Option<LitStr>, Option<Path>)> {
    let mut found = None;
    let mut root = None;
    for attribute in attributes {
        if !attribute.path().is_ident("label") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                root = Some(meta.value()?.call(Path::parse_mod_style)?);
                return Ok(());
            }
            if key.is_empty() {
                return Err(meta.error("only `crate = …` can be set here: each field is a label"));
            }
            if !meta.path.is_ident(key) {
                return Err(meta.error(format!("only `{key} = \"…\"` can be set here")));
            }
            if found.replace(meta.value()?.parse()?).is_some() {
                return Err(meta.error(format!("`{key}` is set twice")));
            }
            Ok(())
        })?;
    }
    Ok((found, root))
}
