//! What no single value can tell: limits derived from limits, and values that contradict each other.

use super::keys::LISTENER;
use super::{
    Admin, Auth, Config, Error, FileMode, Listener, ListenerUrl, LogTarget, Origin, Scheme, repeated,
};

/// The key to blame and what is wrong with it.
pub(super) type Finding = (String, String);

/// Bytes of the longest node name: one level of `$SYS` topics, which have to stay within every limit of topics.
const NODE_NAME_LEN_MAX: usize = 255;

/// The bridges' own door, in `node.data_dir`.
const BRIDGE_SOCKET: &str = "bridge.sock";

/// Fills in the limits that follow from others.
pub(super) fn derive(config: &mut Config) {
    if !config.bridges.is_empty() {
        let door = ListenerUrl::Unix(config.node.data_dir.join(BRIDGE_SOCKET));
        config.listeners.push(Listener {
            unix_mode: FileMode(0o600),
            is_internal: true,
            ..Listener::at(door)
        });
    }
    let node_max = config.limits.max_connections;
    for listener in &mut config.listeners {
        listener.max_connections = listener.max_connections.min(node_max);
    }
}

/// The first contradiction, if there is one.
pub(super) fn check(config: &Config) -> Result<(), Finding> {
    check_node_name(&config.node.name).map_err(|problem| ("node.name".into(), problem))?;
    check_sys_prefix(&config.sys.prefix).map_err(|problem| ("sys.prefix".into(), problem))?;
    if config.node.data_dir.as_os_str().is_empty() {
        return Err(("node.data_dir".into(), "node.data_dir: expected a path, not \"\"".into()));
    }
    check_watermarks(config.session.queue_low_watermark, config.session.queue_high_watermark)
        .map_err(|problem| ("session.queue_low_watermark".into(), problem))?;
    if config.log.target == LogTarget::File && config.log.file.as_os_str().is_empty() {
        return Err(("log.file".into(), "log.file: log.target is \"file\", and none is named".into()));
    }
    if config.listeners.iter().all(|listener| listener.is_internal) {
        return Err((
            LISTENER.into(),
            "no listener: add a [[listener]] or --listen mqtt://127.0.0.1:1883".into(),
        ));
    }
    check_auth(&config.auth)?;
    check_admin(&config.admin)?;
    check_repeated(config)?;
    for (index, listener) in config.listeners.iter().enumerate() {
        let is_tls = listener.url.scheme().is_some_and(Scheme::is_tls);
        let blame_key =
            |(key, problem)| (format!("{LISTENER}[{index}].{key}"), format!("{}: {problem}", listener.url));
        listener.tls.check(is_tls, config.auth.asks("certificate")).map_err(blame_key)?;
        let blame = |problem| (format!("{LISTENER}[{index}].url"), problem);
        check_mountpoint(listener).map_err(|problem| (format!("{LISTENER}[{index}].mountpoint"), problem))?;
        check_layers(listener).map_err(blame)?;
        check_exposure(listener, config.auth.is_configured()).map_err(blame)?;
        let url = &listener.url;
        if config.listeners.iter().take(index).any(|other| other.url.collides_with(url)) {
            return Err(blame(format!("two listeners at {url}: remove one or change its port")));
        }
    }
    Ok(())
}

/// The lists of the file but that of listeners.
fn check_repeated(config: &Config) -> Result<(), Finding> {
    for section in repeated::ALL {
        (section.check)(config)
            .map_err(|(index, key, problem)| (format!("{}[{index}].{key}", section.name), problem))?;
    }
    let twice = |(index, bridge): &(usize, &super::Bridge)| {
        config.bridges.iter().take(*index).any(|other| other.name == bridge.name)
    };
    if let Some((index, bridge)) = config.bridges.iter().enumerate().find(twice) {
        let problem = format!("bridge.name: two bridges are named {:?}; rename one", bridge.name);
        return Err((format!("bridge[{index}].name"), problem));
    }
    Ok(())
}

/// A wait for the verdict that the time for CONNECT cuts short: the client would be closed before it is told why.
pub(super) fn verdict_in_time<'o>(config: &Config, origin: impl Fn(&str) -> &'o Origin) -> Option<Error> {
    let (wait_s, connect_s) = (config.auth.timeout_s, config.limits.connect_timeout_s);
    let waits = ["file", "jwt", "http"].iter().any(|method| config.auth.asks(method));
    if !waits || wait_s < connect_s {
        return None;
    }
    let (of_wait, of_connect) = (origin("auth.timeout_s"), origin("limits.connect_timeout_s"));
    let (blamed, wait_at, connect_at) = match of_wait {
        Origin::Default => (of_connect, format!(", {of_wait}"), String::new()),
        _ => (of_wait, String::new(), format!(", {of_connect}")),
    };
    let problem = format!(
        "auth.timeout_s ({wait_s} s{wait_at}) is not shorter than limits.connect_timeout_s ({connect_s} s{connect_at}): \
         clients that wait for their verdict are closed before they are told that the server is busy; make it shorter"
    );
    Some(Error { origin: blamed.clone(), problem })
}

/// What a listener's connections go through before MQTT.
fn check_layers(listener: &Listener) -> Result<(), String> {
    let url = &listener.url;
    match (listener.proxy_protocol, listener.trusted.is_empty()) {
        (true, true) => Err(format!(
            "{url}: proxy_protocol lets whoever is trusted say which address a client has, and nobody is; add the \
             load balancer, as trusted = [\"10.0.0.7\"]"
        )),
        (false, false) => Err(format!(
            "{url}: trusted has no meaning without proxy_protocol = true; add that or remove trusted"
        )),
        _ => Ok(()),
    }
}

