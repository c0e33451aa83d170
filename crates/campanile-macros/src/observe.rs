use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Block, Error, Expr, GenericArgument, ImplItemFn, Path, PathArguments, ReturnType, Stmt, Type,
    TypeParamBound,
};

use self::arguments::Arguments;

mod arguments;

pub(crate) fn expand(
    arguments: TokenStream,
    item: &TokenStream,
    root: &Path,
) -> syn::Result<TokenStream> {
    let arguments: Arguments = syn::parse2(arguments)?;
    let mut function: ImplItemFn = syn::parse2(item.clone()).map_err(|_| {
        let text = "`#[observe]` stands before a function with a body";
        Error::new_spanned(item, text)
    })?;
    if let Some(constant) = &function.sig.constness {
        let text = "a `const fn` can't be observed: it may run in the compiler";
        return Err(Error::new_spanned(constant, text));
    }
    let root = arguments.root.as_ref().unwrap_or(root);
    let site = site(&function, &arguments, root);
    if function.sig.asyncness.is_some() {
        let output = returned(&function.sig.output);
        let body = asynchronous(&site, &function.block, output.as_ref(), &arguments, root);
        function.block.stmts = vec![Stmt::Expr(body, None)];
    } else if let Some(block) = future(&mut function.block) {
        let output = match &function.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => future_output(ty).filter(is_named),
        };
        let body = asynchronous(&site, block, output.as_ref(), &arguments, root);
        block.stmts = vec![Stmt::Expr(body, None)];
    } else {
        let body = synchronous(&site, &function, &arguments, root);
        function.block.stmts = vec![Stmt::Expr(body, None)];
    }
    Ok(quote!(#function))
}

/// Returns the type that a function returns, where it can be written in its body.
fn returned(output: &ReturnType) -> Option<Type> {
    match output {
        ReturnType::Default => Some(syn::parse_quote!(())),
        ReturnType::Type(_, ty) => {
            let ty = &**ty;
            is_named(ty).then(|| ty.clone())
        }
    }
}

/// Returns whether a type has no `impl …` in it.
fn is_named(ty: &Type) -> bool {
    let text = quote!(#ty).to_string();
    let mut words = text.split(|char: char| !char.is_alphanumeric() && char != '_');
    words.all(|word| word != "impl")
}

/// Returns what the future in a type is ready with: the `T` of a `Future<Output = T>`, if that stands in it.
fn future_output(ty: &Type) -> Option<Type> {
    let bounds = match ty {
        Type::ImplTrait(ty) => &ty.bounds,
        Type::TraitObject(ty) => &ty.bounds,
        Type::Path(ty) => {
            let PathArguments::AngleBracketed(arguments) = &ty.path.segments.last()?.arguments
            else {
                return None;
            };
            return arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(ty) => future_output(ty),
                _ => None,
            });
        }
        _ => return None,
    };
    let traits = bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    let mut arguments = traits.filter_map(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments.args.iter()),
        _ => None,
    });
    arguments.find_map(|mut arguments| {
        arguments.find_map(|argument| match argument {
            GenericArgument::AssocType(output) if output.ident == "Output" => {
                Some(output.ty.clone())
            }
            _ => None,
        })
    })
}

/// Returns the block of the future that a function ends with, as those of `#[async_trait]` do: `async …` or `Box::pin(async …)`.
fn future(block: &mut Block) -> Option<&mut Block> {
    let Some(Stmt::Expr(last, None)) = block.stmts.last_mut() else {
        return None;
    };
    let last = match last {
        Expr::Call(call) => {
            let Expr::Path(path) = &*call.func else {
                return None;
            };
            let names = path
                .path
                .segments
                .iter()
                .rev()
                .map(|segment| &segment.ident);
            if !names.take(2).eq(["pin", "Box"].iter()) {
                return None;
            }
            call.args.first_mut()?
        }
        last => last,
    };
    match last {
        Expr::Async(future) => Some(&mut future.block),
        _ => None,
    }
}

/// The statements that come before a call.
fn site(function: &ImplItemFn, arguments: &Arguments, root: &Path) -> TokenStream {
    let ident = function.sig.ident.to_string();
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
        quote_spanned!(value.span()=> #root::__observe::LabelAt::of(#name, &(#value)))
    });
    let fields = arguments.labels.iter().map(|(name, _)| {
        let field = syn::Ident::new(name, proc_macro2::Span::call_site());
        quote!(#field = #root::__observe::tracing::field::Empty)
    });
    let level = &arguments.level;
    quote! {
        fn __report(__ended: &#root::__observe::Ended<'_>) {
            #root::__observe::tracing::debug!(
                function = __ended.function,
                outcome = __ended.outcome,
                duration_seconds = __ended.duration_seconds,
                "called"
            );
            if __ended.failed {
                #root::__observe::tracing::error!(
                    function = __ended.function,
                    outcome = __ended.outcome,
                    error.type = __ended.error_type,
                    error = __ended.error.map(#root::__observe::tracing::field::display),
                    "failed"
                );
            }
        }
        static __SITE: #root::__observe::Site = #root::__observe::Site::new(
            #name,
            ::core::module_path!(),
            #root::__observe::Names {
                calls: #calls,
                errors: #errors,
                duration: #duration,
                in_flight: #in_flight,
            },
            __report,
        );
        let __call = __SITE.begin(
            &[#(#labels),*],
            #root::__observe::tracing::span!(
                #root::__observe::tracing::Level::#level,
                #name,
                #(#fields),*
            ),
        );
    }
}

fn asynchronous(
    site: &TokenStream,
    block: &Block,
    output: Option<&Type>,
    arguments: &Arguments,
    root: &Path,
) -> Expr {
    let statements = &block.stmts;
    // Without it, `?` and `return` in the block would not know what they return.
    let hint = output.map(|output| {
        quote! {
            #[allow(
                unreachable_code,
                clippy::diverging_sub_expression,
                clippy::empty_loop,
                clippy::let_unit_value,
                clippy::needless_return,
                clippy::unreachable
            )]
            if false {
                let __never: #output = loop {};
                return __never;
            }
        }
    });
    let settled = settled(arguments, root);
    let body = quote_spanned! {block.span()=>
        async move {
            #hint
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
    arguments: &Arguments,
    root: &Path,
) -> Expr {
    let block = &function.block;
    let output = returned(&function.sig.output).map(|output| quote!(-> #output));
    let settled = settled(arguments, root);
    syn::parse_quote!({
        #site
        #[allow(clippy::redundant_closure_call)]
        let __output = __call.run_now(move || #output #block);
        #settled
        __output
    })
}

/// What comes between a call and its result's way out.
fn settled(arguments: &Arguments, root: &Path) -> TokenStream {
    let on_ok = arguments
        .on_ok
        .as_ref()
        .map(|on_ok| quote_spanned!(on_ok.span()=> (#on_ok)(__ok);));
    quote! {
        {
            #[allow(unused_imports)]
            use #root::__observe::{AnyOutput as _, ByType as _, NotShown as _};
            match #root::__observe::Output(&__output).split() {
                ::core::result::Result::Ok(__ok) => {
                    __call.succeeded();
                    #on_ok
                }
                ::core::result::Result::Err(__error) => {
                    let __error = #root::__observe::Failure(__error);
                    __call.failed(&__error.kind(), __error.shown());
                }
            }
        }
    }
}
