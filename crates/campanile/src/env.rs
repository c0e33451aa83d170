use std::env::VarError;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use campanile_monitor::Token;
use campanile_store::{Memory, Store};

/// The environment's settings.
#[derive(Default)]
pub(crate) struct Env {
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) tokens: Vec<Token>,
    /// Whether a variable of tokens was ignored: the operator wants credentials to be necessary.
    pub(crate) lacks_tokens: bool,
    /// The variables that were ignored, each with the reason, and without its value, which may be a
    /// secret.
    pub(crate) warnings: Vec<String>,
}

const STORE: &str = "CAMPANILE_STORE";
const TOKENS: &str = "CAMPANILE_TOKENS";
const TOKENS_FILE: &str = "CAMPANILE_TOKENS_FILE";

/// The monitor's limit.
const MAX_TOKENS: usize = 1_000;

/// How many bytes a file of tokens has at most.
const MAX_FILE: u64 = 1 << 20;

/// How many ignored tokens a warning names at most.
const SHOWN_NAMES: usize = 5;

impl Env {
    /// Reads the process's environment; the store only if it is wanted.
    pub(crate) fn read(wants_store: bool, code: &[Token]) -> Self {
        Self::from(&|name| std::env::var(name), wants_store, code)
    }

    /// `code` has the tokens that the application set.
    fn from(
        get: &dyn Fn(&str) -> Result<String, VarError>,
        wants_store: bool,
        code: &[Token],
    ) -> Self {
        let mut env = Self::default();
        let tokens = env.variable(get, TOKENS).map(|tokens| (TOKENS, Ok(tokens)));
        let file = env.variable(get, TOKENS_FILE);
        let file = file.map(|file| (TOKENS_FILE, read_file(&file)));
        for (variable, text) in tokens.into_iter().chain(file) {
            let tokens =
                text.and_then(|text| Token::parse_all(&text).map_err(|error| error.to_string()));
            match tokens {
                Ok(tokens) => env.add_tokens(variable, tokens, code),
                Err(reason) => env.ignore(variable, &reason),
            }
        }
        // A store is opened last, because it takes the file's lock.
        if let Some(path) = env.variable(get, STORE).filter(|_| wants_store) {
            env.store = Some(open(&path).unwrap_or_else(|reason| {
                env.ignore(STORE, &format!("{reason}; the store is in memory"));
                Arc::new(Memory::fallback(reason))
            }));
        }
        env
    }

    /// Adds a variable's tokens, except those that clash with the application's or with an earlier
    /// token of the environment.
    fn add_tokens(&mut self, variable: &'static str, tokens: Vec<Token>, code: &[Token]) {
        let all = code.len() + self.tokens.len() + tokens.len();
        if all > MAX_TOKENS {
            let reason = format!("too many tokens, {all} in all: expected at most {MAX_TOKENS}");
            return self.ignore(variable, &reason);
        }
        let mut ignored = Vec::new();
        for token in tokens {
            let mut others = code.iter().chain(&self.tokens);
            match others.find(|other| other.name() == token.name() || other.has_same_secret(&token))
            {
                Some(_) => ignored.push(token.name().to_owned()),
                None => self.tokens.push(token),
            }
        }
        if !ignored.is_empty() {
            let more = ignored.len().saturating_sub(SHOWN_NAMES);
            ignored.truncate(SHOWN_NAMES);
            let names = ignored.join(", ");
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let reason = format!(
                "ignored the tokens {names}{more}: expected a name and a secret that no other token has"
            );
            self.ignore(variable, &reason);
        }
    }

    fn variable(
        &mut self,
        get: &dyn Fn(&str) -> Result<String, VarError>,
        variable: &'static str,
    ) -> Option<String> {
        match get(variable) {
            Ok(value) => Some(value).filter(|value| !value.is_empty()),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                self.ignore(variable, "expected UTF-8");
                None
            }
        }
    }

    fn ignore(&mut self, variable: &'static str, reason: &str) {
        self.lacks_tokens |= variable != STORE;
        tracing::warn!(variable, reason, "ignored a variable of the environment");
        self.warnings.push(format!("{variable}: {reason}"));
    }
}

