//! Items of the API as a table: columns aligned over the pages of a list, cut to the terminal's width. Names come from clients, so
//! control characters are shown as escapes.

use std::io::Write;

use anyhow::Result;
use ratatui::text::Span;
use serde_json::Value;

use super::units;

/// What a column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Text,
    /// A count, to the right.
    Count,
    /// Bytes.
    Bytes,
    /// A duration in seconds; null: for ever.
    Seconds,
}

/// A column, or a line of what is shown of one thing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) key: &'static str,
    pub(crate) form: Form,
}

/// A column.
pub(crate) const fn column(title: &'static str, key: &'static str, form: Form) -> Column {
    Column { title, key, form }
}

/// Narrowest that a column is cut to.
const COLUMN_MIN: usize = 8;

/// A table under way.
pub(crate) struct Table<'c> {
    columns: &'c [Column],
    widths: Vec<usize>,
    /// Of the terminal; `None`: nothing is cut.
    room: Option<usize>,
    has_header: bool,
}

impl<'c> Table<'c> {
    pub(crate) fn new(columns: &'c [Column], room: Option<usize>) -> Self {
        Self { columns, widths: columns.iter().map(|c| width(c.title)).collect(), room, has_header: false }
    }

    /// Prints a page. Columns never become narrower than on the pages before.
    pub(crate) fn print(&mut self, out: &mut impl Write, items: &[Value]) -> Result<()> {
        let rows: Vec<Vec<String>> = items
            .iter()
            .map(|item| self.columns.iter().map(|c| cell(&item[c.key], c.form)).collect())
            .collect();
        for row in &rows {
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        let widths = self.fitted();
        if !self.has_header && !rows.is_empty() {
            let titles: Vec<String> = self.columns.iter().map(|c| c.title.to_uppercase()).collect();
            self.line(out, &titles, &widths)?;
            self.has_header = true;
        }
        for row in &rows {
            self.line(out, row, &widths)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut impl Write, cells: &[String], widths: &[usize]) -> Result<()> {
        let mut line = String::new();
        for ((cell, column), wanted) in cells.iter().zip(self.columns).zip(widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let text = cut(cell, *wanted);
            let blanks = " ".repeat(wanted.saturating_sub(width(&text)));
            match column.form {
                Form::Count | Form::Bytes => line.extend([blanks.as_str(), &text]),
                Form::Text | Form::Seconds => line.extend([text.as_str(), &blanks]),
            }
        }
        Ok(writeln!(out, "{}", line.trim_end())?)
    }

    /// The widths, the widest columns cut until a line fits.
    fn fitted(&self) -> Vec<usize> {
        let mut widths = self.widths.clone();
        let Some(room) = self.room else { return widths };
        let gaps = 2 * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > room {
            let Some(widest) = widths.iter_mut().max() else { break };
            if *widest <= COLUMN_MIN {
                break;
            }
            *widest -= 1;
        }
        widths
    }
}

fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The beginning of a text that takes at most so many columns; what is left out shows as `…`.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept) + 1 > room {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

/// A value in one line.
pub(crate) fn cell(value: &Value, form: Form) -> String {
    match (value, form) {
        (Value::Null, Form::Seconds) => "never".into(),
        (Value::Null, _) => "-".into(),
        (Value::Bool(yes), _) => if *yes { "yes" } else { "no" }.into(),
        (Value::String(text), _) => visible(text),
        (Value::Number(number), _) => match (number.as_u64(), form) {
            (Some(n), Form::Bytes) => units::bytes(n),
            (Some(n), Form::Seconds) => units::seconds(n),
            _ => number.to_string(),
        },
        (Value::Array(items), _) => {
            items.iter().map(|item| cell(item, Form::Text)).collect::<Vec<_>>().join(", ")
        }
        (Value::Object(fields), _) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", cell(value, Form::Text)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// A text without what could move the cursor of a terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Those that turn the direction of writing deceive as well as escapes do.
        if c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: [Column; 3] = [
        column("client", "client_id", Form::Text),
        column("queued", "queued", Form::Count),
        column("expiry", "expiry_s", Form::Seconds),
    ];

    fn printed(room: Option<usize>, pages: &[Vec<Value>]) -> String {
        let (mut table, mut out) = (Table::new(&COLUMNS, room), Vec::new());
        pages.iter().for_each(|page| table.print(&mut out, page).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pages_have_one_header_and_aligned_columns() {
        let text = printed(
            None,
            &[
                vec![json!({"client_id": "a", "queued": 5, "expiry_s": null})],
                vec![json!({"client_id": "b", "queued": 100, "expiry_s": 60})],
            ],
        );
        assert_eq!(text, "CLIENT  QUEUED  EXPIRY\na            5  never\nb          100  1 m\n");
        assert_eq!(printed(None, &[vec![]]), "");
    }

    #[test]
    fn a_line_fits_the_terminal_and_hostile_names_stay_in_theirs() {
        let long = "x".repeat(100);
        let text = printed(Some(40), &[vec![json!({"client_id": long, "queued": 1, "expiry_s": 0})]]);
        assert!(text.lines().all(|line| width(line) <= 40) && text.contains('…'), "{text}");
        let text = printed(None, &[vec![json!({"client_id": "a\u{1b}[2Jb\n\u{202e}c", "queued": 1})]]);
        assert!(text.contains("a\\u{1b}[2Jb\\n\\u{202e}c"), "{text}");
        assert_eq!(cut("百万百万", 5), "百万…");
    }
}
