//! Dictionaries of structured fields (RFC 9651 section 3.2), as far as targeted fields need them.

/// What a member holds; parameters are read and dropped (RFC 9213 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// An integer.
    Integer(i64),
    /// A string or a token.
    Text(Vec<u8>),
    /// A boolean.
    Boolean(bool),
    /// Anything else.
    Other,
}

/// The members of a dictionary in order; `None` if the text is none.
pub(super) fn dictionary(text: &[u8]) -> Option<Vec<(&[u8], Item)>> {
    let mut input = Input(text.trim_ascii());
    let mut members = Vec::new();
    while !input.0.is_empty() {
        let key = input.key()?;
        let item = match input.take(b'=') {
            true => input.item_or_list()?,
            false => Item::Boolean(true),
        };
        input.parameters()?;
        members.push((key, item));
        input.skip_white();
        if input.0.is_empty() {
            break;
        }
        let goes_on = input.take(b',');
        input.skip_white();
        if !goes_on || input.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn take_while(&mut self, is_in: impl Fn(&u8) -> bool) -> &'a [u8] {
        let end = self
            .0
            .iter()
            .position(|byte| !is_in(byte))
            .unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip_white(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.0.first()?, b'a'..=b'z' | b'*') {
            return None;
        }
        Some(self.take_while(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'),
        ))
    }

    fn item_or_list(&mut self) -> Option<Item> {
        if !self.take(b'(') {
            return self.item();
        }
        loop {
            self.take_while(|byte| *byte == b' ');
            if self.take(b')') {
                return Some(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.take_while(|byte| *byte == b' ');
            self.key()?;
            if self.take(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item(&mut self) -> Option<Item> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                let token = self.take_while(|byte| is_tchar(*byte) || b":/".contains(byte));
                Some(Item::Text(token.to_vec()))
            }
            b'?' => {
                let value = self.0.get(1)?;
                self.0 = &self.0[2..];
                matches!(value, b'0' | b'1').then_some(Item::Boolean(*value == b'1'))
            }
            b':' => {
                self.take(b':');
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
                self.take(b':').then_some(Item::Other)
            }
            b'@' => {
                self.take(b'@');
                matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
            }
            b'%' => {
                self.take(b'%');
                self.string().map(|_| Item::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Item> {
        let negative = self.take(b'-');
        let digits = self.take_while(u8::is_ascii_digit);
        let is_decimal = self.take(b'.');
        let (whole_max, fraction) = match is_decimal {
            true => (12, self.take_while(u8::is_ascii_digit)),
            false => (15, &b"0"[..]),
        };
        if !(1..=whole_max).contains(&digits.len()) || !(1..=3).contains(&fraction.len()) {
            return None;
        }
        if is_decimal {
            return Some(Item::Other);
        }
        let number = digits
            .iter()
            .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Some(Item::Integer(if negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Item> {
        if !self.take(b'"') {
            return None;
        }
        let mut out = Vec::new();
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(Item::Text(out)),
                b'\\' => {
                    let (escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    matches!(escaped, b'"' | b'\\').then(|| out.push(*escaped))?;
                }
                b' '..=b'~' => out.push(*byte),
                _ => return None,
            }
        }
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_read_with_every_type_of_item() {
        let text = br#"max-age=60;p=1, no-store, b=?0, s="a, \"b\"", t=to/ken, d=1.5, l=(1 "a";x), x=:aGk=:, y=@1"#;
        let members = dictionary(text).unwrap();
        let items: Vec<Item> = members.iter().map(|(_, item)| item.clone()).collect();
        assert_eq!(members[0].0, b"max-age");
        assert_eq!(
            items,
            [
                Item::Integer(60),
                Item::Boolean(true),
                Item::Boolean(false),
                Item::Text(b"a, \"b\"".to_vec()),
                Item::Text(b"to/ken".to_vec()),
                Item::Other,
                Item::Other,
                Item::Other,
                Item::Other,
            ]
        );
    }

    #[test]
    fn what_is_no_dictionary_is_nothing_at_all() {
        for text in [
            "max-age=10000, &&&&&",
            "max-age =100",
            "max-age= 100",
            "MaX-aGe=1",
            "a,",
            "a,,b",
            ",a",
            "a b",
            "a=\"x",
            "a=1234567890123456",
            "a=1.2345",
            "a=1.",
            "a=(1",
            "a=?2",
            "a=\u{e9}",
            "a=(1\"x\")",
        ] {
            assert_eq!(dictionary(text.as_bytes()), None, "{text}");
        }
        assert_eq!(dictionary(b"  "), Some(Vec::new()));
    }
}
