use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::name::sanitised;
use crate::{Gauge, RegisterError, Registry};

/// The gauges of a section, from its last values.
#[derive(Default)]
pub(super) struct Gauges(BTreeMap<Key, Gauge>);

/// A name and labels.
type Key = (String, Vec<(String, String)>);

impl Gauges {
    /// Sets the gauges to the values, and removes the gauges of values that disappeared.
    pub(super) fn set(&mut self, registry: &Registry, section: &str, values: &Map<String, Value>) {
        let mut found = BTreeMap::new();
        let name = format!("business_{section}");
        let mut clashes = Vec::new();
        find(values, &name, &[], &mut found, &mut clashes);
        for name in clashes {
            // The first value is exported.
            registry.reject(&RegisterError::NameTaken {
                exported: name.clone(),
                by: name.clone(),
                name,
            });
        }
        for (key, value) in &found {
            let (name, labels) = key;
            if let Some(gauge) = self.0.get(key) {
                gauge.set(*value);
                continue;
            }
            let labels: Vec<_> = labels
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            registry.describe(name, "Last collected value of a business metric.");
            match registry.gauge(name, &labels) {
                Ok(gauge) => {
                    gauge.set(*value);
                    self.0.insert(key.clone(), gauge);
                }
                Err(error) => registry.reject(&error),
            }
        }
        let gone: Vec<_> = self
            .0
            .keys()
            .filter(|key| !found.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            let labels = self.0.remove(&key).map(|gauge| Arc::clone(&gauge.0.labels));
            if let Some(labels) = labels {
                registry.forget(&key.0, &labels);
            }
        }
    }
}

/// Finds the numbers, and the names and labels of their gauges.
fn find(
    values: &Map<String, Value>,
    name: &str,
    labels: &[(String, String)],
    found: &mut BTreeMap<Key, f64>,
    clashes: &mut Vec<String>,
) {
    for (key, value) in values {
        // A key `total` stands for its map; the suffix `_total` belongs to counters.
        let key = if key == "total" {
            ""
        } else {
            key.trim_end_matches("_total")
        };
        let name = match key {
            "" => name.to_owned(),
            key => format!("{name}_{}", sanitised(key)),
        };
        match value {
            Value::Number(number) => {
                if let Some(value) = number.as_f64() {
                    match found.entry((name, labels.to_vec())) {
                        Entry::Vacant(entry) => drop(entry.insert(value)),
                        Entry::Occupied(entry) => clashes.push(entry.key().0.clone()),
                    }
                }
            }
            Value::Object(group) => match key.rsplit_once("_by_") {
                Some((_, label)) => {
                    for (key, value) in group {
                        let labels = [labels, &[(label.to_owned(), key.clone())]].concat();
                        match value {
                            Value::Object(group) => find(group, &name, &labels, found, clashes),
                            value => {
                                let total = Map::from_iter([("total".to_owned(), value.clone())]);
                                find(&total, &name, &labels, found, clashes);
                            }
                        }
                    }
                }
                None => find(group, &name, labels, found, clashes),
            },
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_named_by_where_they_are() {
        let values = serde_json::json!({
            "daily_active_users": 42,
            "orders": 7,
            "orders_total": 8,
            "ratio": 0.5,
            "note": "x",
            "open": true,
            "none": null,
            "pool": {"size": 5, "a b": 1},
            "operations_by_type": {
                "chat": {"total": 3, "success": 2, "failed": 1},
                "image": {"total": 4}
            },
            "sales_by_country": {"DE": 2.5},
            "deep_by_a": {"1": {"x_by_b": {"2": 9}}}
        });
        let mut found = BTreeMap::new();
        let mut clashes = Vec::new();
        find(
            values.as_object().unwrap(),
            "business_shop",
            &[],
            &mut found,
            &mut clashes,
        );
        assert_eq!(clashes, ["business_shop_orders"]);
        let found: Vec<_> = found
            .into_iter()
            .map(|((name, labels), value)| {
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!("{name}{{{}}} {value}", labels.join(","))
            })
            .collect();
        assert_eq!(
            found,
            [
                "business_shop_daily_active_users{} 42",
                "business_shop_deep_by_a_x_by_b{a=1,b=2} 9",
                "business_shop_operations_by_type{type=chat} 3",
                "business_shop_operations_by_type{type=image} 4",
                "business_shop_operations_by_type_failed{type=chat} 1",
                "business_shop_operations_by_type_success{type=chat} 2",
                "business_shop_orders{} 7",
                "business_shop_pool_a_b{} 1",
                "business_shop_pool_size{} 5",
                "business_shop_ratio{} 0.5",
                "business_shop_sales_by_country{country=DE} 2.5",
            ]
        );
    }

    #[test]
    fn gauges_follow_the_values_and_go_with_them() {
        let registry = Registry::new();
        let mut gauges = Gauges::default();
        let mut set = |values: Value| {
            gauges.set(&registry, "s", values.as_object().unwrap());
            let page = registry.render();
            let lines = page.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let first = set(serde_json::json!({"a": 1, "b_by_k": {"x": 1, "y": 2}}));
        let all = [
            "business_s_a 1",
            "business_s_b_by_k{k=\"x\"} 1",
            "business_s_b_by_k{k=\"y\"} 2",
        ];
        assert_eq!(first, all);
        let second = set(serde_json::json!({"a": 5, "b_by_k": {"y": 3}}));
        assert_eq!(second, ["business_s_a 5", "business_s_b_by_k{k=\"y\"} 3"]);
        assert_eq!(set(serde_json::json!({"c": 1})), ["business_s_c 1"]);
        // A label that can't be one is refused, and nothing else with it.
        let page = set(serde_json::json!({"a": 2, "b_by___x": {"x": 1}}));
        assert_eq!(page[0], "business_s_a 2");
        assert_eq!(page.len(), 2, "{page:?}");
        assert_eq!(page[1], "campanile_registry_rejected_total 1");
    }
}
