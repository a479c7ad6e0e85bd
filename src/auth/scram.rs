//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, without channel binding: the client proves that it knows the
//! password and the server that it knows the user; neither says the password. Four hashes a side: no work for another
//! thread. The two steps are there with feature `server` only.

use super::ScramSecret;

/// Its name as Authentication Method of MQTT 5.0.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// What the server keeps between the client's two messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    username: Box<str>,
    /// The user is in the file; with another one the exchange goes on to its end all the same.
    is_known: bool,
    secret: ScramSecret,
    /// The client's first header in base64, as it has to be repeated.
    binding: String,
    nonce: String,
    /// client-first-message-bare and server-first-message with a comma between.
    messages: String,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("is_known", &self.is_known).finish_non_exhaustive()
    }
}

#[cfg(feature = "server")]
mod steps {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::{digest, hmac};

    use super::super::password_hash::is_same;
    use super::super::{Refusal, ScramFile, ScramSecret};
    use super::Exchange;

    /// Longest message, and so longest name and nonce, of a client.
    const MESSAGE_LEN_MAX: usize = 2048;

    impl Exchange {
        /// Takes the client's first message; gives the server's. `nonce` is random and has no comma. A user who is not
        /// in the file gets a salt made with `salt_key`, always the same, so that nobody learns who is there.
        ///
        /// # Errors
        /// The message is none.
        pub fn first(
            file: &ScramFile,
            message: &[u8],
            nonce: &str,
            salt_key: &hmac::Key,
        ) -> Result<(Self, Vec<u8>), Refusal> {
            let message = text(message)?;
            let mut parts = message.splitn(3, ',');
            let (Some(binding), Some(authorization), Some(bare)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(malformed("the first message of SCRAM has no header"));
            };
            if !matches!(binding, "n" | "y") {
                return Err(malformed("channel binding is not offered"));
            }
            let mut fields = bare.split(',');
            let name = fields.next().and_then(|field| field.strip_prefix("n="));
            let client_nonce = fields.next().and_then(|field| field.strip_prefix("r="));
            let (Some(name), Some(client_nonce)) = (name, client_nonce) else {
                return Err(malformed("the first message of SCRAM has no name and nonce"));
            };
            let username = unescape(name).ok_or_else(|| malformed("the name in SCRAM is not well-formed"))?;
            let is_nonce =
                !client_nonce.is_empty() && client_nonce.bytes().all(|b| (0x21..=0x7E).contains(&b));
            if !is_nonce {
                return Err(malformed("the nonce in SCRAM is not well-formed"));
            }
            if !(authorization.is_empty() || authorization.strip_prefix("a=").is_some_and(|a| a == name)) {
                return Err(malformed("acting for another user is not offered"));
            }
            let known = file.find(&username);
            let secret = known.cloned().unwrap_or_else(|| secret_of_nobody(file, &username, salt_key));
            let nonce = format!("{client_nonce}{nonce}");
            let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&secret.salt), secret.iterations);
            let exchange = Self {
                username: username.into(),
                is_known: known.is_some(),
                secret,
                binding: STANDARD.encode(format!("{binding},{authorization},")),
                nonce,
                messages: format!("{bare},{answer}"),
            };
            Ok((exchange, answer.into_bytes()))
        }

        /// Whether what the file says of the user is what it said when the exchange began.
        pub fn is_of(&self, file: &ScramFile) -> bool {
            !self.is_known || file.find(&self.username) == Some(&self.secret)
        }

        /// Takes the client's last message; gives the User Name that is proved by it, and the server's last message.
        ///
        /// # Errors
        /// It proves nothing.
        pub fn last(&self, message: &[u8]) -> Result<(&str, Vec<u8>), Refusal> {
            let message = text(message)?;
            let (without_proof, proof) = message
                .rsplit_once(",p=")
                .ok_or_else(|| malformed("the last message of SCRAM has no proof"))?;
            let mut fields = without_proof.split(',');
            let binding = fields.next().and_then(|field| field.strip_prefix("c="));
            let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
            if binding != Some(&self.binding) || nonce != Some(&self.nonce) {
                return Err(malformed("the last message of SCRAM does not continue the first"));
            }
            let proof = STANDARD.decode(proof).ok().filter(|proof| proof.len() == 32);
            let proof = proof.ok_or_else(|| malformed("the proof of SCRAM is not well-formed"))?;
            let signed = format!("{},{without_proof}", self.messages);
            let signature = sign(&self.secret.stored_key, signed.as_bytes());
            let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(p, s)| p ^ s).collect();
            let stored_key = digest::digest(&digest::SHA256, &client_key);
            if !is_same(stored_key.as_ref(), &self.secret.stored_key) || !self.is_known {
                return Err(Refusal::not_authorized("SCRAM: an unknown user or a wrong password"));
            }
            let server = sign(&self.secret.server_key, signed.as_bytes());
            Ok((&self.username, format!("v={}", STANDARD.encode(server)).into_bytes()))
        }
    }

    /// A salt that is the same each time, and keys that nobody's password has.
    fn secret_of_nobody(file: &ScramFile, username: &str, salt_key: &hmac::Key) -> ScramSecret {
        let salt = hmac::sign(salt_key, username.as_bytes());
        let len = file.salt_len().min(salt.as_ref().len());
        ScramSecret {
            iterations: file.iterations(),
            salt: salt.as_ref().iter().copied().take(len).collect(),
            stored_key: [0; 32],
            server_key: [0; 32],
        }
    }

    fn text(message: &[u8]) -> Result<&str, Refusal> {
        let message = message.get(..MESSAGE_LEN_MAX).map_or(message, |_| &[]);
        std::str::from_utf8(message)
            .ok()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| malformed("a message of SCRAM is no text, or empty, or too long"))
    }

    fn malformed(why: &'static str) -> Refusal {
        Refusal::not_authorized(why)
    }

    fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
    }

    /// `=2C` is a comma and `=3D` an equals sign (RFC 5802 section 5.1).
    fn unescape(name: &str) -> Option<String> {
        let mut out = String::with_capacity(name.len());
        let mut rest = name;
        while let Some((before, after)) = rest.split_once('=') {
            out.push_str(before);
            let (code, behind) = after.split_at_checked(2)?;
            out.push(match code {
                "2C" => ',',
                "3D" => '=',
                _ => return None,
            });
            rest = behind;
        }
        out.push_str(rest);
        (!out.is_empty() && !out.contains('\0')).then_some(out)
    }
}

