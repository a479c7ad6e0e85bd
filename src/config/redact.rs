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
    }
}