/// Reads a file of tokens.
fn read_file(path: &str) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(|error| format!("failed to read the file: {error}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err("file too large: expected at most 1 MiB".to_owned());
    }
    Ok(text)
}

/// Opens a store. A service starts without its file rather than not at all, so the caller falls back to memory.
#[cfg(feature = "store-redb")]
fn open(path: &str) -> Result<Arc<dyn Store>, String> {
    match campanile_store::Redb::open(path) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(not(feature = "store-redb"))]
fn open(_: &str) -> Result<Arc<dyn Store>, String> {
    Err("it needs the feature `store-redb` of campanile".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(variables: &[(&str, &str)]) -> Env {
        read_beside(variables, &[])
    }

    fn read_beside(variables: &[(&str, &str)], code: &[Token]) -> Env {
        let get = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .ok_or(VarError::NotPresent)
        };
        Env::from(&get, true, code)
    }

    #[test]
    fn variables_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, store) = (
            folder.path().join("tokens"),
            folder.path().join("store.redb"),
        );
        std::fs::write(&file, format!("b:admin:{}\n", digest(2))).unwrap();
        let tokens = format!("a:viewer:{DIGEST}");
        let env = read(&[
            (STORE, store.to_str().unwrap()),
            (TOKENS, &tokens),
            (TOKENS_FILE, file.to_str().unwrap()),
        ]);
        assert!(env.warnings.is_empty() && !env.lacks_tokens);
        let names: Vec<_> = env.tokens.iter().map(Token::name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(env.store.unwrap().status().durable);
        let env = read(&[(STORE, ""), (TOKENS, "")]);
        assert!(env.store.is_none() && env.tokens.is_empty() && env.warnings.is_empty());
    }

    /// The old instance of a service holds the lock until it has ended; a folder may be missing, full
    /// or forbidden.
    #[cfg(feature = "store-redb")]
    #[test]
    fn a_store_that_can_not_be_opened_costs_the_file_and_not_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let locked = folder.path().join("locked.redb");
        let _owner = campanile_store::Redb::open(&locked).unwrap();
        let theirs = folder.path().join("orders.db");
        std::fs::write(&theirs, "SQLite format 3\0").unwrap();
        let missing = folder.path().join("missing/store.redb");
        for (path, expected) in [
            (&locked, "locked.redb"),
            (&theirs, "is not a store"),
            (&missing, "missing/store.redb"),
        ] {
            let env = read(&[(STORE, path.to_str().unwrap())]);
            let [warning] = &*env.warnings else {
                panic!("{:?}", env.warnings)
            };
            assert!(warning.starts_with("CAMPANILE_STORE: "), "{warning}");
            let status = env.store.unwrap().status();
            assert!(!status.durable);
            assert!(format!("{status:?}").contains(expected), "{status:?}");
            assert!(!env.lacks_tokens);
        }
        let left = std::fs::read_to_string(&theirs).unwrap();
        assert_eq!(left, "SQLite format 3\0");
    }

    #[test]
    fn warnings_name_the_variable_and_not_the_secret() {
        let env = read(&[(TOKENS, "s3cr3t"), (TOKENS_FILE, "/nowhere/s3cr3t")]);
        assert!(env.lacks_tokens);
        let [tokens, file] = &*env.warnings else {
            panic!("{:?}", env.warnings)
        };
        assert!(tokens.starts_with("CAMPANILE_TOKENS: "), "{tokens}");
        assert!(file.starts_with("CAMPANILE_TOKENS_FILE: "), "{file}");
        assert!(!format!("{tokens}{file}").contains("s3cr3t"));
    }

    fn digest(number: usize) -> String {
        format!("{number:064x}")
    }

    /// A name or a secret twice is a mistake in the code, and a warning in the environment.
    #[test]
    fn a_token_that_clashes_with_another_one_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let path = file.to_str().unwrap();
        let list = |names: &[(&str, usize)]| {
            let tokens = names.iter();
            let tokens = tokens.map(|(name, secret)| format!("{name}:admin:{}", digest(*secret)));
            tokens.collect::<Vec<_>>().join(",")
        };
        let code: Vec<Token> = Token::parse_all(&list(&[("code", 1)])).unwrap();
        for (tokens, in_file, expected, warned) in [
            // A name twice in one variable.
            (
                &[("a", 2), ("a", 3)][..],
                &[][..],
                &["a"][..],
                &[TOKENS][..],
            ),
            // A name, or a secret, in both variables.
            (
                &[("a", 2)],
                &[("a", 3), ("b", 4)],
                &["a", "b"],
                &[TOKENS_FILE],
            ),
            (&[("a", 2)], &[("b", 2)], &["a"], &[TOKENS_FILE]),
            // A name, or a secret, of the code's.
            (
                &[("code", 2), ("a", 3)],
                &[("b", 1)],
                &["a"],
                &[TOKENS, TOKENS_FILE],
            ),
        ] {
            std::fs::write(&file, list(in_file)).unwrap();
            let env = read_beside(&[(TOKENS, &list(tokens)), (TOKENS_FILE, path)], &code);
            let names: Vec<_> = env.tokens.iter().map(Token::name).collect();
            assert_eq!(names, expected);
            assert_eq!(env.warnings.len(), warned.len(), "{:?}", env.warnings);
            for (warning, variable) in env.warnings.iter().zip(warned) {
                assert!(warning.starts_with(&format!("{variable}: ")), "{warning}");
                assert!(!warning.contains(&digest(1)) && !warning.contains(&digest(2)));
            }
            let mut builder = crate::Campanile::builder("test");
            for token in code.iter().chain(&env.tokens) {
                builder = builder.token(token.clone());
            }
            drop(builder.build().unwrap());
        }
    }

    #[test]
    fn a_file_of_tokens_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let variables = [(TOKENS_FILE, file.to_str().unwrap())];
        for (length, is_read) in [(1 << 20, true), ((1 << 20) + 1, false)] {
            let token = format!("a:viewer:{}", digest(1));
            let lines = "\n".repeat(length - token.len());
            std::fs::write(&file, token + &lines).unwrap();
            let env = read(&variables);
            assert_eq!(env.tokens.len() == 1, is_read);
            assert_eq!(env.warnings.is_empty(), is_read, "{:?}", env.warnings);
        }
    }

    #[test]
    fn a_variable_with_too_many_tokens_is_ignored() {
        let token = |number| format!("t{number}:viewer:{}\n", digest(number));
        let most: String = (1..=MAX_TOKENS).map(token).collect();
        assert_eq!(read(&[(TOKENS, &most)]).tokens.len(), MAX_TOKENS);
        let code: Vec<Token> = Token::parse_all(&token(0)).unwrap();
        let env = read_beside(&[(TOKENS, &most)], &code);
        assert!(env.tokens.is_empty() && env.lacks_tokens);
        let [warning] = &*env.warnings else {
            panic!("{:?}", env.warnings)
        };
        assert!(
            warning.contains("1001") && warning.contains("1000"),
            "{warning}"
        );
        // The limit is the monitor's.
        for (number, is_valid) in [(MAX_TOKENS, true), (MAX_TOKENS + 1, false)] {
            let tokens = (1..=number).map(|number| token(number).trim().parse().unwrap());
            let builder = crate::Campanile::builder("test");
            let builder = tokens.fold(builder, crate::Builder::token);
            assert_eq!(builder.build().is_ok(), is_valid);
        }
    }
}
