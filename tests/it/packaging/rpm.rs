//! The RPM: that it brings what the Debian package brings, and, where `cargo generate-rpm` and rpm are, that it installs below a
//! folder of its own, runs from there, keeps a changed configuration over an upgrade and goes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::Value;

use super::{are_here, run, runs};
use crate::broker::{binary, peer_is_mosquitto, temporary_dir};

/// What Debian's tools make of other keys than `assets`, and what only Debian's package leaves to them.
const OF_SYSTEMD: &str = "packaging/systemd/myriad*";
const LICENCE: &str = "LICENSE";

fn metadata(of: &str) -> Value {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let manifest: Value = manifest.parse::<toml::Table>().unwrap().into();
    manifest["package"]["metadata"][of].clone()
}

/// Sources and modes of the files that a package brings.
fn assets(of: &str) -> BTreeSet<(String, String)> {
    let part = |asset: &Value, place: usize, name: &str| {
        asset.get(name).or_else(|| asset.get(place)).and_then(Value::as_str).unwrap().to_owned()
    };
    let metadata = metadata(of);
    let assets = metadata["assets"].as_array().unwrap().iter();
    assets.map(|asset| (part(asset, 0, "source"), part(asset, 2, "mode"))).collect()
}

#[test]
fn both_packages_bring_the_same_files() {
    if peer_is_mosquitto() {
        return println!("skipped: Mosquitto has packages of its own");
    }
    let mut debian = assets("deb");
    debian.extend([OF_SYSTEMD, LICENCE].map(|source| (source.to_owned(), "644".to_owned())));
    assert_eq!(assets("generate-rpm"), debian);
    for (script, of) in
        [("preset myriad.service", "post_install_script"), ("myriad-backup.timer", "pre_uninstall_script")]
    {
        let text = metadata("generate-rpm")[of].as_str().unwrap().to_owned();
        assert!(text.contains(script), "{of}: {text}");
    }
}

/// A target folder with programs that only start those which the tests run: the tool, which is built unoptimized, would
/// be busy with the real ones for minutes.
fn target(folder: &Path, ctl: &Path) -> PathBuf {
    let release = folder.join("target/release");
    std::fs::create_dir_all(&release).unwrap();
    for program in [&binary(), ctl] {
        let starter = release.join(program.file_name().unwrap());
        std::fs::write(&starter, format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display())).unwrap();
        std::fs::set_permissions(&starter, PermissionsExt::from_mode(0o755)).unwrap();
    }
    run(Command::new(ctl).args(["man", "--dir"]).arg(release.join("man")));
    run(Command::new(ctl).args(["completions", "--dir"]).arg(release.join("completions")));
    folder.join("target")
}

#[test]
fn the_rpm_installs_upgrades_and_goes() {
    if peer_is_mosquitto() {
        return println!("skipped: Mosquitto has a package of its own");
    }
    if !runs("cargo", &["generate-rpm", "--version"]) {
        // Not a matter of MYRIAD_IT_STRICT: nobody is made to build it, which takes minutes.
        return println!("skipped: not here: cargo install cargo-generate-rpm");
    }
    let ctl = binary().with_file_name("myriadctl");
    let needs = [
        ("rpm", runs("rpm", &["--version"])),
        ("a user who may install: root", nix::unistd::geteuid().is_root()),
        ("myriadctl beside the broker's binary", ctl.exists()),
    ];
    if !are_here(&needs) {
        return;
    }
    let folder = temporary_dir();
    let package = folder.join("myriad.rpm");
    let mut command = Command::new("cargo");
    command.args(["generate-rpm", "--payload-compress", "none", "--target-dir"]).arg(target(&folder, &ctl));
    run(command.arg("-o").arg(&package).current_dir(env!("CARGO_MANIFEST_DIR")));
    let root = folder.join("root");
    std::fs::create_dir(&root).unwrap();
    // The scripts speak to systemd, which is not below that root: packaging/systemd/try is for what they do.
    let rpm = |arguments: &[&str]| {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(&root).args(arguments);
        run(&mut command)
    };
    let package = package.to_str().unwrap();
    rpm(&["-i", "--nodeps", "--noscripts", package]);
    for unit in ["myriad.service", "myriad-backup.service", "myriad-backup.timer"] {
        assert!(root.join("usr/lib/systemd/system").join(unit).exists(), "{unit}");
    }
    assert!(!root.join("usr/lib/systemd/system/try").exists());
    let configuration = root.join("etc/myriad/myriad.toml");
    run(Command::new(root.join("usr/bin/myriad")).args(["check", "--config"]).arg(&configuration));
    let version = run(Command::new(root.join("usr/bin/myriadctl")).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");

    // What an operator wrote stays, over an upgrade and when the package goes.
    let own = std::fs::read_to_string(&configuration).unwrap() + "# ours\n";
    std::fs::write(&configuration, &own).unwrap();
    rpm(&["-U", "--force", "--nodeps", "--noscripts", package]);
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), own);
    rpm(&["-e", "--noscripts", "myriad"]);
    assert!(!root.join("usr/bin/myriad").exists());
    assert_eq!(std::fs::read_to_string(configuration.with_extension("toml.rpmsave")).unwrap(), own);
    std::fs::remove_dir_all(&folder).unwrap();
}
