//! What a function returns, as far as that can be read.

use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{
    Error, Expr, ExprAsync, GenericArgument, ImplItemFn, PathArguments, ReturnType, Stmt, Type,
    TypeParamBound, parse_quote,
};

/// The types of futures in boxes whose last argument is what they are ready with.
const BOXED: [&str; 2] = ["BoxFuture", "LocalBoxFuture"];

/// Returns the type that a function returns, as it can stand in its body.
pub(super) fn returned(output: &ReturnType) -> syn::Result<Type> {
    match output {
        ReturnType::Default => Ok(parse_quote!(())),
        ReturnType::Type(_, ty) => written(ty),
    }
}

fn written(ty: &Type) -> syn::Result<Type> {
    /// Leaves to the compiler what can't be named.
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
        let text = "a function that never returns can't be observed: its calls have no end";
        return Err(Error::new_spanned(ty, text));
    }
    let mut ty = ty.clone();
    Infer.visit_type_mut(&mut ty);
    Ok(ty)
}

/// Returns the future that a function without `async` ends with, as those of `#[async_trait]` do: `async …`, `Box::pin(async …)` or
/// `async ….boxed()`; and what it is ready with.
///
/// A function that returns a future in another way would be timed until it has made it, which is not what anybody asks for.
pub(super) fn future(function: &mut ImplItemFn) -> syn::Result<Option<(&mut ExprAsync, Type)>> {
    let ReturnType::Type(_, ty) = &function.sig.output else {
        return Ok(None);
    };
    let last = match function.block.stmts.last_mut() {
        Some(Stmt::Expr(last, None)) => tail(last),
        _ => None,
    };
    match (last, ready_with(ty)) {
        (Some(future), Some(output)) => Ok(Some((future, written(output)?))),
        (Some(_), None) => {
            let text = "what this future is ready with can't be read: write `impl Future<Output = …>`, `Pin<Box<dyn Future<Output = …>>>` or `BoxFuture<…>`";
            Err(Error::new_spanned(ty, text))
        }
        (None, Some(_)) => {
            let text = "what makes this future can't be observed: write an `async fn`, or end with `async move { … }` or `Box::pin(async move { … })`";
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

/// Returns what the future in a type is ready with, if that stands in it.
fn ready_with(ty: &Type) -> Option<&Type> {
    let bounds = match ty {
        Type::ImplTrait(ty) => &ty.bounds,
        Type::TraitObject(ty) => &ty.bounds,
        Type::Path(ty) => {
            let segment = ty.path.segments.last()?;
            let mut types = arguments(&segment.arguments).filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            return match BOXED.iter().any(|name| segment.ident == name) {
                true => types.last(),
                false => types.find_map(ready_with),
            };
        }
        _ => return None,
    };
    let traits = bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    let mut futures = traits.filter(|segment| segment.ident == "Future");
    arguments(&futures.next()?.arguments).find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
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
