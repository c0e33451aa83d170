use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::GrpcStatus;
use crate::Route;

/// The methods that are known to exist. Their paths are routes.
#[derive(Default)]
pub(crate) struct Methods(RwLock<HashSet<Arc<str>>>);

/// The limit of known methods.
const MAX_METHODS: usize = 200;

impl Methods {
    /// Returns the route of a call: its path, if the method is known to exist.
    ///
    /// A response makes the method known, unless a layer could send it for any path: UNIMPLEMENTED,
    /// or a rejection in the response head (trailers-only). `None` means no response.
    pub(crate) fn route(&self, path: &str, response: Option<CallResponse>) -> Route {
        let status = response.map(|response| response.status);
        if status == Some(GrpcStatus::UNIMPLEMENTED) || !is_method(path) {
            return Route::UNMATCHED;
        }
        // Nothing that can panic runs under the lock.
        let is_full = {
            let methods = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(method) = methods.get(path) {
                return Arc::clone(method).into();
            }
            methods.len() >= MAX_METHODS
        };
        if !response.is_some_and(CallResponse::shows_method) {
            return Route::UNMATCHED;
        }
        if is_full {
            return Route::OTHER;
        }
        let mut methods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if methods.len() >= MAX_METHODS && !methods.contains(path) {
            return Route::OTHER;
        }
        let method: Arc<str> = path.into();
        methods.insert(Arc::clone(&method));
        method.into()
    }
}

/// The part of a call's response that shows whether the method exists.
#[derive(Clone, Copy)]
pub(crate) struct CallResponse {
    pub(crate) status: GrpcStatus,
    /// Whether the response had a message, or its status in trailers.
    pub(crate) has_body: bool,
}

impl CallResponse {
    /// Returns whether only an existing method sends this response. A rejection by a layer (rate
    /// limit, load shedding, timeout, authentication) has no body.
    fn shows_method(self) -> bool {
        self.has_body
            || !matches!(
                self.status,
                GrpcStatus::CANCELLED
                    | GrpcStatus::INVALID_ARGUMENT
                    | GrpcStatus::DEADLINE_EXCEEDED
                    | GrpcStatus::PERMISSION_DENIED
                    | GrpcStatus::RESOURCE_EXHAUSTED
                    | GrpcStatus::FAILED_PRECONDITION
                    | GrpcStatus::UNAVAILABLE
                    | GrpcStatus::UNAUTHENTICATED
            )
    }
}

/// Returns whether the path has the form `/pkg.Service/Method`.
fn is_method(path: &str) -> bool {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
    };
    path.len() <= 256 && parts.is_some_and(|(service, method)| is_name(service) && is_name(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: GrpcStatus, has_body: bool) -> Option<CallResponse> {
        Some(CallResponse { status, has_body })
    }

    #[test]
    fn only_responses_of_methods_make_routes() {
        let methods = Methods::default();
        let route = |path: &str, status| methods.route(path, status).as_str().to_owned();
        let ok = response(GrpcStatus::OK, false);
        let rejections = [1, 3, 4, 7, 8, 9, 12, 14, 16]
            .map(|code: u8| GrpcStatus::from_code(code.to_string().as_bytes()));
        assert_eq!(route("/a.B/C", None), "_unmatched_");
        for status in rejections {
            assert_eq!(route("/a.B/C", response(status, false)), "_unmatched_");
        }
        let unimplemented = response(GrpcStatus::UNIMPLEMENTED, true);
        assert_eq!(route("/a.B/C", unimplemented), "_unmatched_");
        assert_eq!(
            route("/a.B/C", response(GrpcStatus::NOT_FOUND, false)),
            "/a.B/C"
        );
        assert_eq!(
            route("/a.B/D", response(GrpcStatus::UNAVAILABLE, true)),
            "/a.B/D"
        );
        assert_eq!(route("/a.B/C", None), "/a.B/C");
        for status in rejections {
            let expected = match status {
                GrpcStatus::UNIMPLEMENTED => "_unmatched_",
                _ => "/a.B/C",
            };
            assert_eq!(route("/a.B/C", response(status, false)), expected);
        }
        for path in [
            "",
            "/",
            "/a",
            "//",
            "/a/",
            "/a/b/c",
            "/a/b%20",
            "/a/<b>",
            &format!("/a/{}", "b".repeat(300)),
        ] {
            assert_eq!(route(path, ok), "_unmatched_", "{path}");
        }
    }

    #[test]
    fn methods_are_limited() {
        let methods = Methods::default();
        for number in 0..500 {
            let path = format!("/pkg.Service/Method{number}");
            let expected = if number < 200 {
                path.as_str()
            } else {
                "_other_"
            };
            assert_eq!(
                methods
                    .route(&path, response(GrpcStatus::OK, true))
                    .as_str(),
                expected
            );
        }
        assert_eq!(
            methods.route("/pkg.Service/Method7", None).as_str(),
            "/pkg.Service/Method7"
        );
    }
}
