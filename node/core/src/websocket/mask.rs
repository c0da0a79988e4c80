//! The key that a client lays over its bytes (RFC 6455, section 5.3).

/// Takes the key off (or lays it on) bytes that begin `at` bytes after the start of their frame's payload.
pub(super) fn apply(bytes: &mut [u8], key: [u8; 4], at: u64) {
    let turned: [u8; 4] = std::array::from_fn(|n| key[(at as usize).wrapping_add(n) & 3]);
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(plain) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(plain) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_a_time_are_as_one_at_a_time() {
        let key = [1, 2, 4, 200];
        for at in 0..9_u64 {
            for len in 0..40_usize {
                let plain: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
                let mut fast = plain.clone();
                apply(&mut fast, key, at);
                let slow: Vec<u8> = plain
                    .iter()
                    .enumerate()
                    .map(|(n, byte)| byte ^ key[(at as usize + n) % 4])
                    .collect();
                assert_eq!(fast, slow, "{len} bytes from {at}");
            }
        }
    }
}
