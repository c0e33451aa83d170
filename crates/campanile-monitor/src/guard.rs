use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use crate::guesses::Guesses;
use crate::{Peer, Role, Token, bodies, peer};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Any client.
    Public,
    /// Clients with a credential. While no token is configured, also clients on the same machine.
    Read,
    /// Clients with a credential that has at least this role.
    Role(Role),
}

/// The client of a request that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// The role of the credential, if there is a valid one.
    pub(crate) role: Option<Role>,
    /// What was wrong with the credential, on a route that needs none.
    pub(crate) refusal: Option<Refusal>,
    /// Whether the client may read because it is on the same machine.
    pub(crate) is_local: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no credential.
    Missing,
    /// What it has is not of the form of one.
    Malformed,
    /// No token has that secret.
    Unknown,
    /// The role may not.
    Forbidden,
    /// Its peer has sent too many unknown secrets.
    RateLimited {
        /// How long until the peer's next secret is looked at.
        retry_after: Duration,
    },
}

/// The limit of a header `Authorization`, in bytes.
const MAX_HEADER: usize = 4_096;

/// Decides about requests.
#[derive(Debug)]
pub(crate) struct Guard {
    tokens: Vec<Token>,
    trusts_loopback: bool,
    guesses: Mutex<Guesses>,
}

impl Guard {
    pub(crate) fn new(tokens: Vec<Token>, trusts_loopback: bool) -> Self {
        // With a credential configured, no client needs another way in. A proxy on the same machine may look like a local client.
        let trusts_loopback = trusts_loopback && tokens.is_empty();
        Self {
            tokens,
            trusts_loopback,
            guesses: Mutex::default(),
        }
    }

    /// Decides about a request at a time of the monotonic clock.
    pub(crate) fn admit(
        &self,
        access: Access,
        request: &Parts,
        now: Instant,
    ) -> Result<Visitor, Refusal> {
        let credential = match credential(request) {
            Ok(None) => Ok(None),
            Ok(Some(secret)) => self.find(secret, request, now).map(Some),
            Err(refusal) => Err(refusal),
        };
        let (token, refusal) = match (access, credential) {
            (_, Ok(token)) => (token, None),
            // A header of another scheme, such as `Basic`, is not for us. Without tokens, no header is.
            (Access::Public, Err(Refusal::Malformed)) => (None, None),
            (Access::Public, Err(_)) if self.tokens.is_empty() => (None, None),
            // A guess at a token gets what a client without one gets. So do further guesses: a health probe with a foreign
            // credential must not fail.
            (Access::Public, Err(refusal @ (Refusal::Unknown | Refusal::RateLimited { .. }))) => {
                (None, Some(refusal))
            }
            (_, Err(refusal)) => return Err(refusal),
        };
        let visitor = Visitor {
            role: token.map(Token::role),
            refusal,
            is_local: self.trusts_loopback && token.is_none() && peer::is_local(request),
        };
        match (access, visitor.role) {
            (Access::Public, _) | (Access::Read, Some(_)) => Ok(visitor),
            (Access::Read, None) if visitor.is_local => Ok(visitor),
            (Access::Read | Access::Role(_), None) => Err(Refusal::Missing),
            (Access::Role(least), Some(role)) if role < least => Err(Refusal::Forbidden),
            (Access::Role(_), Some(_)) => Ok(visitor),
        }
    }

    fn find(&self, secret: &[u8], request: &Parts, now: Instant) -> Result<&Token, Refusal> {
        if self.tokens.is_empty() {
            // There is nothing to guess.
            return Err(Refusal::Unknown);
        }
        let peer = request.extensions.get::<Peer>();
        let peer = peer.map(|Peer(address)| address.ip());
        let guesses = || self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(retry_after) = guesses().retry_after(peer, now) {
            return Err(Refusal::RateLimited { retry_after });
        }
        Token::find(&self.tokens, secret).ok_or_else(|| {
            guesses().add(peer, now);
            Refusal::Unknown
        })
    }
}

/// Returns the secret that a request has, if it has one.
fn credential(request: &Parts) -> Result<Option<&[u8]>, Refusal> {
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
        _ => Err(Refusal::Malformed),
    }
}