#[cfg(all(test, feature = "server"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use ring::hmac;

    use super::*;
    use crate::auth::ScramFile;

    /// The example of RFC 7677 section 3: user "user", password "pencil".
    const FILE: &str = "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, b"secret")
    }

    fn first(message: &[u8]) -> Result<(Exchange, Vec<u8>), String> {
        let file = ScramFile::parse(FILE).unwrap();
        Exchange::first(&file, message, NONCE, &key()).map_err(|refusal| refusal.why.into_owned())
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let (exchange, answer) = first(FIRST).unwrap();
        assert_eq!(
            std::str::from_utf8(&answer).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let (name, answer) = exchange.last(last).unwrap();
        assert_eq!((name, &answer[..]), ("user", &b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="[..]));
        for (from, to) in [("dHzb", "dHzc"), ("biws", "eSws"), ("rOpr", "rOps"), (",p=", ",q="), ("VQ=", "V")]
        {
            let wrong = String::from_utf8(last.to_vec()).unwrap().replace(from, to);
            assert!(exchange.last(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(exchange.last(b"").is_err() && exchange.last(&[0xFF; 40]).is_err());
    }

    #[test]
    fn an_unknown_user_is_asked_like_a_known_one() {
        let answer =
            |name: &str| String::from_utf8(first(format!("n,,n={name},r=x").as_bytes()).unwrap().1).unwrap();
        assert_eq!(answer("nobody"), answer("nobody"));
        assert_ne!(answer("nobody"), answer("somebody"));
        assert_eq!(answer("nobody").len(), answer("user").len());
        assert!(answer("nobody").ends_with(",i=4096"));
        // A proof that fits keys of zeros: nobody has no password.
        let (exchange, _) = first(b"n,,n=nobody,r=x").unwrap();
        let last = format!("c=biws,r={},p={}", exchange.nonce, "A".repeat(43) + "=");
        assert!(exchange.last(last.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_first_message_is_refused() {
        for message in [
            "",
            "n",
            "n,,",
            "n,,n=user",
            "n,,r=x,n=user",
            "p=tls-unique,,n=user,r=x",
            "n,,m=x,n=user,r=x",
            "n,,n=,r=x",
            "n,,n=us=er,r=x",
            "n,,n=us=2,r=x",
            "n,,n=user,r=",
            "n,,n=user,r=ü",
            "n,a=admin,n=user,r=x",
        ] {
            assert!(first(message.as_bytes()).is_err(), "{message}");
        }
        assert!(first(b"n,a=user,n=user,r=x").is_ok() && first(b"y,,n=us=2Cer=3D,r=x").is_ok());
        assert!(first(&[b'n'; 3000]).is_err());
    }
}
