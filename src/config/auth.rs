//! `[auth]`: who may come in, and how that is found out. One struct a table, with every default in one place.

use std::path::PathBuf;

/// `[auth]`
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// Methods, asked one after the other until one knows the client; empty: there is no authentication.
    pub order: Vec<String>,
    /// Threads that compute hashes and check signatures.
    pub threads: u16,
    /// Clients that may wait for these threads; past it they are told that the server is busy.
    pub queue_len_max: u32,
    /// Seconds that a client may wait for a verdict.
    pub timeout_s: u32,
    /// Verified credentials that are remembered (as keyed digests); 0: none.
    pub cache_len_max: u32,
    /// Seconds that they are remembered.
    pub cache_s: u32,
    /// `[auth.file]`
    pub file: AuthFile,
    /// `[auth.client_id]`
    pub client_id: ClientIds,
    /// `[auth.jwt]`
    pub jwt: Jwt,
    /// `[auth.http]`
    pub http: Http,
    /// `[auth.scram]`
    pub scram: Scram,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            threads: 1,
            queue_len_max: 10_000,
            timeout_s: 20,
            cache_len_max: 200_000,
            cache_s: 3600,
            file: AuthFile::default(),
            client_id: ClientIds::default(),
            jwt: Jwt::default(),
            http: Http::default(),
            scram: Scram::default(),
        }
    }
}

impl Auth {
    /// The names that `order` may have.
    pub const METHODS: [&'static str; 6] = ["client_id", "certificate", "file", "jwt", "http", "scram"];

    /// Whether anyone is asked who he is.
    pub fn is_configured(&self) -> bool {
        !self.order.is_empty()
    }

    /// Whether `method` is among those that are asked.
    pub fn asks(&self, method: &str) -> bool {
        self.order.iter().any(|name| name == method)
    }
}

/// `[auth.file]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthFile {
    /// The password file.
    pub path: PathBuf,
    /// What its users may do; empty: nothing is said about that.
    pub rules: PathBuf,
}

/// `[auth.client_id]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientIds {
    /// The file of Client Identifiers.
    pub path: PathBuf,
    /// Being in the file is not enough: another method has to know the client too.
    pub password_required: bool,
}

/// Where a client shows its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenFrom {
    /// As its password.
    #[default]
    Password,
    /// As its User Name.
    Username,
}

/// `[auth.jwt]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// Where the token is.
    pub from: TokenFrom,
    /// The shared secret of HS256, HS384 and HS512.
    pub secret_file: PathBuf,
    /// A PEM file with the public key of RS, PS or ES.
    pub public_key: PathBuf,
    /// A file with a JSON Web Key Set.
    pub jwks: PathBuf,
    /// Required value of `iss`; empty: any.
    pub issuer: String,
    /// Required among `aud`; empty: any.
    pub audience: String,
    /// Seconds by which clocks may differ.
    pub leeway_s: u32,
    /// A token has to have `exp`.
    pub expiry_required: bool,
    /// The claim with the User Name.
    pub username_claim: String,
    /// The claim with the Client Identifier; empty: any may use the token.
    pub client_id_claim: String,
    /// The claim with rules.
    pub acl_claim: String,
    /// The claim that makes a superuser by being true; empty: none does.
    pub superuser_claim: String,
    /// The claim with the mountpoint; empty: none.
    pub mountpoint_claim: String,
    /// The claim with the user's own quota; empty: none.
    pub quota_claim: String,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            from: TokenFrom::Password,
            secret_file: PathBuf::new(),
            public_key: PathBuf::new(),
            jwks: PathBuf::new(),
            issuer: String::new(),
            audience: String::new(),
            leeway_s: 5,
            expiry_required: true,
            username_claim: "sub".into(),
            client_id_claim: String::new(),
            acl_claim: "acl".into(),
            superuser_claim: String::new(),
            mountpoint_claim: String::new(),
            quota_claim: String::new(),
        }
    }
}

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpMethod {
    /// GET: the parameters are the query.
    Get,
    /// POST: the parameters are a form.
    #[default]
    Post,
}

/// One request, as emqttd's `auth_req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpRequest {
    /// How.
    pub method: HttpMethod,
    /// Where; empty: it is not made.
    pub url: String,
    /// `name=value` with commas between; `%c`, `%u`, `%P` and `%a` stand for Client Identifier, User Name, password and
    /// address.
    pub params: String,
}

/// What a failing HTTP server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The client is refused.
    #[default]
    Deny,
    /// The next method is asked.
    Ignore,
}

/// `[auth.http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Whether the client may come in: 200 yes, 4xx no.
    pub auth_req: HttpRequest,
    /// Whether it is a superuser: 200 yes.
    pub super_req: HttpRequest,
    /// Whether it may publish or subscribe, where no rule speaks of it: 200 yes, 4xx no.
    pub acl_req: HttpRequest,
    /// What another status, or none, means.
    pub on_error: OnError,
    /// Milliseconds to connect.
    pub connect_timeout_ms: u32,
    /// Milliseconds for a whole request.
    pub timeout_ms: u32,
    /// Requests at a time.
    pub connections_max: u16,
    /// Seconds that a yes is remembered; 0: not at all.
    pub cache_s: u32,
    /// PEM file of the authorities for https; empty: the public ones.
    pub ca: PathBuf,
}

impl Default for Http {
    fn default() -> Self {
        let params = "clientid=%c,username=%u,password=%P,ipaddr=%a";
        Self {
            auth_req: HttpRequest { params: params.into(), ..HttpRequest::default() },
            super_req: HttpRequest { params: "clientid=%c,username=%u".into(), ..HttpRequest::default() },
            acl_req: HttpRequest {
                params: "access=%A,clientid=%c,username=%u,ipaddr=%a,topic=%t".into(),
                ..HttpRequest::default()
            },
            on_error: OnError::Deny,
            connect_timeout_ms: 2_000,
            timeout_ms: 5_000,
            connections_max: 16,
            cache_s: 60,
            ca: PathBuf::new(),
        }
    }
}

/// `[auth.scram]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scram {
    /// The file of SCRAM-SHA-256 credentials.
    pub path: PathBuf,
    /// What its users may do; empty: nothing is said about that.
    pub rules: PathBuf,
}
