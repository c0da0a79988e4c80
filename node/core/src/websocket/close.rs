//! Why a connection ends (RFC 6455, section 7.4).

use super::Violation;

/// Bytes of the longest reason: a control frame less its code.
pub const REASON_BYTES_MAX: usize = 123;

/// A code of a close frame. Any may be made; [`CloseCode::may_be_sent`] says which a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// All was done.
    pub const NORMAL: Self = Self(1000);
    /// The server or the page goes away.
    pub const AWAY: Self = Self(1001);
    /// A rule of the protocol was broken.
    pub const PROTOCOL: Self = Self(1002);
    /// Data of a kind that is not taken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// What is asked for is not allowed.
    pub const POLICY: Self = Self(1008);
    /// A message is too long.
    pub const TOO_BIG: Self = Self(1009);
    /// The server cannot go on.
    pub const INTERNAL: Self = Self(1011);
    /// The server starts anew; coming back is welcome.
    pub const RESTART: Self = Self(1012);

    /// Whether a peer may send it: registered codes that are not reserved for what was never sent, and those of
    /// libraries and applications.
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub code: CloseCode,
    /// Why, in words.
    pub reason: String,
}

impl Close {
    /// What the payload of a client's close frame says; `None` if it says nothing.
    ///
    /// # Errors
    ///
    /// Half a code, one that may not be sent, or a reason that is not UTF-8.
    pub(super) fn read(payload: &[u8]) -> Result<Option<Self>, Violation> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
            [_] => return Err(Violation::HalfCloseCode),
        };
        if !code.may_be_sent() {
            return Err(Violation::CloseCode(code.0));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
        Ok(Some(Self {
            code,
            reason: reason.to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_mean_something_may_be_sent() {
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
            4000, 4999,
        ] {
            assert!(CloseCode(code).may_be_sent(), "{code}");
        }
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            assert!(!CloseCode(code).may_be_sent(), "{code}");
        }
    }

    #[test]
    fn a_close_frame_says_nothing_or_a_whole_code_and_a_sound_reason() {
        let read = Close::read;
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(b"\x03"), Err(Violation::HalfCloseCode));
        assert_eq!(read(b"\x03\xed"), Err(Violation::CloseCode(1005)));
        assert_eq!(read(b"\x03\xe8\xff"), Err(Violation::CloseReason));
        let said = read(b"\x0f\xa0bye").unwrap().unwrap();
        assert_eq!((said.code.0, said.reason.as_str()), (4000, "bye"));
    }
}
