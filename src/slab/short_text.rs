//! Text that is mostly short, in place: one cache miss and one block on the heap less for each entry of a table.

use std::fmt;

/// Bytes in place.
const INLINE_LEN: usize = 22;

/// An immutable text of 24 bytes, which holds up to 22 bytes in place and longer texts on the heap.
#[derive(Clone)]
pub struct ShortText(Text);

#[derive(Clone)]
enum Text {
    Inline { len: u8, bytes: [u8; INLINE_LEN] },
    Heap(Box<str>),
}

const _: () = assert!(size_of::<ShortText>() == 24);

impl ShortText {
    /// The bytes: for comparing and hashing, which needs no proof that they are UTF-8.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(&[]),
            Text::Heap(text) => text.as_bytes(),
        }
    }

    /// The text. Short ones are checked for UTF-8 again, because the language wants it: some nanoseconds.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Inline { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Text::Heap(text) => text,
        }
    }
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        let mut bytes = [0; INLINE_LEN];
        Self(match bytes.get_mut(..text.len()) {
            Some(part) => {
                part.copy_from_slice(text.as_bytes());
                Text::Inline { len: text.len() as u8, bytes }
            }
            None => Text::Heap(text.into()),
        })
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_come_back() {
        for len in 0..40 {
            for letter in ["a", "ä", "€"] {
                let text = letter.repeat(len);
                let short = ShortText::from(text.as_str());
                assert_eq!((short.as_str(), short.as_bytes()), (text.as_str(), text.as_bytes()));
                assert_eq!(matches!(short.0, Text::Inline { .. }), text.len() <= INLINE_LEN);
            }
        }
    }
}
