use std::borrow::Cow;

use crate::{
    Bounded, Counter, Family, Histogram, LabelValue, Labels, RegisterError, Registry, Timed,
};

/// Metrics of the queries to databases.
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `database_query_duration_seconds{query_type,table}` | histogram | time of queries that succeed, fail or are cancelled |
/// | `database_query_errors_total{query_type,table}` | counter | failed queries |
///
/// ```
/// use campanile_metrics::collectors::{DatabaseMetrics, QueryType};
/// use campanile_metrics::Registry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new();
/// let database = DatabaseMetrics::register(&registry)?;
/// let query = async { Ok::<_, String>(7) };           // client.query_one("SELECT …", &[])
/// let users = database.query(QueryType::Select, "users", query).await?;
///
/// let sql = "INSERT INTO orders …";
/// let query = async { Err::<(), _>("no connection") };
/// database.query(QueryType::from_sql(sql), "orders", query).await.unwrap_err();
/// let text = registry.render();
/// let labels = r#"{query_type="select",table="users"}"#;
/// assert!(text.contains(&format!("database_query_duration_seconds_count{labels} 1\n")));
/// let labels = r#"{query_type="insert",table="orders"}"#;
/// assert!(text.contains(&format!("database_query_errors_total{labels} 1\n")));
/// # Ok(())
/// # }
/// ```
///
/// The table should be a string literal. Otherwise the limits of the registry bound the number of
/// series.
///
/// A clone writes to the same series.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    durations: Family<Query<'static>, Histogram>,
    errors: Family<Query<'static>, Counter>,
}

impl DatabaseMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// If one of the names belongs to another metric.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let (durations, errors) = (
            "database_query_duration_seconds",
            "database_query_errors_total",
        );
        registry.describe(durations, "Duration of database queries, in seconds.");
        registry.describe(errors, "Failed database queries.");
        Ok(Self {
            durations: registry.family(durations)?,
            errors: registry.family(errors)?,
        })
    }

    /// Times a query and counts its error.
    ///
    /// # Errors
    ///
    /// The error of the query.
    pub async fn query<T, E>(
        &self,
        query_type: QueryType,
        table: &'static str,
        query: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let labels = Query { query_type, table };
        let result = query.timed(&self.durations.with(labels)).await;
        if result.is_err() {
            self.errors.with(labels).increment(1);
        }
        result
    }
}

/// The type of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryType {
    /// `SELECT`
    Select,
    /// `INSERT`
    Insert,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
    /// Any other query.
    Other,
}

impl QueryType {
    const ALL: [Self; 5] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Other,
    ];

    /// Returns the type of an SQL statement by its first word, after opening parentheses. A
    /// statement that starts with `WITH` or a comment is [`Other`](Self::Other).
    pub fn from_sql(sql: &str) -> Self {
        let sql = sql.trim_start_matches(|char: char| char == '(' || char.is_whitespace());
        let is_end = |char: char| !char.is_alphanumeric() && char != '_';
        let word = sql.split(is_end).next().unwrap_or_default();
        let is_it = |one: &Self| word.eq_ignore_ascii_case(&one.text());
        Self::ALL.into_iter().find(is_it).unwrap_or(Self::Other)
    }
}

impl LabelValue for QueryType {
    const VALUES: Option<&'static [&'static str]> =
        Some(&["select", "insert", "update", "delete", "other"]);

    fn index(&self) -> usize {
        *self as usize
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Other => "other",
        }
        .into()
    }
}

impl Bounded for QueryType {}

#[derive(Clone, Copy)]
struct Query<'a> {
    query_type: QueryType,
    table: &'a str,
}

impl Labels for Query<'_> {
    const LABELS: &'static [(&'static str, Option<&'static [&'static str]>)] =
        &[("query_type", QueryType::VALUES), ("table", None)];

    fn index(&self) -> usize {
        0
    }

    fn values(&self) -> Vec<Cow<'_, str>> {
        vec![self.query_type.text(), self.table.into()]
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn statements_are_told_by_their_first_word() {
        for (sql, expected) in [
            ("select 1", QueryType::Select),
            ("  INSERT\nINTO a", QueryType::Insert),
            ("Update a", QueryType::Update),
            ("DELETE FROM a", QueryType::Delete),
            ("(SELECT 1) UNION (SELECT 2)", QueryType::Select),
            (" ( ( select 1", QueryType::Select),
            ("SELECT*FROM a", QueryType::Select),
            ("SELECTED", QueryType::Other),
            ("select_all()", QueryType::Other),
            ("/* a */ SELECT 1", QueryType::Other),
            ("other", QueryType::Other),
            ("WITH a AS (SELECT 1) SELECT 1", QueryType::Other),
            ("", QueryType::Other),
        ] {
            assert_eq!(QueryType::from_sql(sql), expected, "{sql}");
        }
        let texts = QueryType::ALL.map(|one| QueryType::VALUES.unwrap_or_default()[one.index()]);
        assert_eq!(
            texts.map(Cow::from),
            QueryType::ALL.each_ref().map(LabelValue::text)
        );
    }

    #[tokio::test]
    async fn a_query_that_is_cancelled_is_timed_and_no_error() {
        let registry = Registry::new();
        let database = DatabaseMetrics::register(&registry).unwrap();
        let query = std::future::pending::<Result<(), ()>>();
        let mut query = Box::pin(database.query(QueryType::Select, "a", query));
        let mut context = Context::from_waker(Waker::noop());
        assert!(query.as_mut().poll(&mut context).is_pending());
        drop(query);
        let page = registry.render();
        let count = "database_query_duration_seconds_count{query_type=\"select\",table=\"a\"} 1\n";
        assert!(page.contains(count), "{page}");
        assert!(!page.contains("errors_total{"), "{page}");
    }
}
