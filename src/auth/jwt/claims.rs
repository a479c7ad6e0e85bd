//! What the claims of a genuine token say: whether it holds now and here, who the client is, what it may do.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::auth::{Access, Identity, IdentityRule, Method, Refusal};
use crate::config::Jwt;
use crate::limits::{OwnQuota, Resource};
use crate::topic::{TopicLimits, check_filter};

/// Rules that a token may bring: they are kept with the connection.
const RULES_MAX: usize = 256;

/// Someone whom a token's claims describe, and the second of Unix time with which it ends.
pub(super) fn identity(
    claims: &Map<String, Value>,
    config: &Jwt,
    now_unix_s: u64,
) -> Result<(Identity, Option<u64>), Refusal> {
    let ends = check_times(claims, config, now_unix_s).map_err(Refusal::not_authorized)?;
    check_parties(claims, config).map_err(Refusal::not_authorized)?;
    let mut identity = Identity::new(Method::Jwt);
    identity.username = text(claims, &config.username_claim)?;
    identity.client_id = text(claims, &config.client_id_claim)?;
    identity.mountpoint = text(claims, &config.mountpoint_claim)?;
    if !config.client_id_claim.is_empty() && identity.client_id.is_none() {
        return Err(Refusal::not_authorized("the token has no claim for the Client Identifier"));
    }
    identity.is_superuser = !config.superuser_claim.is_empty()
        && claims.get(&config.superuser_claim).and_then(Value::as_bool) == Some(true);
    if let Some(acl) = claims.get(&config.acl_claim).filter(|_| !config.acl_claim.is_empty()) {
        let rules = rules(acl).map_err(Refusal::not_authorized)?;
        identity.rules = Some(Arc::from(rules));
    }
    if let Some(own) = claims.get(&config.quota_claim).filter(|_| !config.quota_claim.is_empty()) {
        identity.quota = quota(own).map_err(Refusal::not_authorized)?;
    }
    Ok((identity, ends))
}

/// `exp`, `nbf` and `iat` (RFC 7519 section 4.1), with some seconds of leeway for clocks that differ.
fn check_times(claims: &Map<String, Value>, config: &Jwt, now: u64) -> Result<Option<u64>, &'static str> {
    let leeway = u64::from(config.leeway_s);
    let at = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => seconds(value).map(Some).ok_or("a date of the token is no number"),
    };
    if at("nbf")?.is_some_and(|from| now.saturating_add(leeway) < from) {
        return Err("the token is not valid yet (nbf)");
    }
    if at("iat")?.is_some_and(|issued| now.saturating_add(leeway) < issued) {
        return Err("the token was issued in the future (iat)");
    }
    match at("exp")? {
        Some(end) if end.saturating_add(leeway) <= now => Err("the token has expired (exp)"),
        Some(end) => Ok(Some(end.saturating_add(leeway))),
        None if config.expiry_required => Err("the token never expires (exp is missing)"),
        None => Ok(None),
    }
}

/// A NumericDate may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|x| (0.0..9e15).contains(x)).map(|x| x as u64);
    value.as_u64().or_else(float)
}

/// `iss` and `aud`, where the configuration asks for them.
fn check_parties(claims: &Map<String, Value>, config: &Jwt) -> Result<(), &'static str> {
    if !config.issuer.is_empty() && claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
        return Err("the token is of another issuer (iss)");
    }
    let is_ours = |value: &Value| value.as_str() == Some(&config.audience);
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(parties)) => parties.iter().any(is_ours),
        Some(party) => is_ours(party),
        None => false,
    };
    if !config.audience.is_empty() && !is_for_us {
        return Err("the token is for another audience (aud)");
    }
    Ok(())
}

/// A claim that is to be a text, where the configuration names it.
fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, Refusal> {
    match claims.get(name).filter(|_| !name.is_empty()) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && !text.contains('\0') => {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(Refusal::not_authorized("a claim of the token is no text")),
    }
}

