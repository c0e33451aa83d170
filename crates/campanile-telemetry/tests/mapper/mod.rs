//! What Elasticsearch's dynamic mapping accepts: dots in keys are objects, and a field is a value or an object in all documents.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Object,
    Value,
}

/// The mapping of an index, which documents add to.
#[derive(Debug, Default)]
pub(crate) struct Mapper(BTreeMap<String, Kind>);

impl Mapper {
    /// Adds a document, or says why it is rejected.
    pub(crate) fn add(&mut self, line: &str) -> Result<(), String> {
        let document: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let document = document.as_object().ok_or("no object")?;
        for key in document.keys() {
            if key.split('.').any(|part| part.trim().is_empty()) {
                return Err(format!("{key:?} has an empty part: {line}"));
            }
            if ["_id", "_source", "_index", "_routing"].contains(&key.as_str()) {
                return Err(format!("{key:?} is a metadata field: {line}"));
            }
            let dots = key.match_indices('.').map(|(dot, _)| dot);
            let objects = dots.map(|dot| (&key[..dot], Kind::Object));
            for (path, kind) in objects.chain([(key.as_str(), Kind::Value)]) {
                let before = *self.0.entry(path.to_owned()).or_insert(kind);
                if before != kind {
                    return Err(format!("{path:?} is {before:?} and {kind:?}: {line}"));
                }
            }
        }
        Ok(())
    }
}
