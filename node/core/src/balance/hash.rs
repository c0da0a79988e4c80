//! A hash that gives the same number in every process, on every node and in every version.
//!
//! SipHash-2-4: the keys come from clients (headers, cookies, addresses), so the hash must spread
//! hostile input as well as it spreads friendly input, and sticky cookies need a keyed hash anyway.
//! The hasher of the standard library promises no stability between versions.

/// Hashes the bytes a request is placed by; the same bytes give the same number everywhere.
pub fn hash_key(bytes: &[u8]) -> u64 {
    keyed_hash(0, 0, bytes)
}

/// SipHash-2-4 of `bytes` under the 128-bit key `k0`, `k1`.
pub(super) fn keyed_hash(k0: u64, k1: u64, bytes: &[u8]) -> u64 {
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut words = bytes.chunks_exact(8);
    for word in words.by_ref() {
        absorb(&mut state, word, 0);
    }
    absorb(&mut state, words.remainder(), bytes.len() as u8);
    state[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

/// Mixes in up to eight bytes; a word that is not full carries `last` as its top byte.
fn absorb(state: &mut [u64; 4], word: &[u8], last: u8) {
    let mut padded = [0, 0, 0, 0, 0, 0, 0, last];
    padded[..word.len()].copy_from_slice(word);
    let word = u64::from_le_bytes(padded);
    state[3] ^= word;
    round(state);
    round(state);
    state[0] ^= word;
}

fn round(state: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *state;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    *state = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use super::*;

    const K0: u64 = 0x0706_0504_0302_0100;
    const K1: u64 = 0x0f0e_0d0c_0b0a_0908;

    #[test]
    fn the_published_vectors_of_siphash_2_4_hold() {
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(keyed_hash(K0, K1, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(keyed_hash(K0, K1, &bytes[..1]), 0x74f8_39c5_93dc_67fd);
        assert_eq!(keyed_hash(K0, K1, &bytes), 0xa129_ca61_49be_45e5);
    }
}
