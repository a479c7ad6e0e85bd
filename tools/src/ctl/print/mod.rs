//! What a command prints: tables for people, one JSON document for programs (`--json`).

mod table;
pub(crate) mod units;

use std::io::{BufWriter, IsTerminal, Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use crate::api::{Api, Query, Reach};
pub(crate) use table::{Column, Form, Table, cell, column, cut, visible};

/// How much of a list is wanted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Paging {
    /// Print at most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Print all, however many there are.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// What every command has: where the broker is, and how to print.
pub(crate) struct Console<'r> {
    pub(crate) reach: &'r Reach,
    pub(crate) json: bool,
}

/// Prints a line; an error where nobody reads any more.
pub(crate) fn say(text: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(stdout().lock(), "{text}")?)
}

/// Columns of the terminal; `None`: the output is no terminal, and nothing is cut.
pub(crate) fn room() -> Option<usize> {
    if !stdout().is_terminal() {
        return None;
    }
    ratatui::crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns))
}

impl Console<'_> {
    pub(crate) fn api(&self) -> Result<Api> {
        Api::open(self.reach)
    }

    /// Prints a list, page after page.
    pub(crate) fn list(
        &self,
        path: &str,
        query: Query<'_>,
        paging: &Paging,
        columns: &[Column],
    ) -> Result<ExitCode> {
        let api = self.api()?;
        let limit = (!paging.all).then_some(paging.limit.max(1));
        let mut out = BufWriter::new(stdout().lock());
        let has_more = if self.json {
            let mut separator = "[";
            let has_more = api.pages(path, query, limit, |items| {
                for item in items {
                    write!(out, "{separator}\n  {item}")?;
                    separator = ",";
                }
                Ok(out.flush()?)
            })?;
            writeln!(out, "{}", if separator == "[" { "[]" } else { "\n]" })?;
            has_more
        } else {
            let mut table = Table::new(columns, room());
            api.pages(path, query, limit, |items| {
                table.print(&mut out, items)?;
                Ok(out.flush()?)
            })?
        };
        out.flush()?;
        if has_more {
            eprintln!("myriadctl: there are more; --all or --limit shows them");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Prints `{"items": […]}` that came at once.
    pub(crate) fn items(&self, answer: &Value, columns: &[Column]) -> Result<ExitCode> {
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(items)?)?;
        } else {
            Table::new(columns, room()).print(&mut out, items)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints one thing: a line for each of `columns` that it has, then its lists.
    pub(crate) fn show(
        &self,
        value: &Value,
        columns: &[Column],
        lists: &[(&str, &str, &[Column])],
    ) -> Result<ExitCode> {
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let known = columns.iter().filter(|column| value.get(column.key).is_some());
        let widest = known.clone().map(|column| column.title.len()).max().unwrap_or(0);
        for column in known {
            writeln!(out, "{:widest$}  {}", column.title, cell(&value[column.key], column.form))?;
        }
        for (title, key, columns) in lists {
            let Some(items) = value[key].as_array().filter(|items| !items.is_empty()) else { continue };
            writeln!(out, "\n{title}:")?;
            if columns.is_empty() {
                for item in items {
                    writeln!(out, "  {}", cell(item, Form::Text))?;
                }
            } else {
                Table::new(columns, room()).print(&mut out, items)?;
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Says that something was done: the broker's answer as JSON, or a line for people.
    pub(crate) fn done(&self, answer: &Value, text: impl std::fmt::Display) -> Result<ExitCode> {
        if !self.json {
            say(text)?;
        } else if answer.is_null() {
            say("{}")?;
        } else {
            say(serde_json::to_string_pretty(answer)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
