//! The output of a function, as far as its signature shows it.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit_mut::{VisitMut, visit_expr_mut, visit_type_mut};
use syn::{
    Block, Error, Expr, ExprAsync, GenericArgument, ImplItemFn, Item, Macro, PathArguments,
    ReturnType, Stmt, Type, TypeParamBound, parse_quote,
};

/// Boxed futures. Their last type argument is the output.
const BOXED: [&str; 2] = ["BoxFuture", "LocalBoxFuture"];

/// Types that are futures if their argument is a future.
const WRAPPERS: [&str; 2] = ["Pin", "Box"];

/// Boxed streams.
const STREAMS: [&str; 2] = ["BoxStream", "LocalBoxStream"];

/// Returns the return type of a function, in a form that its body can name.
pub(super) fn returned(output: &ReturnType) -> syn::Result<Type> {
    match output {
        ReturnType::Default => Ok(parse_quote!(())),
        ReturnType::Type(_, ty) => nameable(ty),
    }
}

fn nameable(ty: &Type) -> syn::Result<Type> {
    /// Replaces types that can't be named with `_`.
    struct Infer;

    impl VisitMut for Infer {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if matches!(ty, Type::ImplTrait(_)) {
                *ty = parse_quote!(_);
            }
            visit_type_mut(self, ty);
        }
    }

    if matches!(ty, Type::Never(_)) {
        let text = "a function that never returns can't be observed: its calls never end";
        return Err(Error::new_spanned(ty, text));
    }
    let mut ty = ty.clone();
    Infer.visit_type_mut(&mut ty);
    Ok(ty)
}

/// Returns the future at the end of a function without `async`, and its output.
///
/// The forms are `async …`, `Box::pin(async …)` (as `#[async_trait]` generates it) and
/// `async ….boxed()`. Any other function that returns a future is an error: only the time to create
/// the future would be measured.
pub(super) fn future(function: &mut ImplItemFn) -> syn::Result<Option<(&mut ExprAsync, Type)>> {
    let ReturnType::Type(_, ty) = &function.sig.output else {
        return Ok(None);
    };
    if is_stream(ty) {
        let text = "a stream can't be observed: its items are produced after this function has returned; observe an `async fn` that produces one item or reads all items";
        return Err(Error::new_spanned(ty, text));
    }
    let early = early_return(&mut function.block);
    let last = match function.block.stmts.last_mut() {
        Some(Stmt::Expr(last, None)) => tail(last),
        _ => None,
    };
    match (last, future_output(ty)) {
        (Some(future), Some(output)) => match early {
            None => Ok(Some((future, nameable(output)?))),
            Some(early) => {
                let text = "a future that is returned early can't be observed: write an `async fn`, or move the code before the last `async` block into the block";
                Err(Error::new(early, text))
            }
        },
        (Some(_), None) => {
            let text = "the output of this future is unknown: write `impl Future<Output = …>`, `Pin<Box<dyn Future<Output = …>>>` or `BoxFuture<…>`";
            Err(Error::new_spanned(ty, text))
        }
        (None, Some(_)) => {
            let text = "the code that creates this future can't be observed: write an `async fn`, or end with `async move { … }` or `Box::pin(async move { … })`";
            Err(Error::new_spanned(ty, text))
        }
        (None, None) => Ok(None),
    }
}

fn tail(last: &mut Expr) -> Option<&mut ExprAsync> {
    match last {
        Expr::Async(future) => Some(future),
        Expr::Call(call) => {
            let Expr::Path(path) = &*call.func else {
                return None;
            };
            let names = path.path.segments.iter().rev();
            let names = names.map(|segment| &segment.ident);
            names.take(2).eq(["pin", "Box"].iter()).then_some(())?;
            tail(call.args.first_mut()?)
        }
        Expr::MethodCall(call) if call.method == "boxed" || call.method == "boxed_local" => {
            tail(&mut call.receiver)
        }
        _ => None,
    }
}

/// Returns the first early return of a function, outside closures and `async` blocks.
fn early_return(block: &mut Block) -> Option<Span> {
    struct Returns(Option<Span>);

    impl VisitMut for Returns {
        fn visit_expr_mut(&mut self, expr: &mut Expr) {
            match expr {
                Expr::Async(_) | Expr::Closure(_) => {}
                Expr::Return(early) => self.0 = self.0.or(Some(early.span())),
                expr => visit_expr_mut(self, expr),
            }
        }

        fn visit_item_mut(&mut self, _: &mut Item) {}

        fn visit_macro_mut(&mut self, call: &mut Macro) {
            self.0 = self.0.or_else(|| return_in(call.tokens.clone()));
        }
    }

    let mut returns = Returns(None);
    returns.visit_block_mut(block);
    returns.0
}

/// Returns the first `return` in the arguments of a macro.
fn return_in(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if ident == "return" => Some(ident.span()),
        TokenTree::Group(group) => return_in(group.stream()),
        _ => None,
    })
}

/// Returns the output of a type that is a future or a boxed future, if the type names it.
fn future_output(ty: &Type) -> Option<&Type> {
    if let Some((name, arguments)) = path(ty)
        && BOXED.contains(&&*name)
    {
        return types(arguments).last();
    }
    arguments(bound(ty, "Future")?).find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
        _ => None,
    })
}

/// Returns whether a type is a stream with items. Other traits may have the same name.
fn is_stream(ty: &Type) -> bool {
    let is_boxed = path(ty).is_some_and(|(name, arguments)| {
        STREAMS.contains(&&*name) && types(arguments).next().is_some()
    });
    let has_item = |bound| {
        arguments(bound).any(|argument| match argument {
            GenericArgument::AssocType(item) => item.ident == "Item",
            _ => false,
        })
    };
    is_boxed || bound(ty, "Stream").is_some_and(has_item)
}

/// Returns the arguments of a trait that a type, or a type in its wrappers, implements.
fn bound<'a>(ty: &'a Type, name: &str) -> Option<&'a PathArguments> {
    let bounds = match ty {
        Type::ImplTrait(ty) => &ty.bounds,
        Type::TraitObject(ty) => &ty.bounds,
        // An argument of a macro.
        Type::Group(ty) => return bound(&ty.elem, name),
        Type::Paren(ty) => return bound(&ty.elem, name),
        ty => {
            let (name_of_type, arguments) = path(ty)?;
            let is_wrapper = WRAPPERS.contains(&&*name_of_type);
            return is_wrapper.then(|| types(arguments).find_map(|ty| bound(ty, name)))?;
        }
    };
    bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            let segment = bound.path.segments.last()?;
            (segment.ident == name).then_some(&segment.arguments)
        }
        _ => None,
    })
}

/// Returns the last name of a type's path, and its arguments.
fn path(ty: &Type) -> Option<(String, &PathArguments)> {
    match ty {
        Type::Path(ty) => {
            let segment = ty.path.segments.last()?;
            Some((segment.ident.to_string(), &segment.arguments))
        }
        Type::Group(ty) => path(&ty.elem),
        Type::Paren(ty) => path(&ty.elem),
        _ => None,
    }
}

fn types(all: &PathArguments) -> impl Iterator<Item = &Type> {
    arguments(all).filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn arguments(arguments: &PathArguments) -> impl Iterator<Item = &GenericArgument> {
    let arguments = match arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten()
}
