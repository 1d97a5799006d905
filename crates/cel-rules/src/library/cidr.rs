//! Blocks of addresses.

use std::fmt;
use std::net::IpAddr;

use super::strings::one;
use super::{Row, global, ip, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::Value;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    ip: IpAddr,
    bits: u8,
}

pub(super) const TABLE: &[Row] = &[
    global("cidr", &["string -> CIDR"], Price::WalkAll, |_, args| {
        let text = one(args)?;
        let unread = || RunError::new("network address parse error during conversion from string");
        Cidr::parse(text).map(Value::Cidr).ok_or_else(unread)
    }),
    global("isCIDR", &["string -> bool"], Price::WalkAll, |_, args| {
        Ok(Value::Bool(Cidr::parse(one(args)?).is_some()))
    }),
    member("containsIP", &["CIDR, IP -> bool", "CIDR, string -> bool"], Price::WalkAll, |_, args| {
        let other = match &args[1] {
            Value::Ip(ip) => *ip,
            Value::Text(text) => ip::parse(text).ok_or_else(|| {
                RunError::new(format!("IP Address {text:?} parse error during conversion from string"))
            })?,
            _ => return Err(RunError::overload()),
        };
        Ok(Value::Bool(own(args)?.has(other)))
    }),
    member("containsCIDR", &["CIDR, CIDR -> bool", "CIDR, string -> bool"], Price::WalkAll, |_, args| {
        let other = match &args[1] {
            Value::Cidr(cidr) => *cidr,
            Value::Text(text) => Cidr::parse(text)
                .ok_or_else(|| RunError::new("network address parse error during conversion from string"))?,
            _ => return Err(RunError::overload()),
        };
        let own = own(args)?;
        Ok(Value::Bool(own.bits <= other.bits && own.has(other.ip)))
    }),
    member("ip", &["CIDR -> IP"], Price::One, |_, args| Ok(Value::Ip(own(args)?.ip))),
    member("masked", &["CIDR -> CIDR"], Price::One, |_, args| Ok(Value::Cidr(own(args)?.masked()))),
    member("prefixLength", &["CIDR -> int"], Price::One, |_, args| Ok(Value::Int(own(args)?.bits.into()))),
];

fn own(args: &[Value]) -> Result<Cidr, RunError> {
    match args.first() {
        Some(Value::Cidr(cidr)) => Ok(*cidr),
        _ => Err(RunError::overload()),
    }
}

impl Cidr {
    /// Reads `10.0.0.0/8`.
    pub fn parse(text: &str) -> Option<Cidr> {
        let (ip, length) = text.split_once('/')?;
        let ip = ip::parse(ip)?;
        let is_plain =
            length.bytes().all(|b| b.is_ascii_digit()) && (length.len() == 1 || !length.starts_with('0'));
        let bits = length.parse().ok().filter(|bits| *bits <= width(ip))?;
        is_plain.then_some(Cidr { ip, bits })
    }

    fn masked(self) -> Cidr {
        let ip = match self.ip {
            IpAddr::V4(ip) => IpAddr::V4(
                (ip.to_bits() & u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0)).into(),
            ),
            IpAddr::V6(ip) => IpAddr::V6(
                (ip.to_bits() & u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0)).into(),
            ),
        };
        Cidr { ip, bits: self.bits }
    }

    fn has(self, ip: IpAddr) -> bool {
        width(ip) == width(self.ip) && Cidr { ip, bits: self.bits }.masked() == self.masked()
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}
