use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The arrows of ARCHITECTURE.md: which of our crates a crate may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "campanile",
        &[
            "campanile-alerts",
            "campanile-correlation",
            "campanile-health",
            "campanile-http",
            "campanile-macros",
            "campanile-metrics",
            "campanile-monitor",
            "campanile-series",
            "campanile-sla",
            "campanile-store",
            "campanile-telemetry",
        ],
    ),
    (
        "campanile-alerts",
        &["campanile-client", "campanile-series", "campanile-store"],
    ),
    ("campanile-client", &[]),
    ("campanile-correlation", &[]),
    (
        "campanile-health",
        &["campanile-client", "campanile-http", "campanile-system"],
    ),
    ("campanile-http", &[]),
    ("campanile-macros", &[]),
    (
        "campanile-metrics",
        &["campanile-http", "campanile-macros", "campanile-system"],
    ),
    (
        "campanile-monitor",
        &[
            "campanile-alerts",
            "campanile-health",
            "campanile-metrics",
            "campanile-series",
            "campanile-sla",
            "campanile-store",
        ],
    ),
    ("campanile-series", &[]),
    ("campanile-sla", &["campanile-http", "campanile-series"]),
    ("campanile-store", &[]),
    ("campanile-system", &[]),
    (
        "campanile-telemetry",
        &[
            "campanile-client",
            "campanile-correlation",
            "campanile-http",
        ],
    ),
];

/// Below these versions something is known to be wrong that we would suffer from.
const MINIMUM_VERSIONS: &[(&str, &str)] = &[
    ("bytes", "1.11.1"),
    ("crossbeam-channel", "0.5.15"),
    ("crossbeam-epoch", "0.9.20"),
    ("h2", "0.4.16"),
    ("lettre", "0.11.22"),
    ("metrics", "0.24.6"),
    ("metrics-exporter-prometheus", "0.18.3"),
    ("opentelemetry", "0.33.1"),
    ("opentelemetry-appender-tracing", "0.33.1"),
    ("opentelemetry-http", "0.33.1"),
    ("opentelemetry-otlp", "0.33.1"),
    ("opentelemetry-proto", "0.33.1"),
    ("opentelemetry_sdk", "0.33.1"),
    ("postgres-protocol", "0.6.12"),
    ("rand", "0.9.3"),
    ("redb", "4.4.0"),
    ("rustls", "0.23.45"),
    ("rustls-webpki", "0.103.13"),
    ("time", "0.3.47"),
    ("tokio-postgres", "0.7.18"),
    ("tracing-opentelemetry", "0.33.0"),
    ("tracing-subscriber", "0.3.20"),
];

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap()
}

fn published(metadata: &Metadata) -> Vec<&Package> {
    metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.publish.is_none())
        .collect()
}

/// The packages that `campanile` needs on this platform: names and versions.
fn tree(features: &str) -> BTreeSet<(String, Version)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            "campanile",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", features])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let package = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.parse().ok()?))
    };
    lines
        .lines()
        .map(|line| package(line).unwrap_or_else(|| panic!("{line:?} is no package")))
        .collect()
}

#[test]
fn our_crates_depend_on_each_other_along_the_arrows_only() {
    let arrows: BTreeMap<_, BTreeSet<_>> = ARROWS
        .iter()
        .map(|(name, to)| (*name, to.iter().copied().collect()))
        .collect();
    let metadata = metadata();
    let crates = published(&metadata);
    assert_eq!(
        crates
            .iter()
            .map(|package| package.name.as_str())
            .collect::<BTreeSet<_>>(),
        arrows.keys().copied().collect()
    );
    for package in crates {
        let siblings = package.dependencies.iter().filter(|dependency| {
            dependency.kind != DependencyKind::Development
                && dependency.name.starts_with("campanile")
        });
        let siblings: BTreeSet<_> = siblings
            .map(|dependency| dependency.name.as_str())
            .collect();
        let allowed = &arrows[package.name.as_str()];
        assert!(
            siblings.is_subset(allowed),
            "{} depends on {siblings:?}, and may on {allowed:?}",
            package.name
        );
    }
}

#[test]
fn our_crates_share_version_licence_and_compiler() {
    let metadata = metadata();
    for package in published(&metadata) {
        assert_eq!(
            package.license.as_deref(),
            Some("MIT OR Apache-2.0"),
            "{}",
            package.name
        );
        assert_eq!(
            package.version.to_string(),
            env!("CARGO_PKG_VERSION"),
            "{}",
            package.name
        );
        assert_eq!(
            package.rust_version,
            Some(Version::new(1, 90, 0)),
            "{}",
            package.name
        );
        assert!(package.description.is_some(), "{}", package.name);
        assert!(package.documentation.is_some(), "{}", package.name);
        assert!(!package.keywords.is_empty(), "{}", package.name);
        assert!(!package.categories.is_empty(), "{}", package.name);
        let readme = package.readme();
        assert!(
            readme.is_some_and(|readme| readme.is_file()),
            "{}",
            package.name
        );
    }
}

#[test]
fn licences_of_dependencies_are_permissive() {
    for package in metadata().packages {
        let licence = package
            .license
            .as_deref()
            .unwrap_or_else(|| panic!("{} has no licence", package.name));
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
        let permissive = expression.evaluate(|requirement| match requirement.license.id() {
            Some(id) => LICENCES.contains(&id.name),
            None => false,
        });
        assert!(permissive, "{} is under {licence}", package.name);
    }
}

#[test]
fn dependencies_are_not_known_to_be_broken() {
    for package in metadata().packages {
        let is_bad_rand =
            package.name.as_str() == "rand" && package.version == Version::new(0, 10, 0);
        assert!(!is_bad_rand, "rand is 0.10.0, below 0.10.1");
        let minimum = MINIMUM_VERSIONS
            .iter()
            .find(|(name, _)| *name == package.name.as_str());
        if let Some((_, minimum)) = minimum {
            let minimum: Version = minimum.parse().unwrap();
            assert!(
                package.version >= minimum,
                "{} is {}, below {minimum}",
                package.name,
                package.version
            );
        }
    }
}

#[test]
fn default_features_bring_no_native_library() {
    let needed = tree("--features=default");
    let metadata = metadata();
    let native: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| needed.contains(&(package.name.to_string(), package.version.clone())))
        .filter_map(|package| Some((package.name.as_str(), package.links.as_deref()?)))
        .filter(|(name, _)| *name != "ring")
        .collect();
    assert!(
        needed.len() > 20 && native.is_empty(),
        "{native:?} would conflict with a host's own"
    );
}

#[test]
fn dependencies_build_with_our_oldest_compiler() {
    let needed = tree("--all-features");
    let oldest = Version::new(1, 90, 0);
    for package in metadata().packages {
        if needed.contains(&(package.name.to_string(), package.version.clone())) {
            let theirs = package.rust_version.as_ref();
            assert!(
                theirs.is_none_or(|theirs| *theirs <= oldest),
                "{} needs Rust {theirs:?}",
                package.name
            );
        }
    }
}
