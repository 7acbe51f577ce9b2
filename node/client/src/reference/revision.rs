//! How a reference names a version: by its id, by how many versions ago it was, or by a time. The three shapes have no text in common, and whatever has none of them is
//! not a version, so that an `@` in a path splits nothing.

use std::fmt;

/// The shortest unique prefix of a version, node or vault id that is accepted: 24 bits, so that a typo seldom names another one.
pub const MIN_PREFIX: usize = 6;
/// Hexadecimal digits of a whole version.
const VERSION_DIGITS: usize = 64;

/// How a reference names a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// At least [`MIN_PREFIX`] lower-case hexadecimal digits of its id.
    Id(String),
    /// So many versions before the newest: `~1`.
    Back(u32),
    /// The newest one at that time: `2026-11-20`, `2026-11-20T09:00`, with `:30` and `Z` or `+01:00` if wanted.
    At(String),
}

impl Revision {
    /// Reads one of the three shapes; `None` if it has none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Revision> {
        if let Some(count) = text.strip_prefix('~') {
            return count
                .parse()
                .ok()
                .filter(|_| digits(count))
                .map(Revision::Back);
        }
        if is_id(text) {
            return Some(Revision::Id(text.to_owned()));
        }
        is_time(text).then(|| Revision::At(text.to_owned()))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Revision::Id(text) | Revision::At(text) => f.write_str(text),
            Revision::Back(count) => write!(f, "~{count}"),
        }
    }
}

fn is_id(text: &str) -> bool {
    (MIN_PREFIX..=VERSION_DIGITS).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_time(text: &str) -> bool {
    let (date, time) = text
        .split_once('T')
        .map_or((text, None), |(d, t)| (d, Some(t)));
    let date_fits = shaped(date, "dddd-dd-dd");
    let Some(time) = time else { return date_fits };
    let (clock, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let zone_fits = ["", "Z", "+dd:dd", "-dd:dd"]
        .iter()
        .any(|shape| shaped(zone, shape));
    date_fits && zone_fits && (shaped(clock, "dd:dd") || shaped(clock, "dd:dd:dd"))
}

/// Whether `text` has that shape, where `d` stands for a digit.
fn shaped(text: &str, shape: &str) -> bool {
    let fits = |(t, s): (u8, u8)| {
        if s == b'd' {
            t.is_ascii_digit()
        } else {
            t == s
        }
    };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
