//! Where requests may go: address ranges as data, and the resolver that enforces them. A name is resolved once, every
//! address is checked, and the connection is made to exactly the addresses that passed, so that a name that changes its
//! answer gains nothing. It knows addresses only, for requests to APIs and to token endpoints alike; which hosts a
//! `Base-Url-Override` may name is decided in the proxy.

mod resolve;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

pub use resolve::Resolve;
pub use tls::{tls_config, tls_config_of};

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The address ranges that are refused, each with the words the denial uses.
const DENIED_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "an unspecified"),
    (v4(10, 0, 0, 0, 8), "a private"),
    (v4(100, 64, 0, 0, 10), "a carrier-private"),
    (v4(127, 0, 0, 0, 8), "a loopback"),
    (v4(168, 63, 129, 16, 32), "a cloud metadata"),
    (v4(169, 254, 0, 0, 16), "a link-local (cloud metadata)"),
    (v4(172, 16, 0, 0, 12), "a private"),
    (v4(192, 0, 0, 0, 24), "a reserved"),
    (v4(192, 0, 2, 0, 24), "a documentation"),
    (v4(192, 88, 99, 0, 24), "a reserved"),
    (v4(192, 168, 0, 0, 16), "a private"),
    (v4(198, 18, 0, 0, 15), "a benchmarking"),
    (v4(198, 51, 100, 0, 24), "a documentation"),
    (v4(203, 0, 113, 0, 24), "a documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast"),
    (v4(240, 0, 0, 0, 4), "a reserved"),
];

const DENIED_V6: &[(Ipv6Net, &str)] = &[
    // Unspecified, loopback, and the obsolete spelling of IPv4 addresses; the mapped one is unwrapped before.
    (v6([0, 0, 0, 0], 96), "a loopback or unspecified"),
    (v6([0x64, 0xff9b, 1, 0], 48), "a private NAT64"),
    (v6([0x100, 0, 0, 0], 64), "a discard-only"),
    // Holds Teredo, which embeds IPv4 addresses, and nothing that serves an API.
    (v6([0x2001, 0, 0, 0], 23), "a reserved"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "a documentation"),
    (v6([0x3fff, 0, 0, 0], 20), "a documentation"),
    (v6([0x5f00, 0, 0, 0], 16), "a reserved"),
    (v6([0xfc00, 0, 0, 0], 7), "a private"),
    (v6([0xfe80, 0, 0, 0], 10), "a link-local"),
    (v6([0xfec0, 0, 0, 0], 10), "a private"),
    (v6([0xff00, 0, 0, 0], 8), "a multicast"),
];

/// For how many client certificates clients are kept; one that was used long ago is made anew.
pub const IDENTITIES_MAX: usize = 64;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// Which addresses may be connected to.
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// Ranges that may be reached although the tables refuse them.
    allow: Vec<IpNet>,
    /// Refuses everything that `allow` does not name, public addresses too.
    only_allow: bool,
}

impl EgressPolicy {
    /// Public addresses, and what `allow` names.
    pub fn public(allow: Vec<IpNet>) -> Self {
        Self {
            allow,
            only_allow: false,
        }
    }

    /// What `allow` names and nothing else.
    pub fn only(allow: Vec<IpNet>) -> Self {
        Self {
            allow,
            only_allow: true,
        }
    }

    /// Whether a connection to `address` may be made for `host`.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), EgressDenied> {
        let address = address.to_canonical();
        if self.allow.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        let kind = if self.only_allow {
            Some("no explicitly allowed")
        } else {
            denied_kind(address)
        };
        match kind {
            Some(kind) => Err(EgressDenied {
                host: host.to_owned(),
                address,
                kind,
            }),
            None => Ok(()),
        }
    }
}

/// How the tables name the range an address is in; none for a public one.
fn denied_kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => denied_v4_kind(address),
        IpAddr::V6(address) => DENIED_V6
            .iter()
            .find(|(net, _)| net.contains(&address))
            .map(|(_, kind)| *kind)
            .or_else(|| embedded_v4(address).and_then(denied_v4_kind)),
    }
}

fn denied_v4_kind(address: Ipv4Addr) -> Option<&'static str> {
    DENIED_V4
        .iter()
        .find(|(net, _)| net.contains(&address))
        .map(|(_, kind)| *kind)
}

/// The IPv4 address that a NAT64 or 6to4 gateway would forward to.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x2002, high, low, ..] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        _ => None,
    }
}

/// An address that the policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "requests to {host:?} are refused: {address} is {kind} address; to allow it, {}",
    advice(host, *address)
)]
pub struct EgressDenied {
    pub host: String,
    pub address: IpAddr,
    pub kind: &'static str,
}

/// The settings that would allow it. A public address is only ever refused to a `Base-Url-Override`.
fn advice(host: &str, address: IpAddr) -> String {
    if denied_kind(address).is_none() {
        return format!("set `override_hosts = [{host:?}]` in the config file");
    }
    let network = if address.is_loopback() {
        "loopback".to_owned()
    } else {
        // The smallest range that holds the address.
        IpNet::from(address).to_string()
    };
    format!("start with `--egress-allow {network}` or set `egress_allow = [\"{network}\"]` in the config file")
}

