//! Protocol Buffers, as much as the messages of OTLP are made of.
//!
//! The format is that of <https://protobuf.dev/programming-guides/encoding>.

use crate::fields::KEPT;

/// A message that is being written.
#[derive(Debug, Default)]
pub(crate) struct Wire(pub(crate) Vec<u8>);

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED_32: u32 = 5;

impl Wire {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
        // What one large message took is given back.
        self.0.shrink_to(KEPT);
    }

    /// An integer or an enumeration's value. As for all kinds of fields, it is there even if it is 0.
    pub(crate) fn varint(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.raw_varint(value);
    }

    pub(crate) fn fixed_64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED_64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.fixed_64(field, value.to_bits());
    }

    pub(crate) fn fixed_32(&mut self, field: u32, value: u32) {
        self.tag(field, FIXED_32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, LENGTH);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// Numbers of eight bytes, in a row.
    pub(crate) fn packed(&mut self, field: u32, values: impl ExactSizeIterator<Item = u64>) {
        self.tag(field, LENGTH);
        self.raw_varint(values.len() as u64 * 8);
        for value in values {
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A message within this one.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH);
        let begin = self.0.len();
        // Most are shorter than 128 bytes, and have a length of one byte.
        self.0.push(0);
        write(self);
        let length = self.0.len() - begin - 1;
        let size = size_of_varint(length as u64);
        if size > 1 {
            self.0.resize(self.0.len() + size - 1, 0);
            self.0
                .copy_within(begin + 1..begin + 1 + length, begin + size);
        }
        put_varint(length as u64, &mut self.0[begin..begin + size]);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.raw_varint(u64::from(field << 3 | kind));
    }

    fn raw_varint(&mut self, value: u64) {
        if value < 0x80 {
            self.0.push(value as u8);
            return;
        }
        let begin = self.0.len();
        self.0.resize(begin + size_of_varint(value), 0);
        put_varint(value, &mut self.0[begin..]);
    }
}

fn size_of_varint(value: u64) -> usize {
    // Seven bits to a byte, and one byte for 0.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(mut value: u64, out: &mut [u8]) {
    let last = out.len() - 1;
    for (at, byte) in out.iter_mut().enumerate() {
        let more = if at < last { 0x80 } else { 0 };
        *byte = (value & 0x7f) as u8 | more;
        value >>= 7;
    }
}

/// Reads the fields of a message: the number of each, and its integer or its bytes. It ends where the message is malformed.
pub(crate) fn fields(mut message: &[u8]) -> impl Iterator<Item = (u32, Read<'_>)> {
    std::iter::from_fn(move || {
        let tag = varint(&mut message)?;
        let value = match tag as u32 & 7 {
            VARINT => Read::Integer(varint(&mut message)?),
            FIXED_64 => Read::Bytes(split(&mut message, 8)?),
            FIXED_32 => Read::Bytes(split(&mut message, 4)?),
            LENGTH => {
                let length = varint(&mut message)?;
                Read::Bytes(split(&mut message, usize::try_from(length).ok()?)?)
            }
            _ => return None,
        };
        Some((u32::try_from(tag >> 3).ok()?, value))
    })
}

/// What a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn split<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nested_messages_are_written_as_the_format_has_them() {
        let mut wire = Wire::default();
        // The examples of the format's guide.
        wire.varint(1, 150);
        wire.text(2, "testing");
        assert_eq!(wire.0, *b"\x08\x96\x01\x12\x07testing");

        for length in [0, 1, 125, 126, 127, 128, 200, 16_383, 16_384, 70_000] {
            let mut wire = Wire::default();
            wire.message(3, |inner| inner.bytes(1, &vec![7; length]));
            wire.varint(4, u64::MAX);
            let read: Vec<_> = fields(&wire.0).collect();
            let [(3, Read::Bytes(inner)), (4, Read::Integer(u64::MAX))] = read[..] else {
                panic!("{length}: {read:?}");
            };
            let inner: Vec<_> = fields(inner).collect();
            assert_eq!(inner, [(1, Read::Bytes(&vec![7; length]))], "{length}");
        }
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1] {
                let mut wire = Wire::default();
                wire.varint(1, value);
                let read: Vec<_> = fields(&wire.0).collect();
                assert_eq!(read, [(1, Read::Integer(value))]);
                assert!(wire.0.len() == 2 || wire.0.last() != Some(&0));
            }
        }
    }

    #[test]
    fn what_is_malformed_ends_the_reading() {
        for message in [
            &b"\xff"[..],
            b"\x0a\x7f",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x09\x00",
            b"\x0b",
        ] {
            assert_eq!(fields(message).count(), 0, "{message:?}");
        }
    }
}
