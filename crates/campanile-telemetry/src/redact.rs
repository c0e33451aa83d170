use crate::scrub::Scrubber;

/// The words that redact the value of a field whose name has one of them.
///
/// A name is split into words at characters that are not letters, between letters and digits, and
/// where the case changes. Adjacent words are also compared joined, so `api_key` matches
/// `x-api-key`, `apiKey`, `APIKey` and `apikey`. The default words also match in the plural, and at
/// the start or end of a word, such as `newpassword`.
#[derive(Clone, Debug)]
pub(crate) struct Redaction {
    defaults: bool,
    /// The words of the application, in lower case, without separators.
    own: Vec<String>,
    /// Redacts secrets inside of values.
    pub(crate) scrubber: Scrubber,
}

/// The default words. They do not redact numbers and booleans, such as `max_tokens` and
/// `password_reset`.
const SECRETS: [&str; 37] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "auth",
    "authorization",
    "authtoken",
    "bearer",
    "clientsecret",
    "connectionstring",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "csrf",
    "databaseurl",
    "dbpassword",
    "dsn",
    "idtoken",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "privatekey",
    "pwd",
    "refreshtoken",
    "secret",
    "secretkey",
    "secrets",
    "session",
    "sessionid",
    "sessionkey",
    "sessiontoken",
    "signingkey",
    "token",
    "userpassword",
    "xsrf",
];

/// Which values of a field are redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hidden {
    #[default]
    Nothing,
    /// All values except numbers and booleans.
    Texts,
    Everything,
}

impl Hidden {
    pub(crate) fn hides(self, is_text: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Texts => is_text,
            Self::Everything => true,
        }
    }
}

impl Default for Redaction {
    fn default() -> Self {
        Self {
            defaults: true,
            own: Vec::new(),
            scrubber: Scrubber::default(),
        }
    }
}

impl Redaction {
    /// Adds words.
    pub(crate) fn add(&mut self, words: impl IntoIterator<Item = String>) {
        let joined = words.into_iter().map(|word| self::words(&word).concat());
        self.own.extend(joined.filter(|word| !word.is_empty()));
    }

    /// Replaces all words, including the default ones.
    pub(crate) fn replace(&mut self, words: impl IntoIterator<Item = String>) {
        self.defaults = false;
        self.own.clear();
        self.add(words);
    }

    /// Returns which values of a field with this name are redacted.
    pub(crate) fn hides(&self, name: &str) -> Hidden {
        let words = words(name);
        if self.own.iter().any(|secret| has(&words, secret)) {
            return Hidden::Everything;
        }
        let singular = |word: &String| word.strip_suffix('s').unwrap_or(word).to_owned();
        let singular: Vec<_> = words.iter().map(singular).collect();
        let is_secret = |secret: &&str| has(&words, secret) || has(&singular, secret);
        if self.defaults
            && (SECRETS.iter().any(is_secret) || words.iter().any(|word| holds_secret(word)))
        {
            Hidden::Texts
        } else {
            Hidden::Nothing
        }
    }
}

/// Returns whether a word starts or ends with the word of a secret, such as `newpassword` and
/// `passwordhash`.
fn holds_secret(word: &str) -> bool {
    const PARTS: [&str; 6] = ["password", "passwd", "secret", "token", "apikey", "cookie"];
    const OTHERS: [&str; 2] = ["secretar", "tokeni"];
    let is_other = OTHERS.iter().any(|other| word.starts_with(other));
    let word = word.strip_suffix('s').unwrap_or(word);
    !is_other
        && PARTS
            .iter()
            .any(|part| word.starts_with(part) || word.ends_with(part))
}

/// Returns whether adjacent words, joined, equal a string.
fn has(words: &[String], joined: &str) -> bool {
    (0..words.len()).any(|first| {
        let mut rest = joined;
        for word in &words[first..] {
            match rest.strip_prefix(word.as_str()) {
                Some("") => return true,
                Some(left) => rest = left,
                None => return false,
            }
        }
        false
    })
}

/// Splits a name into its words, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None;
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        let is_lower_next = chars.peek().is_some_and(|next| next.is_lowercase());
        let begins = before.is_some_and(|before: char| {
            char.is_uppercase() && (!before.is_uppercase() || is_lower_next)
                || char.is_numeric() != before.is_numeric()
        });
        before = Some(char);
        if begins || !char.is_alphanumeric() {
            words.push(String::new());
        }
        if char.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_however_their_names_are_written() {
        let redaction = Redaction::default();
        for name in [
            "password",
            "db.Password",
            "X_API_KEY",
            "x-api-key",
            "http.request.header.x-api-key",
            "APIKey",
            "apikey",
            "accessToken",
            "AccessTOKEN",
            "set-cookie",
            "privateKey",
            "private-key",
            "pwd",
            "passphrase",
            "credentials",
            "access_key",
            "session",
            "sessionid",
            "session_id",
            "jwt",
            "csrf",
            "auth",
            "dsn",
            "database_url",
            "DATABASE_URL",
            "token2.token",
            "setCookie",
            "HTTPSession",
            "requestAuthHeader",
            "prompt_tokens",
            "maxTokens",
        ] {
            assert_eq!(redaction.hides(name), Hidden::Texts, "{name}");
        }
        for name in [
            "user",
            "pass",
            "key",
            "",
            "p",
            "secretary",
            "author",
            "obsession",
            "tokenizer",
            "api",
            "key_api",
            "...",
            "\u{130}",
        ] {
            assert_eq!(redaction.hides(name), Hidden::Nothing, "{name}");
        }
    }

    #[test]
    fn digits_plurals_and_compounds_are_known() {
        let redaction = Redaction::default();
        for name in [
            "password2",
            "password1",
            "token1",
            "secret1",
            "newpassword",
            "oldpassword",
            "tokens",
            "access_tokens",
            "api_keys",
            "private_keys",
            "smtppassword",
            "mysecret",
            "bottoken",
            "api_key1",
            "secretvalue",
            "cookie1",
            "passwordhash",
            "xauthtoken",
            "usertoken",
        ] {
            assert_eq!(redaction.hides(name), Hidden::Texts, "{name}");
        }
    }

    #[test]
    fn words_are_added_and_hide_numbers_too() {
        let mut redaction = Redaction::default();
        redaction.add(["IBAN".to_owned(), "card_number".to_owned(), String::new()]);
        for name in ["customer_iban", "cardNumber", "card.number", "cardnumber"] {
            assert_eq!(redaction.hides(name), Hidden::Everything, "{name}");
        }
        assert_eq!(redaction.hides("password"), Hidden::Texts);
        assert_eq!(redaction.hides("card"), Hidden::Nothing);
        redaction.replace(["user".to_owned()]);
        assert_eq!(redaction.hides("user.name"), Hidden::Everything);
        for name in ["password", "iban"] {
            assert_eq!(redaction.hides(name), Hidden::Nothing, "{name}");
        }
    }
}
