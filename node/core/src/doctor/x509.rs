//! The validity of a certificate (RFC 5280, section 4.1), and nothing else of it.

use super::certificates::Validity;
use crate::calendar;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the certificate holds; `None` when that is no certificate.
pub fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        (_, rest) = element(rest, VERSION)?;
    }
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (from_unix_s, rest) = time(validity)?;
    let (to_unix_s, _) = time(rest)?;
    Some(Validity {
        from_unix_s,
        to_unix_s,
    })
}

/// What an element of this tag holds, and what comes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // More than four bytes of length are more than any file that is read.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
            (length.iter().fold(0, add), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    (*found == tag).then_some((content, after))
}

/// A time in seconds since 1970, and what comes after it. What is before 1970 is that.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest, century) = match bytes.first()? {
        &UTC_TIME => {
            let (text, rest) = element(bytes, UTC_TIME)?;
            // RFC 5280, section 4.1.2.5.1: years from 50 on are of the last century.
            (
                text,
                rest,
                Some(if number(text.get(..2)?)? >= 50 {
                    1_900
                } else {
                    2_000
                }),
            )
        }
        _ => {
            let (text, rest) = element(bytes, GENERALIZED_TIME)?;
            (text, rest, None)
        }
    };
    let (year, text) = match century {
        Some(century) => (century + number(text.get(..2)?)?, text.get(2..)?),
        None => (number(text.get(..4)?)?, text.get(4..)?),
    };
    let two = |at: usize| number(text.get(at..at + 2)?);
    let (hour, minute, second) = (two(4)?, two(6)?, two(8)?);
    if text.get(10..) != Some(b"Z") || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = match year {
        1_970.. => calendar::days(year, two(0)?, two(2)?)?,
        _ => return Some((0, rest)),
    };
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second, rest))
}

fn number(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u64::from(digit - b'0'))
    };
    digits.iter().try_fold(0, add)
}
