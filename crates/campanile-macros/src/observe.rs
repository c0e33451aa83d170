use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprAsync, Ident, ImplItemFn, Pat, Path, Stmt, Type};

use self::arguments::Arguments;

mod arguments;
mod output;

pub(crate) fn expand(
    arguments: TokenStream,
    item: &TokenStream,
    root: &Path,
) -> syn::Result<TokenStream> {
    let arguments: Arguments = syn::parse2(arguments)?;
    let mut function: ImplItemFn = syn::parse2(item.clone()).map_err(|_| {
        let text = "invalid place of `#[observe]`: expected a function with a body";
        Error::new_spanned(item, text)
    })?;
    if let Some(constant) = &function.sig.constness {
        let text = "a `const fn` can't be observed: the compiler may evaluate it";
        return Err(Error::new_spanned(constant, text));
    }
    let root = arguments.root.as_ref().unwrap_or(root);
    let ident = function.sig.ident.clone();
    let site = |is_async| site(&ident, is_async, &arguments, root);
    if function.sig.asyncness.is_some() {
        let output = output::returned(&function.sig.output)?;
        let statements = &function.block.stmts;
        let body = syn::parse2(quote!(async move { #(#statements)* }))?;
        let body = asynchronous(&site(true), &body, &output, &arguments, root);
        function.block.stmts = vec![Stmt::Expr(body, None)];
    } else if let Some((future, output)) = output::future(&mut function)? {
        let body = asynchronous(&site(true), future, &output, &arguments, root);
        future.block.stmts = vec![Stmt::Expr(body, None)];
    } else {
        let output = output::returned(&function.sig.output)?;
        let body = synchronous(&site(false), &function, &output, &arguments, root);
        function.block.stmts = vec![Stmt::Expr(body, None)];
    }
    Ok(quote!(#function))
}

/// Generates the statements before a call.
fn site(ident: &Ident, is_async: bool, arguments: &Arguments, root: &Path) -> TokenStream {
    let ident = ident.to_string();
    let name = arguments.name.clone();
    let name = name.unwrap_or_else(|| ident.trim_start_matches("r#").to_owned());
    let prefix = arguments.prefix.as_deref().unwrap_or("function");
    let [calls, errors, duration, in_flight] = [
        "calls_total",
        "errors_total",
        "duration_seconds",
        "in_flight",
    ]
    .map(|suffix| format!("{prefix}_{suffix}"));
    let labels = arguments.labels.iter().map(|(name, value)| {
        quote_spanned!(value.span()=> #root::__private::LabelAt::new(#name, &(#value)))
    });
    let fields = arguments.labels.iter().map(|(name, _)| {
        let field = Ident::new(name, Span::call_site());
        quote!(#field = #root::__private::tracing::field::Empty)
    });
    let level = &arguments.level;
    let error = Ident::new("ERROR", Span::call_site());
    let failed = |level: &Ident| {
        quote! {
            #root::__private::tracing::event!(
                #root::__private::tracing::Level::#level,
                code.function.name = __ended.function,
                outcome = __ended.outcome,
                error.type = __ended.error_type,
                error = __ended.error,
                "failed"
            );
            return #root::__private::tracing::enabled!(#root::__private::tracing::Level::#level);
        }
    };
    let panicked = failed(&error);
    let failed = match &arguments.err {
        Some(level) if *level == error => panicked,
        err => {
            let failed = err.as_ref().map(failed);
            quote!(if __ended.panicked { #panicked } #failed)
        }
    };
    let errors_at = match &arguments.err {
        Some(level) => {
            quote!(::core::option::Option::Some(#root::__private::tracing::Level::#level))
        }
        None => quote!(::core::option::Option::None),
    };
    quote! {
        #[allow(clippy::needless_return)]
        fn __report(__ended: &#root::__private::Ended<'_>) -> bool {
            #root::__private::tracing::debug!(
                code.function.name = __ended.function,
                outcome = __ended.outcome,
                duration_seconds = __ended.duration_seconds,
                "called"
            );
            if __ended.logs_failure {
                #failed
            }
            false
        }
        static __SITE: #root::__private::Site = #root::__private::Site::new(
            #name,
            ::core::module_path!(),
            #root::__private::Names {
                calls: #calls,
                errors: #errors,
                duration: #duration,
                in_flight: #in_flight,
            },
            #is_async,
            #errors_at,
            __report,
        );
        let __call = __SITE.begin(
            &[#(#labels),*],
            #root::__private::tracing::span!(
                #root::__private::tracing::Level::#level,
                #name,
                #(#fields,)*
                otel.status_code = #root::__private::tracing::field::Empty,
                otel.status_description = #root::__private::tracing::field::Empty,
                error.type = #root::__private::tracing::field::Empty,
            ),
        );
    }
}

fn asynchronous(
    site: &TokenStream,
    future: &ExprAsync,
    output: &Type,
    arguments: &Arguments,
    root: &Path,
) -> Expr {
    let settled = settled(arguments, root);
    let ExprAsync { capture, block, .. } = future;
    let statements = &block.stmts;
    let body = quote_spanned! {block.span()=>
        async #capture {
            // It gives `?` and `return` their type.
            #[allow(
                unreachable_code,
                clippy::diverging_sub_expression,
                clippy::empty_loop,
                clippy::let_unit_value,
                clippy::let_underscore_untyped,
                clippy::needless_return
            )]
            if false {
                let __never: #output = loop {};
                return __never;
            }
            #(#statements)*
        }
    };
    syn::parse_quote!({
        #site
        let (__output, __call) = __call.run(#body).await;
        #settled
        __output
    })
}

fn synchronous(
    site: &TokenStream,
    function: &ImplItemFn,
    output: &Type,
    arguments: &Arguments,
    root: &Path,
) -> Expr {
    let block = &function.block;
    let settled = settled(arguments, root);
    let finished = quote_spanned! {function.sig.output.span().resolved_at(Span::call_site())=>
        #root::__private::finished(#root::__private::Output(&__output).state());
    };
    syn::parse_quote!({
        #site
        let mut __call = __call;
        #[allow(clippy::redundant_closure_call)]
        let __output = __call.run_now(move || -> #output #block);
        {
            #[allow(unused_imports)]
            use #root::__private::AnyState as _;
            #finished
        }
        #settled
        __output
    })
}

/// Generates the statements between a call and the return of its output.
fn settled(arguments: &Arguments, root: &Path) -> TokenStream {
    let on_ok = arguments.on_ok.as_ref().map(|on_ok| {
        // The span resolves names in this macro, not where the hook was written.
        let span = on_ok.span().resolved_at(Span::call_site());
        match on_ok {
            // The helper lets the compiler infer the argument's type.
            Expr::Closure(hook)
                if !hook
                    .inputs
                    .iter()
                    .any(|input| matches!(input, Pat::Type(_))) =>
            {
                quote_spanned!(span=> #root::__private::hook(#on_ok, __ok);)
            }
            // A direct call coerces the argument, for example from `&String` to `&str`.
            _ => quote_spanned! {span=>
                #[allow(clippy::redundant_closure_call)]
                (#on_ok)(__ok);
            },
        }
    });
    let ok_if = arguments.ok_if.as_ref().map(|ok_if| {
        quote_spanned! {ok_if.span().resolved_at(Span::call_site())=>
            ::core::result::Result::Err(_)
                if #root::__private::is_ok_by(&__output, #ok_if) => __call.succeeded(),
        }
    });
    quote! {
        {
            #[allow(unused_imports)]
            use #root::__private::{AnyOutput as _, ByType as _, NoSource as _, NotShown as _};
            match #root::__private::Output(&__output).split() {
                ::core::result::Result::Ok(__ok) => {
                    __call.succeeded();
                    #on_ok
                }
                #ok_if
                ::core::result::Result::Err(__error) => {
                    let __error = #root::__private::Failure(__error);
                    __call.failed(&__error.kind(), __error.shown(), __error.source());
                }
            }
        }
    }
}
