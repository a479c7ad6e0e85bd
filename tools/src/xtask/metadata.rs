//! What cargo knows of the dependencies, asked without a network.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use semver::Version;
use serde::Deserialize;

use crate::chores::cargo;

/// What `cargo metadata` tells, as far as the chores need it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// Every package that a build on this platform may use, tests included.
    pub(crate) packages: Vec<Package>,
    /// Who needs whom.
    pub(crate) resolve: Resolve,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: Version,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    /// `None`: of this repository.
    pub(crate) source: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) repository: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// One package's needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DependencyKind {
    /// `None`: it becomes part of the program; else "dev" or "build".
    pub(crate) kind: Option<String>,
}

/// Reads it for a build on this platform.
///
/// # Errors
/// cargo can't be started, or says why not.
pub(crate) fn read(root: &Path) -> Result<Metadata> {
    let output = Command::new(cargo())
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &host()?])
        .current_dir(root)
        .output()
        .context("cargo metadata can't be started")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}

/// The platform that rustc builds for by itself.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("rustc can't be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}
