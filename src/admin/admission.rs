//! Who an operator is: tokens of logins, passwords and what was right lately, and how often somebody may guess. Tokens are kept as
//! digests, in memory only; all of it is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use tokio::sync::Semaphore;

use super::operators::{LEN_MAX, Operators, OperatorsError};
use crate::limits::network_of;

/// Tokens at a time; past it the one that ends first is forgotten.
const TOKENS_MAX: usize = 1024;
/// Passwords that were right lately, so that who sends one with each request costs a hash a minute.
const RIGHT_MAX: usize = 64;
/// How long one is remembered.
const RIGHT_FOR: Duration = Duration::from_secs(60);
/// Wrong passwords of one network within `GUESSES_FOR`; then its next ones are not looked at.
const GUESSES_MAX: u32 = 5;
/// See `GUESSES_MAX`.
const GUESSES_FOR: Duration = Duration::from_secs(30);
/// Networks whose guesses are counted; past it the one that guessed longest ago is forgotten.
const GUESSERS_MAX: usize = 1024;
/// Hashes computed at the same time: 19 MiB each.
const HASHES_MAX: usize = 2;

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Neither name nor password nor token is looked at closer than this.
    #[error("wrong user or password")]
    Wrong,
    /// The token is unknown, has ended, or its operator's password has changed.
    #[error("the token is not valid any more; log in again")]
    Token,
    /// Too many guesses.
    #[error("too many wrong passwords from this address; try again in {} s", GUESSES_FOR.as_secs())]
    Guesses,
    /// Nobody can be looked up.
    #[error("{0}")]
    Operators(#[from] OperatorsError),
    /// Something is missing on this machine.
    #[error("the system gives no random bytes or no thread")]
    Machine,
}

#[derive(Debug)]
struct Token {
    name: String,
    /// Of his password: a new one ends his tokens.
    secret: String,
    ends: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Guesses {
    count: u32,
    since: Instant,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) operators: Operators,
    tokens: Mutex<HashMap<Digest, Token>>,
    /// Keyed digests of name, password and hash, and when they are forgotten.
    right: Mutex<HashMap<Digest, Instant>>,
    /// By network: who has a /64 of IPv6 has no guesses for each of its addresses.
    guesses: Mutex<HashMap<IpAddr, Guesses>>,
    key: Option<hmac::Key>,
    hashes: Arc<Semaphore>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest_of(token: &str) -> Digest {
    bytes_of(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}

fn bytes_of(bytes: &[u8]) -> Digest {
    bytes.try_into().unwrap_or_default()
}

impl Admission {
    /// For the operators of `file`.
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            operators: Operators::new(file),
            tokens: Mutex::default(),
            right: Mutex::default(),
            guesses: Mutex::default(),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            hashes: Arc::new(Semaphore::new(HASHES_MAX)),
        }
    }

