use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::digest;
use subtle::ConstantTimeEq;

/// The permissions of a token. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read.
    Viewer,
    /// Acknowledge and silence alerts.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Returns the role's name: `viewer`, `operator` or `admin`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// An access token: a name, a role and the SHA-256 of its secret. The secret itself is not stored.
///
/// ```
/// use campanile_monitor::{Role, Token};
///
/// // printf %s "$SECRET" | sha256sum
/// let token: Token = "ada:operator:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".parse()?;
/// assert_eq!((token.name(), token.role()), ("ada", Role::Operator));
/// # Ok::<_, campanile_monitor::TokenError>(())
/// ```
#[derive(Clone)]
pub struct Token {
    name: Arc<str>,
    role: Role,
    digest: [u8; 32],
}

impl Token {
    /// Generates a secret of 256 bits and returns it with its token.
    ///
    /// # Errors
    ///
    /// If the name is invalid, or the system's random number generator fails.
    pub fn generate(name: impl Into<String>, role: Role) -> Result<(Self, String), GenerateError> {
        let name: String = name.into();
        check_name(&name)?;
        let name = name.into();
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| GenerateError::Random {
            source: Arc::new(std::io::Error::other(error.to_string())),
        })?;
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = sha256(secret.as_bytes());
        Ok((Self { name, role, digest }, secret))
    }

    /// Parses tokens of the form `name:role:sha256`, separated by commas or line breaks. Empty parts are skipped.
    ///
    /// # Errors
    ///
    /// If a token is invalid, or two have the same secret.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, TokenError> {
        let parts = text.split([',', '\n']).map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        let tokens: Vec<Self> = parts.map(str::parse).collect::<Result<_, _>>()?;
        match Self::same_secret(&tokens) {
            Some((token, other)) => Err(TokenError::SameSecret {
                token: token.name.to_string(),
                other: other.name.to_string(),
            }),
            None => Ok(tokens),
        }
    }

    /// Returns two tokens with the same secret. Their role would depend on their order.
    pub(crate) fn same_secret(tokens: &[Self]) -> Option<(&Self, &Self)> {
        let mut seen = HashMap::new();
        tokens.iter().find_map(|token| {
            let first = seen.insert(token.digest, token)?;
            Some((first, token))
        })
    }

    /// Returns the token's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Returns the token's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns whether both tokens have the same secret. A monitor rejects such tokens, because it can't distinguish
    /// them.
    #[must_use]
    pub fn has_same_secret(&self, other: &Self) -> bool {
        bool::from(self.digest.ct_eq(&other.digest))
    }

    /// Returns the token of a secret. The secret is compared with every token in constant time.
    pub(crate) fn find<'a>(tokens: &'a [Self], secret: &[u8]) -> Option<&'a Self> {
        let digest = sha256(secret);
        let mut found = None;
        for token in tokens {
            if bool::from(token.digest.ct_eq(&digest)) {
                found = Some(token);
            }
        }
        found
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let [name, role, digest] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(TokenError::Form);
        };
        check_name(name)?;
        let role = match role {
            "viewer" => Role::Viewer,
            "operator" => Role::Operator,
            "admin" => Role::Admin,
            _ => {
                return Err(TokenError::Role {
                    name: name.to_owned(),
                });
            }
        };
        let digest = digest_of(digest).ok_or_else(|| TokenError::Digest {
            name: name.to_owned(),
        })?;
        if digest == sha256(b"") {
            return Err(TokenError::EmptySecret {
                name: name.to_owned(),
            });
        }
        Ok(Self {
            name: name.into(),
            role,
            digest,
        })
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

fn check_name(name: &str) -> Result<(), TokenError> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_valid) {
        return Err(TokenError::Name);
    }
    Ok(())
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (number, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * number..2 * number + 2], 16).ok()?;
    }
    Some(digest)
}

