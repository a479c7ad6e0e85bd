//! io_uring forbidden by a seccomp filter, as Docker's default profile does: the broker says so in one line.

use std::process::{Command, Stdio};

use crate::broker::{binary, peer_is_mosquitto, wait};

/// Forbids io_uring_setup for itself, then becomes the program that its arguments name.
const FORBID_IO_URING: &str = r"
import ctypes, os, struct, sys
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7fff0000, 0x00050001
IO_URING_SETUP = 425  # on x86_64 and on aarch64
rules = [(LOAD_WORD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP), (RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack('@HP', len(rules), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))]:
    if libc.prctl(*arguments, *[0] * (5 - len(arguments))) != 0:
        sys.exit('prctl: ' + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
";

const LINE: &str = "myriad: io_uring is forbidden here, probably by a seccomp profile (Docker's default one does that); \
                    allow io_uring_setup, io_uring_enter and io_uring_register";

#[test]
fn io_uring_forbidden_by_seccomp_exits_1_and_names_it() {
    if peer_is_mosquitto() {
        return println!("skipped: Mosquitto needs no io_uring");
    }
    let mut command = Command::new("python3");
    command.args(["-c", FORBID_IO_URING]).arg(binary());
    command.args(["--shards", "1", "--listen", "mqtt://127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        assert!(std::env::var_os("MYRIAD_IT_STRICT").is_none(), "there is no python3");
        return println!("skipped: there is no python3");
    };
    if wait(&mut child).is_none() {
        let _ = child.kill();
        panic!("the broker runs without io_uring");
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().collect::<Vec<_>>(), [LINE]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}
