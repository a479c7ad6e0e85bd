//! Licences, advisories and sources of the dependencies, without a network: `cargo metadata` against the lists in
//! `tools/deny.toml`. What cargo-deny does with a downloaded database, as far as this repository needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use semver::VersionReq;
use serde::Deserialize;

use crate::licence;
use crate::metadata::{self, Package};

/// `tools/deny.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    licences: Licences,
    /// The day to which the advisories were looked through.
    advisories_as_of: String,
    #[serde(default)]
    advisory: Vec<Advisory>,
    #[serde(default)]
    accepted: Vec<Accepted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    /// Identifiers that any dependency may have.
    allow: Vec<String>,
    /// Licences that one dependency may have.
    #[serde(default)]
    exception: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    package: String,
    licence: String,
    reason: String,
}

/// An advisory of RustSec about a package that we depend on, or might come to depend on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisory {
    id: String,
    package: String,
    title: String,
    #[serde(default)]
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

impl Advisory {
    fn concerns(&self, package: &Package) -> bool {
        let is_in = |ranges: &[VersionReq]| ranges.iter().any(|range| range.matches(&package.version));
        self.package == package.name && !is_in(&self.patched) && !is_in(&self.unaffected)
    }
}

/// An advisory that concerns us and that we live with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    id: String,
    reason: String,
}

/// Checks the workspace at `root`; prints what it found.
///
/// # Errors
/// Something is wrong with the dependencies, or can't be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let path = root.join("tools/deny.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let policy: Policy = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let packages = metadata::read(root)?.packages;
    for note in duplicates(&packages) {
        println!("note: {note}");
    }
    for accepted in &policy.accepted {
        println!("note: {} is accepted: {}", accepted.id, accepted.reason);
    }
    let findings = findings(&policy, &packages);
    for finding in &findings {
        eprintln!("error: {finding}");
    }
    ensure!(findings.is_empty(), "{} findings; see tools/deny.toml", findings.len());
    println!(
        "{} packages, licences and advisories (as of {}) in order",
        packages.len(),
        policy.advisories_as_of
    );
    Ok(())
}

/// Everything that has to change.
fn findings(policy: &Policy, packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut concerning = BTreeSet::new();
    for package in packages {
        let named = format!("{} {}", package.name, package.version);
        if let Err(error) = check_licence(&policy.licences, package) {
            findings.push(format!("{named}: {error:#}"));
        }
        if package.source.as_deref().is_some_and(|source| !source.starts_with("registry+")) {
            findings.push(format!("{named}: comes from {:?}, not from the registry", package.source));
        }
        for advisory in policy.advisory.iter().filter(|advisory| advisory.concerns(package)) {
            concerning.insert(advisory.id.as_str());
            if !policy.accepted.iter().any(|accepted| accepted.id == advisory.id) {
                let (id, title) = (&advisory.id, &advisory.title);
                let patched: Vec<_> = advisory.patched.iter().map(ToString::to_string).collect();
                findings.push(format!("{named}: {id}: {title}; patched: {patched:?}"));
            }
        }
    }
    for accepted in policy.accepted.iter().filter(|accepted| !concerning.contains(accepted.id.as_str())) {
        findings.push(format!("{} no longer concerns us: remove it from [[accepted]]", accepted.id));
    }
    for exception in &policy.licences.exception {
        if !packages.iter().any(|package| package.name == exception.package) {
            findings.push(format!("{} is no dependency: remove its licence exception", exception.package));
        }
    }
    findings
}

fn check_licence(licences: &Licences, package: &Package) -> Result<()> {
    let Some(expression) = &package.license else { bail!("names no licence") };
    let is_allowed = |licence: &str| {
        let is_exception =
            |e: &Exception| e.package == package.name && e.licence == licence && !e.reason.is_empty();
        licences.allow.iter().any(|allowed| allowed == licence) || licences.exception.iter().any(is_exception)
    };
    ensure!(licence::is_satisfied(expression, &is_allowed)?, "licence {expression:?} is not allowed");
    Ok(())
}

/// Packages that are there in more than one version: no fault, but each costs time to build and bytes to ship.
fn duplicates(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package.version.to_string());
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
        .into_iter()
        .map(|(name, versions)| format!("{name} is there as {}", versions.join(" and ")))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.parse().unwrap(),
            license: Some("MIT".into()),
            source: Some("registry+x".into()),
            id: String::new(),
            description: None,
            repository: None,
        }
    }

    fn policy(rest: &str) -> Policy {
        let text = format!(
            "advisories_as_of = '2026-01-01'\n{rest}\n[licences]\nallow = ['MIT']\n[[advisory]]\nid = 'R-1'\n\
             package = 'a'\ntitle = 't'\npatched = ['>= 1.2.3, < 2.0.0', '>= 2.1.0']\nunaffected = ['< 1.0.0']"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn an_advisory_concerns_what_is_neither_patched_nor_unaffected() {
        let policy = policy("");
        for (version, is_concerned) in [
            ("0.9.0", false),
            ("1.0.0", true),
            ("1.2.2", true),
            ("1.2.3", false),
            ("2.0.0", true),
            ("2.1.0", false),
        ] {
            assert_eq!(policy.advisory[0].concerns(&package("a", version)), is_concerned, "{version}");
            assert_eq!(
                findings(&policy, &[package("a", version)]).len(),
                usize::from(is_concerned),
                "{version}"
            );
        }
        assert!(!policy.advisory[0].concerns(&package("b", "1.0.0")));
    }

    #[test]
    fn what_was_accepted_is_no_finding_until_it_no_longer_concerns_us() {
        let policy = policy("accepted = [{ id = 'R-1', reason = 'never called' }]");
        assert_eq!(findings(&policy, &[package("a", "1.0.0")]), Vec::<String>::new());
        assert!(findings(&policy, &[package("a", "1.2.3")])[0].starts_with("R-1 no longer concerns us"));
    }

    #[test]
    fn licences_and_sources() {
        let mut package = package("a", "1.2.3");
        package.license = Some("GPL-3.0".into());
        assert!(findings(&policy(""), &[package]).concat().contains("is not allowed"));
        let mut package = self::package("a", "1.2.3");
        (package.license, package.source) = (None, Some("git+https://example.org".into()));
        assert_eq!(findings(&policy(""), &[package]).len(), 2);
    }

    #[test]
    fn the_committed_lists_can_be_read() {
        let policy: Policy = toml::from_str(include_str!("../../deny.toml")).unwrap();
        let ids: BTreeSet<_> = policy.advisory.iter().map(|advisory| &advisory.id).collect();
        assert_eq!(ids.len(), policy.advisory.len(), "an advisory stands there twice");
    }
}
