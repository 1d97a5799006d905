//! Tags, varints and lengths.

/// Why bytes are not such a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    /// The magic prefix is missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// The bytes end within a value.
    #[error("unexpected EOF")]
    Truncated,
    /// A value is malformed.
    #[error("proto: {0}")]
    Bad(&'static str),
    /// Messages are nested too deeply.
    #[error("proto: nested too deeply")]
    Depth,
    /// JSON within a message (RawExtension, FieldsV1) is malformed.
    #[error("{0}")]
    Json(String),
    /// The type does not exist in protobuf.
    #[error("object of this type has no protobuf form")]
    NoMessage,
}

/// Reads fields from front to back.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

/// A field's value as it stands on the wire.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ProtoError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(ProtoError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut n = 0u64;
        for shift in (0..70).step_by(7) {
            let b = self.take(1)?[0];
            if shift == 63 && b > 1 {
                break;
            }
            n |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Ok(n);
            }
        }
        Err(ProtoError::Bad("integer overflow"))
    }

    /// The next field, or nothing at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Raw<'a>)>, ProtoError> {
        if self.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| ProtoError::Bad("illegal tag"))?;
        if tag == 0 {
            return Err(ProtoError::Bad("illegal tag 0"));
        }
        let raw = match key & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => {
                Raw::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| ProtoError::Truncated)?))
            }
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| ProtoError::Truncated)?;
                Raw::Bytes(self.take(len)?)
            }
            5 => {
                Raw::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| ProtoError::Truncated)?))
            }
            _ => return Err(ProtoError::Bad("illegal wireType")),
        };
        Ok(Some((tag, raw)))
    }
}

impl<'a> Raw<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], ProtoError> {
        match self {
            Raw::Bytes(b) => Ok(b),
            _ => Err(ProtoError::Bad("wrong wireType")),
        }
    }

    pub(super) fn text(self) -> Result<String, ProtoError> {
        let text = std::str::from_utf8(self.bytes()?)
            .map_err(|_| ProtoError::Bad("string field contains invalid UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(super) fn number(self) -> Result<u64, ProtoError> {
        match self {
            Raw::Varint(n) => Ok(n),
            _ => Err(ProtoError::Bad("wrong wireType")),
        }
    }

    pub(super) fn double(self) -> Result<f64, ProtoError> {
        match self {
            Raw::Fixed64(n) => Ok(f64::from_bits(n)),
            Raw::Fixed32(n) => Ok(f64::from(f32::from_bits(n))),
            _ => Err(ProtoError::Bad("wrong wireType")),
        }
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8 & 0x7f) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(super) fn put_number(out: &mut Vec<u8>, tag: u32, n: i64) {
    put_varint(out, u64::from(tag) << 3);
    put_varint(out, n as u64);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_varint(out, u64::from(tag) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_double(out: &mut Vec<u8>, tag: u32, n: f64) {
    put_varint(out, u64::from(tag) << 3 | 1);
    out.extend_from_slice(&n.to_bits().to_le_bytes());
}

/// Writes a field of which only the end tells how long it is.
pub(super) fn put_nested<E>(
    out: &mut Vec<u8>,
    tag: u32,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_varint(out, u64::from(tag) << 3 | 2);
    // One byte is enough for most; a longer length moves the body, which costs less than a buffer of its own.
    let at = out.len();
    out.push(0);
    body(out)?;
    let length = out.len() - at - 1;
    let mut head = Vec::with_capacity(5);
    put_varint(&mut head, length as u64);
    if let [only] = head.as_slice() {
        out[at] = *only;
        return Ok(());
    }
    out.splice(at..=at, head);
    Ok(())
}
