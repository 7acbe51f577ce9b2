//! Percent-encoding: which characters each place of a reference, a URL or a terminal cannot bear, and the way back. Those that a terminal would obey, or that reverse the
//! direction of text, are encoded everywhere, whoever chose the name.

use super::ReferenceError;

/// A path as it can be typed after `VAULT:`, with the few bytes encoded that would mean something else.
#[must_use]
pub fn typed_path(path: &str) -> String {
    encode(path, |c| matches!(c, '%' | '#'))
}

/// A vault's name as it can be typed before `:`.
#[must_use]
pub fn typed_vault(name: &str) -> String {
    encode(name, |c| matches!(c, '%' | ':' | '/' | '#'))
}

/// One component of a URL path or a value of its query: everything but letters, digits and `-._~` encoded.
#[must_use]
pub fn url_component(text: &str) -> String {
    encode(text, |c| !c.is_ascii_alphanumeric() && !"-._~".contains(c))
}

pub(super) fn uri_vault(name: &str) -> String {
    encode(name, |c| {
        matches!(c, '%' | '/' | '#' | '?') || c.is_whitespace()
    })
}

pub(super) fn uri_path(path: &str) -> String {
    encode(path, |c| matches!(c, '%' | '#' | '?') || c.is_whitespace())
}

/// Text of others as it may be shown on a terminal: control characters are encoded, everything else is as it was.
#[must_use]
pub fn shown(text: &str) -> String {
    encode(text, |_| false)
}

/// Percent-encodes the characters of `also`, and always those that a terminal would obey or that reverse the direction of text.
fn encode(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut utf8 = [0; 4];
    for c in text.chars() {
        if also(c) || c.is_control() || is_direction(c) {
            c.encode_utf8(&mut utf8)
                .bytes()
                .for_each(|b| push_encoded(&mut out, b));
        } else {
            out.push(c);
        }
    }
    out
}

pub(super) fn push_encoded(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Line and paragraph separators, and the marks, embeddings, overrides and isolates of bidirectional text.
pub(super) fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(super) fn decode(text: &str) -> Result<String, ReferenceError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = bytes
            .next()
            .and_then(hex_digit)
            .ok_or(ReferenceError::Escape)?;
        let low = bytes
            .next()
            .and_then(hex_digit)
            .ok_or(ReferenceError::Escape)?;
        out.push(high << 4 | low);
    }
    String::from_utf8(out).map_err(|_| ReferenceError::Utf8)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}