/// Why a name gave no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("the name does not resolve")]
    Lookup(#[source] std::io::Error),
    #[error("the name has no addresses")]
    Empty,
    #[error(transparent)]
    Denied(EgressDenied),
}

/// Resolves names for the HTTP client, once for each connection, and gives only the addresses that the policy permits.
#[derive(Clone)]
pub struct EgressResolver {
    pub policy: Arc<EgressPolicy>,
    pub resolve: Resolve,
}

impl EgressResolver {
    /// The addresses of a name that may be connected to, without a port: the connector puts it in.
    pub fn addresses(&self, name: &str) -> PermittedAddresses {
        let (policy, name) = (self.policy.clone(), name.to_owned());
        let looking_up = self.resolve.lookup(&name);
        Box::pin(async move {
            let found = looking_up.await.map_err(ResolveError::Lookup)?;
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            permitted(&policy, &name, found)
        })
    }
}

/// What [`EgressResolver::addresses`] finds.
pub type PermittedAddresses =
    Pin<Box<dyn Future<Output = Result<std::vec::IntoIter<SocketAddr>, ResolveError>> + Send>>;

impl tower_service::Service<Name> for EgressResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = PermittedAddresses;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        self.addresses(name.as_str())
    }
}

/// The addresses that may be connected to, or the first denial when there are none.
fn permitted(
    policy: &EgressPolicy,
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<std::vec::IntoIter<SocketAddr>, ResolveError> {
    let mut allowed = Vec::new();
    let mut denied = None;
    for address in found {
        match policy.check(host, address.ip()) {
            Ok(()) => allowed.push(address),
            Err(denial) => denied = denied.or(Some(denial)),
        }
    }
    match denied {
        Some(denial) if allowed.is_empty() => Err(ResolveError::Denied(denial)),
        None if allowed.is_empty() => Err(ResolveError::Empty),
        Some(_) | None => Ok(allowed.into_iter()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str) -> Result<(), EgressDenied> {
        EgressPolicy::public(Vec::new()).check("host", address.parse().unwrap())
    }

    #[test]
    fn public_addresses_pass() {
        for address in [
            "140.82.121.6",
            "1.1.1.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2002:808:808::1",
        ] {
            assert_eq!(check(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn special_addresses_are_refused_in_every_embedding() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:c0a8:101::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(check(address).is_err(), "{address}");
        }
    }

    #[test]
    fn an_allowed_range_opens_its_addresses_and_no_others() {
        let policy = EgressPolicy::public(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(policy.check("h", "127.0.0.1".parse().unwrap()).is_ok());
        assert!(policy.check("h", "::ffff:127.0.0.1".parse().unwrap()).is_ok());
        assert!(policy.check("h", "10.0.0.1".parse().unwrap()).is_err());
        assert!(policy.check("h", "::1".parse().unwrap()).is_err());
        assert!(policy.check("h", "8.8.8.8".parse().unwrap()).is_ok());
    }

    #[test]
    fn the_strict_policy_refuses_public_addresses() {
        let policy = EgressPolicy::only(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(policy.check("h", "127.0.0.1".parse().unwrap()).is_ok());
        assert!(policy.check("h", "8.8.8.8".parse().unwrap()).is_err());
    }

    #[test]
    fn the_denial_names_the_setting() {
        assert_eq!(
            check("127.0.0.1").unwrap_err().to_string(),
            "requests to \"host\" are refused: 127.0.0.1 is a loopback address; to allow it, start with \
             `--egress-allow loopback` or set `egress_allow = [\"loopback\"]` in the config file"
        );
        let private = check("10.1.2.3").unwrap_err().to_string();
        assert!(private.contains("`--egress-allow 10.1.2.3/32`"), "{private}");
        let strict = EgressPolicy::only(Vec::new());
        let public = strict.check("other.test", "8.8.8.8".parse().unwrap()).unwrap_err();
        assert_eq!(
            public.to_string(),
            "requests to \"other.test\" are refused: 8.8.8.8 is no explicitly allowed address; to allow it, set \
             `override_hosts = [\"other.test\"]` in the config file"
        );
    }

    #[test]
    fn a_name_keeps_the_addresses_that_pass() {
        let policy = EgressPolicy::public(Vec::new());
        let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 0);
        let mixed = [at("127.0.0.1"), at("1.1.1.1")];
        let kept: Vec<_> = permitted(&policy, "h", mixed.into_iter()).unwrap().collect();
        assert_eq!(kept, [at("1.1.1.1")]);
        let private = permitted(&policy, "h", [at("10.0.0.1")].into_iter());
        assert!(matches!(private, Err(ResolveError::Denied(_))));
        assert!(matches!(
            permitted(&policy, "h", [].into_iter()),
            Err(ResolveError::Empty)
        ));
    }
}