    /// Whether that is the password of `name`. Where it is not, it takes as long whether there is such a name or not.
    ///
    /// # Errors
    /// It is not, or nobody can tell.
    pub(super) async fn check(
        self: &Arc<Self>,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        if name.len() > LEN_MAX || password.len() > LEN_MAX {
            return Err(Refusal::Wrong);
        }
        let address = address.map(network_of);
        let secret = self.operators.secret(name)?;
        let known = self.digest(name, password, &secret.text);
        if known.is_some_and(|known| self.was_right(&known)) {
            return Ok(());
        }
        if address.is_some_and(|address| self.guesses_too_often(address)) {
            return Err(Refusal::Guesses);
        }
        // Nobody closes it.
        let turn = Arc::clone(&self.hashes).acquire_owned().await.map_err(|_| Refusal::Machine)?;
        // Others of that network may have guessed, or proved it, while this one waited for its turn.
        if known.is_some_and(|known| self.was_right(&known)) {
            return Ok(());
        }
        if address.is_some_and(|address| self.guesses_too_often(address)) {
            return Err(Refusal::Guesses);
        }
        let (admission, bytes) = (Arc::clone(self), password.as_bytes().to_vec());
        // Who goes away meanwhile has guessed all the same, and his hash has its turn until it is computed.
        let judge = move || {
            let is_right = secret.hash.verify(&bytes) && !secret.text.is_empty();
            admission.judged(is_right, known, address);
            drop(turn);
            is_right
        };
        match tokio::task::spawn_blocking(judge).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Wrong),
            Err(_) => Err(Refusal::Machine),
        }
    }

    /// A password was right or wrong: what is kept of that.
    fn judged(&self, is_right: bool, known: Option<Digest>, address: Option<IpAddr>) {
        if !is_right {
            return address.into_iter().for_each(|address| self.count_guess(address));
        }
        known.into_iter().for_each(|known| self.remember(known));
        if let Some(address) = address {
            locked(&self.guesses).remove(&address);
        }
    }

    /// A token of `name`, good for so long.
    ///
    /// # Errors
    /// There is no such operator any more, or no random bytes.
    pub(super) fn issue(&self, name: &str, life: Duration) -> Result<String, Refusal> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Refusal::Machine)?;
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let secret = self.operators.secret(name)?.text;
        let mut tokens = locked(&self.tokens);
        let now = Instant::now();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, token| token.ends > now);
        }
        if tokens.len() >= TOKENS_MAX
            && let Some(first) = tokens.iter().min_by_key(|(_, token)| token.ends).map(|(digest, _)| *digest)
        {
            tokens.remove(&first);
        }
        tokens.insert(digest_of(&token), Token { name: name.to_owned(), secret, ends: now + life });
        Ok(token)
    }

    /// Whose token that is. It is looked up by its digest: how long that takes tells nothing of other tokens.
    ///
    /// # Errors
    /// It is nobody's.
    pub(super) fn owner(&self, token: &str) -> Result<String, Refusal> {
        let digest = digest_of(token);
        let (name, secret) = {
            let mut tokens = locked(&self.tokens);
            let token = tokens.get(&digest).ok_or(Refusal::Token)?;
            if token.ends <= Instant::now() {
                tokens.remove(&digest);
                return Err(Refusal::Token);
            }
            (token.name.clone(), token.secret.clone())
        };
        if secret.is_empty() || self.operators.secret(&name)?.text != secret {
            locked(&self.tokens).remove(&digest);
            return Err(Refusal::Token);
        }
        Ok(name)
    }

    /// Ends a token.
    pub(super) fn revoke(&self, token: &str) {
        locked(&self.tokens).remove(&digest_of(token));
    }

    fn digest(&self, name: &str, password: &str, secret: &str) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [name, password, secret] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        Some(bytes_of(context.sign().as_ref()))
    }

    fn was_right(&self, known: &Digest) -> bool {
        locked(&self.right).get(known).is_some_and(|until| *until > Instant::now())
    }

    fn remember(&self, known: Digest) {
        let mut right = locked(&self.right);
        let now = Instant::now();
        right.retain(|_, until| *until > now);
        if right.len() < RIGHT_MAX {
            right.insert(known, now + RIGHT_FOR);
        }
    }

    fn guesses_too_often(&self, address: IpAddr) -> bool {
        let guesses = locked(&self.guesses).get(&address).copied();
        guesses.is_some_and(|of| of.count >= GUESSES_MAX && of.since.elapsed() < GUESSES_FOR)
    }

    fn count_guess(&self, address: IpAddr) {
        let mut guesses = locked(&self.guesses);
        if guesses.len() >= GUESSERS_MAX {
            guesses.retain(|_, of| of.since.elapsed() < GUESSES_FOR);
        }
        if guesses.len() >= GUESSERS_MAX
            && !guesses.contains_key(&address)
            && let Some(first) = guesses.iter().min_by_key(|(_, of)| of.since).map(|(address, _)| *address)
        {
            guesses.remove(&first);
        }
        let now = Instant::now();
        let of = guesses.entry(address).or_insert(Guesses { count: 0, since: now });
        if of.since.elapsed() >= GUESSES_FOR {
            *of = Guesses { count: 0, since: now };
        }
        of.count += 1;
        // The pause is counted from the last one.
        of.since = now;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_end_with_their_time_their_logout_and_their_password() {
        let dir = std::env::temp_dir().join(format!("myriad-admission-{}", std::process::id()));
        let admission = Admission::new(dir.join("users"));
        admission.operators.put("a", "pw").unwrap();
        let life = Duration::from_secs(60);
        let [first, second] = [(); 2].map(|()| admission.issue("a", life).unwrap());
        assert_ne!(first, second);
        assert_eq!(admission.owner(&first).unwrap(), "a");
        admission.revoke(&first);
        assert!(admission.owner(&first).is_err() && admission.owner(&second).is_ok());
        let brief = admission.issue("a", Duration::ZERO).unwrap();
        assert!(admission.owner(&brief).is_err() && admission.owner("").is_err());
        admission.operators.put("a", "other").unwrap();
        assert!(matches!(admission.owner(&second), Err(Refusal::Token)));
        for _ in 0..TOKENS_MAX + 5 {
            admission.issue("a", life).unwrap();
        }
        assert_eq!(locked(&admission.tokens).len(), TOKENS_MAX);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn who_goes_away_before_the_answer_has_guessed_all_the_same() {
        let dir = std::env::temp_dir().join(format!("myriad-abandoned-{}", std::process::id()));
        let admission = Arc::new(Admission::new(dir.join("users")));
        admission.operators.put("a", "pw").unwrap();
        let address = "10.0.0.1".parse().unwrap();
        for _ in 0..GUESSES_MAX {
            let asked = Arc::clone(&admission);
            let check = tokio::spawn(async move { asked.check("a", "wrong", Some(address)).await });
            while admission.hashes.available_permits() == HASHES_MAX && !check.is_finished() {
                tokio::task::yield_now().await;
            }
            check.abort();
            assert!(check.await.unwrap_err().is_cancelled());
            // Its turn lasts as long as the hash does.
            drop(admission.hashes.acquire_many(HASHES_MAX as u32).await.unwrap());
        }
        assert!(admission.guesses_too_often(address));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_address_guesses_a_few_times_only() {
        let admission = Admission::new("/nowhere".into());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        for _ in 0..GUESSES_MAX {
            assert!(!admission.guesses_too_often(address));
            admission.count_guess(address);
        }
        assert!(admission.guesses_too_often(address));
        assert!(!admission.guesses_too_often("10.0.0.2".parse().unwrap()));
        // However many have guessed, the next one is counted.
        for number in 0..GUESSERS_MAX as u32 + 5 {
            admission.count_guess(IpAddr::V4((0x0B00_0000 + number).into()));
        }
        for _ in 0..GUESSES_MAX {
            admission.count_guess(address);
        }
        assert!(admission.guesses_too_often(address));
        assert_eq!(locked(&admission.guesses).len(), GUESSERS_MAX);
    }

    #[tokio::test]
    async fn many_guesses_at_once_are_no_more_and_a_network_of_ipv6_is_one() {
        let dir = std::env::temp_dir().join(format!("myriad-guesses-{}", std::process::id()));
        let admission = Arc::new(Admission::new(dir.join("users")));
        admission.operators.put("a", "pw").unwrap();
        let guess = |number: u32| {
            let admission = Arc::clone(&admission);
            let address: IpAddr = format!("2001:db8::{number:x}").parse().unwrap();
            tokio::spawn(async move { admission.check("a", "wrong", Some(address)).await })
        };
        let mut looked_at = 0;
        for guess in (0..20).map(guess).collect::<Vec<_>>() {
            looked_at += usize::from(matches!(guess.await.unwrap(), Err(Refusal::Wrong)));
        }
        // Two are looked at together.
        let most = GUESSES_MAX as usize + HASHES_MAX - 1;
        assert!((GUESSES_MAX as usize..=most).contains(&looked_at), "{looked_at}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