/// EMQX's two forms: `{"pub": […], "sub": […], "all": […]}`, lists of what is allowed, or a list of
/// `{"permission": "allow", "action": "publish", "topic": "…"}`.
fn rules(acl: &Value) -> Result<Vec<IdentityRule>, &'static str> {
    let mut rules = Vec::new();
    match acl {
        Value::Object(lists) => {
            for (name, filters) in lists {
                let access = access(name).ok_or("the token's ACL has an unknown list")?;
                let filters = filters.as_array().ok_or("the token's ACL has no list of filters")?;
                for value in filters {
                    push(&mut rules, access, true, value)?;
                }
            }
        }
        Value::Array(list) => {
            for rule in list {
                let field = |name| rule.get(name).and_then(Value::as_str);
                let access =
                    field("action").and_then(access).ok_or("the token's ACL has an unknown action")?;
                let allow = match field("permission") {
                    Some("allow") => true,
                    Some("deny") => false,
                    _ => return Err("the token's ACL neither allows nor denies"),
                };
                push(&mut rules, access, allow, rule.get("topic").unwrap_or(&Value::Null))?;
            }
        }
        _ => return Err("the token's ACL is neither an object nor a list"),
    }
    Ok(rules)
}

/// `{"connections": 10, "publish_rate": 100}`: what is not named has the quota of all, 0 is any number.
fn quota(own: &Value) -> Result<OwnQuota, &'static str> {
    let mut quota = OwnQuota::NONE;
    for (name, max) in own.as_object().ok_or("the token's quota is no object")? {
        let resource = Resource::named(name).ok_or("the token's quota has an unknown name")?;
        let max = max.as_u64().and_then(|max| u32::try_from(max).ok());
        quota.set(resource, max.ok_or("the token's quota has something that is no number")?);
    }
    Ok(quota)
}

fn access(name: &str) -> Option<Access> {
    match name {
        "pub" | "publish" => Some(Access::Publish),
        "sub" | "subscribe" => Some(Access::Subscribe),
        "all" | "pubsub" => Some(Access::Both),
        _ => None,
    }
}

