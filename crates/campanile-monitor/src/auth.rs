use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use crate::guesses::Guesses;
use crate::peer::{self, Peer};
use crate::response;
use crate::token::{Role, Token};

/// The clients that may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Any client.
    Public,
    /// Clients with a token. Without a configured token, also clients on the same machine.
    Read,
    /// Clients with a token of at least this role.
    Role(Role),
}

/// The client of an authorized request.
///
/// An [`AuthorizeLayer`](crate::AuthorizeLayer) inserts it into the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name of the request's token.
    pub(crate) name: Option<Arc<str>>,
    /// The role of the request's token.
    pub(crate) role: Option<Role>,
    /// The error of the credential, on a public route.
    pub(crate) error: Option<AuthError>,
    /// Whether the client may read because it is on the same machine.
    pub(crate) is_local: bool,
}

impl Principal {
    /// Returns the name of the request's token. `None` for a client without a token.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the role of the request's token. `None` for a client without a token.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Returns whether the client may read without a token, because it is on the same machine.
    pub fn is_local(&self) -> bool {
        self.is_local
    }
}

/// The reason for which a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// The request has no credential.
    Missing,
    /// The header `Authorization` is malformed.
    Malformed,
    /// No token matches the credential.
    Unknown,
    /// The token's role is too low.
    Forbidden,
    /// The client has sent too many unknown credentials.
    RateLimited {
        /// The time until the client's next credential is checked.
        retry_after: Duration,
    },
}

/// The maximum length of a header `Authorization` in bytes.
const MAX_HEADER: usize = 4_096;

/// Authorizes requests.
#[derive(Debug)]
pub(crate) struct Authorizer {
    tokens: Vec<Token>,
    trusts_loopback: bool,
    guesses: Mutex<Guesses>,
}

impl Authorizer {
    pub(crate) fn new(tokens: Vec<Token>, trusts_loopback: bool) -> Self {
        // With a token, local clients need one too: a proxy on the same machine may look like a local client.
        let trusts_loopback = trusts_loopback && tokens.is_empty();
        Self {
            tokens,
            trusts_loopback,
            guesses: Mutex::default(),
        }
    }

    /// Authorizes a request.
    ///
    /// # Errors
    ///
    /// If the request may not use a route with this access.
    pub(crate) fn authorize(
        &self,
        access: Access,
        request: &Parts,
        now: Instant,
    ) -> Result<Principal, AuthError> {
        let credential = match credential(request) {
            Ok(None) => Ok(None),
            Ok(Some(secret)) => self.find(secret, request, now).map(Some),
            Err(error) => Err(error),
        };
        let (token, error) = match (access, credential) {
            (_, Ok(token)) => (token, None),
            // A header with another scheme, such as `Basic`, is for the application. So is any header without tokens.
            (Access::Public, Err(AuthError::Malformed)) => (None, None),
            (Access::Public, Err(_)) if self.tokens.is_empty() => (None, None),
            // An unknown token on a public route gets the response without a token: a health probe with a foreign
            // credential must not fail.
            (Access::Public, Err(error @ (AuthError::Unknown | AuthError::RateLimited { .. }))) => {
                (None, Some(error))
            }
            (_, Err(error)) => return Err(error),
        };
        let principal = Principal {
            name: token.map(Token::shared_name),
            role: token.map(Token::role),
            error,
            is_local: self.trusts_loopback && token.is_none() && peer::is_local(request),
        };
        match (access, principal.role) {
            (Access::Public, _) | (Access::Read, Some(_)) => Ok(principal),
            (Access::Read, None) if principal.is_local => Ok(principal),
            (Access::Read | Access::Role(_), None) => Err(AuthError::Missing),
            (Access::Role(required), Some(role)) if role < required => Err(AuthError::Forbidden),
            (Access::Role(_), Some(_)) => Ok(principal),
        }
    }

    fn find(&self, secret: &[u8], request: &Parts, now: Instant) -> Result<&Token, AuthError> {
        if self.tokens.is_empty() {
            // Without tokens, a client can guess none.
            return Err(AuthError::Unknown);
        }
        let peer = request.extensions.get::<Peer>();
        let peer = peer.map(|Peer(address)| address.ip());
        let guesses = || self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(retry_after) = guesses().retry_after(peer, now) {
            return Err(AuthError::RateLimited { retry_after });
        }
        Token::find(&self.tokens, secret).ok_or_else(|| {
            guesses().add(peer, now);
            AuthError::Unknown
        })
    }
}

/// Returns the secret of the request's credential.
fn credential(request: &Parts) -> Result<Option<&[u8]>, AuthError> {
    let mut headers = request.headers.get_all(AUTHORIZATION).iter();
    let (header, another) = (headers.next(), headers.next());
    let Some(header) = header else {
        return Ok(None);
    };
    let header = header.as_bytes();
    let secret = header.split_at_checked(7).and_then(|(scheme, rest)| {
        let secret = rest.trim_ascii();
        let is_token = !secret.is_empty() && secret.iter().all(u8::is_ascii_graphic);
        (scheme.eq_ignore_ascii_case(b"Bearer ") && is_token).then_some(secret)
    });
    match secret {
        Some(secret) if another.is_none() && header.len() <= MAX_HEADER => Ok(Some(secret)),
        _ => Err(AuthError::Malformed),
    }
}

