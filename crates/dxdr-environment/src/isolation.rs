//! Who may talk to an environment, and whom it may talk to.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use crate::NamespaceName;

/// What gets through; everything else is denied, both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Whether pods of the environment may talk to one another.
    pub allow_within: bool,
    /// Who may open connections to its pods.
    pub allow_ingress_from: Vec<AllowedPeer>,
    /// Whom its pods may open connections to.
    pub allow_egress_to: Vec<AllowedPeer>,
}

/// A peer and the ports it is about; no ports means all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPeer {
    /// Who.
    pub peer: Peer,
    /// On which ports.
    pub ports: Vec<PortRule>,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Pods with these labels, in another namespace or (`None`) in the environment's own. No labels: all pods.
    Pods {
        /// Where.
        namespace: Option<NamespaceName>,
        /// Which.
        labels: BTreeMap<String, String>,
    },
    /// Addresses.
    Block {
        /// These,
        cidr: Cidr,
        /// without these.
        except: Vec<Cidr>,
    },
}

/// One port, or a range of them, of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRule {
    /// The first port.
    pub port: u16,
    /// The last port of a range.
    pub end_port: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
}

impl PortRule {
    /// What a bare port number stands for: TCP, and UDP as well for 53, because name resolution needs both.
    pub fn bare(port: u16) -> Vec<Self> {
        let rule = |protocol| Self { port, end_port: None, protocol };
        if port == 53 { vec![rule(Protocol::Udp), rule(Protocol::Tcp)] } else { vec![rule(Protocol::Tcp)] }
    }
}

/// Protocols a network policy tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// As the Kubernetes API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// A text that is not a block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a CIDR block: {reason}")]
pub struct InvalidCidr {
    /// The text as it was given.
    pub given: String,
    /// The rule that it breaks.
    pub reason: String,
}

/// A block of addresses: `10.20.0.0/16`. No bits are set behind the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads `ADDRESS/PREFIX`. Refuses an address with bits behind the prefix: the API server would keep it, and readers would take
    /// it for a single address.
    pub fn parse(given: &str) -> Result<Self, InvalidCidr> {
        let refuse = |reason: String| InvalidCidr { given: given.to_owned(), reason };
        let (address, prefix) =
            given.split_once('/').ok_or_else(|| refuse("a prefix length is missing, as in 10.20.0.0/16".to_owned()))?;
        let address: IpAddr = address.parse().map_err(|_| refuse(format!("`{address}` is not an IP address")))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .parse::<u8>()
            .ok()
            .filter(|length| *length <= longest && !prefix.starts_with('+') && (prefix.len() == 1 || !prefix.starts_with('0')))
            .ok_or_else(|| refuse(format!("the prefix length must be a number from 0 to {longest}")))?;
        let block = Self { address, prefix };
        if block.network() != address {
            return Err(refuse(format!("bits are set behind the prefix; did you mean `{}/{prefix}`?", block.network())));
        }
        Ok(block)
    }

    /// Whether all of `other` lies in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix <= other.prefix
            && Self { address: other.address, prefix: self.prefix }.network() == self.address
    }

    fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_bits_behind_its_prefix_is_refused_with_the_block_that_was_meant() {
        let refused = Cidr::parse("10.20.3.4/16").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`10.20.3.4/16` is not a CIDR block: bits are set behind the prefix; did you mean `10.20.0.0/16`?"
        );
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in ["10.0.0.0", "10.0.0/8", "10.0.0.0/33", "::/129", "10.0.0.0/08", "10.0.0.0/+8", "x/8", "10.0.0.0/"] {
            assert!(Cidr::parse(text).is_err(), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "10.1.2.3/32", "fd00::/8"] {
            assert_eq!(Cidr::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_block_contains_the_smaller_blocks_inside_it() {
        let block = Cidr::parse("10.20.0.0/16").unwrap();
        assert!(block.contains(&Cidr::parse("10.20.5.0/24").unwrap()));
        assert!(!block.contains(&Cidr::parse("10.21.0.0/24").unwrap()));
        assert!(!block.contains(&Cidr::parse("10.0.0.0/8").unwrap()));
        assert!(!block.contains(&Cidr::parse("fd00::/120").unwrap()));
    }
}
