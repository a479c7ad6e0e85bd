//! The characters of HTML and SVG: escaping and elements. All output of this folder is well-formed as XML too.

/// `text` so that it stands for itself between tags and in a quoted attribute. Control characters, which XML has no
/// way to write, become a replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An element with a class around markup. `class` is a literal of ours, `inner` is markup already.
pub(super) fn element(name: &str, class: &str, inner: &str) -> String {
    if class.is_empty() {
        format!("<{name}>{inner}</{name}>\n")
    } else {
        format!("<{name} class=\"{class}\">{inner}</{name}>\n")
    }
}

/// An element with a class around text, which is escaped.
pub(super) fn text(name: &str, class: &str, text: &str) -> String {
    element(name, class, &escape(text))
}

/// A list of sentences.
pub(super) fn list(class: &str, sentences: &[String]) -> String {
    let items: String = sentences.iter().map(|sentence| text("li", "", sentence)).collect();
    element("ul", class, &items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_text_stays_text() {
        assert_eq!(escape(r#"<b a="1" c='2'>&amp;"#), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
        assert_eq!(escape("a\u{0}b\u{1b}\nµs 百万"), "a\u{fffd}b\u{fffd}\nµs 百万");
        assert_eq!(text("p", "note", "a < b"), "<p class=\"note\">a &lt; b</p>\n");
        assert_eq!(list("", &["<".into()]), "<ul><li>&lt;</li>\n</ul>\n");
    }
}
