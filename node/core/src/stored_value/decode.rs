//! From bytes to a response. Whoever can write to Redis writes them, so nothing in them is believed.

use super::layout::{VERSION, checksum};
use super::{BODY_BYTES_MAX, BodyForm, Corrupt, StoredValue, TAGS_MAX, Times, VALUE_BYTES_MAX};
use crate::purge::Hlc;

/// The response of bytes, which may be anything.
///
/// # Errors
///
/// Why they are not the response of that key.
pub fn decode<'a>(bytes: &'a [u8], expected_key: &[u8]) -> Result<StoredValue<'a>, Corrupt> {
    let mut reader = Reader { rest: bytes };
    let fixed = Fixed::read(&mut reader)?;
    let (variable, found) = (fixed.lengths.variable(), reader.rest.len());
    if variable != Some(found) || bytes.len() > VALUE_BYTES_MAX {
        return Err(Corrupt::Length { found: bytes.len() });
    }
    if checksum(bytes) != fixed.checksum {
        return Err(Corrupt::Checksum);
    }
    let Lengths {
        key, headers, tags, ..
    } = fixed.lengths;
    let (key, tags) = (reader.take(key)?, reader.take(tags * 8)?);
    let tags = tags.as_chunks().0.iter().copied();
    let value = StoredValue {
        key,
        status: fixed.status,
        times: fixed.times,
        tags: tags.map(u64::from_le_bytes).collect(),
        headers: reader.take(headers)?,
        body_form: body_form(fixed.form)?,
        body_bytes: fixed.body_bytes,
        body: reader.rest,
    };
    checked(value, expected_key)
}

/// What every value begins with.
struct Fixed {
    form: u8,
    status: u16,
    checksum: u32,
    times: Times,
    body_bytes: u64,
    lengths: Lengths,
}

impl Fixed {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(Corrupt::Version {
                found: version,
                expected: VERSION,
            });
        }
        let [form] = reader.array()?;
        Ok(Self {
            form,
            status: u16::from_le_bytes(reader.array()?),
            checksum: u32::from_le_bytes(reader.array()?),
            times: reader.times()?,
            body_bytes: reader.u64()?,
            lengths: reader.lengths()?,
        })
    }
}

fn body_form(form: u8) -> Result<BodyForm, Corrupt> {
    match form {
        0 => Ok(BodyForm::Raw),
        1 => Ok(BodyForm::Zstd),
        other => Err(field("body form", other.into())),
    }
}

fn field(field: &'static str, found: u64) -> Corrupt {
    Corrupt::Field { field, found }
}

/// A checksum that holds says that the bytes are what somebody wrote, not that it was right.
fn checked<'a>(value: StoredValue<'a>, expected_key: &[u8]) -> Result<StoredValue<'a>, Corrupt> {
    if value.key != expected_key {
        return Err(Corrupt::OtherKey);
    }
    if !(100..=999).contains(&value.status) {
        return Err(field("status", value.status.into()));
    }
    if value.tags.len() > TAGS_MAX {
        return Err(field("number of tags", value.tags.len() as u64));
    }
    let is_whole = value.body_form != BodyForm::Raw || value.body_bytes == value.body.len() as u64;
    if !is_whole || value.body_bytes > BODY_BYTES_MAX {
        return Err(field("bytes of the body", value.body_bytes));
    }
    Ok(value)
}

struct Lengths {
    key: usize,
    headers: usize,
    body: usize,
    tags: usize,
}

impl Lengths {
    /// None: more than can be.
    fn variable(&self) -> Option<usize> {
        self.tags
            .checked_mul(8)?
            .checked_add(self.key)?
            .checked_add(self.headers)?
            .checked_add(self.body)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Corrupt::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Corrupt::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u64(&mut self) -> Result<u64, Corrupt> {
        self.array().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, Corrupt> {
        let length = u32::from_le_bytes(self.array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn lengths(&mut self) -> Result<Lengths, Corrupt> {
        Ok(Lengths {
            key: self.length()?,
            headers: self.length()?,
            body: self.length()?,
            tags: self.length()?,
        })
    }

    fn times(&mut self) -> Result<Times, Corrupt> {
        let (time, node) = (self.u64()?, u32::from_le_bytes(self.array()?));
        Ok(Times {
            fetched_at: Hlc::from_time(time, node),
            fetch_cost_ms: u32::from_le_bytes(self.array()?),
            response_unix_ms: self.u64()?,
            initial_age_ms: self.u64()?,
            fresh_until_ms: self.u64()?,
            revalidate_until_ms: self.u64()?,
            error_until_ms: self.u64()?,
            keep_until_ms: self.u64()?,
        })
    }
}
