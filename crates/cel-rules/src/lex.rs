//! Text into tokens, with the place of each.

use crate::fault::Fault;

/// A token and where it begins, in characters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Ident(String),
    /// Digits, with the sign left to the parser: `-9223372036854775808` is a number.
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// An operator or bracket.
    Mark(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const MARKS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":", "+", "-", "*", "/",
    "%", "!", "<", ">", "=", "&",
];

/// Characters of an expression are not more than this (cel-go's limit).
const CHARS_MAX: usize = 100_000;

/// The tokens of a text, with an end.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > CHARS_MAX {
        let message =
            format!("expression code point size exceeds limit: size: {}, limit {CHARS_MAX}", chars.len());
        return Err(Fault::new(0, message));
    }
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip();
        let at = lexer.at;
        let kind = lexer.next()?;
        let is_end = kind == Kind::End;
        out.push(Token { at, kind });
        if is_end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn skip(&mut self) {
        loop {
            match self.peek(0) {
                ' ' | '\t' | '\r' | '\n' | '\u{c}' => self.at += 1,
                '/' if self.peek(1) == '/' => {
                    while self.at < self.chars.len() && self.peek(0) != '\n' {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn next(&mut self) -> Result<Kind, Fault> {
        if self.at >= self.chars.len() {
            return Ok(Kind::End);
        }
        let first = self.peek(0);
        if let Some(kind) = self.quoted()? {
            return Ok(kind);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(Kind::Ident(self.word()));
        }
        if first.is_ascii_digit() || (first == '.' && self.peek(1).is_ascii_digit()) {
            return self.number();
        }
        let is_next = |mark: &&&str| mark.chars().enumerate().all(|(i, c)| self.peek(i) == c);
        match MARKS.iter().find(is_next) {
            Some(mark) if !matches!(*mark, "=" | "&") => {
                self.at += mark.len();
                Ok(Kind::Mark(mark))
            }
            _ => Err(Fault::syntax(self.at, format!("token recognition error at: '{first}'"))),
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == '_' {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn digits(&mut self, is_digit: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while is_digit(self.peek(0)) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        if self.peek(0) == '0' && matches!(self.peek(1), 'x' | 'X') && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            let digits = self.digits(|c| c.is_ascii_hexdigit());
            return self.whole(start, u64::from_str_radix(&digits, 16).ok());
        }
        let mut text = self.digits(|c| c.is_ascii_digit());
        let has_part = self.peek(0) == '.' && self.peek(1).is_ascii_digit();
        if has_part {
            self.at += 1;
            text = format!("{text}.{}", self.digits(|c| c.is_ascii_digit()));
        }
        let exponent = self.exponent();
        if !has_part && exponent.is_empty() {
            return self.whole(start, text.parse().ok());
        }
        let number = format!("{text}{exponent}").parse::<f64>();
        number.map(Kind::Double).map_err(|_| Fault::new(start, "invalid double literal"))
    }

    fn exponent(&mut self) -> String {
        let sign = usize::from(matches!(self.peek(1), '+' | '-'));
        if !matches!(self.peek(0), 'e' | 'E') || !self.peek(1 + sign).is_ascii_digit() {
            return String::new();
        }
        let head: String = self.chars[self.at..=self.at + sign].iter().collect();
        self.at += 1 + sign;
        head + &self.digits(|c| c.is_ascii_digit())
    }

    fn whole(&mut self, start: usize, value: Option<u64>) -> Result<Kind, Fault> {
        let is_unsigned = matches!(self.peek(0), 'u' | 'U');
        self.at += usize::from(is_unsigned);
        match value {
            Some(n) if is_unsigned => Ok(Kind::Uint(n)),
            Some(n) => Ok(Kind::Int(n)),
            None => Err(Fault::new(start, "invalid int literal")),
        }
    }

    /// A text or octets, when one begins here: `'a'`, `r"a"`, `b'''a'''`.
    fn quoted(&mut self) -> Result<Option<Kind>, Fault> {
        let (mut is_raw, mut is_bytes, mut ahead) = (false, false, 0);
        while ahead < 2 {
            match self.peek(ahead) {
                'r' | 'R' if !is_raw => is_raw = true,
                'b' | 'B' if !is_bytes => is_bytes = true,
                _ => break,
            }
            ahead += 1;
        }
        let quote = self.peek(ahead);
        if quote != '\'' && quote != '"' {
            return Ok(None);
        }
        let start = self.at;
        self.at += ahead;
        let is_triple = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if is_triple { 3 } else { 1 };
        let mut out = Vec::new();
        loop {
            let c = self.peek(0);
            if self.at >= self.chars.len() || (c == '\n' && !is_triple) {
                let shown: String = self.chars[start..self.at].iter().collect();
                return Err(Fault::syntax(start, format!("token recognition error at: '{shown}'")));
            }
            let is_end = c == quote && (!is_triple || (self.peek(1) == quote && self.peek(2) == quote));
            if is_end {
                self.at += if is_triple { 3 } else { 1 };
                break;
            }
            if c == '\\' && !is_raw {
                self.escape(is_bytes, &mut out)?;
            } else {
                self.at += 1;
                push(&mut out, c);
            }
        }
        if is_bytes {
            return Ok(Some(Kind::Bytes(out)));
        }
        let text = String::from_utf8(out);
        text.map(|t| Some(Kind::Text(t))).map_err(|_| Fault::new(start, "invalid string literal"))
    }

    fn escape(&mut self, is_bytes: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = self.at;
        let bad = || Fault::new(start, "invalid escape sequence");
        let c = self.peek(1);
        self.at += 2;
        let simple = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '`' | '?' => c,
            'x' | 'X' => return self.code(2, 16, is_bytes, out).ok_or_else(bad),
            'u' if !is_bytes => return self.code(4, 16, false, out).ok_or_else(bad),
            'U' if !is_bytes => return self.code(8, 16, false, out).ok_or_else(bad),
            '0'..='3' => {
                self.at -= 1;
                return self.code(3, 8, is_bytes, out).ok_or_else(bad);
            }
            _ => return Err(bad()),
        };
        push(out, simple);
        Ok(())
    }

    /// A character by its number, or an octet.
    fn code(&mut self, digits: usize, radix: u32, is_octet: bool, out: &mut Vec<u8>) -> Option<()> {
        let mut n = 0_u32;
        for _ in 0..digits {
            n = n.checked_mul(radix)?.checked_add(self.peek(0).to_digit(radix)?)?;
            self.at += 1;
        }
        if is_octet {
            out.push(u8::try_from(n).ok()?);
        } else {
            push(out, char::from_u32(n)?);
        }
        Some(())
    }
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
}
