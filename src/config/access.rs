//! Who may reach a listener: rules as esockd has them (`allow 192.168.1.0/24`, `deny all`), and plain lists of networks.
//! An IPv4 address in IPv6's form (`::ffff:192.0.2.7`) is the IPv4 address, on both sides.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// Whom a rule or a list means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    All,
    Network(IpNet),
}

/// One rule of `access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    who: Who,
}

/// The `access` of a listener: the first rule that names an address decides, and where none does it may come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessRules(Vec<Rule>);

/// The `trusted` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<Who>);

impl Who {
    fn contains(self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Network(network) => network.contains(&address),
        }
    }
}

impl FromStr for Who {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| ())?,
        };
        Ok(Self::Network(canonical(network).trunc()))
    }
}

/// A network of IPv4 addresses in IPv6's form as one of IPv4.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.prefix_len().checked_sub(96).zip(v6.addr().to_ipv4_mapped());
    let v4 = v4.and_then(|(prefix_len, address): (u8, Ipv4Addr)| Ipv4Net::new(address, prefix_len).ok());
    v4.map_or(network, IpNet::V4)
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

impl AccessRules {
    /// The rules that the texts say.
    ///
    /// # Errors
    /// The first text that is no rule.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let rule = |text: &String| {
            let mut words = text.split_ascii_whitespace();
            let allow = match words.next() {
                Some("allow") => Some(true),
                Some("deny") => Some(false),
                _ => None,
            };
            let who = words.next().and_then(|who| who.parse().ok()).filter(|_| words.next().is_none());
            allow.zip(who).map(|(allow, who)| Rule { allow, who }).ok_or_else(|| {
                format!(
                    "expected `allow` or `deny` and an address, a network or `all`, as \"allow 192.168.1.0/24\" or \
                     \"deny all\", not {text:?}"
                )
            })
        };
        texts.iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// The rules as texts that read back as themselves.
    pub fn texts(&self) -> Vec<String> {
        let word = |allow: bool| if allow { "allow" } else { "deny" };
        self.0.iter().map(|rule| format!("{} {}", word(rule.allow), rule.who)).collect()
    }

    /// There is none: everybody may come in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` may come in.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().find(|rule| rule.who.contains(address)).is_none_or(|rule| rule.allow)
    }
}

impl Networks {
    /// The networks that the texts say.
    ///
    /// # Errors
    /// The first text that is none.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let network = |text: &String| {
            text.parse().map_err(|()| {
                format!(
                    "expected an address, a network or `all`, as \"10.0.0.0/8\" or \"192.0.2.7\", not {text:?}"
                )
            })
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// The networks as texts that read back as themselves.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|who| who.contains(address))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Result<AccessRules, String> {
        AccessRules::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn allows(texts: &[&str], address: &str) -> bool {
        rules(texts).unwrap().allows(address.parse().unwrap())
    }

    #[test]
    fn the_first_match_decides_and_none_admits() {
        let lan = ["deny 192.168.1.66", "allow 192.168.1.0/24", "deny all", "allow 10.0.0.1"];
        assert!(allows(&lan, "192.168.1.1"));
        assert!(!allows(&lan, "192.168.1.66"));
        assert!(!allows(&lan, "192.168.2.1"));
        assert!(!allows(&lan, "10.0.0.1"), "the rule before it has decided");
        assert!(!allows(&lan, "::1"));
        assert!(allows(&[], "10.0.0.1"));
        assert!(allows(&["deny 10.0.0.0/8"], "11.0.0.1"));
    }

    #[test]
    fn ipv4_in_the_form_of_ipv6_is_ipv4() {
        assert!(!allows(&["deny 192.0.2.0/24"], "::ffff:192.0.2.7"));
        assert!(!allows(&["deny ::ffff:192.0.2.0/120"], "192.0.2.7"));
        assert!(allows(&["deny ::ffff:192.0.2.0/120"], "192.0.3.7"));
        assert!(!allows(&["deny ::ffff:192.0.2.7"], "192.0.2.7"));
        assert!(!allows(&["deny 2001:db8::/32"], "2001:db8:1::1"));
        assert!(allows(&["deny 2001:db8::/32"], "2001:db9::1"));
        assert!(allows(&["deny ::/0"], "192.0.2.7"), "IPv6 only");
        assert!(!allows(&["deny 0.0.0.0/0"], "192.0.2.7"));
    }

    #[test]
    fn rules_read_back_as_themselves_and_errors_name_the_rule() {
        let written = rules(&["allow  192.168.1.7/24", "deny ::1", "allow ALL"]).unwrap();
        assert_eq!(written.texts(), ["allow 192.168.1.0/24", "deny ::1/128", "allow all"]);
        assert_eq!(AccessRules::parse(&written.texts()), Ok(written));
        for text in
            ["", "allow", "permit all", "allow 192.168.1.0/33", "deny 192.168.1", "allow all x", "all"]
        {
            let error = rules(&["allow 10.0.0.1", text]).unwrap_err();
            assert!(error.ends_with(&format!("not {text:?}")), "{error}");
        }
    }

    #[test]
    fn networks_contain_what_they_say() {
        let networks =
            Networks::parse(&["10.0.0.0/8".into(), "192.0.2.7".into(), "fd00::/8".into()]).unwrap();
        for (address, wanted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd00::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), wanted, "{address}");
        }
        assert_eq!(Networks::parse(&networks.texts()), Ok(networks));
        assert!(Networks::parse(&["10.0.0.0/8 ".into()]).unwrap_err().contains("10.0.0.0/8 "));
    }
}
