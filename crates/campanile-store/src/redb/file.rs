use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    WriteTransaction,
};

use super::open::{self, OpenError};
use crate::batch::{Batch, Change};
use crate::error::StoreError;
use crate::memory::MAX_RECORDS;
use crate::store::{Entry, Record};

/// Records. A key is the table and the key; a value is the checksum and the value.
const RECORDS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("records");
/// The journal. A key is the number; a value is the checksum and the payload.
const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The version of this format, under `version` in `META`.
const VERSION: u64 = 1;
/// The maximum number of journal entries.
const MAX_ENTRIES: u64 = 100_000;
/// From this size on, a recovery would take longer than the extra writes of each commit that avoid it.
const QUICK_REPAIR: u64 = 64 << 20;

/// An open file.
pub(super) struct File {
    database: Database,
    quick_repair: bool,
}

/// The contents of a redb file.
enum Content {
    Nothing,
    /// A store of this version.
    Store(u64),
    /// Tables of another program.
    Foreign,
}

/// Returns `None` if a table is missing or has another type, as in a file of another program.
fn is_foreign(error: TableError) -> Result<Option<u64>, TableError> {
    match error {
        TableError::TableDoesNotExist(_)
        | TableError::TableTypeMismatch { .. }
        | TableError::TableIsMultimap(_)
        | TableError::TypeDefinitionChanged { .. } => Ok(None),
        error => Err(error),
    }
}

/// The cause of a failed operation.
pub(super) enum Failure {
    /// The caller's error; the file works.
    Rejected(StoreError),
    /// An error of the disk or of redb; the file must be opened again.
    Broken(StoreError),
    /// A wrong checksum; the file must be set aside.
    Corrupt(StoreError),
}

/// redb has an error type per operation. Each means that the file must be opened again.
impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(match error.into() {
            redb::Error::Io(error) => StoreError::Io {
                source: Arc::new(error),
            },
            error => StoreError::io(error),
        })
    }
}

impl File {
    /// Opens a file. Also returns a warning if a corrupt file was set aside.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<String>), OpenError> {
        let (database, warning) = open::open(path)?;
        let file = Self {
            database,
            quick_repair: path
                .metadata()
                .is_ok_and(|metadata| metadata.len() >= QUICK_REPAIR),
        };
        let failed = |failure: Failure| match failure.error() {
            StoreError::Io { source } => OpenError::Io {
                path: path.to_owned(),
                source,
            },
            error => OpenError::io(path, std::io::Error::other(error)),
        };
        match file.content().map_err(failed)? {
            Content::Store(found) if found > VERSION => Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: VERSION,
            }),
            Content::Store(_) => Ok((file, warning)),
            Content::Nothing => {
                file.initialize().map_err(failed)?;
                Ok((file, warning))
            }
            Content::Foreign => Err(OpenError::Foreign {
                path: path.to_owned(),
            }),
        }
    }

    /// Returns the contents of the file. The tables of a store are created in one transaction.
    fn content(&self) -> Result<Content, Failure> {
        let transaction = self.database.begin_read()?;
        let is_empty = transaction.list_tables()?.next().is_none()
            && transaction.list_multimap_tables()?.next().is_none();
        if is_empty {
            return Ok(Content::Nothing);
        }
        let version = match transaction.open_table(META) {
            Ok(meta) => meta.get("version")?.map(|version| version.value()),
            Err(error) => is_foreign(error)?,
        };
        Ok(version.map_or(Content::Foreign, Content::Store))
    }

    fn initialize(&self) -> Result<(), Failure> {
        let transaction = self.begin_write()?;
        transaction.open_table(META)?.insert("version", VERSION)?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(JOURNAL)?;
        Ok(transaction.commit()?)
    }

    fn begin_write(&self) -> Result<WriteTransaction, Failure> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(self.quick_repair);
        Ok(transaction)
    }

    pub(super) fn commit(&self, batch: Batch) -> Result<(), Failure> {
        let transaction = self.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for Change { table, key, value } in batch.changes {
                let place = (table, key.as_str());
                match value {
                    Some(value) => {
                        records.insert(place, sealed(&[table, &key], &value).as_slice())?
                    }
                    None => records.remove(place)?,
                };
            }
            // Dropping the transaction rolls it back.
            if records.len()? > MAX_RECORDS as u64 {
                return Err(Failure::Rejected(StoreError::Full { limit: MAX_RECORDS }));
            }
            let mut journal = transaction.open_table(JOURNAL)?;
            let last = journal.last()?.map_or(0, |(sequence, _)| sequence.value());
            for (sequence, payload) in (last + 1..).zip(batch.entries) {
                let payload = sealed(&[&sequence.to_string()], &payload);
                journal.insert(sequence, payload.as_slice())?;
            }
            while journal.len()? > MAX_ENTRIES {
                journal.pop_first()?;
            }
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let value = records.get((table, key))?;
        value
            .map(|value| unsealed(table, key, &[table, key], value.value()))
            .transpose()
    }

    pub(super) fn scan(
        &self,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, Failure> {
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let start = (table, after.unwrap_or_default());
        let start = match after {
            Some(_) => Bound::Excluded(start),
            None => Bound::Included(start),
        };
        let mut found = Vec::new();
        for record in records
            .range::<(&str, &str)>((start, Bound::Unbounded))?
            .take(limit)
        {
            let (place, value) = record?;
            let (in_table, key) = place.value();
            if in_table != table {
                break;
            }
            found.push(Record::new(
                key,
                unsealed(table, key, &[table, key], value.value())?,
            ));
        }
        Ok(found)
    }

    pub(super) fn journal(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Failure> {
        let journal = self.database.begin_read()?.open_table(JOURNAL)?;
        let entries = journal.range((Bound::Excluded(after), Bound::Unbounded))?;
        let entry =
            |entry: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>), _>| {
                let (sequence, payload) = entry?;
                let number = sequence.value().to_string();
                let payload = unsealed("journal", &number, &[&number], payload.value())?;
                Ok(Entry::new(sequence.value(), payload))
            };
        entries.take(limit).map(entry).collect()
    }
}

impl Failure {
    pub(super) fn error(self) -> StoreError {
        match self {
            Self::Rejected(error) | Self::Broken(error) | Self::Corrupt(error) => error,
        }
    }
}

/// Returns a checksum of a value and its place, followed by the value. A value in a wrong place fails the check.
fn sealed(place: &[&str], value: &[u8]) -> Vec<u8> {
    [&checksum(place, value).to_le_bytes(), value].concat()
}

fn unsealed(table: &str, key: &str, place: &[&str], sealed: &[u8]) -> Result<Vec<u8>, Failure> {
    match sealed.split_first_chunk() {
        Some((sum, value)) if u32::from_le_bytes(*sum) == checksum(place, value) => {
            Ok(value.to_vec())
        }
        _ => Err(Failure::Corrupt(StoreError::Corrupt {
            table: table.to_owned(),
            key: key.to_owned(),
        })),
    }
}

fn checksum(place: &[&str], value: &[u8]) -> u32 {
    let place = place.iter().fold(0, |sum, part| {
        crc32c::crc32c_append(crc32c::crc32c_append(sum, part.as_bytes()), &[0xff])
    });
    crc32c::crc32c_append(place, value)
}
