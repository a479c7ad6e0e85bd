//! emqttd's file of Client Identifiers: one a line, and behind blanks, where it is given, the address or network from
//! which alone that client may come.

use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::FileError;
use super::file_error::lines;

/// What the file says of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// It is there, and may come from that address.
    Yes,
    /// It is there, but may not come from that address.
    Elsewhere,
    /// It is not there.
    No,
}

/// Client Identifiers and where they come from.
#[derive(Debug, Clone)]
pub struct ClientIdFile {
    /// No network: from anywhere.
    clients: HashMap<Box<str>, SmallVec<[IpNet; 1]>, ahash::RandomState>,
}

impl ClientIdFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut clients = HashMap::with_hasher(ahash::RandomState::new());
        for (number, line) in lines(text) {
            let mut words = line.split_whitespace();
            let client_id = words.next().unwrap_or_default();
            let network = words.next().map(network).transpose().map_err(|p| FileError::at(number, p))?;
            if words.next().is_some() {
                return Err(FileError::at(number, "expected a Client Identifier and at most one address"));
            }
            let networks: &mut SmallVec<[IpNet; 1]> = match clients.entry_ref(client_id) {
                hashbrown::hash_map::EntryRef::Vacant(vacant) => {
                    vacant.insert(network.into_iter().collect());
                    continue;
                }
                hashbrown::hash_map::EntryRef::Occupied(occupied) => occupied.into_mut(),
            };
            match network {
                Some(network) if !networks.is_empty() => networks.push(network),
                // From anywhere says more than from some network.
                _ => networks.clear(),
            }
        }
        Ok(Self { clients })
    }

    /// Whether the client may come from that address. An IPv4 address in IPv6 is taken for what it is.
    pub fn check(&self, client_id: &str, address: IpAddr) -> Listed {
        let address = address.to_canonical();
        match self.clients.get(client_id) {
            None => Listed::No,
            Some(networks) if networks.is_empty() || networks.iter().any(|net| net.contains(&address)) => {
                Listed::Yes
            }
            Some(_) => Listed::Elsewhere,
        }
    }

    /// Client Identifiers.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

/// An address is a network of one.
fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    address.or_else(|_| text.parse()).map_err(|_| {
        format!(
            "expected an address or a network as 192.168.1.0/24, not {:?}",
            text.get(..64).unwrap_or(text)
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_from_where_they_may() {
        let file = ClientIdFile::parse(
            "# emqttd's example\ntestclientid0\ntestclientid1 127.0.0.1\ntestclientid2\t192.168.0.1/24\n\
             two 10.0.0.1\ntwo 10.0.0.2\nfree 10.0.0.1\nfree\nsix 2001:db8::/32\n",
        )
        .unwrap();
        let check = |id, address: &str| file.check(id, address.parse().unwrap());
        assert_eq!(file.len(), 6);
        assert_eq!(check("testclientid0", "8.8.8.8"), Listed::Yes);
        assert_eq!(check("testclientid1", "127.0.0.1"), Listed::Yes);
        assert_eq!(check("testclientid1", "::ffff:127.0.0.1"), Listed::Yes);
        assert_eq!(check("testclientid1", "127.0.0.2"), Listed::Elsewhere);
        assert_eq!(check("testclientid2", "192.168.0.77"), Listed::Yes);
        assert_eq!(check("testclientid2", "192.168.1.1"), Listed::Elsewhere);
        assert_eq!((check("two", "10.0.0.2"), check("two", "10.0.0.3")), (Listed::Yes, Listed::Elsewhere));
        assert_eq!(check("free", "9.9.9.9"), Listed::Yes);
        assert_eq!((check("six", "2001:db8::1"), check("six", "::1")), (Listed::Yes, Listed::Elsewhere));
        assert_eq!(check("nobody", "127.0.0.1"), Listed::No);
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text: &str| ClientIdFile::parse(text).unwrap_err().of("ids").to_string();
        assert!(error("a\nb 300.0.0.1").starts_with("ids line 2: expected an address"));
        assert!(error("a 10.0.0.1 10.0.0.2").contains("at most one address"));
    }
}
