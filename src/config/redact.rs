//! What of a URL, and of the parameters of a request, may stand in a log and in a printed configuration.

/// Stands for what is not shown.
pub(super) const HIDDEN: &str = "***";

/// A URL without its user and password and without the values of its query.
pub fn shown_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    // The last one: a password that should have been written with %40 is one all the same.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, behind)) => ("***@", behind),
        None => ("", rest),
    };
    let Some((before, query)) = rest.split_once('?') else {
        return format!("{scheme}{separator}{user}{rest}");
    };
    format!("{scheme}{separator}{user}{before}?{}", shown_pairs(query, '&'))
}

/// `auth.http.*.params` without values that stand there themselves: `%c` and its like are none.
pub(super) fn shown_params(params: &str) -> String {
    shown_pairs(params, ',')
}

/// Whether the value of a key, by its name within its section, may hold a secret.
pub(super) fn may_be_secret(name: &str) -> bool {
    name == "url" || name.ends_with(".url") || name.ends_with(".params")
}

/// The value of the key of that name.
pub(super) fn shown_value(name: &str, value: &str) -> String {
    match name.rsplit_once('.') {
        None if name == "url" => shown_url(value),
        Some((_, "url")) => shown_url(value),
        Some((_, "params")) => shown_params(value),
        _ => value.to_owned(),
    }
}

/// The value of a key that there is not: who means another one may have written a secret.
pub(super) fn shown_unknown(path: &str, value: &str) -> String {
    let is_harmless = value.parse::<f64>().is_ok() || matches!(value, "true" | "false");
    if is_harmless && !path.starts_with("auth") { value.to_owned() } else { HIDDEN.to_owned() }
}

/// What should have been KEY=VALUE: as much of it as may be a key.
pub(super) fn shown_key(text: &str) -> String {
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    match text.find(|c| !is_of_key(c)) {
        Some(end) => format!("{}{HIDDEN}", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn shown_pairs(text: &str, separator: char) -> String {
    let is_placeholder = |value: &str| value.len() == 2 && value.starts_with('%');
    let mut shown = Vec::new();
    for pair in text.split(separator) {
        shown.push(match pair.split_once('=') {
            Some((_, value)) if is_placeholder(value.trim()) => pair.to_owned(),
            Some((name, _)) => format!("{name}={HIDDEN}"),
            None if pair.is_empty() => String::new(),
            None => HIDDEN.to_owned(),
        });
    }
    shown.join(separator.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_secret_is_not_shown() {
        for (url, shown) in [
            ("http://127.0.0.1:80/auth", "http://127.0.0.1:80/auth"),
            ("https://u:pw@h/auth?key=s3&x", "https://***@h/auth?key=***&***"),
            ("http://u:p@w@h/", "http://***@h/"),
            ("http://u:p/w@h/", "http://***@h/"),
            ("u:pw@h", "***@h"),
            ("", ""),
        ] {
            assert_eq!(shown_url(url), shown, "{url}");
        }
        assert_eq!(shown_params("clientid=%c,key=s3,p=%P,odd"), "clientid=%c,key=***,p=%P,***");
        assert_eq!(shown_params(""), "");
        assert_eq!(shown_value("http.auth_req.url", "'http://u:pw@h'"), "'http://***@h'");
        assert_eq!(shown_value("queue_len_max", "http://u:pw@h"), "http://u:pw@h");
        assert_eq!(shown_unknown("session.queue_len", "1"), "1");
        assert_eq!(
            (shown_unknown("auth.pin", "1"), shown_unknown("x.y", "pw")),
            (HIDDEN.into(), HIDDEN.into())
        );
        assert_eq!(
            (shown_key("a.b_c"), shown_key("a.url:http://u:pw@h")),
            ("a.b_c".into(), "a.url***".into())
        );
    }
}