/// Safe by default: strangers get in only where the file says so.
fn check_exposure(listener: &Listener, has_auth: bool) -> Result<(), String> {
    let url = &listener.url;
    if listener.is_local() || has_auth || listener.allow_anonymous {
        return Ok(());
    }
    let how = if url.is_loopback() { " through what sends it PROXY headers (proxy_protocol)" } else { "" };
    Err(format!(
        "{url} can be reached from other machines{how} and [auth] names no method, so anyone could publish and subscribe; \
         set auth.order (as [\"file\"] with auth.file.path), or listen on 127.0.0.1; if strangers are welcome, write \
         allow_anonymous = true under that [[listener]] or add --set listener.allow_anonymous=true"
    ))
}

/// Operators' passwords and tokens travel in the clear: not to other machines unless the file says so.
fn check_admin(admin: &Admin) -> Result<(), Finding> {
    let blame = |problem: String| Err(("admin.listen".to_owned(), format!("admin.listen: {problem}")));
    if admin.listen.is_empty() {
        return Ok(());
    }
    let Some(address) = admin.address() else {
        return blame(format!(
            "expected an IP address and a port, as \"127.0.0.1:18083\", or \"\" for no HTTP, not {:?}",
            admin.listen
        ));
    };
    if !address.ip().is_loopback() && !admin.allow_plain {
        return blame(format!(
            "{address} can be reached from other machines, and passwords go over it in the clear; listen on 127.0.0.1 and put a \
             proxy with TLS before it, or write admin.allow_plain = true where the network is trusted"
        ));
    }
    Ok(())
}

/// Each method of `auth.order` is known, named once, and has what it needs.
fn check_auth(auth: &Auth) -> Result<(), Finding> {
    let blame = |key: &str, problem: String| Err((key.to_owned(), format!("{key}: {problem}")));
    for (index, name) in auth.order.iter().enumerate() {
        if !Auth::METHODS.contains(&name.as_str()) {
            let nearest = Auth::METHODS.iter().min_by_key(|m| strsim::damerau_levenshtein(name, m));
            return blame(
                "auth.order",
                format!("unknown method {name:?}; the nearest known one is {:?}", nearest.unwrap_or(&"")),
            );
        }
        if auth.order.iter().take(index).any(|other| other == name) {
            return blame("auth.order", format!("{name:?} is named twice"));
        }
    }
    let needs = [
        ("file", "auth.file.path", "a password file", auth.file.path.as_os_str().is_empty()),
        (
            "client_id",
            "auth.client_id.path",
            "a file of Client Identifiers",
            auth.client_id.path.as_os_str().is_empty(),
        ),
        ("scram", "auth.scram.path", "a file of SCRAM credentials", auth.scram.path.as_os_str().is_empty()),
        ("http", "auth.http.auth_req.url", "the URL of a server to ask", auth.http.auth_req.url.is_empty()),
        (
            "jwt",
            "auth.jwt.secret_file",
            "a key: this one, auth.jwt.public_key or auth.jwt.jwks",
            [&auth.jwt.secret_file, &auth.jwt.public_key, &auth.jwt.jwks]
                .iter()
                .all(|p| p.as_os_str().is_empty()),
        ),
    ];
    for (method, key, what, is_missing) in needs {
        if auth.asks(method) && is_missing {
            return blame(key, format!("method {method:?} of auth.order needs {what}"));
        }
    }
    if auth.order.len() == 1 && auth.asks("client_id") && auth.client_id.password_required {
        return blame(
            "auth.client_id.password_required",
            "needs another method in auth.order that checks passwords".into(),
        );
    }
    Ok(())
}

/// An alarm ends below where it begins.
fn check_watermarks(low: f32, high: f32) -> Result<(), String> {
    if low >= high {
        return Err(format!(
            "session.queue_low_watermark ({low}) has to be below session.queue_high_watermark ({high})"
        ));
    }
    Ok(())
}

/// The node's name is a level of `$SYS` topics.
fn check_node_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NODE_NAME_LEN_MAX || name.contains(['/', '+', '#', '\0']) {
        return Err(format!(
            "node.name: expected 1 to {NODE_NAME_LEN_MAX} bytes without '/', '+', '#' and U+0000, not {name:?}"
        ));
    }
    Ok(())
}

/// The prefix is the start of Topic Names.
fn check_sys_prefix(prefix: &str) -> Result<(), String> {
    let empty_level = prefix.split('/').any(str::is_empty);
    if empty_level || prefix.len() > NODE_NAME_LEN_MAX || prefix.contains(['+', '#', '\0']) {
        return Err(format!(
            "sys.prefix: expected levels of a Topic Name, as \"$SYS/brokers\", of 1 to {NODE_NAME_LEN_MAX} bytes \
             without '+', '#', U+0000 and empty levels, not {prefix:?}"
        ));
    }
    Ok(())
}

/// A mountpoint is the beginning of Topic Names.
fn check_mountpoint(listener: &Listener) -> Result<(), String> {
    let mountpoint = &listener.mountpoint;
    if mountpoint.len() > NODE_NAME_LEN_MAX
        || mountpoint.contains(['+', '#', '\0'])
        || mountpoint.starts_with('$')
    {
        return Err(format!(
            "listener.mountpoint: expected the beginning of a Topic Name, as \"tenants/%u/\", of at most \
             {NODE_NAME_LEN_MAX} bytes without '+', '#', U+0000 and a '$' at its begin, not {mountpoint:?}"
        ));
    }
    if listener.mounts_by_certificate() && listener.tls.ca.is_empty() {
        return Err(format!(
            "listener.mountpoint: %CN, %O and %OU are names in the certificates of clients, and {} asks for none; \
             add tls.ca, the authorities whose clients are believed, and tls.require_client_cert = true",
            listener.url
        ));
    }
    Ok(())
}
