//! Names of dots in a path. A client may be called `..`, and what browsers, curl and proxies read as "one level up" never arrives, percent-
//! encoded or not. So `~..` in a path means `..`, `~.` means `.`, and what looks like that takes one tilde more: `~~.` means `~.`.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// Gives the segments of a path that are tildes and one or two dots the names that they stand for, which from here on nobody folds.
pub(in crate::admin) fn restore_dots(uri: &mut Uri) {
    let path = uri.path();
    if !path.split('/').any(|segment| meant(segment).is_some()) {
        return;
    }
    let segments: Vec<_> = path.split('/').map(|segment| meant(segment).unwrap_or(segment.into())).collect();
    let mut whole = segments.join("/");
    if let Some(query) = uri.query() {
        whole = format!("{whole}?{query}");
    }
    let mut parts = uri.clone().into_parts();
    // It is as good as it was.
    let Ok(path) = PathAndQuery::try_from(whole) else { return };
    parts.path_and_query = Some(path);
    if let Ok(restored) = Uri::from_parts(parts) {
        *uri = restored;
    }
}

/// The segment that one of tildes and dots stands for. Who encodes may encode those too.
fn meant(segment: &str) -> Option<String> {
    if !segment.starts_with(['~', '%']) {
        return None;
    }
    let plain = ["%7E", "%7e"].into_iter().fold(segment.to_owned(), |text, code| text.replace(code, "~"));
    let plain = ["%2E", "%2e"].into_iter().fold(plain, |text, code| text.replace(code, "."));
    let rest = plain.strip_prefix('~')?;
    matches!(rest.trim_start_matches('~'), "." | "..").then(|| rest.replace('.', "%2E"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dots_have_a_way_through_a_path() {
        for (sent, meant) in [
            ("/api/v1/clients/~..", "/api/v1/clients/%2E%2E"),
            ("/api/v1/clients/~.?a=~..", "/api/v1/clients/%2E?a=~.."),
            ("/api/v1/clients/%7e%2E./subscriptions", "/api/v1/clients/%2E%2E/subscriptions"),
            ("/api/v1/clients/~~..", "/api/v1/clients/~%2E%2E"),
            ("/api/v1/clients/~~~.", "/api/v1/clients/~~%2E"),
            ("/api/v1/bans/client/~.", "/api/v1/bans/client/%2E"),
            ("http://h/x/~..", "http://h/x/%2E%2E"),
        ] {
            let mut uri: Uri = sent.parse().unwrap();
            restore_dots(&mut uri);
            assert_eq!(uri.to_string(), meant);
        }
        for same in ["/", "*", "/~", "/a/~...", "/a/~..b", "/%257E..", "/a~../b", "/..", "/%2E%2E", "/a?/~.."]
        {
            let mut uri: Uri = same.parse().unwrap();
            restore_dots(&mut uri);
            assert_eq!(uri.to_string(), same);
        }
    }
}