impl Refusal {
    /// All reasons.
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

    /// Returns the answer, which is the same for all that is not a credential.
    pub(crate) fn response(self) -> Response<String> {
        if self == Self::Forbidden {
            return bodies::error(
                StatusCode::FORBIDDEN,
                "forbidden",
                "the credential's role may not do this",
            );
        }
        if let Self::RateLimited { retry_after } = self {
            let text = "too many unknown credentials from this address";
            let code = StatusCode::TOO_MANY_REQUESTS;
            let mut response = bodies::error(code, "too_many_requests", text);
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            return response;
        }
        let text = "a credential is needed: send `Authorization: Bearer <token>`";
        let mut response = bodies::error(StatusCode::UNAUTHORIZED, "unauthorized", text);
        let challenge = HeaderValue::from_static("Bearer realm=\"campanile\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        response
    }
}

#[cfg(test)]
mod tests {
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
    fn credentials_are_read() {
        #[track_caller]
        fn check(headers: &[&[u8]], expected: Result<Option<&[u8]>, Refusal>) {
            assert_eq!(credential(&request(headers)), expected);
        }
        check(&[], Ok(None));
        check(&[b"Bearer secret"], Ok(Some(b"secret")));
        check(&[b"bearer secret"], Ok(Some(b"secret")));
        check(&[b"BEARER   secret "], Ok(Some(b"secret")));
        let malformed = Err(Refusal::Malformed);
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
    fn refusals_tell_no_more_than_that() {
        let [missing, malformed, unknown, forbidden] = [
            Refusal::Missing,
            Refusal::Malformed,
            Refusal::Unknown,
            Refusal::Forbidden,
        ]
        .map(Refusal::response);
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
    fn without_tokens_there_is_nothing_to_guess() {
        let guard = Guard::new(Vec::new(), true);
        let mut request = request(&[b"Bearer of-another-service"]);
        let peer = Peer("127.0.0.1:1".parse().unwrap());
        request.extensions.insert(peer);
        let now = crate::monitor::now().mono;
        for _ in 0..100 {
            let visitor = guard.admit(Access::Public, &request, now).unwrap();
            assert_eq!((visitor.role, visitor.refusal), (None, None));
            let read = guard.admit(Access::Read, &request, now);
            assert_eq!(read, Err(Refusal::Unknown));
        }
    }

    #[test]
    fn a_peer_has_thirty_guesses_a_minute() {
        let (token, secret) = Token::generate("ada", Role::Viewer).unwrap();
        let guard = Guard::new(vec![token], true);
        let start = crate::monitor::now().mono;
        let ask = |peer: &str, secret: &str, access, seconds| {
            let mut request = request(&[format!("Bearer {secret}").as_bytes()]);
            request.extensions.insert(Peer(peer.parse().unwrap()));
            let now = start + Duration::from_secs(seconds);
            let visitor = guard.admit(access, &request, now)?;
            visitor.refusal.map_or(Ok(visitor.role), Err)
        };
        for n in 0..30 {
            let access = if n % 2 == 0 {
                Access::Public
            } else {
                Access::Read
            };
            let guess = ask("10.0.0.1:1", "guess", access, 100 + n);
            assert_eq!(guess, Err(Refusal::Unknown));
        }
        let retry_after = Duration::from_secs(30);
        let limited = Refusal::RateLimited { retry_after };
        // The right secret is not looked at either, so that nothing tells it from a wrong one.
        for access in [Access::Public, Access::Read] {
            assert_eq!(ask("10.0.0.1:2", &secret, access, 130), Err(limited));
        }
        assert_eq!(limited.response().headers()[RETRY_AFTER], "30");
        // Another peer, and the same one a minute later.
        let admitted = Ok(Some(Role::Viewer));
        assert_eq!(ask("10.0.0.2:1", &secret, Access::Read, 130), admitted);
        assert_eq!(ask("10.0.0.1:1", &secret, Access::Read, 160), admitted);
        // No number of right secrets is too many.
        for _ in 0..100 {
            assert_eq!(ask("10.0.0.3:1", &secret, Access::Read, 130), admitted);
        }
    }
}
