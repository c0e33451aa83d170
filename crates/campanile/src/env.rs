use std::env::VarError;
#[cfg(feature = "redb")]
use std::io::ErrorKind;
use std::sync::Arc;

use campanile_monitor::Token;
use campanile_store::Store;
#[cfg(feature = "redb")]
use campanile_store::{Memory, OpenError, Redb};

use crate::Problem;

/// What the environment says.
pub(crate) struct Env {
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) tokens: Vec<Token>,
}

const STORE: &str = "CAMPANILE_STORE";
const TOKENS: &str = "CAMPANILE_TOKENS";
const TOKENS_FILE: &str = "CAMPANILE_TOKENS_FILE";

impl Env {
    /// Reads the process's environment; the store only if it is wanted.
    pub(crate) fn read(wants_store: bool, problems: &mut Vec<Problem>) -> Self {
        Self::from(&|name| std::env::var(name), wants_store, problems)
    }

    fn from(
        get: &dyn Fn(&str) -> Result<String, VarError>,
        wants_store: bool,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut variable = |variable: &'static str| match get(variable) {
            Ok(value) if value.is_empty() => None,
            Ok(value) => Some(value),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                problems.push(invalid(variable, "it is not UTF-8"));
                None
            }
        };
        let store = variable(STORE).filter(|_| wants_store);
        let tokens = variable(TOKENS).map(|tokens| (TOKENS, Ok(tokens)));
        let file = variable(TOKENS_FILE);
        let file = file.map(|file| (TOKENS_FILE, std::fs::read_to_string(file)));
        let mut read = Vec::new();
        for (variable, text) in tokens.into_iter().chain(file) {
            let text = text.map_err(|error| format!("the file can't be read: {error}"));
            let tokens =
                text.and_then(|text| Token::parse_all(&text).map_err(|error| error.to_string()));
            match tokens {
                Ok(tokens) => read.extend(tokens),
                Err(reason) => problems.push(invalid(variable, &reason)),
            }
        }
        let store = store.and_then(|path| match open(&path) {
            Ok(store) => Some(store),
            Err(reason) => {
                problems.push(invalid(STORE, &reason));
                None
            }
        });
        Self {
            store,
            tokens: read,
        }
    }
}

fn invalid(variable: &'static str, reason: &str) -> Problem {
    Problem::Environment {
        variable,
        reason: reason.to_owned(),
    }
}

#[cfg(feature = "redb")]
fn open(path: &str) -> Result<Arc<dyn Store>, String> {
    or_memory(Redb::open(path))
}

/// Returns a store in memory if nothing can be written, or if the file is not a store that this program can read: the
/// service starts without a file rather than not at all.
#[cfg(feature = "redb")]
fn or_memory(opened: Result<Redb, OpenError>) -> Result<Arc<dyn Store>, String> {
    match opened {
        Ok(store) => Ok(Arc::new(store)),
        Err(
            error @ OpenError::Io {
                kind: ErrorKind::ReadOnlyFilesystem,
                ..
            }
            | error @ (OpenError::Foreign { .. } | OpenError::Newer { .. } | OpenError::Older { .. }),
        ) => {
            tracing::error!(%error, "what is to be kept is kept in memory, and ends with the process");
            Ok(Arc::new(Memory::in_place_of(error.to_string())))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(not(feature = "redb"))]
fn open(_: &str) -> Result<Arc<dyn Store>, String> {
    Err("this program was built without feature `redb` of campanile".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(variables: &[(&str, &str)]) -> (Env, Vec<Problem>) {
        let mut problems = Vec::new();
        let get = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .ok_or(VarError::NotPresent)
        };
        (Env::from(&get, true, &mut problems), problems)
    }

    #[test]
    fn variables_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, store) = (
            folder.path().join("tokens"),
            folder.path().join("store.redb"),
        );
        std::fs::write(&file, format!("b:admin:{DIGEST}\n")).unwrap();
        let tokens = format!("a:viewer:{DIGEST}");
        let (env, problems) = read(&[
            (STORE, store.to_str().unwrap()),
            (TOKENS, &tokens),
            (TOKENS_FILE, file.to_str().unwrap()),
        ]);
        assert_eq!(problems, []);
        let names: Vec<_> = env.tokens.iter().map(Token::name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(env.store.unwrap().status().durable);
        let (env, problems) = read(&[(STORE, ""), (TOKENS, "")]);
        assert!(env.store.is_none() && env.tokens.is_empty() && problems.is_empty());
    }

    #[cfg(feature = "redb")]
    #[test]
    fn a_read_only_file_system_costs_the_file_and_not_the_start() {
        let refused = |kind| OpenError::Io {
            path: "/ro/store".into(),
            reason: "refused".to_owned(),
            kind,
        };
        let store = or_memory(Err(refused(ErrorKind::ReadOnlyFilesystem))).unwrap();
        let status = store.status();
        assert!(!status.durable);
        let told = format!("{status:?}");
        assert!(
            told.contains("/ro/store can't be opened: refused"),
            "{told}"
        );
        or_memory(Err(refused(ErrorKind::PermissionDenied)))
            .err()
            .unwrap();
    }

    #[cfg(feature = "redb")]
    #[test]
    fn a_path_of_another_programs_file_costs_the_file_and_not_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("orders.db");
        std::fs::write(&theirs, "SQLite format 3\0").unwrap();
        let (env, problems) = read(&[(STORE, theirs.to_str().unwrap())]);
        assert_eq!(problems, []);
        let status = env.store.unwrap().status();
        assert!(!status.durable);
        assert!(format!("{status:?}").contains("is not a store"));
        assert_eq!(
            std::fs::read_to_string(&theirs).unwrap(),
            "SQLite format 3\0"
        );
    }

    #[test]
    fn mistakes_name_the_variable_and_not_the_secret() {
        let (_, problems) = read(&[
            (STORE, "/nowhere/store"),
            (TOKENS, "s3cr3t"),
            (TOKENS_FILE, "/nowhere/s3cr3t"),
        ]);
        let variables: Vec<_> = problems
            .iter()
            .map(|problem| match problem {
                Problem::Environment { variable, .. } => *variable,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(variables, [TOKENS, TOKENS_FILE, STORE]);
        assert!(
            problems
                .iter()
                .all(|problem| !problem.to_string().contains("s3cr3t")),
            "{problems:?}"
        );
    }
}
