//! The broker's control socket (`<node.data_dir>/control.sock`) from the other end: a request is a line of JSON, the answer an
//! object a line, of which the last one says whether all is well.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What a broker answered.
pub(crate) struct Answer {
    /// What it listed.
    pub(crate) lines: Vec<Value>,
    /// The last line, in which `ok` is true.
    pub(crate) last: Value,
}

/// Asks the broker behind `socket`. `patience`: how long it may think; `None`: for ever.
pub(crate) fn ask(socket: &Path, request: &Value, patience: Option<Duration>) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("{}: no broker answers here (see node.data_dir)", socket.display()))?;
    stream.set_read_timeout(patience)?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut lines = Vec::new();
    for line in BufReader::new(&stream).lines() {
        let line: Value = serde_json::from_str(&line?).context("the broker's answer is no JSON")?;
        match line.get("ok").and_then(Value::as_bool) {
            Some(true) => return Ok(Answer { lines, last: line }),
            Some(false) => bail!("{}", line["error"].as_str().unwrap_or("refused")),
            None => lines.push(line),
        }
    }
    bail!("the broker did not answer")
}
