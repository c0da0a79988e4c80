//! What the files hold.
//!
//! Every file is: magic, kind (u8), format (u16), the fields in order, SHA-256 of all before it. Numbers are
//! little-endian; texts and payloads have their length (u32) before them.

use std::time::Duration;

use bytes::Bytes;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use weir_core::probation::{ContentHash, Crashes, InForce};

use super::Quarantined;

const MAGIC: &[u8; 8] = b"WEIR-LKG";
const FORMAT: u16 = 1;
const KIND_SLOT: u8 = 1;
const KIND_RUN: u8 = 2;
const KIND_QUARANTINE: u8 = 3;

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It has more bytes than such a file can have.
    #[error("is larger than {bytes_max} bytes")]
    TooLarge {
        /// The most it can have.
        bytes_max: usize,
    },
    /// Its checksum differs: it was cut, changed, or something else wrote it.
    #[error("is cut or damaged")]
    Checksum,
    /// It is a file of another kind.
    #[error("is another kind of file")]
    Kind,
    /// Another version of Weir wrote it.
    #[error("has format {0}, and this version reads format {FORMAT}")]
    Format(u16),
    /// Its fields make no sense though nobody changed them.
    #[error("holds no valid {0}")]
    Field(&'static str),
}

type Read<T> = Result<T, Damage>;

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotRecord {
    pub(super) sequence: u64,
    pub(super) epoch: String,
    pub(super) content: InForce,
    pub(super) applied_at: Duration,
    pub(super) payload: Bytes,
}

impl SlotRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(KIND_SLOT, self.payload.len());
        out.u64(self.sequence);
        out.bytes(self.epoch.as_bytes());
        out.content(self.content);
        out.time(self.applied_at);
        out.bytes(&self.payload);
        out.sealed()
    }

    pub(super) fn decode(bytes: Vec<u8>) -> Read<Self> {
        let mut fields = Reader::opened(bytes, KIND_SLOT)?;
        let record = Self {
            sequence: fields.u64("sequence")?,
            epoch: fields.text("epoch")?,
            content: fields.content("content")?,
            applied_at: fields.time("applied_at")?,
            payload: fields.bytes("payload")?,
        };
        fields.end()?;
        Ok(record)
    }
}

/// What a run leaves behind unless it ends in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunRecord {
    pub(super) node_version: String,
    pub(super) in_force: Option<InForce>,
    pub(super) crashes: Option<Crashes>,
}

impl RunRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(KIND_RUN, 0);
        out.bytes(self.node_version.as_bytes());
        out.flag(self.in_force.is_some());
        if let Some(in_force) = self.in_force {
            out.content(in_force);
        }
        out.flag(self.crashes.is_some());
        if let Some(crashes) = self.crashes {
            out.hash(crashes.hash);
            out.u64(crashes.count.into());
            out.time(crashes.last);
        }
        out.sealed()
    }

    pub(super) fn decode(bytes: Vec<u8>) -> Read<Self> {
        let mut fields = Reader::opened(bytes, KIND_RUN)?;
        let node_version = fields.text("node_version")?;
        let in_force = match fields.flag("in_force")? {
            true => Some(fields.content("in_force")?),
            false => None,
        };
        let crashes = match fields.flag("crashes")? {
            true => Some(Crashes {
                hash: fields.hash("crashes")?,
                count: u32::try_from(fields.u64("crashes")?).unwrap_or(u32::MAX),
                last: fields.time("crashes")?,
            }),
            false => None,
        };
        fields.end()?;
        Ok(Self {
            node_version,
            in_force,
            crashes,
        })
    }
}

/// The quarantine, the oldest entry first.
pub(super) fn encode_quarantine(entries: &[Quarantined]) -> Vec<u8> {
    let mut out = Writer::new(KIND_QUARANTINE, 0);
    out.u64(entries.len() as u64);
    for entry in entries {
        out.hash(entry.hash);
        out.bytes(entry.reason.as_bytes());
        out.bytes(entry.node_version.as_bytes());
        out.time(entry.since);
    }
    out.sealed()
}

