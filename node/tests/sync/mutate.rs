//! Messages that are nearly right: each field replaced by something of another kind or size, left out or doubled, and each byte changed.

use minicbor::data::Type;
use minicbor::decode::Decoder;
use std::ops::Range;

/// What stands in for a field: other kinds, numbers out of range, and lengths that claim far more than there is.
const INSTEAD: [&[u8]; 14] = [
    &[0xf6],                                                 // null
    &[0xf5],                                                 // true
    &[0x00],                                                 // 0
    &[0x18, 0x05],                                           // 5, in a longer form than it needs
    &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // the largest number
    &[0x20],                                                 // -1
    &[0x40],                                                 // no bytes
    &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // 2^64 - 1 bytes
    &[0x61, 0x61],                                           // a text
    &[0x80],                                                 // an empty list
    &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // a list of 2^64 - 1 things
    &[0x9f, 0xff],                                           // a list without a length
    &[0xa0],                                                 // a map
    &[0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],                   // infinity
];

/// Where each field of `message` stands, those inside of others too.
fn fields(message: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut decoder = Decoder::new(message);
    while decoder.position() < message.len() {
        field(&mut decoder, &mut found);
    }
    found
}

fn field(decoder: &mut Decoder<'_>, found: &mut Vec<Range<usize>>) {
    let begin = decoder.position();
    if decoder.datatype().unwrap() == Type::Array {
        let length = decoder.array().unwrap().unwrap();
        let at = found.len();
        for _ in 0..length {
            field(decoder, found);
        }
        found.insert(at, begin..decoder.position());
    } else {
        decoder.skip().unwrap();
        found.push(begin..decoder.position());
    }
}

/// `message` with one field changed, every field in every way.
pub fn by_field(message: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for field in fields(message) {
        let with =
            |instead: &[u8]| [&message[..field.start], instead, &message[field.end..]].concat();
        out.extend(INSTEAD.iter().map(|instead| with(instead)));
        out.push(with(&[]));
        let twice = message[field.clone()].repeat(2);
        out.push(with(&twice));
    }
    out.retain(|changed| changed != message);
    out
}

/// `message` with one byte changed, cut short at every place, or longer.
pub fn by_byte(message: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for at in 0..message.len() {
        for bit in 0..8 {
            let mut changed = message.to_vec();
            changed[at] ^= 1 << bit;
            out.push(changed);
        }
        out.push(message[..at].to_vec());
    }
    out.push([message, &[0]].concat());
    out
}
