//! Licence expressions (SPDX, and the old form with `/`), as far as crates use them: identifiers, `OR`, `AND`, `WITH`
//! and parentheses.

use anyhow::{Result, bail, ensure};

/// Whether `expression` can be satisfied with licences that `is_allowed` accepts. `A WITH B` is asked for as one.
///
/// # Errors
/// `expression` is not one that this reads.
pub(crate) fn is_satisfied(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, is_allowed };
    let satisfied = reader.any_of()?;
    ensure!(reader.words.is_empty(), "{expression:?}: {:?} is left over", reader.words);
    Ok(satisfied)
}

struct Reader<'a> {
    words: &'a [&'a str],
    is_allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn skip(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.next();
        }
        is_next
    }

    fn any_of(&mut self) -> Result<bool> {
        let mut satisfied = self.all_of()?;
        while self.skip("OR") {
            satisfied |= self.all_of()?;
        }
        Ok(satisfied)
    }

    fn all_of(&mut self) -> Result<bool> {
        let mut satisfied = self.one()?;
        while self.skip("AND") {
            satisfied &= self.one()?;
        }
        Ok(satisfied)
    }

    fn one(&mut self) -> Result<bool> {
        match self.next() {
            Some("(") => {
                let satisfied = self.any_of()?;
                ensure!(self.skip(")"), "a parenthesis is not closed");
                Ok(satisfied)
            }
            None | Some(")" | "OR" | "AND" | "WITH") => bail!("a licence is missing"),
            Some(licence) if self.skip("WITH") => {
                let Some(exception) = self.next() else { bail!("an exception is missing") };
                Ok((self.is_allowed)(&format!("{licence} WITH {exception}")))
            }
            Some(licence) => Ok((self.is_allowed)(licence)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn satisfied(expression: &str) -> bool {
        is_satisfied(expression, &|licence| {
            ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].contains(&licence)
        })
        .unwrap()
    }

    #[test]
    fn expressions() {
        for expression in
            ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND Zlib", "MIT AND Zlib"]
        {
            assert!(satisfied(expression), "{expression}");
        }
        assert!(satisfied("Apache-2.0 WITH LLVM-exception"));
        for expression in
            ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0", "Apache-2.0", "MIT WITH x"]
        {
            assert!(!satisfied(expression), "{expression}");
        }
        for expression in ["", "MIT OR", "(MIT", "MIT MIT", "MIT)", "AND"] {
            assert!(is_satisfied(expression, &|_| true).is_err(), "{expression}");
        }
    }
}
