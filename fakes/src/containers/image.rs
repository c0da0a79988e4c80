//! Images from scratch: a tar of one file.

use std::fmt::Write;

const BLOCK_BYTES: usize = 512;

/// FNV-1a.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

pub(super) fn import_path<'a>(
    repository: &str,
    tag: &str,
    changes: impl Iterator<Item = &'a str>,
) -> String {
    let mut path = format!(
        "/images/create?fromSrc=-&repo={}&tag={}",
        encoded(repository),
        encoded(tag)
    );
    for change in changes {
        let _ = write!(path, "&changes={}", encoded(change));
    }
    path
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The ustar format (POSIX.1-1988): a header and the content in blocks, then two empty ones.
pub(super) fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; BLOCK_BYTES];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK_BYTES) + 2 * BLOCK_BYTES, 0);
    tar
}
