//! A compact form for the tables: variable-length numbers and a table of strings.
//!
//! Every string is written once and then named by its index, so equal field names cost one or two bytes.

use std::collections::HashMap;

/// Why bytes are not a table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("table ends too early")]
    Truncated,
    /// A value has no meaning.
    #[error("bad {0} in table")]
    Bad(&'static str),
}

/// Collects values; [`Writer::finish`] puts the strings in front.
#[derive(Default)]
pub(crate) struct Writer {
    body: Vec<u8>,
    strings: Vec<String>,
    index: HashMap<String, u32>,
}

impl Writer {
    pub(crate) fn byte(&mut self, b: u8) {
        self.body.push(b);
    }

    pub(crate) fn flag(&mut self, on: bool) {
        self.byte(u8::from(on));
    }

    pub(crate) fn number(&mut self, n: u32) {
        varint(&mut self.body, n);
    }

    pub(crate) fn count(&mut self, n: usize) {
        self.number(u32::try_from(n).expect("tables hold far fewer than 2^32 entries"));
    }

    pub(crate) fn text(&mut self, s: &str) {
        let next = u32::try_from(self.strings.len()).expect("tables hold far fewer than 2^32 strings");
        let id = *self.index.entry(s.to_owned()).or_insert(next);
        if id == next {
            self.strings.push(s.to_owned());
        }
        self.number(id);
    }

    pub(crate) fn texts(&mut self, list: &[String]) {
        self.count(list.len());
        list.iter().for_each(|s| self.text(s));
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() * 2);
        varint(&mut out, u32::try_from(self.strings.len()).expect("counted above"));
        for s in &self.strings {
            varint(&mut out, u32::try_from(s.len()).expect("strings are short"));
            out.extend_from_slice(s.as_bytes());
        }
        out.extend_from_slice(&self.body);
        out
    }
}

fn varint(out: &mut Vec<u8>, mut n: u32) {
    while n >= 0x80 {
        out.push((n as u8 & 0x7f) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads what [`Writer`] wrote.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    strings: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Reader<'a>, CodecError> {
        let mut reader = Reader { rest: bytes, strings: Vec::new() };
        let count = reader.count()?;
        let mut strings = Vec::with_capacity(count.min(bytes.len()));
        for _ in 0..count {
            let len = reader.count()?;
            let raw = reader.take(len)?;
            strings.push(std::str::from_utf8(raw).map_err(|_| CodecError::Bad("string"))?);
        }
        reader.strings = strings;
        Ok(reader)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn flag(&mut self) -> Result<bool, CodecError> {
        Ok(self.byte()? != 0)
    }

    pub(crate) fn number(&mut self) -> Result<u32, CodecError> {
        let mut n: u32 = 0;
        for shift in (0..35).step_by(7) {
            let b = self.byte()?;
            n |= u32::from(b & 0x7f).checked_shl(shift).ok_or(CodecError::Bad("number"))?;
            if b < 0x80 {
                return Ok(n);
            }
        }
        Err(CodecError::Bad("number"))
    }

    pub(crate) fn count(&mut self) -> Result<usize, CodecError> {
        Ok(self.number()? as usize)
    }

    pub(crate) fn text(&mut self) -> Result<String, CodecError> {
        let id = self.count()?;
        self.strings.get(id).map(|s| (*s).to_owned()).ok_or(CodecError::Bad("string index"))
    }

    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.count()?;
        (0..count).map(|_| item(self)).collect()
    }

    pub(crate) fn texts(&mut self) -> Result<Vec<String>, CodecError> {
        self.list(Reader::text)
    }
}