impl AuthError {
    /// The values of the label `reason`.
    pub(crate) const REASONS: [&str; 5] = [
        "missing",
        "malformed",
        "unknown",
        "forbidden",
        "rate_limited",
    ];

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Forbidden => "forbidden",
            Self::RateLimited { .. } => "rate_limited",
        }
    }

    /// Returns the response. Missing, malformed and unknown credentials get the same one.
    pub(crate) fn response(self) -> Response<String> {
        if self == Self::Forbidden {
            return response::error(
                StatusCode::FORBIDDEN,
                "forbidden",
                "the token's role is too low",
            );
        }
        if let Self::RateLimited { retry_after } = self {
            let text = "too many unknown credentials from this address";
            let code = StatusCode::TOO_MANY_REQUESTS;
            let mut response = response::error(code, "too_many_requests", text);
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            return response;
        }
        let text = "authentication required: send `Authorization: Bearer <token>`";
        let mut response = response::error(StatusCode::UNAUTHORIZED, "unauthorized", text);
        let challenge = HeaderValue::from_static("Bearer realm=\"campanile\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        response
    }
}

#[cfg(test)]
mod tests {
    use campanile_series::Now;
    use http::Request;

    use super::*;

    fn request(headers: &[&[u8]]) -> Parts {
        let mut request = Request::get("/").body(()).unwrap();
        for header in headers {
            let header = HeaderValue::from_bytes(header).unwrap();
            request.headers_mut().append(AUTHORIZATION, header);
        }
        request.into_parts().0
    }

    #[test]
    fn credentials_are_parsed() {
        #[track_caller]
        fn check(headers: &[&[u8]], expected: Result<Option<&[u8]>, AuthError>) {
            assert_eq!(credential(&request(headers)), expected);
        }
        check(&[], Ok(None));
        check(&[b"Bearer secret"], Ok(Some(b"secret")));
        check(&[b"bearer secret"], Ok(Some(b"secret")));
        check(&[b"BEARER   secret "], Ok(Some(b"secret")));
        let malformed = Err(AuthError::Malformed);
        for header in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer    ",
            b"Basic c2VjcmV0",
            b"secret",
            b"Bearersecret",
            b"Bearer two words",
            b"Bearer s\xff",
            "Bearer ü".as_bytes(),
        ] {
            check(&[header], malformed);
        }
        check(&[b"Bearer secret", b"Bearer secret"], malformed);
        check(
            &[format!("Bearer {}", "x".repeat(4_089)).as_bytes()],
            Ok(Some("x".repeat(4_089).as_bytes())),
        );
        check(
            &[format!("Bearer {}", "x".repeat(4_090)).as_bytes()],
            malformed,
        );
    }

    #[test]
    fn unauthorized_responses_are_equal() {
        let [missing, malformed, unknown, forbidden] = [
            AuthError::Missing,
            AuthError::Malformed,
            AuthError::Unknown,
            AuthError::Forbidden,
        ]
        .map(AuthError::response);
        for response in [&malformed, &unknown] {
            assert_eq!(
                (response.status(), response.body(), response.headers()),
                (missing.status(), missing.body(), missing.headers())
            );
        }
        assert_eq!(
            missing.headers()[WWW_AUTHENTICATE],
            "Bearer realm=\"campanile\""
        );
        assert_eq!(
            (missing.status().as_u16(), forbidden.status().as_u16()),
            (401, 403)
        );
    }

    #[test]
    fn without_tokens_nothing_is_rate_limited() {
        let authorizer = Authorizer::new(Vec::new(), true);
        let mut request = request(&[b"Bearer of-another-service"]);
        let peer = Peer("127.0.0.1:1".parse().unwrap());
        request.extensions.insert(peer);
        let now = Now::system().mono;
        for _ in 0..100 {
            let principal = authorizer.authorize(Access::Public, &request, now).unwrap();
            assert_eq!((principal.role, principal.error), (None, None));
            let read = authorizer.authorize(Access::Read, &request, now);
            assert_eq!(read, Err(AuthError::Unknown));
        }
    }

    #[test]
    fn a_peer_has_thirty_unknown_tokens_a_minute() {
        let (token, secret) = Token::generate("ada", Role::Viewer).unwrap();
        let authorizer = Authorizer::new(vec![token], true);
        let start = Now::system().mono;
        let ask = |peer: &str, secret: &str, access, seconds| {
            let mut request = request(&[format!("Bearer {secret}").as_bytes()]);
            request.extensions.insert(Peer(peer.parse().unwrap()));
            let now = start + Duration::from_secs(seconds);
            let principal = authorizer.authorize(access, &request, now)?;
            principal.error.map_or(Ok(principal.role), Err)
        };
        for n in 0..30 {
            let access = if n % 2 == 0 {
                Access::Public
            } else {
                Access::Read
            };
            let guess = ask("10.0.0.1:1", "guess", access, 100 + n);
            assert_eq!(guess, Err(AuthError::Unknown));
        }
        let retry_after = Duration::from_secs(30);
        let limited = AuthError::RateLimited { retry_after };
        // The right secret is not checked either, so that a client can't find it.
        for access in [Access::Public, Access::Read] {
            assert_eq!(ask("10.0.0.1:2", &secret, access, 130), Err(limited));
        }
        assert_eq!(limited.response().headers()[RETRY_AFTER], "30");
        // Another peer, and the same one a minute later.
        let admitted = Ok(Some(Role::Viewer));
        assert_eq!(ask("10.0.0.2:1", &secret, Access::Read, 130), admitted);
        assert_eq!(ask("10.0.0.1:1", &secret, Access::Read, 160), admitted);
        // Valid tokens are not limited.
        for _ in 0..100 {
            assert_eq!(ask("10.0.0.3:1", &secret, Access::Read, 130), admitted);
        }
    }
}
