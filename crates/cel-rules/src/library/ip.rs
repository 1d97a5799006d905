//! Addresses.

use std::net::IpAddr;

use super::strings::one;
use super::{Outcome, Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::Value;

const ASKED: &[&str] = &["IP -> bool"];

pub(super) const TABLE: &[Row] = &[
    global("ip", &["string -> IP"], Price::WalkAll, |_, args| {
        let text = one(args)?;
        let unread =
            || RunError::new(format!("IP Address {text:?} parse error during conversion from string"));
        parse(text).map(Value::Ip).ok_or_else(unread)
    }),
    global("isIP", &["string -> bool"], Price::WalkAll, |_, args| {
        Ok(Value::Bool(parse(one(args)?).is_some()))
    }),
    global("ip.isCanonical", &["string -> bool"], Price::WalkAll, |_, args| {
        let text = one(args)?;
        let unread =
            || RunError::new(format!("IP Address {text:?} parse error during conversion from string"));
        Ok(Value::Bool(parse(text).ok_or_else(unread)?.to_string() == text))
    }),
    member("family", &["IP -> int"], Price::One, |_, args| match args {
        [Value::Ip(IpAddr::V4(_))] => Ok(Value::Int(4)),
        [Value::Ip(IpAddr::V6(_))] => Ok(Value::Int(6)),
        _ => Err(RunError::overload()),
    }),
    member("isUnspecified", ASKED, Price::One, |_, args| judge(args, |ip| ip.is_unspecified())),
    member("isLoopback", ASKED, Price::One, |_, args| judge(args, |ip| ip.is_loopback())),
    member("isLinkLocalMulticast", ASKED, Price::One, |_, args| {
        judge(args, |ip| match ip {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        })
    }),
    member("isLinkLocalUnicast", ASKED, Price::One, |_, args| judge(args, is_link_local)),
    member("isGlobalUnicast", ASKED, Price::One, |_, args| {
        judge(args, |ip| {
            let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || is_broadcast
                || is_link_local(ip))
        })
    }),
];

/// An address in its plain form: no zone, no IPv4 address within IPv6.
pub(crate) fn parse(text: &str) -> Option<IpAddr> {
    let ip: IpAddr = text.parse().ok()?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        ip => Some(ip),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn judge(args: &[Value], is: fn(IpAddr) -> bool) -> Outcome {
    match args {
        [Value::Ip(ip)] => Ok(Value::Bool(is(*ip))),
        _ => Err(RunError::overload()),
    }
}
