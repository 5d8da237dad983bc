//! Calls to hosts that a tenant named: they may not reach into the network this process runs in (SSRF).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::{Host, Url};

use super::{Error, Result};

/// A call that takes longer is given up; single calls may ask for less.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The process's one HTTP client for hosts that tenants name. Every address that a name resolves to is
/// checked at the moment of connecting, so a name cannot change its mind in between; redirects are not
/// followed.
#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    private_allowed: bool,
}

impl Outbound {
    /// `private_allowed` opens loopback and private ranges: for the demo, tests, and a PostHog of one's own
    /// in the same network.
    pub fn new(private_allowed: bool) -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("growthos/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { private_allowed }))
            .build()
            .map_err(anyhow::Error::from)?;
        Ok(Self {
            client,
            private_allowed,
        })
    }
    pub const fn client(&self) -> &reqwest::Client {
        &self.client
    }
    /// Reads a base URL that a tenant gave: `http` or `https`, a host that is not ours, no credentials.
    /// `field` is the input it came by.
    pub fn base_url(&self, field: &str, text: &str) -> Result<Url> {
        let url = Url::parse(text.trim())
            .map_err(|e| Error::invalid(field, format!("not a URL: {e}")))?;
        let secure = url.scheme() == "https" || (url.scheme() == "http" && self.private_allowed);
        if !secure {
            return Err(Error::invalid(field, "the URL must start with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::invalid(field, "the URL must not hold credentials"));
        }
        let refused = match url.host() {
            None => true,
            Some(Host::Ipv4(ip)) => !self.may_reach(ip.into()),
            Some(Host::Ipv6(ip)) => !self.may_reach(ip.into()),
            Some(Host::Domain(name)) => !self.private_allowed && is_local_name(name),
        };
        if refused {
            return Err(Error::invalid(
                field,
                "the URL names a host inside a private network",
            ));
        }
        Ok(url)
    }
    const fn may_reach(&self, ip: IpAddr) -> bool {
        self.private_allowed || is_public(ip)
    }
}

struct Guarded {
    private_allowed: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let private_allowed = self.private_allowed;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|addr| private_allowed || is_public(addr.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(format!("{} has no public address", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || [".localhost", ".local", ".internal"]
            .iter()
            .any(|ending| name.ends_with(ending))
}

/// Whether an address is one of the Internet at large, by IANA's special-purpose registries.
const fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

const fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18))
}

const fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [a, b, ..] = ip.segments();
    // Global unicast alone, less documentation, Teredo and 6to4, which carry other addresses inside.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && (b == 0xdb8 || b < 0x200))
        && a != 0x2002
        && a != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_never_public() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
