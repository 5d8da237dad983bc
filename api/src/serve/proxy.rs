//! Who the client is when proxies stand between: what they say counts only from those that the configuration trusts.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use ipnet::IpNet;

use crate::transport::ClientAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What proxies add. From anybody else it is taken away, so that nothing behind can believe it.
const FORWARDING: [HeaderName; 5] = [
    header::FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// Browsers come by TLS alone for a year, once they did.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Where a request comes from, as its connection tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub(super) peer: IpAddr,
    pub(super) is_tls: bool,
}

/// Puts the [`ClientAddr`] into the request, and asks browsers that came by TLS to stay with it.
pub(super) async fn tell_client(
    State(trusted): State<Arc<[IpNet]>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(hop) = request.extensions().get::<Hop>().copied() else {
        return next.run(request).await;
    };
    let mut is_secure = hop.is_tls;
    let mut client = hop.peer;
    if is_trusted(hop.peer, &trusted) {
        client = client_of(hop.peer, request.headers(), &trusted);
        is_secure |= last(request.headers(), &X_FORWARDED_PROTO)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    } else {
        for name in &FORWARDING {
            request.headers_mut().remove(name);
        }
    }
    request.extensions_mut().insert(ClientAddr(client));
    let mut response = next.run(request).await;
    if is_secure {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// The nearest hop that is not trusted; the farthest one where all are. A hop that cannot be read ends what can be believed.
fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for hop in hops(headers).into_iter().rev() {
        let Some(hop) = hop else { break };
        client = hop;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// The addresses that proxies saw, the farthest first: of `X-Forwarded-For`, or of `Forwarded` where there is none.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    if headers.contains_key(X_FORWARDED_FOR) {
        return items(headers, &X_FORWARDED_FOR).map(address).collect();
    }
    items(headers, &header::FORWARDED)
        .map(|item| {
            item.split(';')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
                .and_then(|(_, value)| address(value.trim().trim_matches('"')))
        })
        .collect()
}

/// The items of a list that may stand in several headers. What is no text is an item that cannot be read.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    items(headers, name).last()
}

/// An address as proxies write it: bare, in brackets, with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        // An IPv6 address without brackets has no port.
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(headers: &[(HeaderName, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap());
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        let mut given = HeaderMap::new();
        for (name, value) in headers {
            given.append(name, value);
        }
        client_of("10.0.0.1".parse().unwrap(), &given, &trusted).to_string()
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_is_not_trusted() {
        for (forwarded_for, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("1.1.1.1, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
            ("203.0.113.7:1234, 10.0.0.9:80", "203.0.113.7"),
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("[2001:db9::1]:443", "2001:db9::1"),
            ("2001:db9::1, 2001:db8::7", "2001:db9::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, unknown", "10.0.0.1"),
            ("203.0.113.7, nonsense, 10.0.0.9", "10.0.0.9"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(
                client(&[(X_FORWARDED_FOR, forwarded_for)]),
                expected,
                "{forwarded_for}"
            );
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let headers = [
            (X_FORWARDED_FOR, "1.1.1.1, 203.0.113.7"),
            (X_FORWARDED_FOR, "10.0.0.9"),
        ];
        assert_eq!(client(&headers), "203.0.113.7");
    }

    #[test]
    fn the_standard_header_is_read_where_the_common_one_is_missing() {
        for (forwarded, expected) in [
            (r"for=203.0.113.7;proto=https;by=10.0.0.2", "203.0.113.7"),
            (r#"for=1.1.1.1, For="[2001:db9::1]:443""#, "2001:db9::1"),
            (r"proto=https", "10.0.0.1"),
            (r"for=_hidden", "10.0.0.1"),
        ] {
            assert_eq!(
                client(&[(header::FORWARDED, forwarded)]),
                expected,
                "{forwarded}"
            );
        }
        let both = [
            (header::FORWARDED, "for=1.1.1.1"),
            (X_FORWARDED_FOR, "203.0.113.7"),
        ];
        assert_eq!(client(&both), "203.0.113.7");
    }
}
