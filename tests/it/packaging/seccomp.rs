//! The seccomp profile for containers, put into the kernel by libseccomp as a container's runtime does it: the broker
//! has all that it needs, and the profile is not merely open.

use std::process::{Command, Output};

use super::{has, shipped};
use crate::broker::{Broker, binary, temporary_dir, unused_address, wait_until};
use crate::wire::{Connect, Publish};

/// Takes on the profile that its first argument names, then becomes the program that the others name.
const CONFINE: &str = r"
import ctypes, json, os, sys
ALLOW = 0x7fff0000
profile = json.load(open(sys.argv[1]))
assert profile['defaultAction'] == 'SCMP_ACT_ERRNO'
seccomp = ctypes.CDLL('libseccomp.so.2')
seccomp.seccomp_init.restype = ctypes.c_void_p
seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
context = seccomp.seccomp_init(0x00050000 | profile['defaultErrnoRet'])
for group in profile['syscalls']:
    assert group['action'] == 'SCMP_ACT_ALLOW'
    for name in group['names']:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        # Negative: not on this machine, or newer than this library.
        if number >= 0:
            failed = seccomp.seccomp_rule_add(ctypes.c_void_p(context), ctypes.c_uint32(ALLOW), number, 0)
            assert failed == 0, name
failed = seccomp.seccomp_load(ctypes.c_void_p(context))
assert failed == 0, 'the kernel does not take the profile'
os.execv(sys.argv[2], sys.argv[2:])
";

/// `arguments` under the profile.
fn confined(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg("-c").arg(CONFINE).arg(shipped("container/seccomp.json")).args(arguments);
    command
}

fn is_skipped() -> bool {
    if crate::broker::peer_is_mosquitto() {
        println!("skipped: Mosquitto needs no io_uring");
        return true;
    }
    !has("python3")
}

#[test]
fn the_broker_has_all_that_it_needs() {
    if is_skipped() {
        return;
    }
    let (address, dir) = (unused_address(), temporary_dir());
    let url = format!("mqtt://{address}");
    let binary = binary();
    let mut command = confined(&[binary.to_str().unwrap(), "--shards", "2", "--listen", &url]);
    command.arg("--data-dir").arg(&dir);
    let mut broker = Broker::spawn(&mut command, address, 2, dir);

    // Durable, so that the journal is written and synced too.
    let session = || Connect::v311("offline").persistent();
    let mut subscriber = broker.connect(session());
    subscriber.subscribe("a/#", 1);
    drop(subscriber);
    let mut publisher = broker.connect(Connect::v311("publisher"));
    publisher.publish(Publish::new("a/b", "kept").qos(1));
    let mut subscriber = broker.connect(session());
    subscriber.expect_message("a/b", "kept");

    broker.signal("HUP");
    wait_until("the configuration is reloaded", || broker.output().contains("configuration reloaded"));
    publisher.ping();
    assert_eq!(broker.terminate().code(), Some(0), "{}", broker.output());
}

/// `CLONE_NEWUSER`
const NEW_USER_NAMESPACE: &str = "0x10000000";

/// What a program does that may make all those calls and no others.
fn try_python(statement: &str) -> Output {
    let python =
        String::from_utf8(Command::new("sh").args(["-c", "command -v python3"]).output().unwrap().stdout);
    confined(&[python.unwrap().trim(), "-c", statement]).output().unwrap()
}

#[test]
fn what_a_broker_never_does_is_refused() {
    if is_skipped() {
        return;
    }
    let harmless = try_python("import os; print(os.getpid() > 0)");
    assert_eq!(harmless.stdout, b"True\n", "{harmless:?}");
    let call = |name: &str, arguments: &str| {
        format!(
            "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n\
             if libc.{name}({arguments}): raise OSError(ctypes.get_errno(), '{name}')"
        )
    };
    for statement in [
        call("unshare", NEW_USER_NAMESPACE),
        call("ptrace", "0, 0, 0, 0"),
        call("mount", "b'none', b'/mnt', b'tmpfs', 0, 0"),
        "import os; os.chroot('/tmp')".into(),
        "import os; os.mknod('/tmp/a-device-that-nobody-wants', 0o20600, os.makedev(1, 3))".into(),
    ] {
        let output = try_python(&statement);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains("[Errno 1]"), "{statement}: {stderr}");
    }
}