/// The quarantine, the oldest entry first.
pub(super) fn decode_quarantine(bytes: Vec<u8>) -> Read<Vec<Quarantined>> {
    let mut fields = Reader::opened(bytes, KIND_QUARANTINE)?;
    let count = fields.u64("count")?;
    // The file's size bounds the loop: every entry takes bytes of it.
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(Quarantined {
            hash: fields.hash("hash")?,
            reason: fields.text("reason")?,
            node_version: fields.text("node_version")?,
            since: fields.time("since")?,
        });
    }
    fields.end()?;
    Ok(entries)
}

/// SHA-256.
pub(super) fn checksum(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8, payload_bytes: usize) -> Self {
        const OTHER_FIELDS: usize = 512;
        let mut out = Vec::with_capacity(payload_bytes + OTHER_FIELDS);
        out.extend_from_slice(MAGIC);
        out.push(kind);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        Self(out)
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(flag.into());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn time(&mut self, unix: Duration) {
        self.u64(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX));
    }

    fn hash(&mut self, hash: ContentHash) {
        self.0.extend_from_slice(&hash.0);
    }

    fn content(&mut self, content: InForce) {
        self.hash(content.hash);
        self.flag(content.good);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("payloads and texts are bounded");
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn sealed(mut self) -> Vec<u8> {
        let sum = checksum(&self.0);
        self.0.extend_from_slice(&sum);
        self.0
    }
}

struct Reader(Bytes);

impl Reader {
    /// The fields of a file that is whole and of this kind and format.
    fn opened(bytes: Vec<u8>, kind: u8) -> Read<Self> {
        let mut all = Bytes::from(bytes);
        let body = all.len().checked_sub(SHA256_OUTPUT_LEN);
        let sum = all.split_off(body.ok_or(Damage::Checksum)?);
        if sum[..] != checksum(&all) {
            return Err(Damage::Checksum);
        }
        let mut fields = Self(all);
        if fields.take(MAGIC.len(), "magic")? != MAGIC[..] || fields.u8("kind")? != kind {
            return Err(Damage::Kind);
        }
        match u16::from_le_bytes(fields.array("format")?) {
            FORMAT => Ok(fields),
            other => Err(Damage::Format(other)),
        }
    }

    fn take(&mut self, length: usize, field: &'static str) -> Read<Bytes> {
        if length > self.0.len() {
            return Err(Damage::Field(field));
        }
        Ok(self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Read<[u8; N]> {
        let bytes = self.take(N, field)?;
        bytes[..].try_into().map_err(|_| Damage::Field(field))
    }

    fn u8(&mut self, field: &'static str) -> Read<u8> {
        Ok(self.array::<1>(field)?[0])
    }

    fn flag(&mut self, field: &'static str) -> Read<bool> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damage::Field(field)),
        }
    }

    fn u64(&mut self, field: &'static str) -> Read<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    fn time(&mut self, field: &'static str) -> Read<Duration> {
        self.u64(field).map(Duration::from_millis)
    }

    fn hash(&mut self, field: &'static str) -> Read<ContentHash> {
        self.array(field).map(ContentHash)
    }

    fn content(&mut self, field: &'static str) -> Read<InForce> {
        Ok(InForce {
            hash: self.hash(field)?,
            good: self.flag(field)?,
        })
    }

    fn bytes(&mut self, field: &'static str) -> Read<Bytes> {
        let length = u32::from_le_bytes(self.array(field)?);
        self.take(length as usize, field)
    }

    fn text(&mut self, field: &'static str) -> Read<String> {
        let bytes = self.bytes(field)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Damage::Field(field))
    }

    fn end(&self) -> Read<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Damage::Field("end"))
        }
    }
}