fn push(
    rules: &mut Vec<IdentityRule>,
    access: Access,
    allow: bool,
    filter: &Value,
) -> Result<(), &'static str> {
    let filter = filter.as_str().ok_or("a filter of the token's ACL is no text")?;
    check_filter(filter, &TopicLimits::default())
        .map_err(|_| "a filter of the token's ACL is no Topic Filter")?;
    if rules.len() == RULES_MAX {
        return Err("the token's ACL has more than 256 rules");
    }
    rules.push(IdentityRule { access, allow, filter: filter.into() });
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    fn check(config: &Jwt, text: &str) -> Result<(Identity, Option<u64>), String> {
        identity(&claims(text), config, 1_000).map_err(|refusal| refusal.why.into_owned())
    }

    #[test]
    fn a_token_holds_between_its_dates_with_some_leeway() {
        let config = Jwt { leeway_s: 5, ..Jwt::default() };
        let ends = |text| check(&config, text).map(|(_, ends)| ends);
        assert_eq!(ends(r#"{"exp":996}"#), Ok(Some(1_001)));
        assert!(ends(r#"{"exp":995}"#).unwrap_err().contains("expired"));
        assert_eq!(ends(r#"{"exp":2000.7,"nbf":1005,"iat":1005}"#), Ok(Some(2_005)));
        assert!(ends(r#"{"exp":2000,"nbf":1006}"#).unwrap_err().contains("not valid yet"));
        assert!(ends(r#"{"exp":2000,"iat":1006}"#).unwrap_err().contains("future"));
        assert!(ends(r#"{"exp":"soon"}"#).unwrap_err().contains("no number"));
        assert!(ends(r#"{"exp":-1}"#).is_err());
        assert!(ends("{}").unwrap_err().contains("exp is missing"));
        let lenient = Jwt { expiry_required: false, ..config.clone() };
        assert_eq!(check(&lenient, "{}").unwrap().1, None);
        assert_eq!(ends(r#"{"exp":18446744073709551615}"#), Ok(Some(u64::MAX)));
    }

    #[test]
    fn issuer_and_audience_are_those_that_are_asked_for() {
        let config = Jwt { issuer: "us".into(), audience: "mqtt".into(), ..Jwt::default() };
        let is_ok = |text: &str| check(&config, text).is_ok();
        assert!(is_ok(r#"{"exp":2000,"iss":"us","aud":"mqtt"}"#));
        assert!(is_ok(r#"{"exp":2000,"iss":"us","aud":["x","mqtt"]}"#));
        assert!(!is_ok(r#"{"exp":2000,"iss":"them","aud":"mqtt"}"#));
        assert!(!is_ok(r#"{"exp":2000,"aud":"mqtt"}"#));
        assert!(!is_ok(r#"{"exp":2000,"iss":"us","aud":["x"]}"#));
        assert!(!is_ok(r#"{"exp":2000,"iss":"us"}"#));
    }

    #[test]
    fn claims_name_the_client_and_what_it_may_do() {
        let config = Jwt {
            client_id_claim: "cid".into(),
            superuser_claim: "root".into(),
            mountpoint_claim: "tenant".into(),
            ..Jwt::default()
        };
        let text = r#"{"exp":2000,"sub":"alice","cid":"c1","root":true,"tenant":"a/",
            "acl":{"pub":["p/%u"],"sub":["s/#"],"all":["t"]}}"#;
        let (found, _) = check(&config, text).unwrap();
        assert_eq!((found.username.as_deref(), found.client_id.as_deref()), (Some("alice"), Some("c1")));
        assert!(found.is_superuser);
        assert_eq!(found.mountpoint.as_deref(), Some("a/"));
        let rules = found.rules.unwrap();
        assert_eq!(rules.len(), 3);
        assert!(rules.iter().any(|r| r.access == Access::Subscribe && r.allow && &*r.filter == "s/#"));
        assert!(check(&config, r#"{"exp":2000}"#).unwrap_err().contains("Client Identifier"));
        assert!(check(&config, r#"{"exp":2000,"cid":7}"#).unwrap_err().contains("no text"));
    }

    #[test]
    fn a_token_brings_a_quota_where_the_configuration_names_the_claim() {
        let config = Jwt { quota_claim: "quota".into(), ..Jwt::default() };
        let quota = |config: &Jwt, quota: &str| {
            check(config, &format!(r#"{{"exp":2000,"quota":{quota}}}"#)).map(|(identity, _)| identity.quota)
        };
        let own = quota(&config, r#"{"connections":3,"publish_rate":0}"#).unwrap();
        let expected = [Some(3), None, None, None, Some(0)];
        assert_eq!(Resource::NAMES.map(|(_, resource)| own.find(resource)), expected);
        assert_eq!(check(&config, r#"{"exp":2000}"#).unwrap().0.quota, OwnQuota::NONE);
        assert_eq!(quota(&Jwt::default(), r#"{"connections":3}"#), Ok(OwnQuota::NONE));
        for broken in ["3", "[]", r#"{"messages":3}"#, r#"{"sessions":-1}"#, r#"{"sessions":4294967296}"#] {
            assert!(quota(&config, broken).unwrap_err().contains("quota"), "{broken}");
        }
    }

    #[test]
    fn an_acl_that_is_not_understood_refuses_the_token() {
        let config = Jwt::default();
        let acl = |acl: &str| check(&config, &format!(r#"{{"exp":2000,"acl":{acl}}}"#));
        let rules = acl(r#"[{"permission":"deny","action":"all","topic":"a"}]"#).unwrap().0.rules.unwrap();
        assert_eq!(&*rules, [IdentityRule { access: Access::Both, allow: false, filter: "a".into() }]);
        for broken in [
            "7",
            r#"{"write":["a"]}"#,
            r#"{"pub":"a"}"#,
            r#"{"pub":[7]}"#,
            r#"{"pub":["a/#/b"]}"#,
            r#"[{}]"#,
            r#"[{"permission":"maybe","action":"all","topic":"a"}]"#,
            r#"[{"permission":"deny","action":"all"}]"#,
        ] {
            assert!(acl(broken).is_err(), "{broken}");
        }
        let many = vec![Value::from("a"); 257];
        assert!(acl(&format!(r#"{{"pub":{}}}"#, Value::from(many))).is_err());
    }
}
