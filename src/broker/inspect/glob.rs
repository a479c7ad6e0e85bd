//! Patterns of names: `*` is any text, `?` one character, all else itself.

/// Characters of a pattern at most: what comparing costs grows with it.
const PATTERN_LEN_MAX: usize = 128;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// A pattern of this text; `None`: it is longer than 128 characters.
    pub fn new(text: &str) -> Option<Self> {
        (text.chars().count() <= PATTERN_LEN_MAX).then(|| Self(text.into()))
    }

    /// Whether a whole text has this form. Only the last `*` is tried at other places: what stands before it fits as early as
    /// it can, and later would leave less.
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut text) = (self.0.chars(), text.chars());
        let mut again = None;
        loop {
            let mut rest = pattern.clone();
            let mut text_rest = text.clone();
            match (rest.next(), text_rest.next()) {
                (Some('*'), _) => {
                    again = Some((rest.clone(), text.clone()));
                    pattern = rest;
                    continue;
                }
                (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                    (pattern, text) = (rest, text_rest);
                    continue;
                }
                (None, None) => return true,
                (Some(_), None) => return false,
                _ => {}
            }
            let Some((after, from)) = &mut again else { return false };
            if from.next().is_none() {
                return false;
            }
            (pattern, text) = (after.clone(), from.clone());
        }
    }

    /// What comparing with a text costs, in places of a budget.
    pub(super) fn cost(&self, text: &str) -> usize {
        1 + text.len() * self.0.len() / 2048
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("**", "x"),
            ("a*", "a"),
            ("*b", "abab"),
            ("a?c", "aäc"),
            ("*a*b*c*", "xaxbxc"),
            ("car-*-?", "car-12-34-5"),
            ("*ab", "aab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("?", ""), ("?", "ab"), ("a*b", "abc"), ("A", "a"), ("*a?", "a"), ("[a]", "a")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(Glob::new(&"*".repeat(128)).is_some_and(|glob| glob.matches("x")));
        assert_eq!(Glob::new(&"*".repeat(129)), None);
    }

    #[test]
    fn it_agrees_with_the_plain_definition() {
        fn plainly(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), None) => plainly(rest, text),
                (Some((b'*', rest)), Some((_, after))) => plainly(rest, text) || plainly(pattern, after),
                (Some((wanted, rest)), Some((found, after))) => {
                    (*wanted == b'?' || wanted == found) && plainly(rest, after)
                }
                _ => false,
            }
        }
        let mut random = 1_u64;
        let mut word = |letters: &[u8]| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bits = random >> 20;
            let len = bits % 8;
            let mut word = String::new();
            for _ in 0..len {
                bits /= 5;
                word.push(char::from(letters[bits as usize % letters.len()]));
            }
            word
        };
        for _ in 0..20_000 {
            let (pattern, text) = (word(b"ab*?"), word(b"ab"));
            assert_eq!(
                matches(&pattern, &text),
                plainly(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
    }
}
