//! Whether a proxy of the environment stands between us and a cluster.

use std::net::IpAddr;

use http::Uri;

/// The proxy for `target` by the conventions of kubectl: `HTTPS_PROXY` for https, `HTTP_PROXY` for http, never for this machine
/// itself, and not for what `NO_PROXY` names.
pub(crate) fn proxy_for<'a>(
    target: &Uri,
    https: Option<&'a str>,
    http: Option<&'a str>,
    exceptions: Option<&str>,
) -> Option<&'a str> {
    let proxy = if target.scheme_str() == Some("http") { http } else { https };
    let proxy = proxy.map(str::trim).filter(|proxy| !proxy.is_empty())?;
    let host = target.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return None;
    }
    let excepted = exceptions
        .unwrap_or_default()
        .split([',', ' '])
        .map(str::trim)
        .filter(|exception| !exception.is_empty())
        .any(|exception| excepts(&exception.to_ascii_lowercase(), &host, address, target.port_u16()));
    (!excepted).then_some(proxy)
}

fn excepts(exception: &str, host: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
    if exception == "*" {
        return true;
    }
    if let Some(address) = address {
        if let Some((network, bits)) = exception.split_once('/') {
            return match (network.parse(), bits.parse()) {
                (Ok(network), Ok(bits)) => within(address, network, bits),
                _ => false,
            };
        }
        if let Ok(named) = exception.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return named == address;
        }
    }
    let domain = match exception.rsplit_once(':') {
        Some((domain, named)) if named.parse::<u16>().is_ok() => {
            if named.parse().ok() != port {
                return false;
            }
            domain
        }
        _ => exception,
    };
    let domain = domain.trim_start_matches("*.");
    match domain.strip_prefix('.') {
        // A leading dot means names below it only.
        Some(parent) => host.strip_suffix(parent).is_some_and(|below| below.ends_with('.')),
        None => host == domain || host.strip_suffix(domain).is_some_and(|below| below.ends_with('.')),
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_domains_addresses_networks_and_ports() {
        let cases = [
            ("https://api.example.com:6443", "", true),
            ("https://api.example.com:6443", "example.com", false),
            ("https://api.example.com:6443", ".example.com", false),
            ("https://example.com:6443", ".example.com", true),
            ("https://badexample.com:6443", "example.com", true),
            ("https://api.example.com:6443", "other.org, API.example.com:6443", false),
            ("https://api.example.com:6443", "api.example.com:443", true),
            ("https://10.1.2.3:6443", "10.0.0.0/8", false),
            ("https://11.1.2.3:6443", "10.0.0.0/8", true),
            ("https://11.1.2.3:6443", "0.0.0.0/0", false),
            ("https://10.1.2.3", "10.1.2.3", false),
            ("https://[fd00::1]:6443", "fd00::/8", false),
            ("https://api.example.com", "*", false),
            ("https://127.0.0.1:6443", "", false),
            ("https://[::1]:6443", "", false),
            ("https://localhost:6443", "", false),
            ("http://api.example.com", "", false),
        ];
        for (target, exceptions, proxied) in cases {
            let found = proxy_for(&target.parse().unwrap(), Some("http://proxy:3128"), None, Some(exceptions));
            assert_eq!(found.is_some(), proxied, "{target} with {exceptions:?}");
        }
    }
}
