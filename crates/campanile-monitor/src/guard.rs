use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use crate::{Role, Token, bodies, peer};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever has a credential, and programs on the same machine.
    Read,
    /// Whoever has a credential with at least this role.
    Role(Role),
}

/// Who asks, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// The role of the credential, if there is a valid one.
    pub(crate) role: Option<Role>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no credential.
    Missing,
    /// What it has is not of the form of one.
    Malformed,
    /// Nobody has that secret.
    Unknown,
    /// The role may not.
    Forbidden,
}

/// The most bytes of a header `Authorization`.
const MAX_HEADER: usize = 4_096;

/// Decides about a request.
pub(crate) fn admit(tokens: &[Token], access: Access, request: &Parts) -> Result<Visitor, Refusal> {
    let credential = credential(request).and_then(|secret| {
        secret
            .map(|secret| Token::find(tokens, secret).ok_or(Refusal::Unknown))
            .transpose()
    });
    let stranger = Visitor { role: None };
    match (access, credential) {
        (Access::Public, credential) => Ok(Visitor {
            role: credential.ok().flatten().map(Token::role),
        }),
        (_, Err(refusal)) => Err(refusal),
        (Access::Read, Ok(None)) if peer::is_local(request) => Ok(stranger),
        (_, Ok(None)) => Err(Refusal::Missing),
        (Access::Role(least), Ok(Some(token))) if token.role() < least => Err(Refusal::Forbidden),
        (_, Ok(Some(token))) => Ok(Visitor {
            role: Some(token.role()),
        }),
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
    pub(crate) const ALL: [Self; 4] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Forbidden,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Forbidden => "forbidden",
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
        let [missing, malformed, unknown, forbidden] = Refusal::ALL.map(Refusal::response);
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
}