/// Shows the name and the role only.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A string is not a token. Errors show only a valid name: the string may be a misplaced secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The string does not have three parts.
    #[error("invalid token: expected name:role:sha256")]
    Form,
    /// The name is invalid.
    #[error("invalid token name: expected 1 to 64 characters of [A-Za-z0-9._-]")]
    Name,
    /// The role is unknown.
    #[error("unknown role of token {name:?}: expected viewer, operator or admin")]
    Role {
        /// The token's name.
        name: String,
    },
    /// The digest is invalid.
    #[error(
        "invalid SHA-256 of token {name:?}: expected 64 hexadecimal digits, as `sha256sum` prints them"
    )]
    Digest {
        /// The token's name.
        name: String,
    },
    /// The digest is the one of the empty string, for example of an unset variable.
    #[error("empty secret of token {name:?}: expected the SHA-256 of 256 random bits")]
    EmptySecret {
        /// The token's name.
        name: String,
    },
    /// Two tokens have the same secret.
    #[error(
        "duplicate secret of tokens {token:?} and {other:?}: expected a unique secret for each token"
    )]
    SameSecret {
        /// The name of the first token.
        token: String,
        /// The name of the second token.
        other: String,
    },
}

/// A token could not be generated.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The name is invalid.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The system's random number generator failed.
    #[error("failed to generate a secret: {source}")]
    Random {
        /// The system's error.
        source: Arc<std::io::Error>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn tokens_are_parsed() {
        let text = format!(
            "a:viewer:{DIGEST}\n\n b:operator:{} ,c:admin:{}",
            DIGEST.replace('9', "8"),
            DIGEST.replace('9', "7").to_uppercase()
        );
        let tokens = Token::parse_all(&text).unwrap();
        let read: Vec<_> = tokens
            .iter()
            .map(|token| (token.name(), token.role()))
            .collect();
        assert_eq!(
            read,
            [
                ("a", Role::Viewer),
                ("b", Role::Operator),
                ("c", Role::Admin)
            ]
        );
        let found = |digest: &str| {
            let token = format!("a:viewer:{digest}").parse().unwrap();
            Token::find(&[token], b"test").is_some()
        };
        assert!(found(DIGEST) && found(&DIGEST.to_uppercase()));
        assert!(!found(&DIGEST.replace('9', "8")));
        assert_eq!(Token::parse_all(" \n,").unwrap().len(), 0);
        #[track_caller]
        fn check(text: &str, expected: &TokenError) {
            let error = text.parse::<Token>().unwrap_err();
            assert_eq!(error, *expected);
            assert!(!error.to_string().contains("9f86"), "{error}");
        }
        let name = || "a".to_owned();
        check("", &TokenError::Form);
        check(DIGEST, &TokenError::Form);
        check(&format!("a:{DIGEST}"), &TokenError::Form);
        check(&format!("a:viewer:{DIGEST}:x"), &TokenError::Form);
        check(&format!(":viewer:{DIGEST}"), &TokenError::Name);
        check(&format!("{DIGEST}9:viewer:{DIGEST}"), &TokenError::Name);
        check(
            &format!("a:root:{DIGEST}"),
            &TokenError::Role { name: name() },
        );
        check(
            &format!("a:viewer:{DIGEST}0"),
            &TokenError::Digest { name: name() },
        );
        check(
            &format!("a:viewer:+{}", &DIGEST[1..]),
            &TokenError::Digest { name: name() },
        );
        check(
            "a:viewer:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            &TokenError::EmptySecret { name: name() },
        );
        let twice = format!("a:viewer:{DIGEST},b:admin:{DIGEST}");
        let error = Token::parse_all(&twice).unwrap_err();
        let (token, other) = (name(), "b".to_owned());
        assert_eq!(error, TokenError::SameSecret { token, other });
    }

    #[test]
    fn a_generated_token_matches_only_its_secret() {
        let (one, secret) = Token::generate("one", Role::Admin).unwrap();
        let (two, other) = Token::generate("two", Role::Viewer).unwrap();
        let tokens = [one, two];
        assert_eq!((secret.len(), secret == other), (64, false));
        let found = |secret: &str| Token::find(&tokens, secret.as_bytes()).map(Token::name);
        assert_eq!((found(&secret), found(&other)), (Some("one"), Some("two")));
        assert_eq!(
            (
                found(""),
                found(&secret[1..]),
                found(&secret.to_uppercase())
            ),
            (None, None, None)
        );
        assert!(Token::generate("a b", Role::Admin).is_err());
        let shown = format!("{tokens:?}");
        assert!(
            !shown.contains(&secret) && !shown.contains("digest"),
            "{shown}"
        );
    }
}
