use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::CorrelationId;

/// Extracts the id that the layer has set. Use `Option<CorrelationId>` if the layer may be missing.
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<S: Sync> FromRequestParts<S> for CorrelationId {
    type Rejection = MissingCorrelationId;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingCorrelationId> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(MissingCorrelationId)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<S: Sync> OptionalFromRequestParts<S> for CorrelationId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// A handler extracts a [`CorrelationId`], but the router has no
/// [`CorrelationIdLayer`](crate::CorrelationIdLayer).
///
/// The response is 500 with the message as plain text.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("missing correlation id: add a `CorrelationIdLayer` around the router")]
#[non_exhaustive]
pub struct MissingCorrelationId;

impl IntoResponse for MissingCorrelationId {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::CorrelationIdLayer;

    async fn body(app: Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path)
            .header("x-correlation-id", "abc")
            .body(Body::empty())
            .unwrap();
        let response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn extracts_what_the_layer_set() {
        let app = Router::new()
            .route("/id", get(async |id: CorrelationId| id.to_string()))
            .route(
                "/maybe",
                get(async |id: Option<CorrelationId>| format!("{id:?}")),
            );
        let layered = app.clone().layer(CorrelationIdLayer::new());
        assert_eq!(
            body(layered.clone(), "/id").await,
            (StatusCode::OK, "abc".to_owned())
        );
        assert_eq!(
            body(layered, "/maybe").await.1,
            "Some(CorrelationId(\"abc\"))"
        );
        assert_eq!(
            body(app.clone(), "/id").await,
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                MissingCorrelationId.to_string()
            )
        );
        assert_eq!(body(app, "/maybe").await.1, "None");
    }
}
