//! The software bill of materials of what is shipped: a CycloneDX 1.5 document of every crate that is built into `myriad` and
//! `myriadctl`, with its version, licence, origin and checksum, and who needs whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::metadata::{self, Metadata, Package};

/// The packages whose programs are shipped.
const SHIPPED: [&str; 2] = ["myriad", "myriadctl"];

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// SHA-256 of the crate's archive.
    checksum: Option<String>,
}

/// Prints it for the workspace at `root`.
///
/// # Errors
/// cargo's files can't be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    println!("{:#}", document(root)?);
    Ok(())
}

fn document(root: &Path) -> Result<Value> {
    let metadata = metadata::read(root)?;
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock")?;
    let checksums: BTreeMap<_, _> = lock
        .package
        .into_iter()
        .filter_map(|locked| Some(((locked.name, locked.version), locked.checksum?)))
        .collect();
    let needs = needs(&metadata);
    let built_in = built_in(&metadata, &needs);
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let of = |id: &str| packages.get(id).copied();
    let components: Vec<Value> = built_in
        .iter()
        .filter_map(|id| of(id))
        .map(|package| {
            component(package, checksums.get(&(package.name.clone(), package.version.to_string())))
        })
        .collect();
    let dependencies: Vec<Value> = built_in
        .iter()
        .filter_map(|id| {
            let on = needs.get(id)?.iter().filter_map(|id| of(id)).map(reference).collect::<BTreeSet<_>>();
            Some(json!({ "ref": reference(of(id)?), "dependsOn": on }))
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": { "type": "application", "name": "myriad", "version": env!("CARGO_PKG_VERSION") },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// What of each package becomes part of a program that contains it: not what its tests and its build need.
fn needs(metadata: &Metadata) -> BTreeMap<&str, Vec<&str>> {
    let nodes = metadata.resolve.nodes.iter();
    nodes
        .map(|node| {
            let is_part = |kinds: &[metadata::DependencyKind]| kinds.iter().any(|kind| kind.kind.is_none());
            let parts = node.deps.iter().filter(|dependency| is_part(&dependency.dep_kinds));
            (node.id.as_str(), parts.map(|dependency| dependency.pkg.as_str()).collect())
        })
        .collect()
}

/// All that can be reached from what is shipped.
fn built_in<'m>(metadata: &'m Metadata, needs: &BTreeMap<&'m str, Vec<&'m str>>) -> BTreeSet<&'m str> {
    let is_shipped =
        |package: &&Package| package.source.is_none() && SHIPPED.contains(&package.name.as_str());
    let mut to_visit: Vec<&str> =
        metadata.packages.iter().filter(is_shipped).map(|package| package.id.as_str()).collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = to_visit.pop() {
        if reached.insert(id) {
            to_visit.extend(needs.get(id).into_iter().flatten());
        }
    }
    reached
}

/// The package URL, which also names it within the document.
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn component(package: &Package, checksum: Option<&String>) -> Value {
    let mut component = json!({
        "type": if package.source.is_none() { "application" } else { "library" },
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version.to_string(),
        "purl": reference(package),
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            component[key] = value;
        }
    };
    set("description", package.description.as_ref().map(|text| text.trim().into()));
    set("licenses", package.license.as_ref().map(|expression| json!([{ "expression": expression }])));
    set("hashes", checksum.map(|sum| json!([{ "alg": "SHA-256", "content": sum }])));
    set("externalReferences", package.repository.as_ref().map(|url| json!([{ "type": "vcs", "url": url }])));
    component
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_built_in_is_there_once_with_licence_and_checksum() {
        let document = document(&crate::root()).unwrap();
        let components = document["components"].as_array().unwrap();
        let names: Vec<_> = components.iter().map(|component| component["name"].as_str().unwrap()).collect();
        for name in ["myriad", "myriadctl", "shards", "io-uring", "glommio", "rustls", "axum", "clap"] {
            assert_eq!(names.iter().filter(|&&is| is == name).count(), 1, "{name}");
        }
        // Of tests, of the load generator, of builds.
        for name in ["rcgen", "loom", "myriad-bench", "indicatif", "cc"] {
            assert!(!names.contains(&name), "{name}");
        }
        let references: BTreeSet<_> =
            components.iter().map(|component| &component["bom-ref"]).map(Value::to_string).collect();
        assert_eq!(references.len(), components.len());
        for component in components {
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
            let is_ours = component["type"] == "application";
            let checksum = component["hashes"][0]["content"].as_str().unwrap_or_default();
            assert!(is_ours || checksum.len() == 64, "{component}");
        }
        for dependency in document["dependencies"].as_array().unwrap() {
            for on in dependency["dependsOn"].as_array().unwrap() {
                assert!(references.contains(&on.to_string()), "{on} is no component");
            }
        }
    }
}
