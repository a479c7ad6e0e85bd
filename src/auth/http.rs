//! Requests to an HTTP server that knows the clients, as emqttd's auth_http makes them: names and values of the
//! parameters, with `%c`, `%u`, `%P` and `%a` in place of what the client shows. Sending them is the server's.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::Credentials;

/// A part of a parameter's value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    ClientId,
    Username,
    Password,
    Address,
    Topic,
    Access,
}

/// The parameters of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    params: Vec<(String, Vec<Part>)>,
}

impl Params {
    /// Reads `name=value,name=value`.
    ///
    /// # Errors
    /// What is no parameter.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut params = Vec::new();
        // Errors do not repeat what they are about: it may be part of a secret, as one that has a comma.
        for (number, param) in (1..).zip(text.split(',')) {
            let param = param.trim();
            if param.is_empty() {
                continue;
            }
            let Some((name, value)) = param.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(format!("number {number} is none; expected name=value with commas between"));
            };
            let value = parts(value).ok_or_else(|| {
                format!("number {number}: expected %c, %u, %P, %a, %t, %A or %% in the value of {name:?}")
            })?;
            params.push((name.to_owned(), value));
        }
        Ok(Self { params })
    }

    /// The parameters in the form of a query and of a form's body (application/x-www-form-urlencoded).
    pub fn encode(&self, client: &Credentials<'_>) -> Zeroizing<String> {
        self.encode_for(client, "", "")
    }

    /// The same about a topic: `%t`, and `%A`, which is 1 for subscribing and 2 for publishing.
    pub fn encode_for(&self, client: &Credentials<'_>, topic: &str, access: &str) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::new());
        for (name, value) in &self.params {
            if !out.is_empty() {
                out.push('&');
            }
            escape(name.as_bytes(), &mut out);
            out.push('=');
            for part in value {
                match part {
                    Part::Text(text) => escape(text.as_bytes(), &mut out),
                    Part::ClientId => escape(client.client_id.as_bytes(), &mut out),
                    Part::Username => escape(client.username.unwrap_or_default().as_bytes(), &mut out),
                    Part::Password => escape(client.password.unwrap_or_default(), &mut out),
                    Part::Topic => escape(topic.as_bytes(), &mut out),
                    Part::Access => escape(access.as_bytes(), &mut out),
                    Part::Address => {
                        let address = client.remote.ip().to_canonical();
                        escape(address.to_string().as_bytes(), &mut out);
                    }
                }
            }
        }
        out
    }
}

/// What a value is made of; `None`: it has an unknown variable.
fn parts(value: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        let (text, behind) = rest.split_at(at);
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        parts.push(match behind.get(..2) {
            Some("%c") => Part::ClientId,
            Some("%u") => Part::Username,
            Some("%P") => Part::Password,
            Some("%a") => Part::Address,
            Some("%t") => Part::Topic,
            Some("%A") => Part::Access,
            Some("%%") => Part::Text("%".into()),
            _ => return None,
        });
        rest = behind.get(2..).unwrap_or_default();
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Some(parts)
}

/// All but RFC 3986's unreserved characters as `%XX`.
fn escape(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client() -> Credentials<'static> {
        Credentials {
            client_id: "c 1",
            username: Some("al&ice=%u"),
            password: Some(b"p\xFF+ "),
            remote: "[::ffff:10.0.0.7]:1".parse().unwrap(),
            listener: 0,
            certificate: None,
        }
    }

    #[test]
    fn what_a_client_shows_stays_within_its_parameter() {
        let params = Params::parse("clientid=%c,username=%u,password=%P,ipaddr=%a,key=x%%%c!").unwrap();
        assert_eq!(
            *params.encode(&client()),
            "clientid=c%201&username=al%26ice%3D%25u&password=p%FF%2B%20&ipaddr=10.0.0.7&key=x%25c%201%21"
        );
        let anonymous = Credentials { username: None, password: None, ..client() };
        assert_eq!(*Params::parse("u=%u, p=%P").unwrap().encode(&anonymous), "u=&p=");
        assert_eq!(*Params::parse("").unwrap().encode(&anonymous), "");
    }

    #[test]
    fn what_is_no_parameter_is_told() {
        for text in ["a", "=x", "a=%x", "a=%", "a=%ü"] {
            assert!(Params::parse(text).is_err(), "{text}");
        }
        for text in ["u=%u,key=s3,cret", "u=%u,key=s3%cret%", "s3cret"] {
            let problem = Params::parse(text).unwrap_err();
            assert!(problem.starts_with("number") && !problem.contains("cret"), "{problem}");
        }
    }
}
