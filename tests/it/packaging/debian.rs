//! The Debian package: built by `cargo deb` of the binaries that are there, installed by dpkg below a folder of its own, run from
//! there, upgraded over a changed configuration, removed and purged.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{are_here, run, runs};
use crate::broker::{Broker, binary, peer_is_mosquitto, temporary_dir, unused_address};
use crate::wire::{Connect, Publish};

/// A root for packages below a folder, with a database of its own.
struct Root(PathBuf);

impl Root {
    fn new(folder: &Path) -> Self {
        let root = folder.join("root");
        std::fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
        std::fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
        std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        Self(root)
    }

    /// What the package needs is on this machine, not below the root.
    fn dpkg(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", self.0.display()));
        command.args(["--force-not-root", "--force-script-chrootless", "--force-depends", "--force-confold"]);
        run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Builds the package of the binaries that the tests run; `None`: something that it takes is missing here.
fn build(folder: &Path) -> Option<PathBuf> {
    let ctl = binary().with_file_name("myriadctl");
    let needs = [
        ("cargo-deb", runs("cargo", &["deb", "--version"])),
        ("dpkg", runs("dpkg", &["--version"])),
        ("a user who may install: root", nix::unistd::geteuid().is_root()),
        ("myriadctl beside the broker's binary", ctl.exists()),
    ];
    if !are_here(&needs) {
        return None;
    }
    // `cargo deb` takes what is in the release folder of its target folder.
    let release = folder.join("target/release");
    std::fs::create_dir_all(&release).unwrap();
    symlink(binary(), release.join("myriad")).unwrap();
    symlink(&ctl, release.join("myriadctl")).unwrap();
    run(Command::new(&ctl).args(["man", "--dir"]).arg(release.join("man")));
    run(Command::new(&ctl).args(["completions", "--dir"]).arg(release.join("completions")));
    let package = folder.join("myriad.deb");
    let mut command = Command::new("cargo");
    command.args(["deb", "--no-build", "--fast", "--offline", "--locked", "-o"]).arg(&package);
    run(command.env("CARGO_TARGET_DIR", folder.join("target")).current_dir(env!("CARGO_MANIFEST_DIR")));
    Some(package)
}

#[test]
fn the_package_installs_runs_upgrades_and_goes() {
    if peer_is_mosquitto() {
        return println!("skipped: Mosquitto has a package of its own");
    }
    let folder = temporary_dir();
    let Some(package) = build(&folder) else { return };
    let package = package.to_str().unwrap();
    let control = run(Command::new("dpkg-deb").args(["-f", package]));
    assert!(control.contains(concat!("Version: ", env!("CARGO_PKG_VERSION"))), "{control}");
    let root = Root::new(&folder);
    root.dpkg(&["-i", package]);

    // Enabled as systemd has it.
    let unit = "usr/lib/systemd/system/myriad.service";
    assert!(root.path(unit).exists());
    let wanted = root.path("etc/systemd/system/multi-user.target.wants/myriad.service");
    assert!(wanted.symlink_metadata().is_ok(), "the unit is not enabled");

    // The installed broker with the installed configuration, as the unit starts it.
    let (address, dir) = (unused_address(), folder.join("state"));
    std::fs::create_dir(&dir).unwrap();
    let configuration = root.path("etc/myriad/myriad.toml");
    let mut command = Command::new(root.path("usr/bin/myriad"));
    command.arg("--config").arg(&configuration).arg("--data-dir").arg(&dir);
    command
        .args(["--shards", "1", "--listen", &format!("mqtt://{address}")])
        .args(["--set", "admin.listen="]);
    let mut broker = Broker::spawn(&mut command, address, 1, dir);
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("a", 1);
    client.publish(Publish::new("a", "b").qos(1));
    client.expect_message("a", "b");
    assert_eq!(broker.terminate().code(), Some(0));
    let version = run(Command::new(root.path("usr/bin/myriadctl")).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let shared = |file: &str| root.path("usr/share").join(file).exists();
    // A release compresses manual pages; a package in a hurry does not.
    let page = "man/man1/myriadctl-clients-kick.1";
    assert!(shared(page) || shared(&format!("{page}.gz")), "{page} is not there");
    assert!(shared("bash-completion/completions/myriadctl"));

    // What an operator wrote stays, over an upgrade and when the package goes; purging takes it.
    let own = std::fs::read_to_string(&configuration).unwrap() + "# ours\n";
    std::fs::write(&configuration, &own).unwrap();
    let said = root.dpkg(&["-i", package]);
    assert!(said.contains("systemctl restart myriad"), "{said}");
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), own);
    root.dpkg(&["-r", "myriad"]);
    assert!(!root.path("usr/bin/myriad").exists() && !root.path(unit).exists());
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), own);
    root.dpkg(&["-P", "myriad"]);
    assert!(!configuration.exists());
    assert!(wanted.symlink_metadata().is_err(), "the unit is still enabled");
    std::fs::remove_dir_all(&folder).unwrap();
}
