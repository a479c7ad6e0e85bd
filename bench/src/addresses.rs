//! Source addresses of connections: `127.0.0.2-127.0.0.40,10.0.0.7`.
//!
//! One address has some 28,000 ephemeral ports towards one listener; a million connections need forty.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::Serialize;

/// Most addresses of one range, against a slip of the keyboard.
const RANGE_LEN_MAX: u32 = 1 << 20;

/// Source addresses, used in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub(crate) struct SourceAddresses {
    text: String,
    addresses: Vec<IpAddr>,
}

impl From<SourceAddresses> for String {
    fn from(s: SourceAddresses) -> Self {
        s.text
    }
}

impl SourceAddresses {
    /// The address of connection `number`.
    pub(crate) fn nth(&self, number: usize) -> Option<IpAddr> {
        number.checked_rem(self.addresses.len()).and_then(|i| self.addresses.get(i)).copied()
    }

    /// All of them, in their order.
    pub(crate) fn all(&self) -> &[IpAddr] {
        &self.addresses
    }
}

impl FromStr for SourceAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut addresses = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part.split_once('-') {
                None => addresses.push(
                    part.parse().map_err(|_| format!("'{part}' is neither an IP address nor a range"))?,
                ),
                Some((first, last)) => {
                    let first = u32::from(ipv4(first)?);
                    let last = u32::from(ipv4(last)?);
                    let len = last.checked_sub(first).ok_or(format!("'{part}' ends before it starts"))?;
                    if len >= RANGE_LEN_MAX {
                        return Err(format!("'{part}' has more than {RANGE_LEN_MAX} addresses"));
                    }
                    addresses.extend((first..=last).map(|a| IpAddr::V4(Ipv4Addr::from(a))));
                }
            }
        }
        Ok(Self { text: text.to_owned(), addresses })
    }
}

fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    let text = text.trim();
    text.parse().map_err(|_| format!("'{text}' is no IPv4 address (ranges are FIRST-LAST of IPv4)"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_addresses_are_used_in_turn() {
        let s: SourceAddresses = "127.0.0.254-127.0.1.1, ::1".parse().unwrap();
        let all: Vec<String> = (0..6).map(|i| s.nth(i).unwrap().to_string()).collect();
        assert_eq!(all, ["127.0.0.254", "127.0.0.255", "127.0.1.0", "127.0.1.1", "::1", "127.0.0.254"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("127.0.0.x", "127.0.0.x"),
            ("127.0.0.9-127.0.0.2", "ends before"),
            ("10.0.0.0-20.0.0.0", "more than"),
            ("::1-::9", "no IPv4 address"),
            ("", "neither"),
        ] {
            let error = text.parse::<SourceAddresses>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
