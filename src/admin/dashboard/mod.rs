//! The dashboard: hand-written HTML, CSS and JavaScript modules, part of the binary. Knows no HTTP: the routes serve
//! `FILES`, with `CONTENT_SECURITY_POLICY` and the tag of the file. No request of the page leaves its origin.

/// What the browser may load and run: files of this origin, and connections to it.
pub(in crate::admin) const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// One file of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) struct File {
    /// Below the root of the listener, without a leading slash; the page itself is the empty path.
    pub(in crate::admin) path: &'static str,
    /// For the header Content-Type.
    pub(in crate::admin) content_type: &'static str,
    /// What is served.
    pub(in crate::admin) body: &'static str,
    /// A strong entity tag with its quotes: changes with the body.
    pub(in crate::admin) etag: ETag,
}

/// An entity tag: the quotes and sixteen digits of a hash of the body.
pub(in crate::admin) type ETag = [u8; 18];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $name:literal $content_type:ident),+ $(,)?) => {
        [$(File {
            path: $path,
            content_type: $content_type,
            body: include_str!($name),
            etag: etag(include_str!($name).as_bytes()),
        }),+]
    };
}

/// Every file, the page first.
pub(in crate::admin) static FILES: [File; 29] = files![
    "" "index.html" HTML,
    "style.css" "style.css" CSS,
    "icon.svg" "icon.svg" SVG,
    "theme.js" "theme.js" JS,
    "app.js" "app.js" JS,
    "api.js" "api.js" JS,
    "chart.js" "chart.js" JS,
    "dom.js" "dom.js" JS,
    "format.js" "format.js" JS,
    "list.js" "list.js" JS,
    "mqtt.js" "mqtt.js" JS,
    "payload.js" "payload.js" JS,
    "pages/bans.js" "pages/bans.js" JS,
    "pages/client.js" "pages/client.js" JS,
    "pages/clients.js" "pages/clients.js" JS,
    "pages/configuration.js" "pages/configuration.js" JS,
    "pages/console.js" "pages/console.js" JS,
    "pages/listeners.js" "pages/listeners.js" JS,
    "pages/login.js" "pages/login.js" JS,
    "pages/node.js" "pages/node.js" JS,
    "pages/overview.js" "pages/overview.js" JS,
    "pages/retained.js" "pages/retained.js" JS,
    "pages/sessions.js" "pages/sessions.js" JS,
    "pages/slow.js" "pages/slow.js" JS,
    "pages/subscriptions.js" "pages/subscriptions.js" JS,
    "pages/topic_metrics.js" "pages/topic_metrics.js" JS,
    "pages/topics.js" "pages/topics.js" JS,
    "pages/trace.js" "pages/trace.js" JS,
    "favicon.ico" "icon.svg" SVG,
];

/// FNV-1a in 64 bits: tells versions of a file apart, proves nothing.
const fn etag(body: &[u8]) -> ETag {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < body.len() {
        hash = (hash ^ body[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    let mut tag = [b'"'; 18];
    let mut digit = 0;
    while digit < 16 {
        tag[digit + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * digit)) as usize & 15];
        digit += 1;
    }
    tag
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(path: &str) -> Option<&'static File> {
        FILES.iter().find(|file| file.path == path)
    }

    /// What a module imports is served; the policy of the page would stop anything from elsewhere.
    #[test]
    fn every_import_is_served() {
        let mut imports = 0;
        for script in FILES.iter().filter(|file| file.content_type == JS) {
            for line in script.body.lines().filter(|line| line.contains(" from '")) {
                let from = line.split(" from '").nth(1).unwrap().split('\'').next().unwrap();
                let path = match (script.path.starts_with("pages/"), from.strip_prefix("./")) {
                    (true, Some(beside)) => format!("pages/{beside}"),
                    (true, None) => from.strip_prefix("../").unwrap().to_owned(),
                    (false, beside) => beside.unwrap().to_owned(),
                };
                assert!(file(&path).is_some(), "{} imports {from}, which is not served", script.path);
                imports += 1;
            }
        }
        assert!(imports > 50, "only {imports} imports were found");
    }

    /// A client id is never markup, and nothing is loaded from elsewhere.
    #[test]
    fn no_file_makes_markup_of_text_or_names_another_host() {
        let makes_markup = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "style=",
        ];
        for file in &FILES {
            let code = file
                .body
                .replace("nothing in the dashboard uses innerHTML", "")
                .replace("http://www.w3.org/", "");
            for word in makes_markup.iter().chain(&["http://", "https://", "//cdn"]) {
                assert!(!code.contains(word), "{} contains {word}", file.path);
            }
        }
    }

    #[test]
    fn tags_tell_files_apart() {
        let tag = |body: &str| String::from_utf8(etag(body.as_bytes()).to_vec()).unwrap();
        // The published test value of FNV-1a for "a".
        assert_eq!(tag("a"), "\"af63dc4c8601ec8c\"");
        assert_ne!(file("app.js").unwrap().etag, file("api.js").unwrap().etag);
        assert_eq!(file("../app.js"), None);
    }
}
