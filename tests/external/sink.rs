use std::io::BufRead;
use std::process::Command;
use std::sync::{Arc, Mutex};

use campanile_tests::{Process, find_in_venv};
use serde_json::Value;

/// A collector in Python that tells what it was sent, and all that is wrong with it.
pub(crate) struct Sink {
    pub(crate) http: u16,
    pub(crate) grpc: u16,
    pub(crate) requests: Arc<Mutex<Vec<Value>>>,
    _process: Process,
}

impl Sink {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/otlp.py");
        let mut process = Process::start_with_input(
            Command::new(find_in_venv("bin/python"))
                .arg(script)
                .args(arguments),
        );
        let ports: Value = serde_json::from_str(&process.line_with("\"http\"")).unwrap();
        let port = |name: &str| u16::try_from(ports[name].as_u64().unwrap()).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let output = process.take_output();
        let all = Arc::clone(&requests);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                all.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        Self {
            http: port("http"),
            grpc: port("grpc"),
            requests,
            _process: process,
        }
    }

    /// Returns the items of a signal, each with the service's name and the transport.
    pub(crate) fn all(&self, signal: &str, list: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        let mut all = Vec::new();
        for request in requests
            .iter()
            .filter(|request| request["signal"] == signal)
        {
            assert_eq!(request["problems"], Value::Array(Vec::new()), "{request}");
            let resources = request["request"]
                [format!("resource_{signal}").replace("traces", "spans")]
            .as_array();
            for resource in resources.unwrap() {
                let scopes =
                    resource[format!("scope_{signal}").replace("traces", "spans")].as_array();
                for scope in scopes.unwrap() {
                    for one in scope[list].as_array().unwrap() {
                        let mut one = one.clone();
                        one["service"] = attribute(&resource["resource"], "service.name").clone();
                        one["transport"] = request["transport"].clone();
                        all.push(one);
                    }
                }
            }
        }
        all
    }

    pub(crate) fn spans(&self) -> Vec<Value> {
        self.all("traces", "spans")
    }
}

/// The value of an attribute, of whichever type.
pub(crate) fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let attributes = of["attributes"].as_array().map_or(&[][..], |all| all);
    let found = attributes.iter().find(|pair| pair["key"] == key);
    found
        .and_then(|pair| pair["value"].as_object()?.values().next())
        .unwrap_or(&Value::Null)
}
