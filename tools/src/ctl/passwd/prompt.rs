//! Asks for a password: twice and unseen at a terminal, else from the first line of standard input.

use std::io::{BufRead, IsTerminal, Write, stdin};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// The longest that MQTT can carry.
const LEN_MAX: usize = 65_535;

/// The new password of `user`.
pub(crate) fn password(user: &str, batch: bool) -> Result<Zeroizing<Vec<u8>>> {
    if batch || !stdin().is_terminal() {
        return line();
    }
    let first = unseen(&format!("password of {user}: "))?;
    let second = unseen("once more: ")?;
    if first != second {
        bail!("these are two different passwords");
    }
    Ok(first)
}

/// The password that `user` has already: asked for once, at a terminal only.
pub(crate) fn existing(user: &str) -> Result<Zeroizing<Vec<u8>>> {
    ensure!(
        stdin().is_terminal(),
        "the password of {user} is missing: give it as NAME:PASSWORD or in MYRIAD_API_PASSWORD"
    );
    unseen(&format!("password of {user}: "))
}

fn line() -> Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::new());
    stdin().lock().read_until(b'\n', &mut line).context("standard input")?;
    if line.ends_with(b"\n") {
        line.pop();
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    ensure!(!line.is_empty(), "the password is empty");
    ensure!(line.len() <= LEN_MAX, "a password can have {LEN_MAX} bytes at most");
    Ok(line)
}

/// The terminal as it was.
struct Echo(Termios);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
    }
}

fn unseen(prompt: &str) -> Result<Zeroizing<Vec<u8>>> {
    let before = Echo(tcgetattr(stdin()).context("terminal")?);
    let mut silent = before.0.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    silent.local_flags.insert(LocalFlags::ECHONL);
    tcsetattr(stdin(), SetArg::TCSANOW, &silent).context("terminal")?;
    let mut terminal = std::io::stderr();
    terminal.write_all(prompt.as_bytes()).and_then(|()| terminal.flush()).context("terminal")?;
    line()
}
